"""What a broker leaves for its shell to do, and what it counts."""

from __future__ import annotations

from collections.abc import KeysView
from typing import TYPE_CHECKING

from callboard.core.commit import Commit
from callboard.core.limits import Counters

if TYPE_CHECKING:
    from callboard.core.session import Session


class Agenda:
    """What is to be kept, who is to be told something, and how often what has happened.

    Attributes:
        commit: Gathers what the engine is to keep next.
        committing_count: Commits taken that the engine has not confirmed.
        lapsed: Sessions that have ended because their lease ran out.
    """

    __slots__ = ("_awake", "commit", "committing_count", "counters", "lapsed")

    def __init__(self) -> None:
        self.commit = Commit()
        self.committing_count = 0
        self.counters = Counters()
        self.lapsed: list[Session] = []
        # In the order in which they woke: sets are ordered by address, and runs must replay
        # exactly.
        self._awake: dict[Session, None] = {}

    def wake(self, session: Session) -> None:
        """There is something in the outbox of ``session``."""
        self._awake[session] = None

    def forget(self, session: Session) -> None:
        """Nothing is to be said to ``session`` any more."""
        self._awake.pop(session, None)

    def take_awake(self) -> KeysView[Session]:
        """The sessions whose outbox got something since the last time."""
        awake, self._awake = self._awake, {}
        return awake.keys()

    def take_commit(self) -> Commit | None:
        """What the engine is to keep next; None when there is nothing."""
        if self.commit.is_empty:
            return None
        commit, self.commit = self.commit, Commit()
        self.committing_count += 1
        return commit

    @property
    def is_empty(self) -> bool:
        """Whether nothing is being kept or to be kept."""
        return not self.committing_count and self.commit.is_empty
