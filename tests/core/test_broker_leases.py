"""Sessions that outlive their streams: what a broker keeps for them, and when it gives it away."""

from __future__ import annotations

import pytest

from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code, ProtocolViolation
from callboard.core.event import Delivery, Event
from callboard.core.frames import (
    ACCEPTED,
    HostFrame,
    Publish,
    Released,
    Settlement,
    WorkerFrame,
)
from callboard.core.origins import KEPT_S
from callboard.core.session import LEASES, Session
from sim.stage import PARTITIONS, Actor, Stage, told

LEASE_S, MARGIN_S = 9.0, 1.0
LIMITS = BrokerLimits(partitions=PARTITIONS, lease_s=LEASE_S, lease_margin_s=MARGIN_S)


class Leased(Actor):
    """A worker whose session outlives its stream."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        *types: str,
        incarnation: str = "",
        confirmed: int = 0,
    ) -> None:
        capabilities = frozenset({LEASES})
        super().__init__(
            stage,
            Session(name, name, incarnation=incarnation or name, capabilities=capabilities),
        )
        stage.broker.join(self.session, stage.now, confirmed)
        self.register(*types)

    @property
    def received(self) -> int:
        """Frames that it has heard; on purpose not what the outbox believes."""
        return len(self.frames)

    def say(self, frame: WorkerFrame | None = None) -> None:
        """A frame, as the stream brings it."""
        frame = frame or WorkerFrame()
        frame.received = self.received
        self.stage.broker.take(self.session, frame, self.stage.now)

    def beat(self) -> None:
        self.say(WorkerFrame(beat=True))

    def part(self) -> None:
        self.stage.broker.part(self.session)

    def resume(self, received: int | None = None) -> None:
        received = self.received if received is None else received
        del self.frames[received:]
        self.stage.broker.resume(self.session, received, self.stage.now)

    def publish_numbers(self, *numbers: int, topic: str = "a") -> None:
        """Publish under numbers of its own choice, an event each for the agent of that key."""
        publishes = [Publish(each, Event(b"event", topic, str(each))) for each in numbers]
        self.say(WorkerFrame(publishes=publishes))

    def settlement(self, delivery: Delivery, number: int) -> Settlement:
        assert delivery.grant is not None
        return Settlement(number, delivery.position, delivery.attempt, delivery.grant, ACCEPTED)


@pytest.fixture
def stage() -> Stage:
    """A broker with a lease of 9 s and a margin of 1."""
    return Stage(LIMITS)


# Parted, and back.


def test_a_parted_session_gets_nothing_new_and_keeps_what_it_has(stage: Stage) -> None:
    """What comes for its agents meanwhile waits, and leaves when it is back."""
    worker, publisher = Leased(stage, "w", "a"), stage.worker("p")
    publisher.publish("x")
    assert told(worker.deliveries()) == ["a/x #1.1"]
    worker.part()

    publisher.publish("x", "y", "y")

    assert stage.broker.waiting_count == 3
    assert stage.broker.in_flight_count == 1
    worker.resume()
    assert told(worker.deliveries()) == ["a/x #2.1", "a/y #3.1", "a/y #4.1"]
    assert stage.broker.waiting_count == 0


def test_what_was_said_and_not_taken_in_is_said_again_before_what_is_new(stage: Stage) -> None:
    """In the same frames, and no attempt is counted for it."""
    worker, publisher = Leased(stage, "w", "a"), stage.worker("p")
    worker.heard()
    for key in "xyz":
        publisher.publish(key)
        worker.heard()
    worker.part()
    publisher.publish("new")

    worker.resume(received=2)

    assert told(worker.deliveries()) == ["a/y #2.1", "a/z #3.1", "a/new #4.1"]


def test_what_is_settled_while_parted_counts_when_it_is_said(stage: Stage) -> None:
    """The settlement was said on no stream or on the former one, and comes over the next."""
    worker, publisher = Leased(stage, "w", "a"), stage.worker("p")
    publisher.publish("x", "x")
    first, second = worker.deliveries()
    worker.part()
    stage.wait(LEASE_S)
    worker.resume()

    worker.say(WorkerFrame(settlements=[worker.settlement(first, 1), worker.settlement(second, 2)]))
    stage.keep()

    assert stage.removed == [1, 2]
    assert [frame.settled_through for frame in worker.heard() if frame.settled_through] == [2]


def test_a_release_that_becomes_due_while_its_session_is_parted_waits_for_it(stage: Stage) -> None:
    """And is not forgotten."""
    worker, publisher = Leased(stage, "w", "a"), stage.worker("p")
    publisher.publish("x")
    worker.settle(worker.deliveries(), Released(2.0, 1))
    worker.part()
    stage.wait(3.0)

    worker.resume()

    assert told(worker.deliveries()) == ["a/x #1.2"]


def test_calls_wait_for_a_parted_session_and_end_by_their_deadline(stage: Stage) -> None:
    """One that has ended is not said to it any more."""
    worker, caller = Leased(stage, "w", "a"), stage.worker("c")
    worker.part()
    caller.call(("a", "x"), seconds=3)
    kept = caller.call(("a", "y"), seconds=60)
    stage.wait(4.0)

    worker.resume()

    assert [each.target for each in worker.calls()] == [("a", "y")]
    assert [(r.call_id, r.error and r.error.code) for r in caller.replies()] == [
        (kept - 1, Code.DEADLINE_EXCEEDED)
    ]


def test_a_partition_asked_of_a_parted_session_stays_with_it_until_its_lease_is_over(
    stage: Stage,
) -> None:
    """The worker that joins waits for it: turns may be running."""
    old = Leased(stage, "old", "a")
    old.part()
    new = stage.worker("new", "a")
    assert stage.broker.held_count(new.session) == 0

    stage.wait(LEASE_S + MARGIN_S)

    assert stage.broker.held_count(new.session) == PARTITIONS


def test_a_session_that_was_parted_and_is_back_gives_up_what_it_is_asked_for(stage: Stage) -> None:
    """It hears of it after all that it had missed."""
    old = Leased(stage, "old", "a")
    old.part()
    new = stage.worker("new", "a")
    old.resume()

    old.surrender_all_asked()

    assert stage.broker.held_count(new.session) == PARTITIONS // 2


def test_nobody_resumes_with_frames_that_were_never_said(stage: Stage) -> None:
    """The session stays as it was."""
    worker = Leased(stage, "w", "a")
    worker.heard()
    worker.part()

    with pytest.raises(ProtocolViolation, match="99 frames are said to be received, 1 were sent"):
        stage.broker.resume(worker.session, 99, stage.now)

    assert worker.session.is_parted
    stage.wait(LEASE_S + MARGIN_S)
    assert not worker.session.is_live


# The end of a lease.


def test_a_session_of_which_nothing_is_heard_ends_a_margin_after_its_lease(stage: Stage) -> None:
    """Parted or not; what it had goes elsewhere, and that counts as a loss."""
    worker, other = Leased(stage, "w", "a"), stage.worker("p")
    other.publish("x", "x")
    worker.deliveries()
    stage.wait(LEASE_S + MARGIN_S - 0.1)
    assert worker.session.is_live
    assert stage.broker.take_lapsed() == []

    stage.wait(0.1)

    assert not worker.session.is_live
    assert stage.broker.take_lapsed() == [worker.session]
    assert stage.broker.take_lapsed() == []
    other.register("a")
    # The first of an agent's may have ended its worker: it comes alone.
    assert told(other.deliveries()) == ["a/x #1.2"]


def test_an_event_whose_workers_lapse_three_times_is_given_up(stage: Stage) -> None:
    """As one that has killed them."""
    publisher = stage.worker("p")
    publisher.publish("x")
    publisher.register("a")
    publisher.register()
    publisher.publish("x")
    for number in range(3):
        worker = Leased(stage, f"w{number}", "a")
        assert len(worker.deliveries()) == 1
        stage.wait(LEASE_S + MARGIN_S)
        stage.keep()

    assert [letter.reason for letter in stage.dead] == ["worker_lost"]


def test_beats_renew_a_lease_from_when_they_are_heard(stage: Stage) -> None:
    """And are answered with its length."""
    worker = Leased(stage, "w", "a")
    worker.heard()
    for _ in range(5):
        stage.wait(LEASE_S)
        worker.beat()
        assert [frame.lease_ms for frame in worker.heard()] == [9000]

    stage.wait(LEASE_S + MARGIN_S)
    assert not worker.session.is_live


def test_what_else_a_worker_says_renews_nothing(stage: Stage) -> None:
    """It could not tell when the host has heard it: only beats are answered."""
    worker = Leased(stage, "w", "a")
    stage.wait(LEASE_S)
    worker.say()
    stage.wait(MARGIN_S)

    assert not worker.session.is_live


def test_another_stream_renews_the_lease(stage: Stage) -> None:
    """Its greeting is as good as a beat."""
    worker = Leased(stage, "w", "a")
    stage.wait(LEASE_S)
    worker.part()
    worker.resume()
    stage.wait(LEASE_S)

    assert worker.session.is_live


def test_a_session_without_the_capability_has_no_lease(stage: Stage) -> None:
    """It lives as long as its stream, however silent."""
    worker = stage.worker("w", "a")
    stage.wait(1e6)

    assert worker.session.is_live
    assert stage.broker.next_deadline() is None
    worker.leave()
    assert not worker.session.is_live


def test_what_a_lapsed_session_says_changes_nothing(stage: Stage) -> None:
    """A frozen worker does not know yet; its beat brings it nothing back."""
    worker, publisher = Leased(stage, "w", "a"), stage.worker("p")
    publisher.publish("x")
    (delivery,) = worker.deliveries()
    stage.wait(LEASE_S + MARGIN_S)

    worker.say(WorkerFrame(settlements=[worker.settlement(delivery, 1)], beat=True))
    worker.publish_numbers(1)
    stage.keep()

    assert stage.removed == []
    assert stage.broker.waiting_count == 1
    assert worker.session.outbox.lease_ms == 0
    assert stage.broker.counters.published == 1


def test_a_worker_that_leaves_is_not_lost(stage: Stage) -> None:
    """Its last word is as good as an end of its stream, and counts no loss."""
    worker, other = Leased(stage, "w", "a"), stage.worker("p")
    other.publish("x", "x")
    worker.deliveries()

    worker.say(WorkerFrame(leave=True))

    assert not worker.session.is_live
    other.register("a")
    assert told(other.deliveries()) == ["a/x #1.2", "a/x #2.2"]


# Publishes that are said again.


def test_publishes_said_again_in_another_session_are_taken_once(stage: Stage) -> None:
    """By number and incarnation; those that are new are taken after them."""
    target = stage.worker("t", "a")
    first = Leased(stage, "p", incarnation="i")
    first.publish_numbers(1, 2, 3)
    stage.keep()
    first.leave()

    second = Leased(stage, "p", incarnation="i", confirmed=1)
    second.publish_numbers(2, 3, 4)
    stage.keep()

    assert told(target.deliveries()) == ["a/1 #1.1", "a/2 #2.1", "a/3 #3.1", "a/4 #4.1"]
    assert max(frame.published_through for frame in second.heard()) == 4


def test_publishes_that_are_being_kept_when_their_session_is_lost_are_told_to_the_next(
    stage: Stage,
) -> None:
    """They are neither taken again nor forgotten."""
    target = stage.worker("t", "a")
    first = Leased(stage, "p", incarnation="i")
    first.publish_numbers(1, 2)
    commit = stage.broker.take_commit()
    assert commit is not None
    first.leave()
    second = Leased(stage, "p", incarnation="i")
    second.publish_numbers(1, 2)
    assert [frame.published_through for frame in second.heard()] == [0]

    stage.broker.committed(commit, stage.engine.commit_now(commit), stage.now)
    stage.keep()

    assert [frame.published_through for frame in second.heard()] == [2]
    assert len(target.deliveries()) == 2


def test_refusals_are_told_again_to_the_next_session(stage: Stage) -> None:
    """Those that the publisher has not heard of, before their numbers are answered."""
    first = Leased(stage, "p", incarnation="i")
    first.publish_numbers(1)
    first.publish_numbers(2, 4, topic="not a topic!")
    first.publish_numbers(5)
    stage.keep()
    first.leave()

    second = Leased(stage, "p", incarnation="i", confirmed=2)

    frames = [frame for frame in second.heard() if frame.published_through]
    assert [frame.published_through for frame in frames] == [5]
    assert [(each.number, each.code) for each in frames[0].publishes_refused] == [
        (4, Code.INVALID_ARGUMENT)
    ]


def test_another_incarnation_counts_from_the_beginning(stage: Stage) -> None:
    """A process that was started again under the same name."""
    target = stage.worker("t", "a")
    first = Leased(stage, "p", incarnation="i")
    first.publish_numbers(1, 2)
    stage.keep()
    first.leave()

    second = Leased(stage, "p", incarnation="j")
    second.publish_numbers(1)
    stage.keep()

    assert len(target.deliveries()) == 3


def test_a_publisher_that_was_away_for_an_hour_is_not_known_any_more(stage: Stage) -> None:
    """What it says again after that is taken again."""
    target = stage.worker("t", "a")
    first = Leased(stage, "p", incarnation="i")
    first.publish_numbers(1)
    stage.keep()
    first.leave()
    stage.wait(KEPT_S)
    second = Leased(stage, "p", incarnation="i")
    second.publish_numbers(1)
    stage.keep()

    assert len(target.deliveries()) == 2


def test_a_publisher_goes_on_at_a_host_that_knows_nothing_of_it(stage: Stage) -> None:
    """Its numbers begin far above 1; that is no pace too fast."""
    target = stage.worker("t", "a")
    worker = Leased(stage, "p", confirmed=10_000)

    worker.publish_numbers(10_001, 10_002)
    stage.keep()

    assert len(target.deliveries()) == 2
    assert max(frame.published_through for frame in worker.heard()) == 10_002


# Bounds.


def test_a_worker_that_acknowledges_nothing_is_ended() -> None:
    """What it may want again is kept for it, and it never says that it does not."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_unread_frames=20))
    worker = Leased(stage, "w")
    for _ in range(21):
        stage.broker.take(worker.session, WorkerFrame(beat=True), stage.now)
        assert len(worker.heard()) == 1

    with pytest.raises(ProtocolViolation, match="21 frames are not acknowledged"):
        stage.broker.take(worker.session, WorkerFrame(), stage.now)


