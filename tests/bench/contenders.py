"""The runtimes that are measured: how their hosts run, and their workers and publishers."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from callboard.bench.member import BenchmarkFailed
from callboard.bench.stage import CALLBOARD, Contender
from callboard.cli.lifeline import LIFELINE

ROOT = Path(__file__).parent.parent.parent
AUTOGEN_PYTHON = ROOT / ".venv-autogen/bin/python"
LISTENING = b"listening on "
STARTS_WITHIN_S = 20.0

AUTOGEN = Contender(
    "AutoGen",
    (str(AUTOGEN_PYTHON), str(Path(__file__).with_name("autogen_program.py"))),
    {"PYTHONPATH": str(ROOT / "services")},
)

_HOSTS: dict[str, Sequence[str]] = {
    CALLBOARD.name: (sys.executable, "-m", "callboard", "host", "--address", "127.0.0.1:0"),
    AUTOGEN.name: (str(AUTOGEN_PYTHON), str(ROOT / "tests/autogen/programs/host.py")),
}


@dataclass(frozen=True)
class Host:
    """A host that runs."""

    address: str
    pid: int


@asynccontextmanager
async def run_host(contender: Contender, **settings: str) -> AsyncIterator[Host]:
    """Run a host of this runtime for the length of the block.

    Args:
        contender: Whose.
        settings: Of the host, by their names in the environment.
    """
    process = await asyncio.create_subprocess_exec(
        *_HOSTS[contender.name],
        stdin=PIPE,  # they end with it
        stdout=PIPE,
        stderr=DEVNULL,
        env={name: value for name, value in os.environ.items() if "CALLBOARD" not in name}
        | {LIFELINE: "1", **settings},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(STARTS_WITHIN_S):
            line = await process.stdout.readline()
        if not line.startswith(LISTENING):
            raise BenchmarkFailed(f"the host of {contender.name} has ended at its start")
        yield Host(line.removeprefix(LISTENING).decode().strip(), process.pid)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
