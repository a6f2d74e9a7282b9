"""Sessions at the broker: registration, placement of partitions, draining, leaving."""

from __future__ import annotations

import pytest

from callboard.core.agent_types import RETURN_S, RETURNS
from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code, ProtocolViolation
from callboard.core.event import Grant
from callboard.core.frames import (
    ACCEPTED,
    Call,
    Partitions,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
    WorkerFrame,
)
from callboard.core.session import Session
from sim.stage import Actor, Stage, subscribed, told


def partitions_of(stage: Stage, actor: Actor, name: str = "a") -> list[int]:
    """The partitions that ``actor`` holds of a type."""
    state = stage.broker.types.get(name)
    return list(state.grants.held_by(actor.session)) if state else []


def test_the_first_worker_holds_all_partitions() -> None:
    """And is told of none: what it holds shows in what it gets."""
    stage = Stage()
    worker = stage.worker("w", "a")

    assert partitions_of(stage, worker) == list(range(8))
    assert stage.broker.held_count(worker.session) == 8
    assert [frame.registered[0].revision for frame in worker.heard()] == [1]


def test_a_registration_is_answered_when_the_engine_knows() -> None:
    """Nothing is granted before: what the worker was told stays true without this host."""
    stage = Stage()
    worker = stage.worker("w")
    worker.heard()
    worker.register("a", kept=False)
    assert worker.heard() == []
    assert partitions_of(stage, worker) == []

    worker.register("a", "b", subscriptions=[], kept=False)
    commit = stage.broker.take_commit()
    assert commit is not None
    assert [each.name for each in commit.types] == ["a", "b"]
    stage.broker.committed(commit, stage.engine.commit_now(commit), stage.now)

    (frame,) = worker.heard()
    assert [each.revision for each in frame.registered] == [3], "once, for all that it covers"
    assert stage.broker.held_count(worker.session) == 16


def test_another_that_comes_meanwhile_does_not_get_its_partitions_there() -> None:
    """Placement knows of those alone that the engine knows of."""
    stage = Stage()
    first = stage.worker("w1")
    first.register("a", kept=False)
    commit = stage.broker.take_commit()
    assert commit is not None
    second = Actor(stage, Session("w2", "w2"))
    stage.broker.join(second.session, stage.now)
    second.register("a", kept=False)

    stage.broker.committed(commit, (), stage.now)
    assert partitions_of(stage, first) == list(range(8))
    stage.keep()
    assert partitions_of(stage, first) == list(range(8))
    first.surrender_all_asked()
    assert partitions_of(stage, second) != []


def test_who_leaves_before_the_engine_knows_is_not_answered() -> None:
    """What it had declared stays, as of any worker that was the last of its type."""
    stage = Stage()
    worker = stage.worker("w")
    worker.heard()
    worker.register("a", kept=False)
    worker.leave()
    stage.keep()
    assert worker.heard() == []
    stage.worker("p").publish("x")
    assert [each.agent for each in stage.worker("later", "a").deliveries()] == [("a", "x")]


def test_a_type_that_is_left_out_before_the_engine_knows_is_not_served() -> None:
    """The later registration counts, and both are answered by one."""
    stage = Stage()
    worker = stage.worker("w")
    worker.register("a", "b", kept=False)
    worker.register("b")
    assert partitions_of(stage, worker, "a") == []
    assert partitions_of(stage, worker, "b") == list(range(8))


def test_a_second_worker_gets_its_half_when_the_first_has_let_go() -> None:
    """Nothing is handed out for a partition that was asked back until it was surrendered."""
    stage = Stage()
    first = stage.worker("w1", "a")
    first.heard()
    second = stage.worker("w2", "a")
    assert partitions_of(stage, second) == []

    publisher = stage.worker("p")
    publisher.publish(*[f"k{number}" for number in range(40)])
    assert second.deliveries() == []
    stays = first.deliveries()
    assert 0 < len(stays) < 40
    for asked in first.frames[-1].surrenders or first.frames[-2].surrenders:
        first.surrender(asked)

    assert len(partitions_of(stage, second)) == 4
    assert len(stays) + len(second.deliveries()) == 40


def test_what_is_out_is_taken_back_when_its_partition_is_surrendered() -> None:
    """The next holder gets it with a higher attempt, before what waited."""
    stage = Stage()
    first = stage.worker("w1", "a")
    publisher = stage.worker("p")
    publisher.publish(*["x"] * 3)
    out = first.deliveries()
    first.settle(out[0])
    first.drain()
    second = stage.worker("w2", "a")
    publisher.publish("x")

    first.surrender_all_asked()

    assert told(second.deliveries()) == ["a/x #2.2", "a/x #3.2", "a/x #4.1"]
    first.settle(out[1])
    assert len([each for frame in first.heard() for each in frame.settlements_refused]) == 1