def test_a_worker_that_settles_and_acknowledges_nothing_is_ended() -> None:
    """What is settled counts no more in the queues, but the frames that it came in are kept."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_queued_bytes=10_000))
    worker, publisher = Leased(stage, "w", "a"), stage.worker("p")

    def settle_one(number: int) -> None:
        publisher.publish("x", content=b"x" * 1000)
        (delivery,) = worker.deliveries()
        frame = WorkerFrame(settlements=[worker.settlement(delivery, number)])
        stage.broker.take(worker.session, frame, stage.now)
        stage.keep()

    for number in range(1, 11):
        settle_one(number)

    assert stage.broker.queued_bytes == 0
    with pytest.raises(ProtocolViolation, match=r"events of 11000 bytes are not acknowledged"):
        settle_one(11)


def test_a_worker_that_acknowledges_what_it_settles_goes_on_for_ever() -> None:
    """Nothing of that is kept."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_queued_bytes=10_000))
    worker, publisher = Leased(stage, "w", "a"), stage.worker("p")
    for number in range(1, 101):
        publisher.publish("x", content=b"x" * 1000)
        (delivery,) = worker.deliveries()
        worker.say(WorkerFrame(settlements=[worker.settlement(delivery, number)]))
        stage.keep()

    assert worker.session.outbox.kept_event_bytes == 0


