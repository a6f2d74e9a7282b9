"""The leases of a host's sessions: which of them have been silent for too long."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.core.limits import BrokerLimits
    from callboard.core.session import Session


class Leases:
    """When each session ends of which nothing is heard.

    That is a lease and a margin after its last beat was heard: the worker counts a lease from when
    it was said, and has stopped by then (`callboard.core.lease`).

    Attributes:
        length_ms: What workers are told.
        length_s: With the margin.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self.length_ms = int(limits.lease_s * 1000)
        self.length_s = limits.lease_s + limits.lease_margin_s
        self._until: OrderedDict[Session, float] = OrderedDict()  # in the order of time

    def renew(self, session: Session, now: float) -> None:
        """Something was heard of ``session``."""
        self._until[session] = now + self.length_s
        self._until.move_to_end(session)

    def end(self, session: Session) -> None:
        """``session`` is over. Idempotent."""
        self._until.pop(session, None)

    def until(self, session: Session) -> float:
        """When ``session`` ends if nothing is heard of it; 0 for one that has no lease."""
        return self._until.get(session, 0.0)

    def next_deadline(self) -> float | None:
        """When the next one ends; None when there is none."""
        return next(iter(self._until.values()), None)

    def expired(self, now: float) -> list[Session]:
        """The sessions of which nothing was heard for too long."""
        expired = []
        for session, until in self._until.items():
            if until > now:
                break
            expired.append(session)
        return expired
