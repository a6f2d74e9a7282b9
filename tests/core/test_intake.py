"""Room in the queues: who waits for it, who gets it, and what becomes of who does not."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code
from callboard.core.event import Delivery
from callboard.core.frames import TypeEntry
from callboard.core.load import RECORD_BYTES
from callboard.core.session import Session
from sim.stage import Actor, Stage, subscribed, told


def stage_with(room: int, *, max_bytes: int = 1 << 20) -> Stage:
    return Stage(BrokerLimits(partitions=8, max_type_events=room, max_type_bytes=max_bytes))


def answers(actor: Actor) -> tuple[int, list[int], dict[int, int]]:
    """Through which number all is answered, which are beyond, and the codes of the refused."""
    frames = actor.heard()
    through = max((frame.published_through for frame in frames), default=0)
    beyond = [number for frame in frames for number in frame.published_beyond]
    refused = {each.number: each.code for frame in frames for each in frame.publishes_refused}
    return through, beyond, refused


def test_a_publish_waits_for_room_and_is_taken_when_there_is_some() -> None:
    """It is not answered before."""
    stage = stage_with(2)
    worker, publisher = stage.worker("w", "a"), stage.worker("p")
    publisher.publish("x", "y", "z", seconds=10)
    assert answers(publisher) == (2, [], {})
    assert stage.broker.publishes_waiting_count == 1

    first, _ = worker.deliveries()
    worker.settle(first)

    assert answers(publisher) == (3, [], {})
    assert told(worker.deliveries()) == ["a/z #3.1"]


def test_a_publish_of_a_turn_does_not_wait() -> None:
    """It is taken up to twice as much, then refused."""
    stage = stage_with(2)
    worker = stage.worker("w", "a")
    worker.publish("1", "2", "3", "4", "5")
    through, beyond, refused = answers(worker)
    assert (through, beyond, refused) == (5, [], {5: Code.RESOURCE_EXHAUSTED})
    assert stage.broker.counters.published == 4


def test_bytes_are_bounded_as_well() -> None:
    """What the broker keeps beside an event counts."""
    stage = stage_with(1000, max_bytes=2 * (RECORD_BYTES + 100))
    worker = stage.worker("w", "a")
    worker.publish("1", "2", content=b"x" * 100, seconds=10)
    assert stage.broker.publishes_waiting_count == 0
    worker.publish("3", content=b"", seconds=10)
    assert stage.broker.publishes_waiting_count == 1


def test_an_event_larger_than_the_bound_is_taken_alone() -> None:
    """It would wait for ever."""
    stage = stage_with(1000, max_bytes=1000)
    worker = stage.worker("w", "a")
    worker.publish("x", content=b"x" * 5000, seconds=10)
    assert answers(worker)[0] == 1
    worker.publish("y", content=b"x" * 5000)
    assert answers(worker)[2] == {2: Code.RESOURCE_EXHAUSTED}


def test_a_publish_whose_time_is_up_is_refused_and_reaches_nobody() -> None:
    """The text says why, and how long it has waited."""
    stage = stage_with(1)
    worker, publisher = stage.worker("w", "a"), stage.worker("p")
    publisher.publish("x", "y", seconds=10)
    stage.wait(9.9)
    assert stage.broker.next_deadline() == 10
    stage.wait(0.1)
    stage.keep()
    (refusal,) = [each for frame in publisher.heard() for each in frame.publishes_refused]
    assert (refusal.number, refusal.code) == (2, Code.RESOURCE_EXHAUSTED)
    assert refusal.reason == (
        "1 events of 261 bytes are queued for agents of type 'a', the limit is 1 events and "
        "1048576 bytes; it has waited for 10.0 s"
    )
    worker.settle(worker.deliveries())
    assert worker.deliveries() == []
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0


def test_what_waits_holds_up_no_other_topics_of_its_session() -> None:
    """Those are answered beyond it, each once."""
    stage = stage_with(1)
    worker, publisher = stage.worker("w", "a", "b"), stage.worker("p")
    publisher.publish("x", "y", topic="a", seconds=10)
    publisher.publish("x", topic="b", seconds=10)
    publisher.publish("bad\ud800", topic="b", seconds=10)
    assert answers(publisher) == (1, [3, 4], {4: Code.INVALID_ARGUMENT})
    worker.settle(worker.deliveries())
    assert answers(publisher) == (4, [], {})


def test_later_events_of_a_publisher_on_a_topic_wait_behind_the_first() -> None:
    """Also where there is room for them, because the first waits for another type."""
    stage = stage_with(1)
    worker, publisher = stage.worker("w"), stage.worker("p")
    worker.register("a", "b", subscriptions=[subscribed("t", "a"), subscribed("t", "b")])
    publisher.publish("x", topic="t", seconds=10)
    worker.settle([each for each in worker.deliveries() if each.agent[0] == "a"])
    publisher.publish("x", topic="t", seconds=10)  # has room in a, not in b
    worker.register("a", subscriptions=[subscribed("t", "a")])  # b keeps what it has
    stage.worker("o", "b", subscriptions=[])
    publisher.publish("x", topic="t", seconds=20)
    assert stage.broker.publishes_waiting_count == 2
    assert worker.deliveries() == []


def test_room_is_given_in_turn_whoever_asks_again() -> None:
    """Two publishers at one type: neither starves."""
    stage = stage_with(1)
    worker = stage.worker("w", "a")
    one, two = stage.worker("1"), stage.worker("2")
    one.publish("1a", "1b", "1c", seconds=100)
    two.publish("2a", "2b", seconds=100)
    one.publish("1d", seconds=100)
    seen = []
    while deliveries := worker.deliveries():
        seen += [each.agent[1] for each in deliveries]
        worker.settle(deliveries)
    assert seen == ["1a", "1b", "1c", "2a", "2b", "1d"]


def test_a_small_event_does_not_overtake_a_large_one() -> None:
    """There is room for it, and the large one would wait for ever."""
    stage = stage_with(10, max_bytes=3000)
    worker = stage.worker("w", "a")
    worker.publish("x", content=b"x" * 1000, seconds=10)
    worker.publish("y", content=b"x" * 2000, seconds=10)
    worker.publish("z", content=b"x", seconds=10)
    assert stage.broker.publishes_waiting_count == 2
    worker.settle(worker.deliveries())
    assert [each.agent[1] for each in worker.deliveries()] == ["y", "z"]


def fan_out(stage: Stage) -> tuple[Actor, Actor]:
    """A worker of a and b, which both subscribe to t, and a publisher; a is full."""
    worker, publisher = stage.worker("w"), stage.worker("p")
    worker.register(
        "a", "b", subscriptions=[subscribed("t", "a"), subscribed("t", "b"), subscribed("a", "a")]
    )
    publisher.publish("full", topic="a", seconds=10)
    return worker, publisher


def test_an_event_for_several_agents_waits_until_there_is_room_for_all() -> None:
    """Then all get it; the room that there was before is kept for it."""
    stage = stage_with(1)
    worker, publisher = fan_out(stage)
    (full,) = worker.deliveries()
    publisher.publish("x", topic="t", seconds=10)
    assert worker.deliveries() == []
    worker.settle(full)
    assert told(worker.deliveries()) == ["a/x #2.1", "b/x #3.1"]


def test_at_the_deadline_agents_without_room_get_a_dead_letter_and_the_others_the_event() -> None:
    """The publish is acknowledged: nothing is lost."""
    stage = stage_with(1)
    worker, publisher = fan_out(stage)
    worker.deliveries()
    publisher.publish("x", topic="t", seconds=10)
    stage.wait(10)
    stage.keep()
    assert told(worker.deliveries()) == ["b/x #3.1"]
    assert [(each.delivery.agent, each.reason) for each in stage.dead] == [
        (("a", "x"), "queue_full")
    ]
    assert "queued for agents of type 'a'" in stage.dead[0].detail
    assert answers(publisher) == (2, [], {})
    assert stage.broker.types.loads.by_type["a"].count == 1


def test_what_cannot_wait_is_judged_by_target_at_once() -> None:
    """One slow type does not stop the turns that publish to others as well."""
    stage = stage_with(1)
    worker, publisher = fan_out(stage)
    publisher.publish("full", topic="a")
    publisher.publish("x", topic="t")
    assert [each.delivery.agent for each in stage.dead] == [("a", "x")]
    assert [each.agent for each in worker.deliveries() if each.agent[0] == "b"] == [("b", "x")]
    assert answers(publisher) == (3, [], {})


def test_a_turn_does_not_overtake_what_waits_of_its_agent() -> None:
    """It is refused: the order of one publisher on one topic is kept."""
    stage = stage_with(1)
    worker = stage.worker("w", "a")
    worker.publish("x", "x", sender=("b", "1"), seconds=10)
    worker.publish("x", sender=("b", "1"))
    worker.publish("x", sender=("b", "2"))
    assert answers(worker) == (1, [3, 4], {3: Code.RESOURCE_EXHAUSTED})


def test_what_waits_goes_with_its_session_and_leaves_its_room() -> None:
    """Nobody was told that it was taken; who waits behind it is served."""
    stage = stage_with(1)
    worker, lost, other = stage.worker("w"), stage.worker("l"), stage.worker("o")
    worker.register(
        "a", "b", subscriptions=[subscribed("t", "a"), subscribed("t", "b"), subscribed("b", "b")]
    )
    lost.publish("x", topic="t", seconds=10)
    worker.settle([each for each in worker.deliveries() if each.agent[0] == "b"])
    lost.publish("y", topic="t", seconds=10)  # keeps the room in b, waits for a
    other.publish("z", topic="b", seconds=10)
    lost.leave()
    stage.keep()
    assert told(worker.deliveries()) == ["b/z #3.1"]
    assert stage.broker.publishes_waiting_count == 0


def test_what_waits_outlives_its_session_for_a_publisher_that_comes_back() -> None:
    """It says again what was not answered, which is passed over, and hears of all of it once."""
    stage = stage_with(1)
    worker, other = stage.worker("w", "a"), stage.worker("o", "b")
    first, second = (Session(name, "p", incarnation="i") for name in ("p1", "p2"))
    stage.broker.join(first, stage.now)
    publisher = Actor(stage, first)
    publisher.publish("x", "y", seconds=10)
    publisher.publish("x", topic="b", seconds=10)
    publisher.leave()
    assert stage.broker.publishes_waiting_count == 1

    stage.broker.join(second, stage.now)
    publisher = Actor(stage, second)
    publisher.publish("x", "y", seconds=10)
    assert answers(publisher) == (1, [3], {})
    worker.settle(worker.deliveries())
    assert told(worker.deliveries()) == ["a/y #3.1"]
    assert len(other.deliveries()) == 1
    assert answers(publisher) == (3, [], {})


def test_a_type_that_ends_keeps_nobody_waiting() -> None:
    """What waits for room there becomes a dead letter as what waits for the type does."""
    stage = stage_with(1)
    worker, publisher = stage.worker("w", TypeEntry("a", session_only=True)), stage.worker("p")
    publisher.publish("x", "y", seconds=10)
    worker.leave()
    stage.keep()
    assert [each.reason for each in stage.dead] == ["no_such_type", "no_such_type"]
    assert answers(publisher) == (2, [], {})
    assert stage.broker.is_idle
    assert stage.broker.types.loads.by_type == {}


def test_a_number_that_waits_is_passed_over_when_it_comes_again() -> None:
    """It has been seen."""
    stage = stage_with(1)
    worker, publisher = stage.worker("w", "a"), stage.worker("p")
    publisher.publish("x", "y", seconds=10)
    publisher._publishes = 0
    publisher.publish("x", "y", seconds=10)
    assert stage.broker.publishes_waiting_count == 1
    worker.settle(worker.deliveries())
    assert told(worker.deliveries()) == ["a/y #2.1"]
    assert answers(publisher) == (2, [], {})


def test_what_waits_counts_for_the_host_s_last_bound() -> None:
    """There nothing waits: it would be kept in the same memory."""
    limits = BrokerLimits(partitions=8, max_type_events=1, max_queued_bytes=3 * RECORD_BYTES)
    stage = Stage(limits)
    worker = stage.worker("w", "a")
    worker.publish("1", "2", "3", "4", content=b"", seconds=10)
    assert answers(worker) == (1, [4], {4: Code.RESOURCE_EXHAUSTED})


def test_a_worker_of_autogen_that_does_not_read_makes_nobody_wait() -> None:
    """It has a bound of its own, beyond which its events become dead letters."""
    stage = stage_with(1)
    stage.worker("w", TypeEntry("a", session_only=True, exclusive=True))
    publisher = stage.worker("p")
    publisher.publish("x", "y", "z", seconds=10)
    assert answers(publisher) == (3, [], {})


def test_a_replay_needs_room_too() -> None:
    """It is refused, and the dead letter stays."""
    stage = stage_with(1)
    worker = stage.worker("w", "a")
    worker.publish("x")
    worker.publish("y")
    worker.publish("z", seconds=0)
    worker.leave()
    stage.broker.remove_type("a", 0.0)
    stage.keep()
    stage.worker("w2", "a").publish("x")
    errand = stage.broker.replay(stage.dead)
    assert {each.code for each in errand.refused} == {Code.RESOURCE_EXHAUSTED}
    assert "queued for agents of type 'a'" in errand.refused[0].reason


def test_deadlines_that_did_not_come_are_not_kept() -> None:
    """Publishers that wait a moment each, of half an hour: nothing grows."""
    stage = stage_with(1)
    worker = stage.worker("w", "a")
    worker.publish("x", seconds=1800)
    for _ in range(5000):
        worker.publish("x", seconds=1800)
        worker.settle(worker.deliveries())
    assert len(stage.broker._intake._deadlines) < 1100


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("publish"),
            st.integers(0, 2),
            st.sampled_from(["a", "b", "t"]),
            st.sampled_from([0.0, 1.0, 5.0]),
        ),
        st.tuples(st.just("settle"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 2.0])),
        st.tuples(st.just("leave"), st.integers(0, 2)),
    ),
    max_size=60,
)


class Run:
    """Publishers and one worker, and what was seen of them."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.stage = stage_with(room)
        self.worker = self.stage.worker("w")
        self.worker.register(
            "a",
            "b",
            subscriptions=[
                subscribed("a", "a"),
                subscribed("b", "b"),
                subscribed("t", "a"),
                subscribed("t", "b"),
            ],
        )
        self.publishers = [self.stage.worker(f"p{number}") for number in range(3)]
        self.out: list[Delivery] = []
        self.seen: dict[str, list[str]] = defaultdict(list)
        self.published: dict[int, dict[int, tuple[str, str]]] = defaultdict(dict)

    def publish(self, who: int, topic: str, seconds: float) -> None:
        actor = self.publishers[who]
        number = actor._publishes + 1
        name = f"{who}.{number}"
        loads = self.stage.broker.types.loads.by_type
        before = {agent_type: load.count for agent_type, load in loads.items()}
        if not actor.session.is_live:
            return
        self.published[who][number] = (topic, name)
        actor.publish("x", topic=topic, content=name.encode(), seconds=seconds)
        for agent_type, load in loads.items():
            limit = self.room if seconds else 2 * self.room
            assert load.count <= max(limit, before[agent_type])

    def take(self) -> None:
        self.stage.keep()
        for each in self.worker.deliveries():
            self.out.append(each)
            self.seen[each.agent[0]].append(each.event.content.decode())

    def settle(self, which: int) -> None:
        self.take()
        if self.out:
            self.worker.settle(self.out.pop(which % len(self.out)))

    def check_answers(self) -> None:
        """Each publish has one, and what it says is so."""
        dead = Counter(
            (each.delivery.agent[0], each.delivery.event.content.decode())
            for each in self.stage.dead
        )
        for who, numbers in self.published.items():
            actor = self.publishers[who]
            through, beyond, refused = answers(actor)
            assert len(beyond) == len(set(beyond))
            answered = {*range(1, through + 1), *beyond}
            assert set(refused) <= answered
            for number, (topic, name) in numbers.items():
                targets = ("a", "b") if topic == "t" else (topic,)
                got = {self.seen[each].count(name) + dead[each, name] for each in targets}
                if number in refused:
                    assert got == {0}, "a refused publish reaches nobody"
                elif number in answered:
                    assert got == {1}, "an acknowledged one reaches all"
                else:
                    assert not actor.session.is_live, "each has its answer"
                    assert len(got) == 1, "all or none"

    def check_order(self) -> None:
        """Of each publisher and topic; its first deliveries are all that there are here."""
        for names in self.seen.values():
            seen: dict[tuple[int, str], int] = {}
            for name in names:
                who, number = map(int, name.split("."))
                place = who, self.published[who][number][0]
                assert seen.get(place, 0) < number
                seen[place] = number


