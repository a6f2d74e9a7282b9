"""The engine for tests and throw-away work: everything is lost with the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import time_ns

from callboard.core.commit import Commit, DeadLetter

MAX_DEAD_LETTERS = 10_000
"""Dead letters kept; with more the oldest are forgotten."""

MAX_DEAD_LETTER_BYTES = 64 << 20
"""What the events of the dead letters hold, together; with more the oldest are forgotten."""


class MemoryEngine:
    """Gives positions and keeps dead letters. The queues themselves are the broker's."""

    name = "memory"
    is_volatile = True

    def __init__(self) -> None:
        self._epoch = 0
        self._last_position = 0
        self._dead: deque[DeadLetter] = deque()
        self._dead_bytes = 0

    async def open(self) -> int:
        """An epoch above those before it.

        Milliseconds of the clock: nothing but that outlives the process.
        """
        self._epoch = max(time_ns() // 1_000_000, self._epoch + 1)
        return self._epoch

    async def commit(self, commit: Commit) -> Sequence[int]:
        """Number the targets; never fails and never waits."""
        return self.commit_now(commit)

    def commit_now(self, commit: Commit) -> Sequence[int]:
        """`commit` for callers outside any event loop, such as `LocalRuntime`."""
        first = self._last_position + 1
        self._last_position += sum(len(append.targets) for append in commit.appends)
        for letter in commit.dead:
            self._dead.append(letter)
            self._dead_bytes += _size_of(letter)
        while len(self._dead) > MAX_DEAD_LETTERS or self._dead_bytes > MAX_DEAD_LETTER_BYTES:
            self._dead_bytes -= _size_of(self._dead.popleft())
        return range(first, self._last_position + 1)

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """The newest, oldest first; see `MAX_DEAD_LETTERS` and `MAX_DEAD_LETTER_BYTES`."""
        return list(self._dead)

    async def close(self) -> None:
        """Nothing to let go."""


def _size_of(letter: DeadLetter) -> int:
    return len(letter.delivery.event.content) + len(letter.detail)