def test_a_stale_surrender_changes_nothing() -> None:
    """A grant that has passed, a partition out of range, an unknown type."""
    stage = Stage()
    worker = stage.worker("w", "a")

    worker.surrender(
        Partitions("a", ((0, Grant(1, 999)), (8, Grant(1, 1)), (1 << 31, Grant(1, 1))))
    )
    worker.surrender(Partitions("nobody", ((0, Grant(1, 1)),)))

    assert partitions_of(stage, worker) == list(range(8))


def test_a_partition_given_up_twice_in_one_frame_counts_once() -> None:
    """Whatever a worker repeats, the host lives on."""
    stage = Stage()
    worker = stage.worker("w", "a")
    state = stage.broker.types.get("a")
    assert state is not None
    grant = state.grants.grant_of(3)
    assert grant is not None

    worker.surrender(Partitions("a", ((3, grant), (3, grant))))
    worker.surrender(Partitions("a", ((3, grant),)))

    assert partitions_of(stage, worker) == list(range(8))
    assert stage.broker.held_count(worker.session) == 8


def test_draining_ends_when_nothing_is_held() -> None:
    """The host answers once, after the last partition."""
    stage = Stage()
    worker, _ = stage.worker("w", "a", "b"), stage.worker("v", "a", "b")
    worker.heard()

    worker.drain()
    (frame,) = worker.heard()
    assert sorted(each.agent_type for each in frame.surrenders) == ["a", "b"]
    assert not frame.drain
    for asked in worker.frames[0].surrenders + frame.surrenders:
        worker.surrender(asked)
    worker.surrender(frame.surrenders[0])

    assert [frame.drain for frame in worker.heard()] == [True]
    assert stage.broker.held_count(worker.session) == 0


def test_a_session_without_types_drains_at_once() -> None:
    """There is nothing to wait for."""
    stage = Stage()
    worker = stage.worker("w")
    worker.drain()
    assert worker.heard()[-1].drain


def test_a_draining_worker_may_drop_its_types() -> None:
    """Declaring nothing ends what it holds: it is told that it may go."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.drain()

    worker.register()

    assert worker.heard()[-1].drain


def test_a_draining_worker_gets_nothing_new() -> None:
    """Neither what it held before nor a type that it declares meanwhile."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.drain()

    worker.register("a", "b")
    worker.publish("x")
    worker.publish("x", topic="b")

    assert worker.deliveries() == []
    assert sorted(told(stage.worker("v", "a", "b").deliveries())) == ["b/x #2.1"]
    worker.surrender(worker.frames[0].surrenders[0])


def test_a_partition_asked_for_one_worker_goes_to_another_when_that_is_lost() -> None:
    """The plan never points to a session that is gone."""
    stage = Stage()
    first = stage.worker("w1", "a")
    second = stage.worker("w2", "a")
    second.leave()

    first.surrender_all_asked()

    assert partitions_of(stage, first) == list(range(8))


def test_all_workers_draining_leaves_partitions_free() -> None:
    """Events wait for a worker that stays."""
    stage = Stage()
    first, second = stage.worker("w1", "a"), stage.worker("w2", "a")
    for worker in (first, second):
        worker.drain()
    for worker in (first, second, first):
        worker.surrender_all_asked()
    publisher = stage.worker("p")
    publisher.publish("x")

    assert stage.broker.waiting_count == 1
    third = stage.worker("w3", "a")
    assert told(third.deliveries()) == ["a/x #1.1"]


@pytest.mark.parametrize("count", [2, 3, 7, 17, 100])
def test_every_worker_that_joins_gets_its_share(count: int) -> None:
    """However many there are, shares differ by at most one: nobody idles while there is work."""
    stage = Stage(BrokerLimits())
    workers: list[Actor] = []
    for number in range(count):
        workers.append(stage.worker(f"w{number}", "a"))
        for worker in workers:
            worker.surrender_all_asked()

    shares = [len(partitions_of(stage, worker)) for worker in workers]

    assert sum(shares) == 256
    assert max(shares) - min(shares) <= 1


