"""What the host asks of the place where it keeps what must outlive it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from callboard.core.commit import Commit, DeadLetter
from callboard.core.dead_letters import EVERY, Selection

PAGE_BYTES = 16 << 20
"""What the events of a page of dead letters have together, about, unless there is but one."""


class Engine(Protocol):
    """Keeps events until they are settled.

    One host uses an engine at a time. `commit` is never called while another is under way, so
    commits are kept in the order in which they are given.
    """

    @property
    def name(self) -> str:
        """As the command line names it."""
        ...

    @property
    def is_volatile(self) -> bool:
        """Whether everything is lost with the process; the host says so at start."""
        ...

    async def open(self) -> int:
        """Take the engine over. Returns the epoch: above that of every host that had it before."""
        ...

    async def commit(self, commit: Commit) -> Sequence[int]:
        """Keep all of ``commit`` as one step: all of it or, on an error, nothing.

        Whether a dead letter is still there to be replayed or dropped is decided here, in the order
        in which the commit names them. One that is replayed is removed and kept as an event that
        waits, new position, no attempt yet, in the same step: it is never lost, nor there twice.
        The dead letters that a commit brings come after all that it takes.

        Returns:
            Numbers, in this order: for each target of each append its position; for each replay the
            position of its new delivery, 0 when the dead letter was not there; for each drop the
            position of the dead letter, 0 when it was not there. Positions given out rise over all
            appends and replays, and are never reused. When this returns, the events are kept as the
            engine promises.
        """
        ...

    async def dead_letters(
        self,
        selection: Selection = EVERY,
        *,
        beyond: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Sequence[DeadLetter]:
        """A page of the dead letters, in the order of their positions.

        Args:
            selection: Which of them.
            beyond: Those that come after this position, which may be there no more; 0: all.
            limit: How many at most; None: all, however large, for tests. A page that would grow
                beyond `PAGE_BYTES` ends before that: only an empty one is the last.
            newest_first: From the highest position down.
        """
        ...

    async def dead_letter(self, position: int) -> DeadLetter | None:
        """The dead letter of that position; None when there is none."""
        ...

    async def close(self) -> None:
        """Let the engine go. Idempotent."""
        ...
