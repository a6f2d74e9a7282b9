"""Child processes that the demo starts, watches and does not leave behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from callboard_samples.command import SampleFailed

KEPT_LINES_COUNT = 200
MAX_LINE_BYTES = 1 << 20


class Child:
    """A process with a name, and what it printed last, its errors included."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.output: deque[str] = deque(maxlen=KEPT_LINES_COUNT)
        self.has_ended = asyncio.Event()
        self.may_end = False
        self._printed = asyncio.Event()

    async def until_printed(self, start: str, timeout_s: float) -> str:
        """Wait for a line that begins with ``start``; the rest of it.

        Raises:
            SampleFailed: There was none within ``timeout_s``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for line in self.output:
                        if line.startswith(start):
                            return line.removeprefix(start).strip()
                    self._printed.clear()
                    await self._printed.wait()
        except TimeoutError as error:
            msg = f"{self.name} did not print {start!r} within {timeout_s:g} s"
            raise SampleFailed(msg) from error

    async def watch(self) -> None:
        """Take in what the process prints, until it ends.

        Raises:
            SampleFailed: It ended before it was asked to.
        """
        assert self.process.stdout is not None  # noqa: S101 (it was asked for)
        async for line in self.process.stdout:
            self.output.append(line.decode(errors="replace").rstrip())
            self._printed.set()
        code = await self.process.wait()
        self.has_ended.set()
        if not self.may_end:
            msg = f"{self.name} ended by itself, with {_outcome(code)}"
            raise SampleFailed(msg)


class Children:
    """The processes of one ``async with children()``."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._children: list[Child] = []

    async def start(self, name: str, *arguments: str) -> Child:
        """Start ``callboard`` with ``arguments``."""
        process = await asyncio.create_subprocess_exec(
            *callboard_command(),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=MAX_LINE_BYTES,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        child = Child(name, process)
        self._children.append(child)
        self._tasks.create_task(child.watch(), name=name)
        return child

    async def stop(self, timeout_s: float) -> None:
        """Ask each to stop, by SIGTERM, and wait until it has: last started, first stopped.

        Raises:
            SampleFailed: One took longer, or left with another exit code than 0.
        """
        for child in reversed(self._children):
            child.may_end = True
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.has_ended.wait(), timeout_s)
            except TimeoutError as error:
                msg = f"{child.name} did not end within {timeout_s:g} s of SIGTERM"
                raise SampleFailed(msg) from error
            if child.process.returncode != 0:
                msg = f"{child.name} ended with {_outcome(child.process.returncode)} on SIGTERM"
                raise SampleFailed(msg)

    async def kill(self) -> None:
        """End whatever still runs, the hard way."""
        for child in self._children:
            child.may_end = True
            with suppress(ProcessLookupError):
                child.process.kill()
        for child in self._children:
            await child.process.wait()

    def print_output(self) -> None:
        """Print what every process said, to the standard error."""
        for child in self._children:
            for line in child.output or ["(no output)"]:
                print(f"{child.name} | {line}", file=sys.stderr)


@asynccontextmanager
async def children() -> AsyncIterator[Children]:
    """Run a block with processes of its own. They end with it, at the latest.

    The block is cancelled when one of them ends unasked. When it fails, their output is printed.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            started = Children(tasks)
            try:
                yield started
            except BaseException:
                started.print_output()
                raise
            finally:
                await started.kill()
    except BaseExceptionGroup as group:
        # The first is what went wrong; the others are what followed from it.
        raise group.exceptions[0] from None


def callboard_command() -> list[str]:
    """How to run ``callboard`` in this very environment."""
    script = Path(sys.executable).with_name("callboard")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "callboard.cli"]


def _outcome(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
