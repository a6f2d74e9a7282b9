"""The worker's side of a session: what outlives the streams that it goes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.lease import Lease
from callboard.core.worker_outbox import WorkerOutbox

if TYPE_CHECKING:
    from callboard.core.frames import HostFrame
    from callboard.worker.connection import Connection


class WorkerSession:
    """A session that a host has begun.

    Attributes:
        token: The secret that resumes it; empty: it is over with its stream.
        lease: How long it lives, by this process's clock.
        outbox: What is to be said.
        last_settlement: The number of the last settlement.
    """

    def __init__(self, connection: Connection) -> None:
        """It begins with the stream of ``connection``."""
        welcome = connection.welcome
        self.token = welcome.resume_token
        self.lease = Lease(connection.greeted_at, welcome.lease_s)
        self.outbox = WorkerOutbox(welcome.publish_window, keeps_frames=bool(self.token))
        self.last_settlement = 0

    def resume(self, connection: Connection, now: float) -> None:
        """The host goes on with it over ``connection``.

        Raises `ProtocolViolation` when it claims to have received what was never sent.
        """
        assert self.outbox.continuity is not None  # noqa: S101 (for the type checker: it has a token)
        self.outbox.continuity.resume(connection.welcome.received)
        self.lease.ask(connection.greeted_at)
        self.lease.renew(connection.welcome.lease_s, now)

    @property
    def received(self) -> int:
        """Frames of the host that were taken in."""
        return 0 if self.outbox.continuity is None else self.outbox.continuity.received

    def took_in(self, frame: HostFrame, now: float) -> bool:
        """The host has said ``frame``. Whether it is to be told so with nothing else to say.

        Raises `ProtocolViolation`: see `WorkerOutbox.took_in`.
        """
        if frame.lease_ms:
            self.lease.renew(frame.lease_ms / 1000, now)
        return self.outbox.took_in(frame.received)