def test_what_waits_to_be_acknowledged_counts_until_it_is(stage: Stage) -> None:
    """Bytes of calls and replies, and answers; then nothing is left."""
    worker, other = Leased(stage, "w", "a"), stage.worker("o", "b")
    worker.heard()
    worker.say()
    outbox = worker.session.outbox
    assert (outbox.unread_bytes, outbox.answer_count) == (0, 0)
    other.call(("a", "x"), payload=b"x" * 1000)
    worker.call(("b", "x"))
    (asked,) = other.calls()
    other.reply(asked, b"y" * 500)
    worker.publish_numbers(1, topic="not a topic!")
    stage.keep()
    before = outbox.unread_bytes
    assert before >= 1500
    assert outbox.answer_count == 2

    worker.heard()
    assert (outbox.unread_bytes, outbox.answer_count) == (before, 2)
    worker.part()
    worker.resume(received=1)
    worker.heard()
    assert (outbox.unread_bytes, outbox.answer_count) == (before, 2)

    worker.say()
    assert (outbox.unread_bytes, outbox.answer_count) == (0, 0)


def test_a_call_that_ends_unsaid_counts_no_more(stage: Stage) -> None:
    """And one that was said does until it is acknowledged, whatever has become of it."""
    worker, other = Leased(stage, "w", "a"), stage.worker("o")
    worker.heard()
    said = other.call(("a", "x"), payload=b"x" * 1000)
    worker.heard()
    unsaid = other.call(("a", "y"), payload=b"x" * 1000)
    outbox = worker.session.outbox
    other.cancel(unsaid)
    other.cancel(said)
    assert 1000 <= outbox.unread_bytes < 2000

    worker.heard()
    worker.say()

    assert outbox.unread_bytes == 0


def test_a_worker_that_is_told_little_is_told_what_was_taken_in(stage: Stage) -> None:
    """Else it would have to keep what it has said."""
    worker = Leased(stage, "w")
    worker.heard()
    for _ in range(32):
        worker.say()

    assert worker.heard() == [HostFrame(received=32)]
