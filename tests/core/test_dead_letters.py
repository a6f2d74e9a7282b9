"""Dead letters that come back or go, and types that are removed."""

from __future__ import annotations

import pytest

from callboard.core import deliveries
from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code, NotAllowedNow, NotFound
from callboard.core.frames import Rejected, TypeEntry
from callboard.core.load import RECORD_BYTES
from callboard.core.session import Session
from sim.stage import Actor, Stage, subscribed, told


def reject(worker: Actor, reason: str = "handler_error") -> None:
    """End all that was handed out to ``worker`` as dead letters."""
    worker.settle(worker.deliveries(), Rejected(reason, "no"))


def test_a_replay_goes_to_its_agent_alone_as_a_new_delivery() -> None:
    """Not to others that are subscribed; with a new position, and as the first attempt."""
    stage = Stage()
    worker = stage.worker("w", "a", "b", subscriptions=[subscribed("t", "a"), subscribed("t", "b")])
    worker.publish("x", topic="t", content=b"the same")
    first, other = worker.deliveries()
    worker.settle(first, Rejected("handler_error", "no"))
    worker.settle(other)

    errand = stage.broker.replay(stage.dead)
    assert not errand.is_kept
    assert worker.deliveries() == []
    stage.keep()

    (again,) = worker.deliveries()
    assert told([again]) == ["a/x #3.1"]
    assert again.event.content == b"the same"
    assert errand.is_kept
    assert (errand.replayed, errand.missing, errand.refused) == ({1: 3}, [], [])
    assert not stage.engine._dead
    assert (stage.broker.counters.replayed, stage.broker.counters.published) == (1, 1)
    worker.settle(again)
    assert (stage.broker.is_idle, stage.broker.queued_bytes) == (True, 0)


def test_a_replay_waits_behind_what_waits_for_its_agent() -> None:
    """It is published anew: for the agent it comes after all that is there."""
    stage = Stage(BrokerLimits(partitions=8, agent_share=1))
    worker = stage.worker("w", "a")
    worker.publish("x")
    reject(worker)
    worker.publish("x", "x")

    stage.broker.replay(stage.dead)
    stage.keep()

    seen = []
    while out := worker.deliveries():
        seen += told(out)
        worker.settle(out)
    assert seen == ["a/x #2.1", "a/x #3.1", "a/x #4.1"]


def test_a_replay_that_is_rejected_again_is_another_dead_letter() -> None:
    """Under its new position."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x")
    reject(worker)
    stage.broker.replay(stage.dead)
    stage.keep()

    reject(worker, "still no")

    assert [(each.delivery.position, each.reason) for each in stage.engine._dead.values()] == [
        (2, "still no")
    ]


def test_a_dead_letter_is_replayed_once_whoever_asks() -> None:
    """The second of two operators is told that it is gone, and so is one who drops it."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x")
    reject(worker)

    first, second = stage.broker.replay(stage.dead), stage.broker.replay(stage.dead)
    dropped = stage.broker.drop([1])
    stage.keep()

    assert (first.replayed, second.replayed, second.missing) == ({1: 2}, {}, [1])
    assert (dropped.dropped, dropped.missing) == ([], [1])
    assert told(worker.deliveries()) == ["a/x #2.1"]
    assert stage.broker.queued_bytes == len(b"event") + RECORD_BYTES


