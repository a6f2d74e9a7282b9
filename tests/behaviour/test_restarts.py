"""A host that is killed, and started again over what it kept."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from behaviour.world import Cluster, Process, cluster
from callboard import (
    AgentId,
    BaseAgent,
    MessageContext,
    Policy,
    Reject,
    TopicId,
    TypeSubscription,
    Unavailable,
)
from callboard.worker import WorkerRuntime
from cli.command import run

PATIENCE_S = 50.0
TICKS = TopicId("ticks", "x")
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

LIMITED = (
    sys.executable,
    "-c",
    """if True:
    import os, resource, sys
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    os.execv(sys.argv[1], sys.argv[1:])
    """,
)
"""Runs a command that cannot make a file larger than 1 MiB, as on a disk that is full."""


@pytest.fixture(autouse=True)
def _long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes on a busy machine to start another host."""
    monkeypatch.setenv("CALLBOARD_LEASE_S", "40")


class Diarist(BaseAgent):
    """Notes what it hears, and takes its time with what is slow."""

    def __init__(self, diary: list[str], go_on: asyncio.Event) -> None:
        super().__init__("notes what it hears")
        self._diary = diary
        self._go_on = go_on

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Note it, and its end unless it is refused."""
        self._diary.append(f"begin {message}")
        if message == "refused" and self.id.type == "agent":
            raise Reject("not today")
        if message == "slow":
            await self._go_on.wait()
        self._diary.append(f"end {message}")


class Relay(BaseAgent):
    """Passes on what it hears when it may."""

    def __init__(self, go_on: asyncio.Event) -> None:
        super().__init__("passes on what it hears")
        self._go_on = go_on

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Publish it."""
        await self._go_on.wait()
        await self.publish_message(message, TICKS)


async def serve(worker: WorkerRuntime, name: str, diary: list[str], go_on: asyncio.Event) -> None:
    """Let ``worker`` hold diarists of the type ``name``."""
    await Diarist.register(worker, name, lambda: Diarist(diary, go_on))
    await worker.add_subscription(TypeSubscription("ticks", name))


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.02)


async def ask(made: Cluster, *command: str) -> Any:
    """What a command of operators says."""
    result = await asyncio.to_thread(run, *command, "--host", made.address, "--json")
    assert result.code == 0, result.stderr
    return json.loads(result.stdout)


def ends(messages: Iterable[str]) -> list[str]:
    return [f"end {each}" for each in messages]


async def test_a_host_that_is_killed_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """The turn that runs goes on, and is settled; what waits is delivered; what is published
    meanwhile is taken once, for agents without a worker too; dead letters are still there.
    """
    options = ("--engine", "sqlite", "--data", str(tmp_path / "data"))
    diary: list[str] = []
    away: list[str] = []
    go_on, at_once = asyncio.Event(), asyncio.Event()
    at_once.set()
    with cluster(0, "", *options) as made:
        async with (
            asyncio.timeout(PATIENCE_S),
            WorkerRuntime(made.address, client_id="near") as near,
            WorkerRuntime(made.address, client_id="far") as far,
        ):
            async with WorkerRuntime(made.address) as worker:
                await serve(worker, "away", away, at_once)
            await serve(far, "agent", diary, go_on)
            for message in ("refused", "slow", "next"):
                await near.publish_message(message, TICKS)
            await until(lambda: "begin slow" in diary)
            while not await ask(made, "dead-letters", "list"):
                await asyncio.sleep(0.1)
            many = [f"many {number}" for number in range(500)]
            publishing = [asyncio.create_task(near.publish_message(each, TICKS)) for each in many]
            await publishing[0]

            await asyncio.to_thread(made.replace_host)
            await asyncio.gather(*publishing)
            await near.publish_message("after", TICKS)
            go_on.set()
            await until(lambda: "end after" in diary)
            async with WorkerRuntime(made.address) as worker:
                await serve(worker, "away", away, at_once)
                await until(lambda: "end after" in away)

            heard = ["slow", "next", *many, "after"]
            ended = [each for each in away if each.startswith("end")]
            assert ended == ends(["refused", *heard])
            assert [each for each in diary if each.startswith("end")] == ends(heard)
            assert diary.count("begin slow") == 1
            (letter,) = (await ask(made, "dead-letters", "list"))["dead_letters"]
            assert (letter["agent_type"], letter["detail"]) == ("agent", "not today")
            assert 0 < letter["age_s"] < PATIENCE_S
            status = await ask(made, "status")
            assert status["engine"] == "sqlite"
            assert int(status["counters"]["rejected"]) == 0


