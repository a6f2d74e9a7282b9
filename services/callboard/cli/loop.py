"""The event loop of a command that holds agents, or serves those that do."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import TypeVar

from callboard.cli.ending import keep
from callboard.log import Logger

log = Logger(__name__)

TASKS_S = 3.0
"""How long tasks that are left may take to end: the last of them lets the last traces leave."""

COLLECT_EVERY = (20_000, 20, 20)
"""When Python looks for cycles.

After 700 objects, its default, takes a tenth of the time of a process that passes on hundreds of
thousands a second. What the program is made of is not looked at again.
"""

T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    """Run ``main`` as `asyncio.run` does, but wait for what it leaves behind no longer than fits.

    Tasks have `TASKS_S`; the executor's threads are left to `ending.leave`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_EVERY)
    runner = asyncio.Runner()
    try:
        return runner.run(main)
    finally:
        loop = runner.get_loop()
        left = loop.run_until_complete(_end_tasks())
        if left:
            keep((loop, left))
            names = sorted(task.get_name() for task in left)
            log.warning("tasks do not end though they were cancelled", tasks=names)
        else:
            asyncio.set_event_loop(None)
            loop.close()


async def _end_tasks() -> set[asyncio.Task[object]]:
    """Cancel all tasks; those that have not ended in time."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, left = await asyncio.wait(left, timeout=TASKS_S)
    if not left:
        await asyncio.get_running_loop().shutdown_asyncgens()
    return left
