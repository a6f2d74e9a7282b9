"""What was lost before begins when the host knows: which further losses count, and which do not."""

from __future__ import annotations

import pytest

from callboard.core.broker import BrokerLimits
from callboard.core.event import Delivery
from callboard.core.frames import HostFrame, Rejected, Released, WorkerFrame
from callboard.core.outbox import HostOutbox
from callboard.core.session import BEGINNINGS, LEASES
from callboard.core.worker_outbox import WorkerOutbox
from sim.stage import PARTITIONS, Actor, Stage, told


def worker_of(stage: Stage, name: str, *capabilities: str) -> Actor:
    """A worker of type ``a`` that says when turns begin."""
    return stage.worker(name, "a", capabilities=(BEGINNINGS, *capabilities))


def lost_once(stage: Stage, *keys: str) -> list[Delivery]:
    """Events that a worker was lost with, as the next one gets them, which is ``w``."""
    publisher = stage.worker("p")
    first = worker_of(stage, "first")
    publisher.publish(*(keys or "x"))
    first.deliveries()
    first.leave()
    return worker_of(stage, "w").deliveries()


def worker_named(stage: Stage, name: str) -> Actor:
    (session,) = (each for each in stage.broker.sessions.values() if each.client_id == name)
    return Actor(stage, session)


def lose(stage: Stage, name: str = "w") -> None:
    worker_named(stage, name).leave()
    stage.keep()


def next_delivery(stage: Stage, name: str = "w") -> Delivery:
    (delivery,) = worker_of(stage, name).deliveries()
    return delivery


def test_the_first_loss_counts_whatever_had_begun() -> None:
    """Nobody said so of it; from then on its worker does."""
    (again,) = lost_once(Stage())
    assert again.losses == 1


def test_what_had_not_begun_is_lost_as_often_as_it_may_be() -> None:
    """Cuts alone end no event, however many."""
    stage = Stage()
    lost_once(stage)
    for _ in range(10):
        lose(stage)
        assert next_delivery(stage).losses == 1
    assert stage.dead == []


def test_what_had_begun_with_each_of_its_workers_is_given_up_with_the_third() -> None:
    """As one that ends them does."""
    stage = Stage()
    (delivery,) = lost_once(stage)
    worker_named(stage, "w").begin(delivery)
    lose(stage)
    delivery = next_delivery(stage)
    assert delivery.losses == 2
    worker_named(stage, "w").begin(delivery)
    lose(stage)
    assert [each.reason for each in stage.dead] == ["worker_lost"]


def test_what_has_begun_with_one_worker_has_not_with_the_next() -> None:
    """It begins there anew, or not."""
    stage = Stage()
    (delivery,) = lost_once(stage)
    worker_named(stage, "w").begin(delivery)
    lose(stage)
    for _ in range(5):
        assert next_delivery(stage).losses == 2
        lose(stage)
    assert stage.dead == []


def test_what_was_released_has_not_begun_when_it_comes_anew() -> None:
    """To the same worker as well."""
    stage = Stage()
    (delivery,) = lost_once(stage)
    worker = worker_named(stage, "w")
    worker.begin(delivery)
    worker.settle(delivery, Released(0.0, 1))
    assert told(worker.deliveries()) == ["a/x #1.3"]
    worker.begin(delivery)  # the attempt that was released
    lose(stage)
    assert next_delivery(stage).losses == 1


def test_a_worker_that_does_not_say_when_turns_begin_is_not_believed_to_have_begun_none() -> None:
    """Each of its losses counts."""
    stage = Stage()
    lost_once(stage)
    lose(stage)
    for name in ("old", "older"):
        worker = stage.worker(name, "a", capabilities=())
        worker.deliveries()
        worker.leave()
        stage.keep()
    assert [each.reason for each in stage.dead] == ["worker_lost"]


def test_who_asks_is_answered_also_for_what_is_not_there() -> None:
    """Nobody waits for ever; and nothing is noted of what others have."""
    stage = Stage()
    (delivery,) = lost_once(stage)
    other = worker_of(stage, "other")
    other.begin(delivery)
    assert other.begun() == [delivery.turn]
    worker = worker_named(stage, "w")
    stage.broker.begin(worker.session, [(1, 7), (99, 1), delivery.turn])
    assert worker.begun() == [(1, 7), (99, 1), delivery.turn]
    worker.settle(delivery, Rejected("handler_error"))
    worker.begin(delivery)
    assert worker.begun() == [delivery.turn]

    lose(stage)
    worker.begin(delivery)
    assert worker.begun() == [], "it is over"


def test_only_the_session_that_has_it_can_begin_it() -> None:
    """A worker that names what another has harms nobody."""
    stage = Stage()
    (delivery,) = lost_once(stage)
    worker_of(stage, "other").begin(delivery)
    lose(stage)
    assert worker_named(stage, "other").deliveries()[0].losses == 1


def test_a_beginning_counts_before_what_else_its_frame_says() -> None:
    """A frame that tells of the beginning and of the end has ended it."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS))
    (delivery,) = lost_once(stage)
    worker = worker_named(stage, "w")
    stage.broker.take(worker.session, WorkerFrame(begins=[delivery.turn]), stage.now)
    assert worker.begun() == [delivery.turn]
    assert delivery.has_begun


def test_a_turn_that_waits_goes_on_waiting_over_another_stream() -> None:
    """What was said or answered on the former one, and not heard, is said again."""
    stage = Stage()
    worker = worker_of(stage, "w", LEASES)
    stage.keep()
    stage.worker("p").publish("x")
    worker.begin(*worker.deliveries())
    (answer,) = worker.heard()
    stage.broker.part(worker.session)
    stage.broker.resume(worker.session, len(worker.frames) - 1, stage.now)
    assert [each.begun for each in worker.heard()] == [answer.begun]


@pytest.mark.parametrize("count", [1, 256, 257])
def test_beginnings_leave_in_frames_of_so_many(count: int) -> None:
    """On both sides, and answers count as what waits to be read."""
    ids = [(position, 2) for position in range(1, count + 1)]
    said, answered = WorkerOutbox(8), HostOutbox(keeps_frames=True)
    said.begins.extend(ids)
    answered.begun(ids)
    frames: list[WorkerFrame] = list(iter(said.take, None))
    answers: list[HostFrame] = list(iter(answered.take, None))
    assert [each for frame in frames for each in frame.begins] == ids
    assert [each for frame in answers for each in frame.begun] == ids
    assert len(frames) == len(answers) == (count + 255) // 256
    assert answered.answer_count == count