async def test_a_host_whose_disk_is_full_refuses_publishes_and_goes_on_when_it_is_not(
    tmp_path: Path,
) -> None:
    """It says that it is not ready. Calls are answered meanwhile; turns that publish are tried
    again without having failed. What was acknowledged is there, also for the next host, in order.
    """
    options = ("--engine", "sqlite", "--data", str(tmp_path), "--log-level", "error")
    host = Process("host", "--address", "127.0.0.1:0", *options, under=LIMITED)
    address = host.wait_for("listening on ")
    diary: list[str] = []
    go_on = asyncio.Event()
    try:
        async with asyncio.timeout(PATIENCE_S), WorkerRuntime(address) as near:
            await serve(near, "agent", diary, go_on)
            await Relay.register(near, "relay", lambda: Relay(go_on), policy=Policy(max_attempts=1))
            await near.add_subscription(TypeSubscription("relayed", "relay"))
            await near.publish_message("relayed", TopicId("relayed", "x"))
            kept: list[str] = []
            with pytest.raises(Unavailable, match=f"events cannot be kept in {tmp_path}"):
                await publish_until_refused(near, kept)
            assert await readiness(address) == (False, True)
            go_on.set()
            with pytest.raises(Unavailable, match="events cannot be kept in"):
                await near.publish_message("refused", TICKS)
            assert await near.send_message("question", AgentId("agent", "y")) is None
            registering = asyncio.create_task(serve(near, "later", [], go_on))
            await asyncio.sleep(3)
            assert not registering.done()
            assert "end relayed" not in diary

            resource.prlimit(host.child.pid, resource.RLIMIT_FSIZE, UNLIMITED)
            await until(lambda: "end relayed" in diary)
            await registering
            assert await readiness(address) == (True, True)
            await publish(near, ["after"])
            await asyncio.to_thread(host.stop, signal.SIGKILL)
            host.log.close()
            host = Process("host", "--address", address, *options)
            await publish(near, ["at last"])
            await until(lambda: "end at last" in diary)
        heard = [each.split()[1] for each in diary if each.startswith("end") and "x" * 9 in each]
        assert heard == [each.split()[0] for each in kept]
        assert "begin refused" not in diary
        assert diary.count("begin relayed") == 1
        assert await asyncio.to_thread(host.stop) == 0
    finally:
        host.child.kill()
        host.child.communicate()
        host.log.close()


async def publish(runtime: WorkerRuntime, messages: Iterable[str]) -> None:
    """One after the other."""
    for message in messages:
        await runtime.publish_message(message, TICKS)


async def publish_until_refused(runtime: WorkerRuntime, kept: list[str]) -> None:
    """One after the other; ``kept`` has those that were acknowledged."""
    for number in range(30):
        message = f"{number} {'x' * 100_000}"
        await runtime.publish_message(message, TICKS)
        kept.append(message)


async def readiness(address: str) -> tuple[bool, bool]:
    """Whether workers should connect to a host, and whether it is alive."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answers = [
            await stub.Check(health_pb2.HealthCheckRequest(service=each))
            for each in ("callboard.v1.AgentHost", "")
        ]
    serving = health_pb2.HealthCheckResponse.SERVING
    return answers[0].status == serving, answers[1].status == serving


def test_a_second_host_over_the_same_data_is_one_line(tmp_path: Path) -> None:
    """Whatever its address."""
    options = ("--engine", "sqlite", "--data", str(tmp_path))
    with cluster(0, "", *options):
        second = run("host", "--address", "127.0.0.1:0", *options)
    assert second.code == 1
    assert second.complaint.startswith(f"FAILED_PRECONDITION: another host uses {tmp_path}")
