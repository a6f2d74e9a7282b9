"""A process of a benchmark, as the one that gives it orders sees it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from callboard.bench.program import MAX_LINE_BYTES
from callboard.core.errors import CallboardError, Code

COMMAND = (sys.executable, "-m", "callboard.bench")
"""Runs a process that is Callboard."""

END_S = 10.0
"""How long a process may take to leave; then it is killed."""


class BenchmarkFailed(CallboardError):
    """What was to be measured cannot be: the text says what went wrong in which process."""

    code = Code.ABORTED


@dataclass
class Member:
    """One process; `order` gives it orders."""

    process: Process
    _answers: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _number: int = 0

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    async def order(self, what: str, **how: Any) -> Any:
        """Give an order and wait for its answer.

        Raises:
            BenchmarkFailed: It failed, or the process has ended.
        """
        self._number += 1
        line = json.dumps({"id": self._number, "do": what, **how}) + "\n"
        assert self.process.stdin is not None  # noqa: S101 (it was asked for)
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        try:
            self.process.stdin.write(line.encode())
            await self.process.stdin.drain()
            return await answer
        except OSError as error:
            msg = f"a process of the benchmark has ended before it could {what}"
            raise BenchmarkFailed(msg) from error
        finally:
            self._answers.pop(self._number, None)

    async def read(self) -> None:
        """Take in answers until the process ends."""
        assert self.process.stdout is not None  # noqa: S101 (it was asked for)
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            answer = self._answers.get(said["id"])
            if answer is None or answer.done():
                continue
            if "error" in said:
                answer.set_exception(BenchmarkFailed(said["error"]))
            else:
                answer.set_result(said["ok"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BenchmarkFailed("a process of the benchmark has ended"))


@asynccontextmanager
async def run_member(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[Member]:
    """Run a process for the length of the block; at its end it leaves the host in good order.

    It has a process group of its own: Ctrl-C reaches whoever gives the orders, and the order of
    endings is theirs.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        limit=MAX_LINE_BYTES,
        env=os.environ | (environment or {}),
        process_group=0,
    )
    member = Member(process)
    reading = asyncio.create_task(member.read(), name=f"member {process.pid}")
    try:
        yield member
    finally:
        await asyncio.shield(_end(process))
        await reading


async def _end(process: Process) -> None:
    assert process.stdin is not None  # noqa: S101 (it was asked for)
    process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
