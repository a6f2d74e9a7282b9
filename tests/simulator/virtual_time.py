"""An event loop whose time is an argument: it passes when nothing else is left to do.

Real asyncio code runs in it unchanged, thousands of seconds in the time that its steps take. There
is no I/O: what would wait for a socket waits for ever, and the loop says so.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context
from itertools import count
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Nothing is left to happen, and what was waited for has not happened."""


class _Task(asyncio.Task[Any]):
    """A task that sets order by when it was made: addresses are others in each run."""

    _numbers = count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(self._numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Nothing(selectors.BaseSelector):
    """Watches nothing: to wait lets time pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self.now += max(timeout, 0.0)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_key(self, fileobj: Any) -> NoReturn:
        raise KeyError(fileobj)

    def get_map(self) -> Any:
        return {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at time 0."""

    def __init__(self) -> None:
        self._nothing = _Nothing()
        super().__init__(self._nothing)
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._nothing.now


def _make_task(
    loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None, **kwargs: Any
) -> asyncio.Task[Any]:
    return _Task(coro, loop=loop, context=context, **kwargs)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` in a loop of its own, from time 0. Raises `Stuck` when it waits for nothing."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        try:
            return runner.run(main)
        finally:
            _end_tasks(runner.get_loop())


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """End those that a run which failed has left, and those that they begin as they end.

    What is left in a loop that is closed says so whenever it is collected.
    """
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        with suppress(Stuck):
            loop.run_until_complete(asyncio.wait(tasks))
