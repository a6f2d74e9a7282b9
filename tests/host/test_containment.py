"""What happens to one stream, or to one who starts or stops a host, stays there."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from callboard import AgentId, BaseAgent, MessageContext, TopicId, TypeSubscription
from callboard.core.errors import Unavailable
from callboard.core.frames import WorkerFrame
from callboard.core.session import Session
from callboard.host import Host
from callboard.host.switchboard import Switchboard
from callboard.wire.status import OPERATIONS
from callboard.wire.v1 import operations_pb2 as pb
from callboard.worker import WorkerRuntime

PATIENCE_S = 20.0
HERE = AgentId("agent", "here")
TICKS = TopicId("ticks", "here")


class Echo(BaseAgent):
    """Answers with what it was sent."""

    def __init__(self) -> None:
        super().__init__("echoes")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """The message."""
        return message


async def test_a_fault_of_the_host_over_one_frame_ends_that_stream_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker that met it is told; others are served as before."""
    take = Switchboard.take

    def take_or_break(self: Switchboard, session: Session, frame: WorkerFrame) -> None:
        if any(publish.event.topic_type == "fault" for publish in frame.publishes):
            raise KeyError("fault")
        take(self, session, frame)

    monkeypatch.setattr(Switchboard, "take", take_or_break)
    async with Host(port=0) as host, WorkerRuntime(host.address) as other:
        await Echo.register(other, "agent", Echo)
        broken = WorkerRuntime(host.address)
        await broken.start()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Exception, match="the host broke over a frame: KeyError"):
                await broken.publish_message("x", TopicId("fault", "x"))
            await broken.stop()
            assert await other.send_message("hello", HERE) == "hello"


async def start_another(address: str) -> None:
    """Start a host there."""
    await Host(address).start()


async def test_a_start_that_is_cancelled_leaves_its_port_free() -> None:
    """Another host can serve where a cancelled one was about to."""
    async with Host(port=0) as host:
        address = host.address
    for steps in range(12):
        starting = asyncio.create_task(start_another(address))
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled():
            break
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert "callboard.host" not in names
        async with Host(address), WorkerRuntime(address) as worker:
            await worker.publish_message("x", TICKS)


async def test_whoever_gives_up_waiting_for_a_stop_does_not_disturb_it() -> None:
    """The host goes on to stop in good order, and others who wait for that see it."""
    async with WorkerRuntimeOf(Host(port=0)) as (host, worker):
        first, second = asyncio.create_task(host.stop()), asyncio.create_task(host.stop())
        await asyncio.sleep(0)
        first.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await second
            with pytest.raises(Unavailable, match="no host at"):
                await worker.wait()


class WorkerRuntimeOf:
    """A host and a worker of it, which may lose it."""

    def __init__(self, host: Host) -> None:
        self.host = host

    async def __aenter__(self) -> tuple[Host, WorkerRuntime]:
        await self.host.start()
        self.worker = WorkerRuntime(self.host.address, reconnect_timeout_s=0.2)
        await self.worker.start()
        return self.host, self.worker

    async def __aexit__(self, *exc: object) -> None:
        await self.worker.stop()
        await self.host.stop()


async def test_every_publish_ends_when_the_host_stops_among_them() -> None:
    """A thousand publishers whose host stops are all told, one way or the other."""
    async with WorkerRuntimeOf(Host(port=0)) as (host, worker):
        await Echo.register(worker, "agent", Echo)
        await worker.add_subscription(TypeSubscription("ticks", "agent"))
        publishing = [asyncio.create_task(worker.publish_message("x", TICKS)) for _ in range(1000)]
        await publishing[0]
        async with asyncio.timeout(PATIENCE_S):
            await host.stop()
            ends = await asyncio.gather(*publishing, return_exceptions=True)
    assert {type(end) for end in ends} <= {type(None), Unavailable}


async def test_streams_broken_off_leave_no_session() -> None:
    """Workers that come and vanish without a word are forgotten."""
    async with Host(port=0) as host, WorkerRuntime(host.address) as other:
        await Echo.register(other, "agent", Echo)
        for number in range(30):
            vanishing = WorkerRuntime(host.address, client_id=f"vanishing-{number}")
            await vanishing.start()
            await Echo.register(vanishing, "agent", Echo)
            assert vanishing._main is not None
            vanishing._main.cancel()
            await asyncio.wait([vanishing._main])
        keys = [AgentId("agent", str(number)) for number in range(50)]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                calls = (other.send_message("hello", key, timeout_s=5) for key in keys)
                answers = await asyncio.gather(*calls, return_exceptions=True)
                if answers == ["hello"] * 50:
                    break
        described = await _sessions(host)
    assert described == [other.client_id]


async def _sessions(host: Host) -> list[str]:
    async with grpc.aio.insecure_channel(host.operators_address) as channel:
        describe: Any = channel.unary_unary(
            f"/{OPERATIONS}/Describe",
            request_serializer=pb.DescribeRequest.SerializeToString,
            response_deserializer=pb.DescribeResponse.FromString,
        )
        answer = await describe(pb.DescribeRequest())
        return [session.client_id for session in answer.sessions]
