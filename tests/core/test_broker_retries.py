"""Failed turns and lost workers: what the broker keeps of them, and when it gives up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callboard.core.broker import BrokerLimits
from callboard.core.event import Delivery
from callboard.core.frames import Released, TypeEntry
from sim.inspector import Inspector
from sim.stage import PARTITIONS, Actor, Stage, told


def test_failed_turns_go_with_a_delivery_that_is_released() -> None:
    """Only those of the one released; what was out behind it has not failed."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x", "x")
    first, _ = worker.deliveries()
    worker.settle(first, Released(0.0, 2))
    assert [(each.position, each.failed_turns) for each in worker.deliveries()] == [(1, 2), (2, 0)]


def test_failed_turns_go_to_the_next_worker() -> None:
    """Whether the former gave the partition up or was lost with it."""
    stage = Stage()
    stage.worker("p").publish("x")
    worker = stage.worker("w", "a")
    stage.worker("p2").publish("x")
    worker.settle(worker.deliveries()[0], Released(5.0, 3))
    worker.leave()
    other = stage.worker("w2", "a")
    stage.wait(5)
    assert [each.failed_turns for each in other.deliveries()] == [3]


def test_a_release_that_knows_less_forgets_nothing() -> None:
    """A worker that does not count releases with 0."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x")
    worker.settle(worker.deliveries(), Released(0.0, 4))
    worker.settle(worker.deliveries(), Released())
    assert [each.failed_turns for each in worker.deliveries()] == [4]


def lose(stage: Stage, name: str) -> list[Delivery]:
    """A worker that is lost with what it was handed out; that."""
    worker = stage.worker(name, "a")
    had = worker.deliveries()
    worker.leave()
    stage.keep()
    return had


def test_an_event_that_was_lost_with_three_workers_becomes_a_dead_letter() -> None:
    """The next worker gets what comes after it."""
    stage = Stage()
    publisher = stage.worker("p")
    worker = stage.worker("w1", "a")
    publisher.publish("x", "x")
    assert told(worker.deliveries()) == ["a/x #1.1", "a/x #2.1"]
    worker.leave()
    assert told(lose(stage, "w2")) == ["a/x #1.2"]
    assert stage.dead == []
    assert told(lose(stage, "w3")) == ["a/x #1.3"]

    assert [(each.delivery.position, each.reason) for each in stage.dead] == [(1, "worker_lost")]
    assert "3 workers were lost" in stage.dead[0].detail
    last = stage.worker("w4", "a")
    assert told(last.deliveries()) == ["a/x #2.2"]
    assert stage.broker.counters.rejected == 1


def test_the_last_event_of_an_agent_leaves_nothing_behind_when_it_is_given_up() -> None:
    """Nothing waits, nothing is counted as queued, and the agent's next event is handed out."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_losses=1))
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("x")
    worker.deliveries()
    worker.leave()
    stage.keep()
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0
    Inspector(stage.broker).check(None)
    publisher.publish("x")
    assert told(stage.worker("w2", "a").deliveries()) == ["a/x #2.1"]


def test_what_was_lost_once_is_out_alone_so_that_the_next_loss_is_its_own() -> None:
    """An event that was done, but not told, is not blamed for the one after it."""
    stage = Stage()
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("x", "x")
    worker.deliveries()
    worker.leave()

    other = stage.worker("w2", "a")
    (innocent,) = other.deliveries()
    publisher.publish("x")
    assert other.deliveries() == []
    other.settle(innocent)
    assert told(other.deliveries()) == ["a/x #2.2", "a/x #3.1"]


def test_each_agent_s_head_counts_and_nothing_behind_it() -> None:
    """One loss each; an agent whose events only wait counts none."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, delivery_window=3, max_losses=1))
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("x", "x", "y", "z")
    assert told(worker.deliveries()) == ["a/x #1.1", "a/x #2.1", "a/y #3.1"]
    worker.leave()
    stage.keep()
    assert {each.delivery.position for each in stage.dead} == {1, 3}


def test_a_settled_head_is_not_counted() -> None:
    """The first that is not settled is the head."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_losses=1))
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("x", "x", "x")
    worker.settle(worker.deliveries()[0])
    worker.leave()
    stage.keep()
    assert [each.delivery.position for each in stage.dead] == [2]


def leave_out(worker: Actor) -> None:
    worker.register()


def drain_and_leave(worker: Actor) -> None:
    worker.drain()
    worker.leave()


@pytest.mark.parametrize("how", [leave_out, drain_and_leave])
def test_a_worker_that_goes_of_its_own_will_is_no_loss(how: Callable[[Actor], None]) -> None:
    """It leaves the type out, or was told to stop: no event did that."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_losses=1))
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("x")
    worker.deliveries()
    how(worker)
    stage.keep()
    assert stage.dead == []
    assert told(stage.worker("w2", "a").deliveries()) == ["a/x #1.2"]


def test_a_surrender_is_no_loss() -> None:
    """A partition that moves takes its events along, however often."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_losses=1))
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("x")
    worker.deliveries()
    other = stage.worker("w2", "a")
    worker.drain()
    worker.surrender_all_asked()
    assert told(other.deliveries()) == ["a/x #1.2"]
    stage.keep()
    assert stage.dead == []


def test_a_loss_that_ends_the_type_ends_its_events_with_that() -> None:
    """A type of its session only takes what waits for it along."""
    stage = Stage()
    publisher = stage.worker("p")
    worker = stage.worker("w", TypeEntry("a", session_only=True))
    publisher.publish("x", "x")
    worker.deliveries()
    worker.leave()
    stage.keep()
    assert [each.reason for each in stage.dead] == ["no_such_type"] * 2
    assert stage.broker.is_idle
