"""SIGTERM at any time of a command's life, above all to the first process of a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest

from cli.command import CALLBOARD, SHOP, Commands, Running, environment, run

NAMESPACES = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""What makes a command the first process of a PID namespace, as root."""

AS_ANYBODY = ("unshare", "--user", "--map-root-user", *NAMESPACES[1:])
"""The same where the kernel allows it to all."""

ENDED_WITHIN_S = 5.0
"""Far below a grace period; what a busy machine may take to end a process."""

POINTS = 30
"""How many times of a start are tried, evenly spread, the last after it is done."""


def works(command: Sequence[str]) -> bool:
    try:
        made = subprocess.run([*command, "true"], check=False, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return made.returncode == 0


CONTAINER = next((command for command in (NAMESPACES, AS_ANYBODY) if works(command)), ())

# Not on CI: there it fails.
needs_containers = pytest.mark.skipif(
    not CONTAINER and os.environ.get("CI") != "true",
    reason="`unshare --pid` needs util-linux, and root or user namespaces for all",
)


@dataclass
class FirstProcess:
    """A `callboard` that is process 1 of its own namespace, with its number in ours."""

    pid: int
    around: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def run(cls, *arguments: str, of: Sequence[str] = (CALLBOARD,)) -> Iterator[FirstProcess]:
        """Start it; returns when it answers SIGTERM."""
        assert CONTAINER, "nothing here makes a PID namespace"
        with subprocess.Popen(
            [*CONTAINER, *of, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=SHOP,
            env=environment(),
            text=True,
        ) as around:
            try:
                children = Path(f"/proc/{around.pid}/task/{around.pid}/children")
                while not (found := children.read_text().split()):
                    assert around.poll() is None
                first = cls(int(found[0]), around)
                while not first.answers_sigterm():
                    assert around.poll() is None
                yield first
            finally:
                around.kill()  # and with it what it started

    def answers_sigterm(self) -> bool:
        """Whether it has a handler for SIGTERM; without one process 1 never hears of it."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))

    def stop(self) -> int | str:
        """Send SIGTERM; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self.around.wait(ENDED_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "it did not end"


def stop_after(delay_s: float, arguments: Sequence[str]) -> int | str:
    with FirstProcess.run(*arguments) as first:
        sleep(delay_s)  # a point of its start
        return first.stop()


def time_to(word: str, arguments: Sequence[str]) -> float:
    with FirstProcess.run(*arguments) as first:
        since = monotonic()
        assert first.around.stdout is not None
        assert word in first.around.stdout.readline()
        return monotonic() - since


@needs_containers
@pytest.mark.timeout(240)  # the command starts many times
@pytest.mark.parametrize("command", ["host", "worker"])
def test_process_1_can_be_stopped_at_any_time(command: str, commands: Commands) -> None:
    """Loading, connecting or ready: SIGTERM ends it with exit code 0, and long before a kill."""
    arguments, word = ["host", "--address", "127.0.0.1:0"], "listening on"
    if command == "worker":
        _, address = commands.host()
        arguments, word = ["worker", "--host", address, "shop:setup"], "ready"
    step_s = time_to(word, arguments) * 1.1 / POINTS
    with ThreadPoolExecutor(2) as threads:
        codes = list(threads.map(lambda at: stop_after(at * step_s, arguments), range(POINTS + 1)))

    assert codes == [0] * len(codes)


@needs_containers
@pytest.mark.parametrize("delay_s", [0, 0.5])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("host --address 127.0.0.1:0", 0),
        ("worker shop:setup --connect-timeout 30 --host {nobody}", 0),
        ("dev shop:setup --address 127.0.0.1:0", 0),
        ("publish t --source s --type-name T --data 1 --connect-timeout 30 --host {nobody}", 143),
        ("call a/b --type-name T --data 1 --connect-timeout 30 --host {nobody}", 143),
        ("status --connect-timeout 30 --host {nobody}", 143),
    ],
)
def test_process_1_says_whether_it_was_done(
    command: str, code: int, delay_s: float, nobody: str
) -> None:
    """What runs until it is stopped ends with 0; what was to end by itself is broken off."""
    assert stop_after(delay_s, command.format(nobody=nobody).split()) == code


@needs_containers
@pytest.mark.parametrize("delay_s", [0, 1.0])
def test_process_1_that_is_a_sample_is_broken_off(delay_s: float) -> None:
    """A load, for example, in a pod of its own that is deleted."""
    load = (sys.executable, "-m", "callboard_samples.tally")
    with FirstProcess.run("--events", "1000", "--rate", "1", of=load) as first:
        sleep(delay_s)
        assert first.stop() == 143


def stop_again_and_again(running: Running) -> None:
    while running.process.poll() is None:
        running.terminate()
        sleep(0.0005)


@pytest.mark.parametrize("command", ["host", "worker"])
def test_many_signals_are_as_good_as_one(command: str, commands: Commands) -> None:
    """SIGTERM again and again, up to Python's own end, changes neither that nor the exit code."""
    running, address = commands.host()
    if command == "worker":
        running = commands.worker(address, "shop:setup")
    stop_again_and_again(running)

    assert running.wait() == 0
    assert not [line for line in running.err if "Traceback" in line]


def test_many_signals_leave_the_last_traces_their_time(commands: Commands) -> None:
    """SIGTERM while a worker waits for a collector that takes no traces does not break that off."""
    _, address = commands.host()
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    worker = commands.start("worker", "--host", address, "shop:setup", env=nowhere)
    worker.line("ready")
    order = ("--type-name", "Order", "--data", '{"text": "a"}', "--host", address)
    assert run("call", "clerk/1", *order).code == 0
    stop_again_and_again(worker)

    assert worker.wait() == 0
    assert any("the last traces were not exported in time" in line for line in worker.err)


STUCK = """
import asyncio, threading, time
from callboard import MessageContext, RoutedAgent, TopicId, default_subscription, event

@default_subscription
class Stuck(RoutedAgent):
    @event
    async def on_text(self, message: str, ctx: MessageContext) -> None:
        print("begun", flush=True)
        await HOW()

async def in_a_thread():
    await asyncio.to_thread(threading.Event().wait)

async def without_heed():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def on_the_loop():
    while True:
        time.sleep(0.1)

async def setup(runtime):
    await Stuck.register(runtime, "stuck", lambda: Stuck("never ends"))
    for key in range(8):  # more than the executor has threads for, on a small machine
        await runtime.publish_message("go", TopicId("default", str(key)))
"""


@pytest.mark.parametrize(
    ("how", "within_s", "word"),
    [
        ("in_a_thread", 5, "threads do not end"),
        ("without_heed", 8, "tasks do not end though they were cancelled"),
        ("on_the_loop", 12, "ended though it still ran"),
    ],
)
def test_a_turn_that_never_ends_does_not_hold_it(
    commands: Commands, tmp_path: Path, how: str, within_s: float, word: str
) -> None:
    """One SIGTERM ends the worker seconds after its drain timeout, with 0 and a word on why."""
    (tmp_path / "stuck.py").write_text(STUCK.replace("HOW", how))
    _, address = commands.host()
    worker = commands.start(
        *("worker", "--host", address, "--drain-timeout", "0.5", "stuck:setup"), cwd=tmp_path
    )
    worker.line("begun")
    if how != "on_the_loop":
        worker.line("ready")
    began = monotonic()
    worker.terminate()

    assert worker.wait() == 0
    assert monotonic() - began < within_s
    assert len([line for line in worker.err if word in line]) == 1


def test_a_thread_that_never_ends_does_not_hold_it(commands: Commands, tmp_path: Path) -> None:
    """A worker that has left waits no longer than seconds for a thread of its agents'."""
    (tmp_path / "stuck.py").write_text(
        "import threading\n"
        "async def setup(runtime):\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
    )
    _, address = commands.host()
    worker = commands.start("worker", "--host", address, "stuck:setup", cwd=tmp_path)
    worker.line("ready")
    began = monotonic()
    worker.terminate()

    assert worker.wait() == 0
    assert monotonic() - began < ENDED_WITHIN_S
    assert any("threads do not end" in line for line in worker.err)
