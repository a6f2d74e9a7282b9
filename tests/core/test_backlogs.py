"""What is beyond the memory waits in the engine, and comes back in time and in order."""

from __future__ import annotations

import pytest

from callboard.core.backlogs import PAGE, Backlog
from callboard.core.broker import BrokerLimits
from callboard.core.event import Delivery, Event
from callboard.core.frames import Rejected
from callboard.core.kept import Kept, KeptType
from callboard.core.load import RECORD_BYTES
from sim.stage import Actor, Stage, subscribed, told

SIZE = RECORD_BYTES + len(b"event")


def stage_of(memory: int, **limits: int) -> Stage:
    """One whose broker has so many events in memory, and its engine the rest."""
    return Stage(BrokerLimits(partitions=8, memory_bytes=memory * SIZE, **limits), has_pages=True)


def handle(worker: Actor) -> list[str]:
    """Read what is behind, hand out and settle, until nothing comes any more; what was handled."""
    handled: list[Delivery] = []
    while True:
        worker.stage.read()
        out = worker.deliveries()
        if not out:
            return told(handled)
        handled += out
        worker.settle(out)


def sources_of(handled: list[str]) -> list[str]:
    return [each.split()[0].partition("/")[2] for each in handled]


def test_what_the_memory_does_not_hold_waits_in_the_engine() -> None:
    """A type without a worker has half of it; all comes back in order as soon as there is one."""
    stage = stage_of(20)
    stage.worker("former", "a").leave()
    publisher = stage.worker("p")

    publisher.publish(*["x", "y"] * 50)

    assert len(stage.behind) == 90
    assert stage.broker.waiting_count == 100
    assert stage.broker.queued_bytes == 100 * SIZE
    handled = handle(stage.worker("w", "a"))
    assert sorted(handled) == sorted(f"a/{'xy'[n % 2]} #{n + 1}.1" for n in range(100))
    for key in "xy":
        positions = [
            int(each.split("#")[1][:-2]) for each in handled if each.startswith(f"a/{key}")
        ]
        assert positions == sorted(positions)
    assert stage.broker.is_idle
    assert not stage.behind
    assert stage.broker.queued_bytes == 0


def test_each_of_several_types_has_its_part_of_the_memory() -> None:
    """However much waits for others: what is published first does not take all."""
    stage = stage_of(40)
    stage.worker("former", "a", "b", "c").leave()
    publisher = stage.worker("p")

    for topic in "abc":
        publisher.publish(*["x"] * 100, topic=topic)

    at_hand = {
        name: 100 - sum(each.agent[0] == name for each in stage.behind.values()) for name in "abc"
    }
    assert at_hand == {"a": 20, "b": 10, "c": 5}


def test_what_is_published_goes_behind_what_is_behind() -> None:
    """Though there is memory again: it must not overtake."""
    stage = stage_of(4)
    stage.worker("former", "a").leave()
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 10)
    worker = stage.worker("w", "a")
    worker.settle(worker.deliveries())

    publisher.publish("x")
    publisher.publish("y")

    assert max(stage.behind) == 11
    assert sources_of(handle(worker)) == ["y", *["x"] * 9]


@pytest.mark.parametrize("is_alone", [False, True])
def test_what_is_about_to_be_a_dead_letter_is_not_read_back(*, is_alone: bool) -> None:
    """There was no room for it, and it lies behind in the engine until that has the dead letter."""
    stage = stage_of(2, max_type_events=4)
    topics = [subscribed("a", "a"), subscribed("both", "a"), subscribed("both", "b")]
    worker = stage.worker("w", "a", "b", subscriptions=topics)
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 4)
    (first,) = worker.deliveries()

    publisher.publish("x", topic="both", seconds=0.5, kept=False)
    stage.wait(1)
    worker.settle(first, kept=False)
    publisher.publish("x", kept=False)
    commit = stage.broker.take_commit()
    assert commit is not None
    assert [bool(each.full) for each in commit.appends] == [True, False]
    stage.keep_only(commit)
    assert len(stage.behind) == 5
    requests = stage.broker.take_page_requests(stage.now)
    pages = stage.pages(requests)
    if is_alone:
        pages = [[each for each in page if each.position == 5] for page in pages]
    assert 5 in [each.position for page in pages for each in page]
    stage.broker.read(requests, pages)
    assert stage.broker.take_page_requests(stage.now) == [], "nothing comes before the burial"
    stage.keep()

    handled = handle(worker)
    assert [each for each in handled if each.startswith("a")] == [
        f"a/x #{number}.1" for number in (2, 3, 4, 7)
    ]
    assert [letter.delivery.position for letter in stage.dead] == [5]
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0


