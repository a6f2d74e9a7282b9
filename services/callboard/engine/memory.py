"""The engine for tests and throw-away work: everything is lost with the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import time_ns

from callboard.core.commit import Commit, DeadLetter

MAX_DEAD_LETTERS = 10_000
"""Dead letters kept; beyond it the oldest are forgotten, for memory has no other bound."""


class MemoryEngine:
    """Gives positions and keeps dead letters. The queues themselves are the broker's."""

    name = "memory"
    is_volatile = True

    def __init__(self) -> None:
        self._last_position = 0
        self._dead: deque[DeadLetter] = deque(maxlen=MAX_DEAD_LETTERS)

    async def open(self) -> int:
        """An epoch above that of hosts before, as far as the clock rises: nothing else outlives the process."""
        return time_ns() // 1_000_000

    async def commit(self, commit: Commit) -> Sequence[int]:
        """Number the targets; never fails and never waits."""
        return self.commit_now(commit)

    def commit_now(self, commit: Commit) -> Sequence[int]:
        """`commit` for callers outside any event loop, such as `LocalRuntime`."""
        first = self._last_position + 1
        self._last_position += sum(len(append.targets) for append in commit.appends)
        self._dead.extend(commit.dead)
        return range(first, self._last_position + 1)

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """The newest `MAX_DEAD_LETTERS`, oldest first."""
        return list(self._dead)

    async def close(self) -> None:
        """Nothing to let go."""
