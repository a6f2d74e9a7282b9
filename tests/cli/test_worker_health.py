"""`callboard worker --health-address`, asked as kubelet asks it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.command import SHOP, Commands, Running, environment, run
from cli.conftest import Shop

SERVING = "SERVING"
NOT_SERVING = "NOT_SERVING"
PATIENCE_S = 20.0


class Probe:
    """Asks one worker for its health."""

    def __init__(self, worker: Running) -> None:
        line = worker.error("health served")
        address = next(word for word in line.split() if word.startswith("address="))
        self._channel = grpc.insecure_channel(address.removeprefix("address="))
        self._stub: Any = health_pb2_grpc.HealthStub(self._channel)

    def ask(self, service: str) -> str:
        """What it says."""
        request = health_pb2.HealthCheckRequest(service=service)
        reply = self._stub.Check(request, timeout=PATIENCE_S)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)

    @property
    def readiness(self) -> str:
        """Whether it serves its agents."""
        return self.ask("readiness")

    @property
    def liveness(self) -> str:
        """Whether it lives."""
        return self.ask("")

    def until(self, readiness: str) -> None:
        """Ask until the answer is ``readiness``."""
        give_up_at = monotonic() + PATIENCE_S
        while self.readiness != readiness:
            assert monotonic() < give_up_at, f"never {readiness}"
            sleep(0.01)

    def close(self) -> None:
        """Leave the worker alone."""
        self._channel.close()


class Probed(Commands):
    """Commands, and probes of them, that end together."""

    def __init__(self) -> None:
        super().__init__()
        self._probes: list[Probe] = []

    def probe(self, worker: Running) -> Probe:
        """Wait until ``worker`` answers probes."""
        self._probes.append(Probe(worker))
        return self._probes[-1]

    def kill(self) -> None:
        """End all."""
        for probe in self._probes:
            probe.close()
        super().kill()


@pytest.fixture
def commands() -> Iterator[Probed]:
    """Starts commands that end with the test."""
    commands = Probed()
    yield commands
    commands.kill()


def probed_worker(commands: Probed, address: str, *arguments: str) -> tuple[Running, Probe]:
    """Start a worker that answers probes."""
    worker = commands.start(
        *("worker", *(arguments or ("shop:setup",)), "--host", address),
        env={"CALLBOARD_HEALTH_ADDRESS": "127.0.0.1:0"},
    )
    return worker, commands.probe(worker)


def test_it_is_ready_when_its_types_are_registered(commands: Probed, shop: Shop) -> None:
    """Who has read "ready" finds it serving; the option and the variable say the same."""
    worker = commands.start(
        "worker", "shop:setup", "--host", shop.address, "--health-address", "127.0.0.1:0"
    )
    probe = commands.probe(worker)
    worker.line("ready")

    assert (probe.readiness, probe.liveness) == (SERVING, SERVING)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        probe.ask("nosuch")
    worker.terminate()
    assert worker.wait() == 0


def test_it_is_alive_and_not_ready_while_it_looks_for_its_host(
    commands: Probed, nobody: str
) -> None:
    """Probes are answered from the start; it becomes ready with a host that comes later."""
    worker, probe = probed_worker(commands, nobody)

    assert (probe.readiness, probe.liveness) == (NOT_SERVING, SERVING)
    host = commands.start("host", "--address", nobody, "--operators-address", "127.0.0.1:0")
    host.line("listening on ")
    probe.until(SERVING)
    assert worker.process.poll() is None


def test_it_is_not_ready_while_it_sets_up(commands: Probed, shop: Shop) -> None:
    """A session alone is not enough: every setup has to return."""
    worker, probe = probed_worker(commands, shop.address, "shop:setup", "shop:endless")
    worker.line("setting up")

    assert (probe.readiness, probe.liveness) == (NOT_SERVING, SERVING)
    worker.terminate()
    assert worker.wait() == 0


def test_it_is_not_ready_while_it_drains(commands: Probed, tmp_path: Path) -> None:
    """From SIGTERM on it is alive and not ready, until its turns are done; then it exits with 0."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    _, address = commands.host()
    worker, probe = probed_worker(commands, address)
    worker.line("ready")
    data = f'{{"text": "hold {fifo}"}}'
    held = ("publish", "orders", "--source", "1", "--type-name", "Order", "--data", data)
    assert run(*held, "--host", address).code == 0
    worker.line("clerk/1 got hold")

    worker.terminate()
    probe.until(NOT_SERVING)
    assert probe.liveness == SERVING
    fifo.write_text("go on")

    assert worker.wait() == 0
    assert worker.out[-1] == "clerk/1 finished"