def test_no_more_is_read_than_the_worker_has_room_for() -> None:
    """Where there is no memory for more."""
    stage = stage_of(2, delivery_window=3)
    stage.worker("former", "a").leave()
    stage.worker("p").publish(*[f"k{number}" for number in range(20)])
    worker = stage.worker("w", "a")

    stage.read()
    assert len(worker.deliveries()) == 3
    assert len(stage.behind) >= 20 - 3 - 2


def test_of_many_agents_no_more_are_wanted_than_there_is_room_for() -> None:
    """However many wait for room: else each settlement would cost a look at all of them."""
    stage = stage_of(2, delivery_window=3)
    stage.worker("former", "a").leave()
    stage.worker("p").publish(*[f"k{number}" for number in range(200)])
    worker = stage.worker("w", "a")
    state = stage.broker.types.get("a")
    assert state is not None
    stage.read()
    handled = 0

    while out := worker.deliveries():
        handled += len(out)
        worker.settle(out)
        assert sum(queue.is_wanted for queue in state.queues) <= 3
        stage.read()

    assert handled == 200


def test_those_without_room_keep_no_other_type_waiting() -> None:
    """However many agents they are, they are not looked at again and again before it."""
    stage = stage_of(2, delivery_window=3)
    stage.worker("former", "a", "b").leave()
    publisher = stage.worker("p")
    publisher.publish(*[f"k{number}" for number in range(500)])
    publisher.publish("x", "x", topic="b")
    stage.worker("w", "a", "b")

    requests = stage.broker.take_page_requests(stage.now)

    assert ("b", "x") in [each.agent for each in requests]
    assert sum(each.limit for each in requests if each.agent[0] == "a") <= 3


def test_where_there_is_memory_more_is_read_before_it_is_needed() -> None:
    """A worker does not wait for the engine while it has something to do."""
    stage = stage_of(10_000, agent_share=4)
    stage.worker("former", "a").leave()
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 6000)
    assert len(stage.behind) == 1000
    worker = stage.worker("w", "a")
    while len(stage.behind) == 1000:
        worker.settle(worker.deliveries())
        stage.read()

    (queue,) = stage.broker.types.get("a").queues  # type: ignore[union-attr]
    assert len(stage.behind) == 1000 - PAGE
    assert len(queue.waiting) >= PAGE


def test_what_is_behind_for_a_type_that_ends_becomes_dead_letters() -> None:
    """All of it, read step by step; a type of its name that begins meanwhile has nothing of it."""
    stage = stage_of(4)
    stage.worker("former", "a").leave()
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 1000)

    errand = stage.broker.remove_type("a", stage.now)
    worker = stage.worker("w", "a")
    publisher.publish("x")
    assert handle(worker) == ["a/x #1001.1"]

    while not errand.is_kept:
        stage.keep()
        stage.read()
        stage.wait(0)
    assert [each.delivery.position for each in stage.dead] == list(range(1, 1001))
    assert {each.reason for each in stage.dead} == {"type_removed"}
    assert not worker.deliveries()
    assert not stage.behind


def test_what_is_being_kept_when_its_type_ends_is_behind_for_the_next() -> None:
    """It is not handed out before the engine knows that it is at hand."""
    stage = stage_of(4)
    stage.worker("former", "a").leave()
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 10)
    publisher.publish("x", kept=False)
    commit = stage.broker.take_commit()
    assert commit is not None
    stage.broker.remove_type("a", stage.now)
    worker = stage.worker("w", "a")
    numbers = stage.engine.commit_now(commit)
    stage._keep_behind(commit, numbers)

    stage.broker.committed(commit, numbers, stage.now)
    stage.keep()

    assert told(worker.deliveries()) == []
    assert handle(worker) == ["a/x #11.1"]


def test_what_is_being_kept_when_its_type_ends_for_good_becomes_a_dead_letter() -> None:
    """The engine was told that it is behind, and is told that it is not."""
    stage = stage_of(4)
    stage.worker("former", "a").leave()
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 10)
    publisher.publish("x", kept=False)
    commit = stage.broker.take_commit()
    assert commit is not None
    stage.broker.remove_type("a", stage.now)
    numbers = stage.engine.commit_now(commit)
    stage._keep_behind(commit, numbers)

    stage.broker.committed(commit, numbers, stage.now)
    stage.keep()

    assert 11 not in stage.behind
    assert 11 in [each.delivery.position for each in stage.dead]


