"""Queues: runs of deliveries, and what becomes of empty ones."""

from __future__ import annotations

import pytest

from callboard.core import queues
from callboard.core.event import Delivery, Event
from callboard.core.queues import AgentQueue, Queues

EVENT = Event(b"", "t", "x")


def run_of(*positions: int) -> tuple[AgentQueue, list[Delivery]]:
    """A queue with so many deliveries out, and one that waits."""
    queue = AgentQueue(("a", "x"), 0)
    queue.wake()
    out = [Delivery(position, ("a", "x"), EVENT, 1) for position in positions]
    queue.out.extend(out)
    queue.waiting.append(Delivery(99, ("a", "x"), EVENT))
    return queue, out


def positions(deliveries: object) -> list[int]:
    return [each.position for each in deliveries]  # type: ignore[attr-defined]


def test_settlements_in_order_shorten_the_run() -> None:
    """From its head."""
    queue, (first, second, _) = run_of(1, 2, 3)
    queue.settle(first)
    queue.settle(second)
    assert positions(queue.out) == [3]
    assert queue.settled == set()


def test_what_is_settled_before_its_turn_leaves_with_those_before_it() -> None:
    """So that the run stays contiguous."""
    queue, (first, second, third) = run_of(1, 2, 3)
    queue.settle(third)
    queue.settle(second)
    assert positions(queue.out) == [1, 2, 3]
    queue.settle(first)
    assert positions(queue.out) == []
    assert queue.settled == set()


def test_taking_back_returns_the_run_to_the_front() -> None:
    """In order, as new deliveries: those that are under way stay what they are."""
    queue, (first, *_) = run_of(1, 2, 3)
    returned = queue.take_back()
    assert positions(returned) == [1, 2, 3]
    assert positions(queue.waiting) == [1, 2, 3, 99]
    assert queue.waiting[0] is not first
    assert (queue.waiting[0].attempt, queue.waiting[0].grant) == (1, None)


def test_taking_back_from_one_on_leaves_those_before_it_out() -> None:
    """And forgets what of the rest was settled."""
    queue, (_, second, third, _) = run_of(1, 2, 3, 4)
    queue.settle(third)
    assert positions(queue.take_back(second)) == [2, 4]
    assert positions(queue.out) == [1]
    assert positions(queue.waiting) == [2, 4, 99]
    assert queue.settled == set()


def test_a_queue_is_empty_when_nothing_waits_and_nothing_is_out() -> None:
    """Either alone keeps it."""
    queue, (first,) = run_of(1)
    assert not queue.is_empty
    queue.waiting.clear()
    assert not queue.is_empty
    queue.settle(first)
    assert queue.is_empty


def test_idle_queues_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes; one that is used again is not idle."""
    monkeypatch.setattr(queues, "MAX_IDLE_QUEUES", 2)
    of_type = Queues("a", 4)
    made = {key: of_type.of(("a", key)) for key in "wxyz"}
    assert len(list(of_type.busy())) == 4
    for key in "wxyz":
        of_type.rest(made[key])
        of_type.rest(made[key])
    assert len(of_type) == 2
    assert list(of_type.busy()) == []
    assert of_type.find("w") is None
    assert of_type.of(("a", "z")) is made["z"]
    assert of_type.of(("a", "w")) is not made["w"]
    assert set(of_type) == {made["y"], made["z"], of_type.find("w")}


def test_queues_are_found_by_partition() -> None:
    """Only those with events."""
    of_type = Queues("a", 4)
    made = [of_type.of(("a", f"k{number}")) for number in range(20)]
    of_type.rest(made[0])

    found = [queue for partition in range(4) for queue in of_type.in_partition(partition)]

    assert sorted(queue.agent for queue in found) == sorted(queue.agent for queue in made[1:])
    assert all(queue in of_type.in_partition(queue.partition) for queue in made[1:])
