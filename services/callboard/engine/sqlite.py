"""The engine for one host: a file, in which everything is found by the next one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time
from typing import TypeVar

from callboard.core.backlogs import Backlog, PageRequest
from callboard.core.commit import Commit, DeadLetter
from callboard.core.dead_letters import EVERY, Selection
from callboard.core.errors import NotAllowedNow
from callboard.core.event import Address, Delivery
from callboard.core.kept import Kept
from callboard.core.limits import BrokerLimits
from callboard.engine.contract import PAGE_ITEMS
from callboard.engine.sqlite_file import FILE_NAME, unusable
from callboard.engine.sqlite_rows import rows_of
from callboard.engine.sqlite_store import SqliteStore

T = TypeVar("T")

_PUBLISH_WINDOW = BrokerLimits().publish_window


class SqliteEngine:
    """Keeps everything in one SQLite file, in a thread of its own.

    A commit has returned when the disk has it: the host may be killed then, and the machine lose
    its power.

    Lifecycle: NEW -> `open` -> OPEN -> `close` -> CLOSED; another may open the file then. Every
    method raises `Unavailable` when the file cannot be read or written; what it held before stays.
    """

    name = "sqlite"
    is_volatile = False

    def __init__(self, directory: Path, *, publish_window: int = _PUBLISH_WINDOW) -> None:
        """Open nothing before `open`.

        Args:
            directory: Where the file is, or is to be, with nothing else of anybody's.
            publish_window: As in `BrokerLimits`: twice that many of a publisher's latest numbers
                may be asked for again.
        """
        self._directory = directory
        self._answers = 2 * publish_window
        self._thread = ThreadPoolExecutor(1, "callboard.sqlite")
        self._store: SqliteStore | None = None

    async def open(self) -> Kept:
        """Take the file over, which is made when there is none. See `open_file` for the errors."""
        try:
            self._store, kept = await self._do(SqliteStore.open, self._directory, self._answers)
        except BaseException:
            await self.close()
            raise
        return kept

    async def waiting(self, *, beyond: int = 0, limit: int = PAGE_ITEMS) -> Sequence[Delivery]:
        """See `Engine`."""
        return await self._do(self._opened.waiting, beyond, limit, _behind_s())

    async def backlogs(
        self, *, beyond: Address | None = None, limit: int = PAGE_ITEMS
    ) -> Sequence[Backlog]:
        """See `Engine`."""
        return await self._do(self._opened.backlogs, beyond, limit, _behind_s())

    async def pages(self, requests: Sequence[PageRequest]) -> Sequence[Sequence[Delivery]]:
        """See `Engine`."""
        return await self._do(self._opened.pages, requests, _behind_s())

    async def commit(self, commit: Commit) -> Sequence[int]:
        """See `Engine`. Cancelled, it waits no longer; the commit is kept as a whole, or not."""
        return await self._do(self._opened.commit, rows_of(commit, time(), _behind_s()))

    async def check(self) -> None:
        """See `Engine`. Writes something."""
        await self._do(self._opened.check)

    async def dead_letters(
        self,
        selection: Selection = EVERY,
        *,
        beyond: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Sequence[DeadLetter]:
        """See `Engine`. All that have neither been replayed nor dropped."""
        store, behind_s = self._opened, _behind_s()
        return await self._do(
            lambda: store.dead_letters(
                selection, beyond=beyond, limit=limit, newest_first=newest_first, behind_s=behind_s
            )
        )

    async def dead_letter(self, position: int) -> DeadLetter | None:
        """See `Engine`."""
        return await self._do(self._opened.dead_letter, position, _behind_s())

    async def close(self) -> None:
        """Let the file go, after what is under way. Idempotent."""
        store, self._store = self._store, None
        if store is not None:
            await self._do(store.close)
        self._thread.shutdown(wait=False)

    @property
    def _opened(self) -> SqliteStore:
        if self._store is None:
            msg = "the engine is not open"
            raise NotAllowedNow(msg)
        return self._store

    async def _do(self, work: Callable[..., T], *arguments: object) -> T:
        """What ``work`` returns in the thread, to which one thing is given at a time."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work, *arguments)
        except sqlite3.Error as error:
            raise unusable(self._directory / FILE_NAME, error) from error


def _behind_s() -> float:
    """How far the loop's clock, which is the broker's, is behind that of the wall."""
    return time() - asyncio.get_running_loop().time()
