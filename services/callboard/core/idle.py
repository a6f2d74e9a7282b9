"""Who is idle since when, and who goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

W = TypeVar("W")


class IdleSince(Generic[W]):
    """Those who are idle, the one that is so for longest first.

    Whoever becomes busy is not told to it, so that this costs nothing: who it names may be busy.
    Such a one is put in again when it is idle again.
    """

    def __init__(self, timeout_s: float) -> None:
        """Nobody is idle.

        Args:
            timeout_s: How long one may be idle; 0 or less: for ever.
        """
        self._timeout_s = timeout_s
        self._since: OrderedDict[W, float] = OrderedDict()

    def rest(self, who: W, now: float) -> None:
        """``who`` is idle from now on."""
        self._since[who] = now
        self._since.move_to_end(who)

    def discard(self, who: W) -> None:
        """``who`` is gone. Idempotent."""
        self._since.pop(who, None)

    def take_oldest(self) -> W | None:
        """Who is idle for longest, and is taken out; None when there is nobody."""
        return self._since.popitem(last=False)[0] if self._since else None

    def take_due(self, now: float) -> W | None:
        """The same for one whose time has passed; None when there is none such."""
        due = self.next_due()
        return None if due is None or due > now else self.take_oldest()

    def next_due(self) -> float | None:
        """When `take_due` has somebody; None for never."""
        if self._timeout_s <= 0 or not self._since:
            return None
        return next(iter(self._since.values())) + self._timeout_s

    def __len__(self) -> int:
        return len(self._since)