def test_a_worker_that_does_not_read_what_it_is_answered_breaks_the_protocol() -> None:
    """What waits to be said to it is bounded, however much it asks."""
    stage = Stage(BrokerLimits(partitions=8, max_answers_waiting=10))
    worker = stage.worker("w")
    worker.heard()
    frame = WorkerFrame(
        settlements=[Settlement(n, n, 1, Grant(1, 1), ACCEPTED) for n in range(1, 6)],
        calls=[Call(n, ("nobody", "x"), b"") for n in range(1, 6)],
    )

    stage.broker.take(worker.session, frame, stage.now)
    stage.keep()
    with pytest.raises(ProtocolViolation, match=r"11 answers wait .* the limit is 10"):
        stage.broker.take(
            worker.session, WorkerFrame(calls=[Call(6, ("nobody", "x"), b"")]), stage.now
        )
    worker.heard()
    stage.broker.take(worker.session, WorkerFrame(calls=[Call(7, ("a", "x"), b"")]), stage.now)


def test_invalid_entries_are_refused_and_the_rest_is_in_force() -> None:
    """Each refused entry has its reason."""
    stage = Stage()
    worker = stage.worker(
        "w",
        "a",
        "not a type",
        "a",
        subscriptions=[
            subscribed("t", "a"),
            SubscriptionEntry("", "a", "type", "t"),
            SubscriptionEntry("t>a", "a", "type", "u"),
            SubscriptionEntry("2", "a", "type", "no good"),
            SubscriptionEntry("3", "no good", "type", "t"),
            SubscriptionEntry("4", "a", "type", ""),
            SubscriptionEntry("i" * 2000, "a", "type", "t"),
            SubscriptionEntry("5", "a", "prefix", ""),
        ],
    )

    (registered,) = worker.heard()[0].registered
    assert [(error.entry, error.name[:10], error.code) for error in registered.errors] == [
        ("type", "not a type", Code.INVALID_ARGUMENT),
        ("type", "a", Code.INVALID_ARGUMENT),
        ("subscription", "", Code.INVALID_ARGUMENT),
        ("subscription", "t>a", Code.INVALID_ARGUMENT),
        ("subscription", "2", Code.INVALID_ARGUMENT),
        ("subscription", "3", Code.INVALID_ARGUMENT),
        ("subscription", "4", Code.INVALID_ARGUMENT),
        ("subscription", "iiiiiiiiii", Code.INVALID_ARGUMENT),
    ]
    assert stage.broker.types.patterns("a") == [("prefix", ""), ("type", "t")]