def test_what_is_dropped_is_gone() -> None:
    """It is counted, and cannot be replayed any more."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x", "y")
    reject(worker)

    errand = stage.broker.drop([1, 7])
    stage.keep()
    late = stage.broker.replay(stage.dead)
    stage.keep()

    assert (errand.dropped, errand.missing, errand.is_kept) == ([1], [7], True)
    assert (late.replayed, late.missing) == ({2: 3}, [1])
    assert stage.broker.counters.dropped == 1


def refusal_of(stage: Stage) -> tuple[Code, str]:
    """Why the only dead letter is not replayed; it is still there."""
    errand = stage.broker.replay(stage.dead)
    before = stage.broker.queued_bytes
    stage.keep()
    ((position, agent, code, reason),) = errand.refused
    assert (position, agent) == (1, stage.dead[0].delivery.agent)
    assert (errand.is_kept, errand.replayed, stage.broker.queued_bytes) == (True, {}, before)
    assert list(stage.engine._dead) == [1]
    return code, reason


def test_a_replay_for_a_type_that_has_ended_is_refused() -> None:
    """A session's own type goes with it; a durable one without workers takes it."""
    stage = Stage()
    worker = stage.worker("w", TypeEntry("a", session_only=True))
    worker.publish("x")
    reject(worker)
    worker.leave()

    code, reason = refusal_of(stage)

    assert code is Code.NOT_FOUND
    assert "no agent type 'a' now" in reason
    later = stage.worker("later", "a")
    later.leave()
    errand = stage.broker.replay(stage.dead)
    stage.keep()
    assert errand.replayed == {1: 2}
    assert told(stage.worker("w", "a").deliveries()) == ["a/x #2.1"]


def test_a_replay_without_room_is_refused() -> None:
    """The queues have the same bound for it as for a publish."""
    size = len(b"event") + RECORD_BYTES
    stage = Stage(BrokerLimits(partitions=8, max_queued_bytes=size))
    worker = stage.worker("w", "a")
    worker.publish("x")
    reject(worker)
    worker.publish("y")

    code, reason = refusal_of(stage)

    assert code is Code.RESOURCE_EXHAUSTED
    assert f"they hold {size} bytes, this event is {size} more, the limit is {size}" in reason
    worker.settle(worker.deliveries())
    errand = stage.broker.replay(stage.dead * 2)
    assert [each.code for each in errand.refused] == [Code.RESOURCE_EXHAUSTED]


def test_a_replay_to_a_worker_that_does_not_read_is_refused_beyond_its_bound() -> None:
    """A type that one worker has to itself has a bound of its own."""
    size = len(b"event") + RECORD_BYTES
    stage = Stage(BrokerLimits(partitions=8, max_exclusive_bytes=size))
    worker = Actor(stage, Session("w", "w", is_foreign=True))
    stage.broker.join(worker.session, 0.0)
    alone = TypeEntry("a", session_only=True, exclusive=True)
    worker.register(alone, subscriptions=[subscribed("a", "a")])
    worker.publish("x")
    reject(worker)
    worker.publish("x")

    code, reason = refusal_of(stage)

    assert code is Code.RESOURCE_EXHAUSTED
    assert f"{size} bytes wait for its worker already" in reason
    reject(worker)
    errand = stage.broker.replay(stage.dead)
    stage.keep()
    assert errand.replayed == {1: 3}
    assert [each.position for each in errand.refused] == [2]


def test_a_replay_for_a_key_against_the_rules_is_refused() -> None:
    """What another protocol's worker published stays what it is."""
    stage = Stage()
    stage.worker("w", "a")
    publisher = Actor(stage, Session("p", "p", is_foreign=True))
    stage.broker.join(publisher.session, 0.0)
    publisher.publish("", topic="a")
    assert [each.reason for each in stage.dead] == ["invalid_key"]

    assert refusal_of(stage)[0] is Code.INVALID_ARGUMENT


def test_a_replay_whose_type_ends_before_the_engine_has_it_is_not_lost() -> None:
    """It becomes a dead letter again, under its new position."""
    stage = Stage()
    worker = stage.worker("w", TypeEntry("a", session_only=True))
    worker.publish("x")
    reject(worker)

    errand = stage.broker.replay(stage.dead)
    worker.leave()
    stage.keep()

    assert errand.replayed == {1: 2}
    assert [(position, each.reason) for position, each in stage.engine._dead.items()] == [
        (2, "no_such_type")
    ]
    assert stage.broker.queued_bytes == 0


