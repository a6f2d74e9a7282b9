"""The processes of a chaos run: a host, and workers that write journals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic_ns

from chaos.journal import DIRECTORY, Turn, read_journal
from chaos.verdict import Life

PATIENCE_S = 30.0
"""How long anything may take before a test fails: a bound, not a wait."""

UNDER_WAY = 3
"""How many turns a worker has under way when it is killed, at least."""

TESTS = Path(__file__).parent.parent
CALLBOARD = str(Path(sys.executable).with_name("callboard"))
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A command in a child process. What it says goes to a file, where nobody has to read it."""

    def __init__(
        self, command: Sequence[str], said: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._said = said
        ours = {
            name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")
        }
        with said.open("ab") as file:
            self.child = subprocess.Popen(
                command,
                cwd=TESTS,
                env={**ours, "PYTHONUNBUFFERED": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    @property
    def pid(self) -> int:
        """Its number, and its name in verdicts."""
        return self.child.pid

    def said(self) -> str:
        """What it has said so far."""
        return self._said.read_text()

    async def wait_for(self, text: str, within_s: float = PATIENCE_S) -> str:
        """The rest of the first line that begins so."""
        async with asyncio.timeout(within_s):
            while not (found := re.search(f"^{text}(.*)\n", self.said(), re.MULTILINE)):
                assert self.child.poll() is None, f"it ended before {text!r}:\n{self.said()}"
                await asyncio.sleep(0.02)
        return found[1]

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.child.send_signal(how)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(PATIENCE_S):
            while self.child.poll() is None:
                await asyncio.sleep(0.005)
        return self.child.returncode

    def kill(self) -> None:
        """End it in any case."""
        self.child.kill()
        self.child.wait()

    @property
    def rss_bytes(self) -> int:
        """The memory that it has now: the second number of ``/proc/PID/statm``, proc(5)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES


class Host(Process):
    """A host.

    Attributes:
        port: Where it serves workers, at every address of the machine.
    """

    port = 0

    @classmethod
    async def start(
        cls,
        directory: Path,
        environment: Mapping[str, str],
        port: int = 0,
        options: Sequence[str] = (),
    ) -> Host:
        """Start one; returns when it serves."""
        addresses = ("--address", f"0.0.0.0:{port}", "--operators-address", "127.0.0.1:0")
        command = [CALLBOARD, "host", *addresses, *options]
        host = cls(command, _new_log(directory, "host"), environment)
        host.port = int((await host.wait_for("listening on ")).rpartition(":")[2])
        return host

    @property
    def address(self) -> str:
        """Where it is for processes of this machine."""
        return f"127.0.0.1:{self.port}"


class Worker(Process):
    """A worker whose agents write down their turns.

    Attributes:
        killed_ns: When it was gone; None while nobody killed it.
        stops: From when to when it was stopped by SIGSTOP, each.
        is_spared: Whether something is being done to it, or was that ended it.
    """

    def __init__(
        self,
        directory: Path,
        host: str,
        setup: str = "chaos.agents:setup",
        prefix: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self.killed_ns: int | None = None
        self.stops: list[tuple[int, int]] = []
        self.is_spared = False
        super().__init__(
            [*prefix, CALLBOARD, "worker", "--host", host, setup],
            _new_log(directory, "worker"),
            {DIRECTORY: str(directory)},
        )

    def turns(self) -> list[Turn]:
        """The turns that it has written down so far."""
        path = self._directory / self.name
        return read_journal(self.name, path.read_text()) if path.exists() else []

    @property
    def name(self) -> str:
        """That of its journal."""
        return str(self.pid)

    @property
    def life(self) -> Life:
        """What was done to it."""
        return Life(self.killed_ns, tuple(self.stops))

    async def until_at_work(self) -> None:
        """Return when it has begun one more turn: it is connected, and has agents."""
        began_before = len(self.turns())
        async with asyncio.timeout(PATIENCE_S):
            while len(self.turns()) == began_before:
                await asyncio.sleep(0.02)

    async def kill_in_turn(self) -> None:
        """SIGKILL, at a moment when turns are under way: some, as one may end before it strikes."""
        async with asyncio.timeout(PATIENCE_S):
            while sum(turn.ended_ns is None for turn in self.turns()) < UNDER_WAY:
                await asyncio.sleep(0.01)
        await self.stop(signal.SIGKILL)
        self.killed_ns = monotonic_ns()

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        stopped_ns = monotonic_ns()
        self.child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.child.send_signal(signal.SIGCONT)
        self.stops.append((stopped_ns, monotonic_ns()))


def _new_log(directory: Path, kind: str) -> Path:
    number = sum(1 for _ in directory.glob(f"{kind}-*.log")) + 1
    return directory / f"{kind}-{number}.log"
