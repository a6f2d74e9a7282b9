"""What the broker knows of one worker's presence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.frames import NO_CLAIMS, Registration
from callboard.core.origins import Origin
from callboard.core.outbox import HostOutbox

if TYPE_CHECKING:
    from callboard.core.queues import Lane

LEASES = "leases"
"""The capability of workers whose session outlives its stream."""


STREAMS = "streams"
"""The capability of workers that know streamed calls."""


BEGINNINGS = "beginnings"
"""The capability of workers that begin what was lost before when the host knows that they do."""


RUNS = "runs"
"""The capability of those that read many items of a frame by columns."""


class Session:
    """One worker's presence at the broker.

    ::

        CONNECTED --its stream is lost--> PARTED --another resumes it--> CONNECTED
            |                                |
            +--left, lease run out, taken over--> OVER

    A session of a worker that has not announced `LEASES` is over with its stream.

    Attributes:
        incarnation: Names the start of the worker's process; empty for other protocols.
        token: The secret that resumes it.
        capabilities: The optional features of the protocol that both sides understand.
        origin: Where its publishes come from.
        is_kept: The engine knows of it, if it has to: nothing is said to it before.
        is_parted: It has no stream, and may have one again. It keeps what it holds and is handed
            nothing new.
        id: For people and logs.
        client_id: The worker's own name, the same over its restarts; placement follows it.
        agent: The worker's programme, for people.
        is_foreign: It speaks another protocol than ours, with looser rules: its names and keys may
            be any text.
        registration: What it last declared and was granted.
        is_known: It goes on with a session whose host is gone.
        claims: What it has of that; looked at when it first registers.
        lanes: By agent type that it serves, what is out at it.
        last_settlement: The highest settlement number seen; 0 before the first.
        draining: It asked to leave: it gets no partitions any more.
        is_drained: It asked to leave, holds nothing, and was told so.
        is_live: It has joined, or will, and has not left. What a session says after that counts
            nothing.
        outbox: What is to be said to it.
    """

    def __init__(
        self,
        id: str,
        client_id: str,
        agent: str = "",
        *,
        incarnation: str = "",
        token: bytes = b"",
        capabilities: frozenset[str] = frozenset(),
        is_foreign: bool = False,
    ) -> None:
        self.id = id
        self.client_id = client_id
        self.agent = agent
        self.incarnation = incarnation
        self.token = token
        self.capabilities = capabilities
        self.is_foreign = is_foreign
        self.registration = Registration(0, (), ())
        self.is_known = False
        self.claims = NO_CLAIMS
        self.lanes: dict[str, Lane] = {}
        self.origin = Origin(incarnation)
        self.last_settlement = 0
        self.draining = False
        self.is_drained = False
        self.is_live = True
        self.is_parted = False
        self.is_kept = not self.has_lease
        self.outbox = HostOutbox(keeps_frames=self.has_lease)

    @property
    def has_lease(self) -> bool:
        """Whether it outlives its stream."""
        return LEASES in self.capabilities

    @property
    def tells_beginnings(self) -> bool:
        """Whether its worker says of each delivery that was lost before when its turn begins."""
        return BEGINNINGS in self.capabilities

    def __repr__(self) -> str:
        return f"Session({self.id}, {self.client_id})"
