"""Leases: a worker's never outlives what its host believes, however slow and broken the way is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.broker import Broker
from callboard.core.frames import HostFrame, WorkerFrame
from callboard.core.lease import Lease, Need
from callboard.core.leases import Leases
from callboard.core.limits import BrokerLimits
from callboard.core.session import LEASES, Session
from callboard.core.worker_outbox import WorkerOutbox

LIMITS = BrokerLimits(partitions=4, lease_s=9.0, lease_margin_s=1.0)
LEASE_S = LIMITS.lease_s


def session(name: str = "w") -> Session:
    return Session(name, name, incarnation=name, capabilities=frozenset({LEASES}))


# The worker's clock.


def test_a_lease_needs_a_beat_after_a_third_of_it() -> None:
    """And once that is said, an answer within another third, or another line."""
    lease = Lease(100.0, LEASE_S)

    assert (lease.need(100.0), lease.next_at()) == (Need.NOTHING, 103.0)
    assert lease.need(103.0) is Need.BEAT
    lease.ask(103.5)
    assert (lease.need(103.5), lease.next_at()) == (Need.NOTHING, 106.5)
    assert lease.need(106.5) is Need.LINE
    assert lease.need(109.0) is Need.END


def test_a_lease_counts_from_when_it_was_asked_for() -> None:
    """However late the answer comes."""
    lease = Lease(100.0, LEASE_S)
    lease.ask(103.0)
    lease.renew(LEASE_S, 108.9)

    assert lease.until == 112.0
    assert lease.need(108.9) is Need.BEAT


def test_an_answer_to_nothing_changes_nothing() -> None:
    """Only what was asked can be answered."""
    lease = Lease(100.0, LEASE_S)
    lease.renew(LEASE_S, 105.0)

    assert lease.until == 109.0


def test_a_lease_that_has_run_out_stays_so() -> None:
    """Also when the answer comes at that very moment."""
    lease = Lease(100.0, LEASE_S)
    lease.ask(103.0)
    lease.renew(LEASE_S, 109.0)

    assert lease.need(109.0) is Need.END
    assert lease.need(200.0) is Need.END


def test_a_host_may_change_how_long_a_lease_is() -> None:
    """One that was replaced may be set otherwise."""
    lease = Lease(100.0, LEASE_S)
    lease.ask(103.0)
    lease.renew(3.0, 103.1)

    assert (lease.until, lease.next_at()) == (106.0, 104.0)


def test_a_session_that_lives_as_long_as_its_stream_needs_nothing() -> None:
    """Its lease has no length."""
    lease = Lease(100.0, 0.0)

    assert (lease.until, lease.next_at(), lease.need(1e9)) == (inf, inf, Need.NOTHING)


# The host's.


def test_sessions_expire_a_margin_after_the_lease_in_the_order_of_their_beats() -> None:
    """Those that were heard of later live longer."""
    leases = Leases(LIMITS)
    one, two, three = session("1"), session("2"), session("3")
    for at, each in ((0.0, one), (1.0, two), (2.0, three), (3.0, one)):
        leases.renew(each, at)

    assert leases.next_deadline() == 11.0
    assert leases.expired(10.9) == []
    assert leases.expired(12.0) == [two, three]
    leases.end(two)
    leases.end(two)
    assert leases.next_deadline() == 12.0
    leases.end(three)
    leases.end(one)
    assert leases.next_deadline() is None


# Both, and the way between them.


class Wire:
    """A worker and a host with a slow way between them; frames are on it as they were said.

    The worker is as `callboard.worker` is: at most one beat unanswered, each stream begun by a
    greeting that asks for the lease.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.broker = Broker(1, LIMITS)
        self.session = session()
        self.broker.join(self.session, self.now)
        self.lease = Lease(self.now, LEASE_S)
        self.outbox = WorkerOutbox(16, keeps_frames=True)
        self.greeted_at = self.now
        self.state = "connected"  # "cut", "greeting", "welcomed"
        self.to_host: deque[tuple[bool, int]] = deque()
        self.to_worker: deque[tuple[int, int]] = deque()
        self.host_received = 0

    # Steps.

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.broker.tick(self.now)

    def worker_looks(self) -> None:
        """What `HostLink` does when its lease needs something."""
        need = self.lease.need(self.now)
        if self.state == "connected" and need is Need.BEAT:
            self.outbox.beat = True
            self.lease.ask(self.now)
        elif need is Need.LINE:
            self.cut()

    def worker_says(self) -> None:
        if self.state == "connected" and (frame := self.outbox.take()) is not None:
            self.to_host.append((frame.beat, frame.received))

    def host_says(self) -> None:
        if self.state in ("connected", "welcomed") and self.session.is_live:
            frame = self.session.outbox.take()
            if frame is not None:
                self.to_worker.append((frame.lease_ms, frame.received))

    def host_hears(self) -> None:
        if self.to_host:
            beat, received = self.to_host.popleft()
            self.broker.take(self.session, WorkerFrame(beat=beat, received=received), self.now)

    def worker_hears(self) -> None:
        if self.state == "connected" and self.to_worker:
            lease_ms, received = self.to_worker.popleft()
            if lease_ms:
                self.lease.renew(lease_ms / 1000, self.now)
            self.outbox.took_in(received)

    def host_has_news(self) -> None:
        """Something else that the session is to hear."""
        self.session.outbox.registered.append(None)  # type: ignore[arg-type]

    def cut(self) -> None:
        """The worker's side of the stream is over; the host may hear more of it for a while."""
        self.state = "cut"

    def greet(self) -> None:
        """The worker begins another stream."""
        assert self.outbox.continuity is not None
        if self.state != "connected":
            self.state = "greeting"
            self.greeted_at = self.now
            self.to_worker.clear()
            self.received = self.outbox.continuity.received

    def welcome(self) -> None:
        """The host hears the greeting: nothing more of the former stream."""
        if self.state == "greeting" and self.session.is_live:
            self.state = "welcomed"
            self.to_host.clear()
            self.broker.resume(self.session, self.received, self.now)
            assert self.session.outbox.continuity is not None
            self.host_received = self.session.outbox.continuity.received

    def resume(self) -> None:
        """The worker hears the welcome."""
        if self.state == "welcomed":
            self.state = "connected"
            self.outbox.resume(self.host_received)
            self.lease.ask(self.greeted_at)
            self.lease.renew(LEASE_S, self.now)

    def begin_anew(self) -> None:
        """Another stream, at once."""
        for step in (self.cut, self.greet, self.welcome, self.resume):
            step()

    # What has to hold.

    def check(self) -> None:
        if self.now >= self.lease.until:
            return
        assert self.session.is_live, "the host has given away what the worker still has"
        until = self.broker.next_deadline()
        assert until is not None
        assert self.lease.until <= until - LIMITS.lease_margin_s


