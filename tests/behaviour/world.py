"""Where the behavioural tests run: one process, or a host and workers of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import Any
from uuid import uuid4

from behaviour.agents import Noted
from callboard import AgentRuntime, ClosureAgent, ClosureContext, MessageContext, TypeSubscription
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime

PATIENCE_S = 30.0
"""How long anything may take before a test fails: a bound, not a wait."""

TESTS = Path(__file__).parent.parent
CALLBOARD = Path(sys.executable).with_name("callboard")


LEASE_S = "3"
"""Of hosts: shorter than by default, so that who was killed is not waited for so long.

A test whose workers are to outlive their host sets ``CALLBOARD_LEASE_S``.
"""


class Process:
    """A ``callboard`` command in a child process.

    Its logs go to a file, where nobody has to read them. ``under`` is a command that runs it.
    """

    def __init__(self, *arguments: str, under: Sequence[str] = ()) -> None:
        self.log = TemporaryFile("w+")  # noqa: SIM115 (closed by `Cluster.kill`)
        self.child = subprocess.Popen(
            [*under, CALLBOARD, *arguments],
            cwd=TESTS,
            env={"CALLBOARD_LEASE_S": LEASE_S} | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def wait_for(self, beginning: str) -> str:
        """The rest of the first line that begins so."""
        assert self.child.stdout is not None
        give_up = Timer(PATIENCE_S, self.child.kill)
        give_up.start()
        try:
            for line in self.child.stdout:
                if line.startswith(beginning):
                    return line.removeprefix(beginning).strip()
        finally:
            give_up.cancel()
        raise AssertionError(f"it ended before it said {beginning!r}:\n{self.said()}")

    def said(self) -> str:
        """What it has logged so far, read without moving the place where it goes on to write."""
        file = self.log.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.child.send_signal(how)
        self.child.communicate(timeout=PATIENCE_S)
        return self.child.returncode


class Cluster:
    """A host and workers, each a process. All methods block; tests call them in a thread."""

    def __init__(self, *host_options: str) -> None:
        self._host_options = host_options
        self.host = Process("host", "--address", "127.0.0.1:0", *host_options)
        self.workers: list[Process] = []
        self.address = self.host.wait_for("listening on ")

    def start_worker(self, setup: str = "behaviour.agents:setup", *options: str) -> Process:
        """Start one more worker; returns when its types are registered."""
        worker = Process("worker", "--host", self.address, *options, setup)
        self.workers.append(worker)
        worker.wait_for("ready")
        return worker

    def replace_host(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the host, and start another one at its address.

        It knows nothing, unless the engine outlives its hosts.
        """
        self.host.stop(how)
        self.host.log.close()
        self.host = Process("host", "--address", self.address, *self._host_options)
        self.host.wait_for("listening on ")

    def stop(self) -> None:
        """Stop what still runs, workers first; each has to leave in good order."""
        running = [each for each in (*self.workers, self.host) if each.child.returncode is None]
        codes = [each.stop() for each in running]
        assert not any(codes), f"exit codes {codes}:\n" + "\n".join(each.said() for each in running)

    def kill(self) -> None:
        """End everything, however a test ended."""
        for process in (*self.workers, self.host):
            process.child.kill()
            process.child.communicate()
            process.log.close()


@contextmanager
def cluster(
    workers: int, setup: str = "behaviour.agents:setup", *host_options: str
) -> Iterator[Cluster]:
    """A host with so many workers, stopped in good order at the end."""
    made = Cluster(*host_options)
    try:
        for _ in range(workers):
            made.start_worker(setup)
        yield made
        made.stop()
    finally:
        made.kill()


class Watch:
    """The `Noted` events under some sources, as they come."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Noted] = asyncio.Queue()

    async def next(self) -> Noted:
        """The next one."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.queue.get()

    async def take(self, count: int) -> list[Noted]:
        """The next so many."""
        return [await self.next() for _ in range(count)]

    async def numbers(self, count: int) -> list[int]:
        """The numbers of the next so many."""
        return [noted.number for noted in await self.take(count)]

    @property
    def is_empty(self) -> bool:
        """Whether nothing more has come yet."""
        return self.queue.empty()


class World:
    """A runtime to act from, with the agents of `behaviour.agents` somewhere behind it."""

    def __init__(self, runtime: LocalRuntime | WorkerRuntime) -> None:
        self.runtime: Any = runtime
        self.key = f"test-{uuid4().hex[:8]}"

    @property
    def is_local(self) -> bool:
        """Whether everything is in this process."""
        return isinstance(self.runtime, LocalRuntime)

    async def watch(self, *sources: str) -> Watch:
        """Listen to ``noted`` under these sources (the test's own by default)."""
        watch = Watch()
        heard_sources = set(sources) or {self.key}

        async def hear(_: ClosureContext, message: Noted, ctx: MessageContext) -> None:
            assert ctx.topic_id is not None
            if ctx.topic_id.source in heard_sources:
                watch.queue.put_nowait(message)

        name = f"watch_{uuid4().hex[:8]}"
        await ClosureAgent.register_closure(
            self.runtime,
            name,
            hear,
            subscriptions=lambda: [TypeSubscription("noted", name)],
            unknown_type_policy="ignore",
        )
        return watch


@asynccontextmanager
async def local_world(setup: Callable[[AgentRuntime], Awaitable[None]]) -> AsyncIterator[World]:
    """Everything in this process."""
    async with LocalRuntime() as runtime:
        await setup(runtime)
        yield World(runtime)


@asynccontextmanager
async def remote_world(address: str, **options: Any) -> AsyncIterator[World]:
    """The agents behind the host at ``address``."""
    async with WorkerRuntime(address, **options) as runtime:
        yield World(runtime)
