"""What the host asks of the place where it keeps what must outlive it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from callboard.core.commit import Commit, DeadLetter


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

        Returns:
            One position for each target of each append, in order; rising, never reused. When this
            returns, the events are kept as the engine promises.
        """
        ...

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """The dead letters, oldest first."""
        ...

    async def close(self) -> None:
        """Let the engine go. Idempotent."""
        ...