def test_nothing_is_at_hand_before_what_is_left_of_a_former_type() -> None:
    """The next host would hand it out first: it finds but the name of the type."""
    stage = stage_of(4)
    stage.worker("former", "a").leave()
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 10)
    stage.broker.remove_type("a", stage.now)
    worker = stage.worker("w", "a")

    publisher.publish("x")

    assert 11 in stage.behind
    assert not worker.deliveries()
    stage.read()
    stage.wait(0)
    stage.keep()
    assert told(worker.deliveries()) == ["a/x #11.1"]
    publisher.publish("y")
    assert 12 not in stage.behind
    assert stage.broker.queued_bytes == 2 * SIZE


@pytest.mark.parametrize("is_known", [True, False])
def test_of_many_agents_all_becomes_dead_letters_in_few_steps(*, is_known: bool) -> None:
    """Of each little is behind: that of many is read at once."""
    stage = stage_of(4)
    event = Event(b"event", "a", "x")
    types = (KeptType("a", (("type", "a"),)),) if is_known else ()
    stage.broker.restore(Kept(1, types), stage.now)
    agents = {number: ("a", f"k{number}") for number in range(1, 1001)}
    stage.behind = {each: Delivery(each, agent, event) for each, agent in agents.items()}
    size = len(event.content)
    stage.broker.restore_backlogs(
        [Backlog(agent, 1, size, each, 0.0) for each, agent in agents.items()], stage.now
    )
    if is_known:
        stage.broker.remove_type("a", stage.now)

    for _ in range(4):
        stage.wait(0)
        stage.read()
    stage.keep()

    assert sorted(each.delivery.position for each in stage.dead) == list(range(1, 1001))
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0


def test_a_dead_letter_is_replayed_behind_what_is_behind() -> None:
    """It comes after what waits; one that is there no more leaves nothing."""
    stage = stage_of(4)
    worker = stage.worker("w", "a")
    worker.publish("x")
    worker.settle(worker.deliveries(), Rejected("unhandled", ""))
    (letter,) = stage.dead
    worker.leave()
    stage.worker("p").publish(*["x"] * 10)

    stage.broker.replay([letter])
    stage.broker.replay([letter])
    stage.keep()

    assert max(stage.behind) == 12
    worker = stage.worker("w", "a")
    assert [int(each[5:-2]) for each in handle(worker)] == [*range(2, 13)]
    assert stage.broker.queued_bytes == 0


def test_what_the_former_host_left_behind_stays_there_until_it_is_wanted() -> None:
    """It counts as waiting; it comes after what was at hand."""
    stage = stage_of(100)
    event = Event(b"event", "a", "x")
    stage.broker.restore(Kept(1, (KeptType("a", (("type", "a"),)),)), stage.now)
    stage.broker.restore_events([Delivery(1, ("a", "x"), event)], stage.now)
    stage.behind = {each: Delivery(each, ("a", "x"), event) for each in (2, 3)}
    backlog = Backlog(("a", "x"), 2, 2 * len(event.content), 2, 0.0)
    stage.broker.restore_backlogs([backlog], stage.now)
    assert stage.broker.waiting_count == 3
    assert stage.broker.queued_bytes == 3 * SIZE
    state = stage.broker.types.get("a")
    assert state is not None
    assert state.queues.oldest_at() == 0.0

    assert [int(each[5:-2]) for each in handle(stage.worker("w", "a"))] == [1, 2, 3]
    assert stage.broker.queued_bytes == 0


def test_a_host_without_a_limit_keeps_the_order_of_what_was_left_behind() -> None:
    """What is published comes after it."""
    stage = stage_of(0)
    event = Event(b"event", "a", "x")
    stage.broker.restore(Kept(1, (KeptType("a", (("type", "a"),)),)), stage.now)
    stage.broker.restore_backlogs([Backlog(("a", "x"), 5, 25, 1, 0.0)], stage.now)
    stage.behind = {each: Delivery(each, ("a", "x"), event) for each in range(1, 6)}
    stage.engine._last_position = 5
    stage.worker("p").publish("x")

    assert [int(each[5:-2]) for each in handle(stage.worker("w", "a"))] == [1, 2, 3, 4, 5, 6]
    assert stage.broker.queued_bytes == 0


def test_what_was_left_behind_for_a_type_that_has_ended_becomes_dead_letters() -> None:
    """The former host did not come to it."""
    stage = stage_of(100)
    event = Event(b"event", "a", "x")
    stage.broker.restore(Kept(1), stage.now)
    stage.behind = {each: Delivery(each, ("a", "x"), event) for each in (2, 3)}
    stage.broker.restore_backlogs([Backlog(("a", "x"), 2, 10, 2, 0.0)], stage.now)

    stage.wait(0)
    stage.read()
    stage.wait(0)
    stage.keep()

    assert [(each.delivery.position, each.reason) for each in stage.dead] == [
        (2, "no_such_type"),
        (3, "no_such_type"),
    ]
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0
