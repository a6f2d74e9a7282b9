"""A type that nobody serves any more is kept for its time, and no longer."""

from __future__ import annotations

from callboard.core.broker import BrokerLimits
from callboard.core.frames import TypeEntry
from callboard.core.kept import Kept, KeptType
from sim.stage import Stage, told

WEEK_S = 7 * 86_400.0


def stage_of() -> Stage:
    return Stage(BrokerLimits(partitions=8, type_retention_s=WEEK_S))


def test_a_type_without_a_worker_ends_after_its_time() -> None:
    """What waits for it becomes dead letters, the engine forgets it, and it may begin anew."""
    stage = stage_of()
    stage.worker("w", "a").leave()
    publisher = stage.worker("p")
    publisher.publish("x", "y")

    stage.wait(WEEK_S - 1)
    assert stage.broker.types.get("a") is not None
    assert not stage.dead
    stage.wait(1)
    commit = stage.broker.take_commit()
    assert commit is not None
    assert commit.types_gone == ["a"]
    assert [(each.reason, each.detail) for each in commit.dead] == [
        ("type_removed", "no worker has served its agent type for 7 days")
    ] * 2
    stage.broker.committed(commit, stage.engine.commit_now(commit), stage.now)

    worker = stage.worker("w", "a")
    publisher.publish("x")
    assert told(worker.deliveries()) == ["a/x #3.1"]


def test_a_worker_that_comes_in_time_is_found_by_all_that_waited() -> None:
    """And the time begins anew when it has gone."""
    stage = stage_of()
    stage.worker("w", "a").leave()
    stage.worker("p").publish("x")
    stage.wait(WEEK_S - 1)
    worker = stage.worker("w", "a")
    assert told(worker.deliveries()) == ["a/x #1.1"]
    stage.wait(WEEK_S)
    worker.leave()
    stage.wait(WEEK_S - 1)
    assert stage.broker.types.get("a") is not None
    stage.wait(1)
    assert stage.broker.types.get("a") is None


def test_the_last_of_several_workers_begins_the_time() -> None:
    """As long as one of them is there the type is served."""
    stage = stage_of()
    first, second = stage.worker("w1", "a"), stage.worker("w2", "a")
    first.leave()
    stage.wait(WEEK_S)
    assert stage.broker.types.get("a") is not None
    second.leave()
    assert stage.broker.next_deadline() == stage.now + WEEK_S


def test_a_host_that_starts_gives_a_type_its_time_anew() -> None:
    """It does not know for how long there was no other."""
    stage = stage_of()
    stage.now = 100.0
    stage.broker.restore(Kept(1, (KeptType("a", (("type", "a"),)),)), stage.now)

    stage.wait(WEEK_S - 1)
    assert stage.broker.types.get("a") is not None
    stage.wait(1)
    assert stage.broker.types.get("a") is None


def test_a_type_of_a_session_is_not_kept() -> None:
    """It ends with its worker, and leaves nothing to wait for."""
    stage = stage_of()
    stage.worker("w", TypeEntry("a", session_only=True)).leave()
    assert stage.broker.types.get("a") is None
    assert stage.broker.next_deadline() is None


def test_a_type_that_was_removed_is_not_waited_for() -> None:
    """By an operator, before its time."""
    stage = stage_of()
    stage.worker("w", "a").leave()
    stage.broker.remove_type("a", stage.now)
    stage.keep()
    assert stage.broker.next_deadline() is None
