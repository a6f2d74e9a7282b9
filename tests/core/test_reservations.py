"""Workers whose host is replaced, and replaced again before they are back."""

from __future__ import annotations

from callboard.core.broker import Broker, BrokerLimits
from callboard.core.event import Grant
from callboard.core.frames import Claims, Partitions, Registration, TypeEntry, WorkerFrame
from callboard.core.kept import Kept, KeptSession
from callboard.core.session import LEASES, Session

LIMITS = BrokerLimits(partitions=1)
CLAIMS = Claims((Partitions("a", ((0, Grant(1, 1)),)),), {})


class Hosts:
    """One host after the other, with what they keep of sessions."""

    def __init__(self, *former: str) -> None:
        self.kept = {
            name.encode(): KeptSession(name.encode(), name, f"of {name}") for name in former
        }
        self.epoch = 1
        self.broker = Broker(1)
        self.replace()

    def replace(self) -> None:
        """The host is gone, and another is there."""
        self.epoch += 1
        self.broker = Broker(self.epoch, LIMITS)
        self.broker.restore(Kept(self.epoch, sessions=tuple(self.kept.values())), 0.0)

    def greet(self, name: str, token: str, claims: Claims = CLAIMS) -> Session:
        """A worker comes, with that token; its session has its name and the host's epoch."""
        session = Session(
            f"{name}{self.epoch}",
            name,
            incarnation=f"of {name}",
            token=f"{name}{self.epoch}".encode(),
            capabilities=frozenset({LEASES}),
        )
        self.broker.join(session, 0.0, token=token.encode(), claims=claims)
        self.keep()
        return session

    def register(self, session: Session) -> tuple[Partitions, ...]:
        """It serves ``a``; what it has still of that."""
        self.broker.register(session, Registration(1, (TypeEntry("a"),), ()), 0.0)
        self.keep()
        return session.outbox.registered[-1].adopted

    def keep(self) -> None:
        """Let the engine keep what there is."""
        while (commit := self.broker.take_commit()) is not None:
            for session in commit.sessions:
                kept = KeptSession(session.token, session.client_id, session.incarnation)
                self.kept[session.token] = kept
            for token in commit.sessions_gone:
                self.kept.pop(token, None)
            self.broker.committed(commit, (), 0.0)


def test_who_has_not_heard_of_the_host_in_between_goes_on_at_the_one_after() -> None:
    """It comes with the token of before, and its session with the host in between is over."""
    hosts = Hosts("w")
    hosts.greet("w", "w")
    hosts.replace()

    session = hosts.greet("w", "w")
    assert session.is_known
    assert hosts.register(session) == CLAIMS.partitions
    assert list(hosts.kept) == [b"w3"]
    other = hosts.greet("v", "")
    hosts.register(other)
    hosts.broker.leave(session, 0.0)
    assert hosts.broker.held_count(other) == 1, "nothing is reserved for anybody"


def test_who_has_heard_of_the_host_in_between_goes_on_at_the_one_after() -> None:
    """It had not registered, and comes with the newer token: the older one is no more."""
    hosts = Hosts("w")
    hosts.greet("w", "w")
    hosts.replace()

    session = hosts.greet("w", "w2")
    assert session.is_known
    assert not hosts.broker.knows(b"w", "of w")
    assert hosts.register(session) == CLAIMS.partitions
    assert list(hosts.kept) == [b"w3"]


def test_the_former_session_of_one_that_has_registered_is_over() -> None:
    """It cannot be gone on with at the next host."""
    hosts = Hosts("w")
    hosts.register(hosts.greet("w", "w"))
    assert list(hosts.kept) == [b"w2"]


def test_nothing_is_reserved_for_one_that_leaves_and_says_so() -> None:
    """Though it never registered: a program without agents."""
    hosts = Hosts("w")
    session = hosts.greet("w", "w", Claims((), {}))
    other = hosts.greet("v", "")
    hosts.broker.take(session, WorkerFrame(leave=True), 0.0)
    hosts.register(other)
    assert hosts.broker.held_count(other) == 1
    assert list(hosts.kept) == [b"v2"]


def test_who_wants_to_leave_is_not_let_go_before_its_claims_are_answered() -> None:
    """It had turns under way: told that it holds nothing it would leave them."""
    hosts = Hosts("w")
    session = hosts.greet("w", "w")
    hosts.broker.register(session, Registration(1, (TypeEntry("a"),), ()), 0.0)
    hosts.broker.drain(session, 0.0)
    assert not session.is_drained
    hosts.keep()
    assert session.outbox.registered[-1].adopted == CLAIMS.partitions
    assert not session.is_drained
    hosts.broker.surrendered(session, CLAIMS.partitions[0], 0.0)
    assert session.is_drained
