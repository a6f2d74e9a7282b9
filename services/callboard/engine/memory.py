"""The engine for tests and throw-away work: everything is lost with the process."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from time import time_ns

from callboard.core.backlogs import Backlog, PageRequest
from callboard.core.commit import Commit, DeadLetter
from callboard.core.dead_letters import EVERY, Selection
from callboard.core.event import Address, Delivery
from callboard.core.kept import Kept
from callboard.engine.contract import PAGE_BYTES, PAGE_ITEMS
from callboard.log import Logger

log = Logger(__name__)

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
        self._dead: OrderedDict[int, DeadLetter] = OrderedDict()  # in the order of their deaths
        self._dead_positions: list[int] = []  # in order
        self._dead_bytes = 0

    async def open(self) -> Kept:
        """An epoch above those before it, and nothing else.

        Milliseconds of the clock: nothing but that outlives the process.
        """
        self._epoch = max(time_ns() // 1_000_000, self._epoch + 1)
        return Kept(self._epoch)

    async def waiting(
        self,
        *,
        beyond: int = 0,  # noqa: ARG002 (the contract's)
        limit: int = PAGE_ITEMS,  # noqa: ARG002
    ) -> Sequence[Delivery]:
        """None: they were lost with the host."""
        return ()

    async def backlogs(
        self,
        *,
        beyond: Address | None = None,  # noqa: ARG002
        limit: int = PAGE_ITEMS,  # noqa: ARG002
    ) -> Sequence[Backlog]:
        """None: everything is at hand."""
        return ()

    async def pages(self, requests: Sequence[PageRequest]) -> Sequence[Sequence[Delivery]]:
        """Empty ones: everything is at hand."""
        return [()] * len(requests)

    async def check(self) -> None:
        """It can."""

    async def commit(self, commit: Commit) -> Sequence[int]:
        """Number the targets; never fails and never waits."""
        return self.commit_now(commit)

    def commit_now(self, commit: Commit) -> Sequence[int]:
        """`commit` for callers outside any event loop, such as `LocalRuntime`."""
        first = self._last_position + 1
        self._last_position += sum(len(append.targets) for append in commit.appends)
        numbers: Sequence[int] = range(first, self._last_position + 1)
        if commit.errands:
            replayed = [self._replay(each.letter.delivery.position) for each in commit.replays]
            dropped = [each.position if self._forget(each.position) else 0 for each in commit.drops]
            numbers = [*numbers, *replayed, *dropped]
        forgotten = 0
        for letter in commit.dead:
            self._dead[letter.delivery.position] = letter
            insort(self._dead_positions, letter.delivery.position)
            self._dead_bytes += _size_of(letter)
            while len(self._dead) > MAX_DEAD_LETTERS or self._dead_bytes > MAX_DEAD_LETTER_BYTES:
                self._forget(next(iter(self._dead)))
                forgotten += 1
        if forgotten:
            log.warning("too many dead letters: the oldest are forgotten", count=forgotten)
        return numbers

    async def dead_letters(
        self,
        selection: Selection = EVERY,
        *,
        beyond: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Sequence[DeadLetter]:
        """Of the latest; see `MAX_DEAD_LETTERS` and `MAX_DEAD_LETTER_BYTES`."""
        positions = self._dead_positions
        if newest_first:
            end = bisect_left(positions, beyond) if beyond else len(positions)
            places = range(end - 1, -1, -1)
        else:
            places = range(bisect_right(positions, beyond), len(positions))
        letters = (self._dead[positions[place]] for place in places)
        chosen = islice((each for each in letters if selection.has(each)), limit)
        return list(chosen) if limit is None else _page(chosen)

    async def dead_letter(self, position: int) -> DeadLetter | None:
        """The dead letter of that position; None when there is none."""
        return self._dead.get(position)

    async def close(self) -> None:
        """Nothing to let go."""

    def _replay(self, position: int) -> int:
        """Give the dead letter of ``position`` a new one; 0 when it is not there."""
        if not self._forget(position):
            return 0
        self._last_position += 1
        return self._last_position

    def _forget(self, position: int) -> bool:
        """Whether there was a dead letter of ``position``, which there is no more."""
        letter = self._dead.pop(position, None)
        if letter is None:
            return False
        del self._dead_positions[bisect_left(self._dead_positions, position)]
        self._dead_bytes -= _size_of(letter)
        return True


def _page(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """As many of ``letters`` as `PAGE_BYTES` holds, and at least one."""
    page: list[DeadLetter] = []
    size = 0
    for letter in letters:
        size += _size_of(letter)
        if page and size > PAGE_BYTES:
            break
        page.append(letter)
    return page


def _size_of(letter: DeadLetter) -> int:
    return len(letter.delivery.event.content) + len(letter.detail)