def test_an_old_registration_is_passed_over() -> None:
    """Revisions rise."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker._revision = 0

    worker.register("b")

    assert stage.broker.types.get("b") is None


def test_every_registration_is_answered() -> None:
    """Each in a frame of its own: the errors of none are lost."""
    stage = Stage()
    worker = stage.worker("w", "no good", subscriptions=[])
    worker.register("a")

    answers = [each for frame in worker.heard() for each in frame.registered]

    assert [(each.revision, len(each.errors)) for each in answers] == [(1, 1), (2, 0)]
    assert all(len(frame.registered) <= 1 for frame in worker.frames)


def test_subscriptions_follow_the_registration() -> None:
    """What is left out is withdrawn, what is new holds, what two say stays while one does."""
    stage = Stage()
    first = stage.worker("w1", "a", subscriptions=[subscribed("t", "a"), subscribed("u", "a")])
    second = stage.worker("w2", "a", subscriptions=[subscribed("t", "a")])
    types = stage.broker.types

    first.register("a", subscriptions=[subscribed("v", "a")])
    assert types.patterns("a") == [("type", "t"), ("type", "v")]
    second.leave()
    assert types.patterns("a") == [("type", "v")]
    first.register("a", subscriptions=[])
    assert types.patterns("a") == []
    assert types.subscribers("v") == ()


def test_two_subscriptions_that_say_the_same_are_one() -> None:
    """It holds until both ids are gone."""
    stage = Stage()
    one, two = (SubscriptionEntry(each, "a", "type", "t") for each in ("1", "2"))
    worker = stage.worker("w", "a", subscriptions=[one, two])

    worker.register("a", subscriptions=[two])
    assert stage.broker.types.subscribers("t") == ("a",)
    worker.register("a", subscriptions=[])
    assert stage.broker.types.subscribers("t") == ()


def test_the_last_worker_s_subscriptions_stay_until_the_next_worker() -> None:
    """And ten seconds longer; then what the live ones declare counts alone."""
    stage = Stage()
    stage.worker("w1", "a", subscriptions=[subscribed("t", "a")]).leave()
    assert stage.broker.types.subscribers("t") == ("a",)

    stage.worker("w2", "a", subscriptions=[subscribed("u", "a")])

    assert stage.broker.types.subscribers("t") == ("a",)
    assert stage.broker.types.subscribers("u") == ("a",)
    assert stage.broker.next_deadline() == RETURN_S
    stage.wait(RETURN_S)
    assert stage.broker.types.subscribers("t") == ()
    assert stage.broker.types.subscribers("u") == ("a",)
    assert stage.broker.next_deadline() is None


def test_no_event_is_lost_while_a_worker_that_is_back_declares_itself() -> None:
    """It names its types first, and then, one by one, what they subscribe to."""
    stage = Stage()
    publisher = stage.worker("p")
    topics = [subscribed("t", "a"), subscribed("u", "a")]
    stage.worker("w1", "a", subscriptions=topics).leave()

    worker = stage.worker("w2", "a", subscriptions=[])
    publisher.publish("x", topic="t")
    worker.register("a", subscriptions=topics[:1])
    publisher.publish("y", topic="u")
    worker.register("a", subscriptions=topics)
    stage.wait(RETURN_S)
    publisher.publish("z", topic="u")

    assert told(worker.deliveries()) == ["a/x #1.1", "a/y #2.1", "a/z #3.1"]
    assert stage.broker.counters.unmatched == 0


def test_a_worker_that_is_back_can_take_a_subscription_back_at_once() -> None:
    """What it declared itself and declares no more does not stay, though its last worker had it."""
    stage = Stage()
    topic = [subscribed("t", "a")]
    stage.worker("w1", "a", subscriptions=topic).leave()
    worker = stage.worker("w2", "a", subscriptions=topic)

    worker.register("a", subscriptions=[])

    assert stage.broker.types.subscribers("t") == ()


def test_a_worker_that_was_back_for_a_moment_leaves_all_that_stayed() -> None:
    """Lost before it had declared anything: what its predecessor declared waits for the next."""
    stage = Stage()
    stage.worker("w1", "a", subscriptions=[subscribed("t", "a")]).leave()
    stage.worker("w2", "a", subscriptions=[]).leave()
    stage.wait(2 * RETURN_S)

    assert stage.broker.types.subscribers("t") == ("a",)


def test_what_stayed_goes_after_some_workers_that_did_not_stay() -> None:
    """Each declares something else: not all of it is kept for ever."""
    stage = Stage()
    stage.worker("w0", "a", subscriptions=[subscribed("old", "a")]).leave()
    for number in range(1, 6):
        stage.wait(1)
        stage.worker(f"w{number}", "a", subscriptions=[subscribed(f"t{number}", "a")]).leave()

    assert stage.broker.types.subscribers("old") == ()
    assert ("type", "t5") in stage.broker.types.patterns("a")
    assert len(stage.broker.types.patterns("a")) <= RETURNS


def test_a_subscription_may_name_a_type_that_another_worker_serves() -> None:
    """It holds while its session lives."""
    stage = Stage()
    worker = stage.worker("w", "a", subscriptions=[])
    other = stage.worker("o", subscriptions=[subscribed("t", "a")])
    other.publish("x", topic="t")
    assert told(worker.deliveries()) == ["a/x #1.1"]

    other.leave()

    assert stage.broker.types.subscribers("t") == ()


def test_a_type_that_is_left_out_goes_to_those_who_stay() -> None:
    """With all that was out or waited."""
    stage = Stage()
    first, second = stage.worker("w1", "a", "b"), stage.worker("w2", "a")
    publisher = stage.worker("p")
    publisher.publish(*[f"k{number}" for number in range(20)])

    first.register("b")

    assert stage.broker.held_count(first.session) == 8
    assert len(partitions_of(stage, second)) == 8
    assert len(second.deliveries()) == 20


def test_a_session_only_type_may_come_again() -> None:
    """After it ended, the same name begins anew."""
    stage = Stage()
    stage.worker("w1", TypeEntry("a", session_only=True)).leave()
    assert stage.broker.types.get("a") is None

    worker = stage.worker("w2", "a")
    worker.publish("x")

    assert told(worker.deliveries()) == ["a/x #1.1"]


def test_one_worker_cannot_make_a_durable_type_of_others_end_with_it() -> None:
    """Once declared durable a type stays durable, whoever says otherwise later."""
    stage = Stage()
    careful = stage.worker("w1", "a")
    careless = stage.worker("w2", TypeEntry("a", session_only=True))

    careful.leave()
    careless.leave()
    stage.worker("p").publish("x")

    assert stage.broker.waiting_count == 1
    assert stage.dead == []


def test_a_type_is_session_only_while_all_its_workers_say_so() -> None:
    """The first that declares it durable makes it so for all."""
    stage = Stage()
    first = stage.worker("w1", TypeEntry("a", session_only=True))
    second = stage.worker("w2", "a")

    second.leave()
    first.leave()

    assert stage.broker.types.get("a") is not None


def test_a_host_keeps_so_many_types_and_no_more() -> None:
    """Further ones are refused by name; what is known already may be declared by anybody."""
    stage = Stage(BrokerLimits(partitions=1, max_types=2))
    worker = stage.worker("w1", "a", TypeEntry("b", session_only=True), "c")
    other = stage.worker("w2", "a", "d")

    refused = [
        [(each.name, each.code, each.reason) for each in frame.registered[0].errors]
        for frame in (*worker.heard(), *other.heard())
    ]
    reason = "the host keeps 2 agent types, that is its limit"
    assert refused == [
        [("c", Code.RESOURCE_EXHAUSTED, reason)],
        [("d", Code.RESOURCE_EXHAUSTED, reason)],
    ]
    assert sorted(worker.session.lanes) == ["a", "b"]
    assert sorted(other.session.lanes) == ["a"]
    worker.register("a", "c")
    assert sorted(worker.session.lanes) == ["a", "c"], "the place of what it left out is free"


def test_a_host_keeps_so_many_subscriptions_and_no_more() -> None:
    """Of all sessions, and of types without a worker; further ones are refused by id."""
    stage = Stage(BrokerLimits(partitions=1, max_subscriptions=3))
    two, three = (
        [subscribed(topic, agent_type) for topic in topics]
        for agent_type, topics in (("a", "tu"), ("b", "tuv"))
    )
    first = stage.worker("w1", "a", subscriptions=two)
    second = stage.worker("w2", "b", subscriptions=three)

    (error, another) = second.heard()[0].registered[0].errors
    assert (error.entry, error.name, error.code) == (
        "subscription",
        "u>b",
        Code.RESOURCE_EXHAUSTED,
    )
    assert error.reason == "the host keeps 3 subscriptions, that is its limit"
    assert another.name == "v>b"
    first.leave()
    second.register("b", subscriptions=three)
    assert stage.broker.types.patterns("b") == [("type", "t")], "those of a durable type stay"
    back = stage.worker("w1", "a", subscriptions=two)
    assert back.heard()[0].registered[0].errors == (), "and give way to those of its next worker"
    back.register("a", subscriptions=two[:1])
    second.register("b", subscriptions=three)
    assert stage.broker.types.patterns("b") == [("type", "t"), ("type", "u")]
    assert stage.broker.types.subscription_count == 3


def test_what_stays_of_a_type_counts_as_long_as_it_stays() -> None:
    """A worker that leaves types out, one after the other, cannot get beyond the limit."""
    stage = Stage(BrokerLimits(partitions=1, max_subscriptions=2))
    of_a, of_b = ([subscribed(topic, agent_type) for topic in "tu"] for agent_type in ("a", "b"))
    worker = stage.worker("w", "a", subscriptions=of_a)

    worker.register("b", subscriptions=of_a)
    worker.register("b", subscriptions=of_b)

    answers = [each for frame in worker.heard() for each in frame.registered]
    assert [len(each.errors) for each in answers] == [0, 0, 2]
    assert stage.broker.types.patterns("a") == [("type", "t"), ("type", "u")]
    assert stage.broker.types.subscription_count == 2


def test_nothing_stays_of_sessions_and_session_only_types() -> None:
    """Sessions that come and go leave no trace in the broker."""
    stage = Stage()
    publisher = stage.worker("p")
    for number in range(20):
        worker = stage.worker(f"w{number}", TypeEntry(f"t{number}", session_only=True))
        publisher.publish("x", topic=f"t{number}")
        worker.settle(worker.deliveries())
        publisher.publish("x", topic=f"t{number}")
        publisher.call((f"t{number}", "x"))
        worker.leave()
        stage.keep()
    broker = stage.broker

    assert list(broker.sessions) == ["p"]
    assert list(broker.types) == []
    assert broker.types._declared == {}
    assert broker.types.subscription_count == 0
    assert broker.types._routes._exact == {}
    assert list(broker._placer._held) in ([], [publisher.session])
    assert broker.is_idle


def test_declaring_a_thousand_types_one_by_one_looks_at_each_new_one_once() -> None:
    """A worker that registers as it goes costs no more than what changes."""
    stage = Stage(BrokerLimits(partitions=1))
    worker = stage.worker("w")
    names = [f"t{number}" for number in range(1000)]

    for count in (998, 999, 1000):
        worker.register(*names[:count])

    assert len(worker.session.lanes) == 1000
    assert stage.broker.held_count(worker.session) == 1000
