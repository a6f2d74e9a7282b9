"""A process that `callboard dev` runs: its output shown line by line, ended in good order."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from callboard.cli.lifeline import LIFELINE

STOP_GRACE_S = 6.0
"""How long a process may take to end after SIGTERM; then it is killed."""

_LAST_OUTPUT_S = 1.0
"""How long output may come after the end: what the process started itself may hold the pipe."""


@asynccontextmanager
async def run_child(
    arguments: Sequence[str], show: Callable[[str], None], *, is_coloured: bool
) -> AsyncIterator[Process]:
    """Run ``callboard`` with ``arguments`` for the length of the block, then end it.

    It has a process group of its own, so that Ctrl-C reaches this process alone and the order of
    endings is ours.

    Args:
        arguments: The command line after ``callboard``.
        show: Is given each line of its output, standard error included.
        is_coloured: Whether it may colour its lines though it writes into a pipe.
    """
    environment = os.environ | {LIFELINE: "1", "PYTHONUNBUFFERED": "1"}
    if is_coloured:
        environment["FORCE_COLOR"] = "1"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "callboard.cli", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        env=environment,
        process_group=0,
    )
    assert process.stdout is not None  # noqa: S101 (it was asked for)
    output = asyncio.create_task(_show_lines(process.stdout, show), name=f"output {process.pid}")
    try:
        yield process
    finally:
        await _end(process)
        await asyncio.wait([output], timeout=_LAST_OUTPUT_S)
        output.cancel()


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_GRACE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _show_lines(output: asyncio.StreamReader, show: Callable[[str], None]) -> None:
    rest = b""
    while chunk := await output.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            show(line.decode(errors="replace"))
    if rest:
        show(rest.decode(errors="replace"))
