"""What may still run under the grants of the host before this one.

Workers do not notice at once that their host was replaced: they run what they have until their
lease is over. So nothing is granted at first but what workers claim that prove, by their token,
that they had a session; the rest is free when all former sessions are back, or could have lapsed.

A worker claims the partitions of which it has agents, under the grants that it has them by. Leases
exclude each other, so no two workers have a claim on one partition; were there two, the first has
it.

A worker that has claimed and not registered yet may not have heard that it was let in, and come
once more, with the same token, maybe to yet another host: until it registers its former session is
not forgotten. The token that it comes with is that of the latest session that it has heard of; the
others of its process are over.

Invariant: what was not claimed is granted to nobody while a former session is absent and may live.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.core.event import Grant
    from callboard.core.frames import Partitions
    from callboard.core.kept import KeptSession
    from callboard.core.session import Session


class Reservations:
    """The former sessions, and what was claimed.

    Attributes:
        until: When the absent ones have lapsed; None when none is absent.
    """

    def __init__(self) -> None:
        self._absent: dict[bytes, KeptSession] = {}
        self._claims: dict[Session, dict[str, dict[int, Grant]]] = {}
        self._claimed: dict[tuple[str, int], Session] = {}
        self._former: dict[Session, KeptSession] = {}
        self.until: float | None = None

    def restore(self, sessions: Iterable[KeptSession], until: float) -> None:
        """These had not ended when the former host did; they have lapsed by ``until``."""
        self._absent = {each.token: each for each in sessions}
        self.until = until if self._absent else None

    def is_reserved(self, agent_type: str, partition: int) -> bool:
        """Whether somebody may be running agents of it who holds no grant of this host's."""
        return bool(self._absent) or (agent_type, partition) in self._claimed

    def knows(self, token: bytes, incarnation: str) -> bool:
        """Whether that is the token of a former session that is not back yet."""
        former = self._absent.get(token)
        return former is not None and former.incarnation == incarnation

    def claim(self, session: Session, token: bytes, claims: Iterable[Partitions]) -> list[bytes]:
        """The worker of the former session of ``token`` is back, in ``session``.

        Returns the tokens of the other former sessions of its process, which are over.
        """
        self._former[session] = self._end(token)
        gone = [
            each.token for each in self._absent.values() if each.incarnation == session.incarnation
        ]
        for each in gone:
            self._end(each)
        claimed: dict[str, dict[int, Grant]] = {}
        for agent_type, partitions in claims:
            for partition, grant in partitions:
                if self._claimed.setdefault((agent_type, partition), session) is session:
                    claimed.setdefault(agent_type, {})[partition] = grant
        if claimed:
            self._claims[session] = claimed
        return gone

    def take(self, session: Session, agent_type: str) -> Mapping[int, Grant]:
        """What ``session``, which serves the type now, has claimed of it; it is claimed no more."""
        partitions = self._claims.get(session, {}).pop(agent_type, {})
        for partition in partitions:
            del self._claimed[agent_type, partition]
        return partitions

    def leave(self, session: Session, until: float) -> bool:
        """``session`` is over; whether that changes anything.

        If it had not registered, its worker may go on until then with what it had before.
        """
        former = self._former.get(session)
        if former is None:
            return False
        self._absent[former.token] = former
        self.until = until if self.until is None else max(until, self.until)
        self._drop(session)
        return True

    def settle(self, session: Session) -> tuple[list[bytes], bool]:
        """``session`` has registered, or has nothing left: it claims nothing more.

        Returns the token of the session that it went on with, which is over, and whether it had
        claims left.
        """
        former = self._former.get(session)
        return ([] if former is None else [former.token], self._drop(session))

    def replaced(self, session: Session, token: bytes) -> list[bytes]:
        """The tokens of former sessions that are over because ``session`` has begun.

        Its worker has their name, and is another process, or says itself that it has lapsed.
        """
        gone = [
            each.token
            for each in self._absent.values()
            if each.client_id == session.client_id
            if each.incarnation != session.incarnation or not token
        ]
        for each in gone:
            self._end(each)
        return gone

    def expire(self, now: float) -> list[bytes]:
        """The tokens of the absent sessions, when they have lapsed by now."""
        if self.until is None or now < self.until:
            return []
        gone = list(self._absent)
        self._absent.clear()
        self.until = None
        return gone

    def _drop(self, session: Session) -> bool:
        self._former.pop(session, None)
        claims = self._claims.pop(session, {})
        for agent_type, partitions in claims.items():
            for partition in partitions:
                del self._claimed[agent_type, partition]
        return bool(claims)

    def _end(self, token: bytes) -> KeptSession:
        former = self._absent.pop(token)
        if not self._absent:
            self.until = None
        return former