Step = float | Callable[[Wire], None]


def play(*steps: Step) -> None:
    """Do these, and look after each; a number is so many seconds."""
    wire = Wire()
    for step in steps:
        if isinstance(step, float):
            wire.wait(step)
        else:
            step(wire)
        wire.check()


STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.sampled_from([1.0, 3.0]),
        st.sampled_from(
            [
                Wire.worker_looks,
                Wire.worker_says,
                Wire.host_hears,
                Wire.host_says,
                Wire.worker_hears,
                Wire.worker_hears,
                Wire.host_has_news,
                Wire.cut,
                Wire.greet,
                Wire.welcome,
                Wire.resume,
                Wire.begin_anew,
            ]
        ),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=1000)
def test_a_worker_never_believes_longer_than_its_host(steps: list[Step]) -> None:
    """Whatever is late, lost, said again, or begun anew."""
    play(*steps)


def test_an_answer_that_waited_for_another_stream_is_not_taken_for_that_of_a_later_beat() -> None:
    """The host heard the beat before the greeting; the worker's next one may be lost."""
    play(
        3.0,
        Wire.worker_looks,
        Wire.worker_says,
        Wire.host_hears,
        Wire.begin_anew,
        Wire.host_says,
        3.0,
        Wire.worker_looks,
        Wire.worker_hears,
    )


def test_a_beat_that_waited_for_another_stream_does_not_leave_on_it() -> None:
    """The greeting has asked already; an answer to it may be taken for that of the next."""
    play(
        3.0,
        Wire.worker_looks,
        Wire.begin_anew,
        Wire.worker_says,
        Wire.host_hears,
        Wire.host_says,
        3.0,
        Wire.worker_looks,
        Wire.worker_hears,
    )


def test_what_is_said_again_neither_asks_nor_answers() -> None:
    """Beats and answers belong to the stream on which they were said."""
    wire = Wire()
    wire.wait(3.0)
    wire.worker_looks()
    wire.worker_says()
    wire.host_hears()
    answer = wire.session.outbox.take()
    assert answer is not None
    assert answer.lease_ms
    wire.cut()
    wire.greet()
    wire.welcome()
    wire.resume()

    again = wire.session.outbox.take()

    assert again == HostFrame(received=1)
    assert wire.outbox.take() is None


def test_a_quiet_worker_that_beats_keeps_its_session() -> None:
    """For as long as it does."""
    wire = Wire()
    for _ in range(1000):
        wire.wait(0.5)
        wire.worker_looks()
        wire.worker_says()
        wire.host_hears()
        wire.host_says()
        wire.worker_hears()
        wire.check()
        assert wire.lease.need(wire.now) is Need.NOTHING
    assert wire.session.outbox.continuity is not None
    assert wire.session.outbox.continuity.kept_count <= 2