def test_a_type_is_removed_with_all_that_waits_for_it() -> None:
    """Its events become dead letters, its subscriptions and calls end; another begins it anew."""
    stage = Stage()
    stage.worker("w", "a", "b").leave()
    caller = stage.worker("caller")
    caller.publish("x", "y")
    caller.publish("x", topic="b")
    caller.call(("a", "x"))

    errand = stage.broker.remove_type("a", stage.now)
    stage.keep()
    caller.publish("x")

    assert errand.is_kept
    assert [(each.delivery.agent, each.reason) for each in stage.dead] == [
        (("a", "x"), "type_removed"),
        (("a", "y"), "type_removed"),
    ]
    (reply,) = caller.replies()
    assert reply.error is not None
    assert reply.error.code is Code.UNAVAILABLE
    assert "'a' has ended" in reply.error.message
    assert stage.broker.counters.unmatched == 1
    assert [state.name for state in stage.broker.types] == ["b"]
    assert stage.broker.types.subscription_count == 1
    assert stage.worker("again", "a", "b").deliveries()[0].agent == ("b", "x")


def test_a_type_that_is_served_or_not_there_is_not_removed() -> None:
    """The error names who serves it."""
    stage = Stage()
    worker = stage.worker("w", "a")
    with pytest.raises(NotAllowedNow, match=r"'a' is served by 1 worker \(w\): stop them first"):
        stage.broker.remove_type("a", stage.now)
    with pytest.raises(NotFound, match="no agent type 'b'"):
        stage.broker.remove_type("b", stage.now)

    worker.publish("x")

    assert told(worker.deliveries()) == ["a/x #1.1"]


def test_what_waits_for_a_removed_type_is_buried_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each step is a commit of its own; the removal is done with the last."""
    monkeypatch.setattr(deliveries, "BURIED_AT_ONCE", 2)
    stage = Stage()
    stage.worker("w", "a").leave()
    stage.worker("p").publish("x", "y", "x", "z", "x")
    stage.now = 1.0

    errand = stage.broker.remove_type("a", stage.now)
    steps: list[tuple[int, bool, int]] = []
    while True:
        stage.keep()
        steps.append((len(stage.dead), errand.is_kept, stage.broker.waiting_count))
        if stage.broker.next_deadline() is None:
            break
        stage.broker.tick(stage.now)

    assert steps == [(2, False, 3), (4, False, 1), (5, True, 0)]
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0
    assert {each.delivery.position for each in stage.dead} == {1, 2, 3, 4, 5}


def test_a_type_that_is_only_called_gets_no_replay() -> None:
    """Its name is another's now: refused, or a dead letter again when it was taken meanwhile."""
    stage = Stage()
    session_only = TypeEntry("a", session_only=True)
    worker = stage.worker("w")
    worker.register(session_only)
    worker.publish("x", "y")
    reject(worker)
    early = stage.broker.replay(stage.dead[:1])
    worker.register()
    stranger = Actor(stage, Session("s", "s", is_foreign=True))
    stage.broker.join(stranger.session, 0.0)
    stranger.register(TypeEntry("a", session_only=True, exclusive=True, calls_only=True))

    late = stage.broker.replay(stage.dead[1:2])
    stage.keep()

    assert stranger.deliveries() == []
    assert [(each.position, each.code) for each in late.refused] == [(2, Code.FAILED_PRECONDITION)]
    assert early.replayed == {1: 3}
    assert sorted(stage.engine._dead) == [2, 3]
    assert stage.broker.queued_bytes == 0


def test_types_that_end_together_are_buried_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at a time in all, not each."""
    monkeypatch.setattr(deliveries, "BURIED_AT_ONCE", 10)
    stage = Stage()
    names = [f"t{number}" for number in range(5)]
    worker = stage.worker("w")
    entries = [TypeEntry(name, session_only=True) for name in names]
    worker.register(*entries, subscriptions=[subscribed("news", name) for name in names])
    worker.publish(*["x"] * 10, topic="news")
    worker.leave()
    assert [len(commit.dead) for commit in [stage.broker.take_commit()] if commit] == [10]
