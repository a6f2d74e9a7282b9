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

    Publishes that never waited for room are answered in order, and each that did after all of those
    before it.

    Attributes:
        incarnation: Its name.
        last: The highest publish number seen; 0 before the first.
        answered: All publishes up to this number are answered.
        held: Those that are not, because they wait for room or did, in order.
        kept: Numbers beyond ``last`` that the former host has answered.
        beyond: The latest of the answers beyond ``answered``, in the order in which they were
            given, with why not.
        unanswered_count: How many publishes are seen and not answered.
        is_replaced: Another process has taken its name: it has no place here any more.
        session: The one that says its publishes, and is told; None while it has none.
    """

    __slots__ = (
        "_answer_count",
        "_highest",
        "_refused",
        "answered",
        "beyond",
        "held",
        "incarnation",
        "is_replaced",
        "kept",
        "last",
        "session",
        "unanswered_count",
    )

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.last = 0
        self.answered = 0
        self.held: OrderedDict[int, None] = OrderedDict()
        self.beyond: deque[tuple[int, Refusal | None]] = deque()
        self.kept: frozenset[int] = frozenset()
        self.is_replaced = False
        self.session: Session | None = None
        self.unanswered_count = 0
        self._highest = 0
        self._answer_count = 0
        self._refused: deque[tuple[int, Refusal]] = deque()

    def has(self, number: int) -> bool:
        """Whether the publish of that number was seen before."""
        return number <= self.last or number in self.kept

    def refused_beyond(self, number: int) -> list[Refusal]:
        """Those above ``number`` that were refused, of those up to `answered`, in order."""
        refused = [each for _, each in self._refused if number < each.number <= self.answered]
        return sorted(refused)

    def hold(self, number: int) -> None:
        """The publish of that number may be answered after later ones."""
        if not self.held:
            self._highest = self.answered
        self.held[number] = None

    def answer(self, number: int, refusal: Refusal | None, window: int) -> Session | None:
        """The publish of that number is taken, or refused.

        What was answered is known for as long as the publisher may not have heard of it, which is
        so for at most twice its ``window`` of answers.

        Returns the session that is to hear of it; None: it hears of it when it is back.
        """
        self._answer_count += 1
        self.unanswered_count -= 1
        session, refused = self.session, self._refused
        if refusal is not None:
            refused.append((self._answer_count, refusal))
        while refused and refused[0][0] <= self._answer_count - 2 * window:
            refused.popleft()
        if self.held:
            first = next(iter(self.held))
            self.held.pop(number, None)
            self._highest = max(self._highest, number)
            if number > first:
                self._answer_beyond(number, refusal, window)
                return session
            number = self._highest
            if self.held:
                number = min(number, next(iter(self.held)) - 1)
        self.answered = number
        if session is not None:
            session.outbox.published_through = number
            if refusal is not None:
                session.outbox.publishes_refused.append(refusal)
        return session

    def _answer_beyond(self, number: int, refusal: Refusal | None, window: int) -> None:
        self.beyond.append((number, refusal))
        if len(self.beyond) > 2 * window:
            self.beyond.popleft()
        if self.session is not None:
            self.session.outbox.published_beyond.append((number, refusal))


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
        if origin.last or origin.kept or origin.is_replaced:
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
        reason = "it was refused before the host was restarted"
        for incarnation, answered, refused, beyond in kept:
            origin = self._by_incarnation[incarnation] = Origin(incarnation)
            origin.last = origin.answered = answered
            refusals = {
                number: Refusal(number, Code.RESOURCE_EXHAUSTED, reason) for number in refused
            }
            origin._refused.extend(  # noqa: SLF001 (it is made here)
                (0, refusal) for refusal in refusals.values()
            )
            origin.kept = frozenset(beyond)
            origin.beyond.extend((number, refusals.get(number)) for number in beyond)
            self._left_at[incarnation] = now
