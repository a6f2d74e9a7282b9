"""How much is out for an agent depends on how long its turns take."""

from __future__ import annotations

from callboard.core.broker import BrokerLimits
from callboard.core.event import Delivery
from callboard.core.frames import Released, TypeEntry
from sim.stage import Actor, Stage


def stage_of(**limits: int) -> Stage:
    """One whose broker hands out what ends within a second."""
    return Stage(BrokerLimits(partitions=8, **limits), ahead_s=1.0)


def settled_after(worker: Actor, deliveries: list[Delivery], seconds: float) -> list[Delivery]:
    """End ``deliveries`` together, after that time; what is handed out for it."""
    worker.stage.wait(seconds)
    worker.settle(deliveries)
    return worker.deliveries()


def test_an_agent_that_nobody_knows_has_one_event_out() -> None:
    """What lies before a slow agent takes the room of others, and it may be slow."""
    worker = stage_of().worker("w", "a")
    worker.publish("x", "x", "x", "y")
    assert [each.agent[1] for each in worker.deliveries()] == ["x", "y"]


def test_an_agent_with_short_turns_has_its_whole_share_out() -> None:
    """What ends within a millisecond is not worth a round trip each."""
    worker = stage_of(agent_share=10).worker("w", "a")
    worker.publish(*["x"] * 30)

    out = settled_after(worker, worker.deliveries(), 0.001)

    assert len(out) == 10


def test_an_agent_has_as_much_out_as_it_does_in_a_second() -> None:
    """Turns of a quarter of a second: four of them."""
    worker = stage_of(agent_share=10).worker("w", "a")
    worker.publish(*["x"] * 30)

    out = settled_after(worker, worker.deliveries(), 0.25)

    assert len(out) == 4


def test_an_agent_that_becomes_slow_has_one_event_out() -> None:
    """And one that becomes fast again its share."""
    worker = stage_of(agent_share=10).worker("w", "a")
    worker.publish(*["x"] * 300)
    out = settled_after(worker, worker.deliveries(), 0.001)
    assert len(out) == 10

    for _ in range(9):
        assert not settled_after(worker, [out.pop(0)], 5.0)
    out = settled_after(worker, out, 5.0)
    assert len(out) == 1

    for _ in range(20):
        out = settled_after(worker, out, 0.001)
    assert len(out) == 10


def test_an_agent_whose_turn_does_not_end_gets_nothing_more() -> None:
    """It was fast: what is out stays out, and what comes later waits at the host."""
    stage = stage_of(agent_share=10)
    worker = stage.worker("w", "a")
    worker.publish("x", "x")
    settled_after(worker, settled_after(worker, worker.deliveries(), 0.001), 0.001)
    worker.publish("x")
    assert len(worker.deliveries()) == 1

    stage.wait(2.0)
    worker.publish("x", "x", "x")

    assert not worker.deliveries()


def test_a_new_agent_of_a_type_is_taken_to_be_like_the_others() -> None:
    """Agents of a type have the same handlers."""
    worker = stage_of(agent_share=10).worker("w", "a")
    worker.publish("x")
    settled_after(worker, worker.deliveries(), 0.001)

    worker.publish("y", "y", "y")

    assert len(worker.deliveries()) == 3


def test_an_agent_with_several_turns_at_once_has_as_many_events_out() -> None:
    """However long they take: else its worker could not run them."""
    worker = stage_of(agent_share=10).worker("w", TypeEntry("a", max_concurrency=4))
    worker.publish(*["x"] * 30)
    out = worker.deliveries()
    assert len(out) == 4

    out = out[1:] + settled_after(worker, out[:1], 60.0)

    assert len(out) == 4


def test_turns_at_once_are_bounded_by_the_share() -> None:
    """Whatever a worker says that it has."""
    worker = stage_of(agent_share=3).worker("w", TypeEntry("a", max_concurrency=1 << 31))
    worker.publish(*["x"] * 30)
    assert len(worker.deliveries()) == 3


def test_a_change_of_how_many_turns_run_at_once_counts_from_then_on() -> None:
    """A worker that registers a type anew says so."""
    worker = stage_of(agent_share=10).worker("w", "a")
    worker.register(TypeEntry("a", max_concurrency=3))
    worker.publish(*["x"] * 30)
    assert len(worker.deliveries()) == 3


def test_a_delivery_that_is_given_back_says_nothing_of_the_time() -> None:
    """It did not end."""
    stage = stage_of(agent_share=10)
    worker = stage.worker("w", "a")
    worker.publish("x", "x")
    (second,) = settled_after(worker, worker.deliveries(), 0.001)
    stage.wait(0.5)

    worker.settle(second, Released())
    worker.publish("x", "x")

    assert len(worker.deliveries()) == 3


def test_slow_agents_do_not_take_the_room_of_their_neighbours() -> None:
    """Four agents that never end, each with a long queue, in a window of eight: others go on."""
    stage = stage_of(delivery_window=8, agent_share=4)
    worker = stage.worker("w", "a")
    for key in "abcd":
        worker.publish(*[key] * 50)
    assert len(worker.deliveries()) == 4

    for _ in range(20):
        worker.publish("z")
        out = worker.deliveries()
        assert [each.agent[1] for each in out] == ["z"]
        settled_after(worker, out, 0.01)
