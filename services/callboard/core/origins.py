"""Where publishes come from, so that one that comes twice is known.

A publisher that has lost its session does not know which of its publishes the host has. It says
them again under their numbers, in its next session: an origin is what those sessions have in
common. It outlives the last of them for `KEPT_S`, if there is anything to know of it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from callboard.core.errors import Code
from callboard.core.frames import Refusal

if TYPE_CHECKING:
    from callboard.core.kept import KeptOrigin
    from callboard.core.session import Session

KEPT_S = 3600.0
"""How long it is known what a publisher had published that is not there."""


class Origin:
    """One start of a publisher's process.

    Attributes:
        incarnation: Its name.
        last: The highest publish number seen; 0 before the first.
        answered: All publishes up to this number are answered.
        refused: Those among the latest that were refused, in order.
        is_replaced: Another process has taken its name: it has no place here any more.
        session: The one that says its publishes, and is told; None while it has none.
    """

    __slots__ = ("answered", "incarnation", "is_replaced", "last", "refused", "session")

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.last = 0
        self.answered = 0
        self.refused: deque[Refusal] = deque()
        self.is_replaced = False
        self.session: Session | None = None

    def answer(self, number: int, refusal: Refusal | None, window: int) -> Session | None:
        """All publishes up to ``number`` are answered, this one with ``refusal``.

        Refusals are known for as long as the publisher may not have heard of them, which is so for
        at most twice its ``window`` of publishes.

        Returns the session that is to hear of it; None: it hears of it when it is back.
        """
        self.answered = number
        refused = self.refused
        if refusal is not None:
            refused.append(refusal)
        while refused and refused[0].number <= number - 2 * window:
            refused.popleft()
        if self.session is not None:
            self.session.outbox.published_through = number
            if refusal is not None:
                self.session.outbox.publishes_refused.append(refusal)
        return self.session


class Origins:
    """Those that have, or lately had, a session."""

    def __init__(self) -> None:
        self._by_incarnation: dict[str, Origin] = {}
        self._left_at: OrderedDict[str, float] = OrderedDict()

    def join(self, incarnation: str, session: Session, confirmed: int) -> Origin:
        """The origin of what ``session`` publishes. Without a name it is a new one.

        All up to ``confirmed`` is answered, as it says itself: a host that has lost all it knew
        may have done so.
        """
        origin = self._by_incarnation.get(incarnation) or Origin(incarnation)
        if incarnation:
            self._by_incarnation[incarnation] = origin
            self._left_at.pop(incarnation, None)
        origin.session = session
        origin.answered = max(origin.answered, confirmed)
        origin.last = max(origin.last, confirmed)
        return origin

    def is_replaced(self, incarnation: str) -> bool:
        """Whether another process has taken the name of this one."""
        origin = self._by_incarnation.get(incarnation)
        return origin is not None and origin.is_replaced

    def leave(self, session: Session, now: float) -> None:
        """``session`` is over."""
        origin = session.origin
        if origin.session is not session:
            return
        origin.session = None
        incarnation = origin.incarnation
        if not incarnation:
            return
        if origin.last or origin.is_replaced:
            self._left_at[incarnation] = now
        else:
            del self._by_incarnation[incarnation]

    def next_deadline(self) -> float | None:
        """When `expire` next has work; None for never."""
        return next((at + KEPT_S for at in self._left_at.values()), None)

    def expire(self, now: float) -> list[str]:
        """Forget those that have been away for long; their incarnations."""
        gone = []
        while self._left_at:
            incarnation, at = next(iter(self._left_at.items()))
            if at + KEPT_S > now:
                break
            del self._left_at[incarnation], self._by_incarnation[incarnation]
            gone.append(incarnation)
        return gone

    def restore(self, kept: Iterable[KeptOrigin], now: float) -> None:
        """These were known when the former host ended."""
        for incarnation, answered, refused in kept:
            origin = self._by_incarnation[incarnation] = Origin(incarnation)
            origin.last = origin.answered = answered
            reason = "it was refused before the host was restarted"
            origin.refused.extend(
                Refusal(number, Code.RESOURCE_EXHAUSTED, reason) for number in refused
            )
            self._left_at[incarnation] = now