@settings(max_examples=200, deadline=None)
@given(room=st.integers(1, 3), operations=OPERATIONS)
def test_no_publish_is_lost_or_both_refused_and_taken(
    room: int, operations: list[tuple[Any, ...]]
) -> None:
    """Whatever comes when; bounds hold, and events of one publisher on a topic stay in order."""
    run = Run(room)
    stage = run.stage
    for what, *how in operations:
        match what, how:
            case "publish", [who, topic, seconds]:
                run.publish(who, topic, seconds)
            case "settle", [which]:
                run.settle(which)
            case "wait", [seconds]:
                stage.wait(seconds)
            case "leave", [who]:
                run.publishers[who].leave()
    run.take()
    while run.out or stage.broker.publishes_waiting_count:
        run.settle(0)
        stage.wait(0.1)
        run.take()
    run.check_answers()
    run.check_order()
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0


@pytest.mark.parametrize("count", [1, 3])
def test_waiting_shows_in_no_other_counter(count: int) -> None:
    """Published is what was taken."""
    stage = stage_with(1)
    worker = stage.worker("w", "a")
    worker.publish(*["x"] * (count + 1), seconds=10)
    assert stage.broker.counters.published == 1
    assert stage.broker.publishes_waiting_count == count
    assert not stage.broker.is_idle
