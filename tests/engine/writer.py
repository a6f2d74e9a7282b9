"""Commits to the engine in the directory that it is called with until it is killed.

Each commit brings two events of two agents each, and settles those of the one before the last. When
it has returned its number is printed. With ``--unsafe`` nothing is synced.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from callboard.core.commit import Commit
from callboard.core.errors import Unavailable
from callboard.engine.sqlite import SqliteEngine
from engine.commits import append, event

TWO = (("a", "x"), ("b", "x"))

REFUSED = 3
"""How it ends when a commit cannot be kept: at once."""


async def write(directory: Path, *, is_unsafe: bool) -> None:
    engine = SqliteEngine(directory)
    kept = await engine.open()
    if is_unsafe:
        await engine._do(engine._opened._execute, "PRAGMA synchronous = OFF")
    number = max((each.answered for each in kept.origins), default=0) // 2
    recent = [[], [each.position for each in await engine.waiting()]]
    while True:
        number += 1
        appends = [
            append(2 * number + part - 1, *TWO, of="writer", event=event(f"{number}.{part}"))
            for part in range(2)
        ]
        settled = recent.pop(0)
        try:
            recent.append(list(await engine.commit(Commit(appends=appends, removed=settled))))
        except Unavailable:
            os._exit(REFUSED)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), is_unsafe="--unsafe" in sys.argv))