def test_a_watch_does_not_keep_it(commands: Probed, shop: Shop) -> None:
    """Whoever watches hears of the change, and the worker leaves all the same."""
    worker, probe = probed_worker(commands, shop.address)
    worker.line("ready")
    watch = probe._stub.Watch(health_pb2.HealthCheckRequest(service="readiness"))

    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    began = monotonic()
    worker.terminate()
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert worker.wait() == 0
    assert monotonic() - began < 5


def test_it_is_not_ready_once_its_host_is_lost(commands: Probed, tmp_path: Path) -> None:
    """Also while a turn does not end though it is cancelled; then it fails with one line."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    host, address = commands.host()
    worker = commands.start(
        *("worker", "stubborn:setup", "--host", address, "--health-address", "127.0.0.1:0"),
        *("--reconnect-timeout", "0.5"),
        cwd=tmp_path,
    )
    probe = commands.probe(worker)
    worker.line("ready")
    publish = ("publish", "orders", "--source", "1", "--type-name", "Order", "--data", "{}")
    assert run(*publish, "--host", address).code == 0
    worker.line("turn")
    host.process.kill()
    worker.line("cancelled")

    probe.until(NOT_SERVING)
    assert (probe.liveness, worker.process.poll()) == (SERVING, None)
    (tmp_path / "go on").touch()
    assert worker.wait() == 1
    assert worker.err[-1].startswith("UNAVAILABLE: ")


STUBBORN = """
import asyncio
from dataclasses import dataclass
from pathlib import Path
from callboard import MessageContext, RoutedAgent, TypeSubscription, event

@dataclass
class Order:
    pass

class Stubborn(RoutedAgent):
    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        print("turn")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("cancelled")
            while not Path("go on").exists():
                await asyncio.sleep(0.01)
            raise

async def setup(runtime):
    await Stubborn.register(runtime, "stubborn", lambda: Stubborn("does not end"))
    await runtime.add_subscription(TypeSubscription("orders", "stubborn"))
"""


def test_an_address_that_is_taken_is_one_line(shop: Shop) -> None:
    """It is told before a host is looked for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("worker", "shop:setup", "--host", shop.address, "--health-address", address)

    assert result.code == 1
    assert result.stderr.splitlines()[-1].startswith(f"UNAVAILABLE: cannot listen on {address}: ")


def test_what_is_no_address_is_a_wrong_command_line() -> None:
    """Told by the name under which it was given."""
    by_option = run("worker", "shop:setup", "--health-address", "8081")
    by_variable = run("worker", "shop:setup", env={"CALLBOARD_HEALTH_ADDRESS": "here"})

    assert (by_option.code, by_variable.code) == (2, 2)
    assert "--health-address: invalid address '8081'" in by_option.complaint
    assert "CALLBOARD_HEALTH_ADDRESS: invalid address 'here'" in by_variable.complaint


def test_a_worker_that_nobody_probes_needs_no_extra(shop: Shop) -> None:
    """Without an address it neither imports gRPC's health package nor misses it."""
    program = (
        "import sys; sys.modules['grpc_health'] = None; "
        f"sys.argv[1:] = ['worker', 'shop:setup', '--host', {shop.address!r}]; "
        "from callboard.cli.main import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        cwd=SHOP,
        env=environment(),
        text=True,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0
