"""Runs the real `callboard` command and waits for what it prints, never longer than a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Self

CALLBOARD = str(Path(sys.executable).with_name("callboard"))
SHOP = Path(__file__).parent
"""The directory that holds the module `shop`."""

DEADLINE_S = 20.0


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without what would set Callboard or colour its output."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CALLBOARD_") and name not in {"FORCE_COLOR", "NO_COLOR", "COLUMNS"}
    }
    return {**ours, "PYTHONUNBUFFERED": "1", **(more or {})}


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line on the standard error of a command that failed."""
        lines = self.stderr.splitlines()
        assert len(lines) == 1, f"not one line: {self.stderr!r}"
        return lines[0]


def run(
    *arguments: str,
    stdin: str = "",
    cwd: Path = SHOP,
    env: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_S,
) -> Result:
    """Run ``callboard`` to its end."""
    done = subprocess.run(
        [CALLBOARD, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        cwd=cwd,
        env=environment(env),
        text=True,
        timeout=deadline_s,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@dataclass
class Running:
    """A ``callboard`` that runs. Its output is gathered by threads; `kill` ends what is left."""

    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _readers: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def start(cls, *arguments: str, cwd: Path = SHOP, env: Mapping[str, str] | None = None) -> Self:
        """Start ``callboard``."""
        process = subprocess.Popen(
            [CALLBOARD, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment(env),
            text=True,
        )
        running = cls(process)
        for stream, lines in ((process.stdout, running.out), (process.stderr, running.err)):
            assert stream is not None
            reader = threading.Thread(target=running._read, args=(stream, lines), daemon=True)
            reader.start()
            running._readers.append(reader)
        return running

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def line(self, text: str, *, times: int = 1) -> str:
        """Wait for the ``times``-th line of output that holds ``text``; return it."""

        def found() -> list[str]:
            return [line for line in self.out if text in line]

        self._wait(lambda: len(found()) >= times, f"line {times} with {text!r}")
        return found()[times - 1]

    def error(self, text: str) -> str:
        """Wait for a line on the standard error that holds ``text``; return it."""
        self._wait(lambda: any(text in line for line in self.err), f"error {text!r}")
        return next(line for line in self.err if text in line)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        give_up_at = monotonic() + DEADLINE_S
        with self._changed:
            while not condition():
                ended = not any(reader.is_alive() for reader in self._readers)
                if ended or not self._changed.wait(min(1.0, max(0.0, give_up_at - monotonic()))):
                    still = monotonic() < give_up_at and not ended
                    assert still, f"no {what}\nout: {self.out}\nerr: {self.err}"

    def write(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        """End its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end and all of its output; the exit code."""
        code = self.process.wait(DEADLINE_S)
        for reader in self._readers:
            reader.join(DEADLINE_S)
        return code

    def kill(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(DEADLINE_S)
        if self.process.stdin is not None:
            self.process.stdin.close()


class Commands:
    """Starts commands for one test, or several, and ends those that are left, the last first."""

    def __init__(self) -> None:
        self._all: list[Running] = []

    def start(
        self, *arguments: str, cwd: Path = SHOP, env: Mapping[str, str] | None = None
    ) -> Running:
        """Start ``callboard``."""
        self._all.append(Running.start(*arguments, cwd=cwd, env=env))
        return self._all[-1]

    def host(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[Running, str]:
        """Start a host at a free port; it and its address."""
        host = self.start("host", "--address", "127.0.0.1:0", *arguments, env=env)
        return host, host.line("listening on ").removeprefix("listening on ")

    def worker(self, address: str, *arguments: str) -> Running:
        """Start a worker and wait until it is ready."""
        worker = self.start("worker", "--host", address, *arguments)
        worker.line("ready")
        return worker

    def kill(self) -> None:
        """End what is left."""
        for each in reversed(self._all):
            each.kill()
