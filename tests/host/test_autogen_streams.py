"""How AutoGen's streams end: nobody waits for ever, and nobody else is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from callboard.core.broker import BrokerLimits
from callboard.core.commit import Commit
from callboard.engine.memory import MemoryEngine
from callboard.host import Host
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb
from callboard.wire.v1.agent_host_pb2 import Payload
from callboard.wire.v1.cloudevent_pb2 import CloudEvent

MEBIBYTE = 1 << 20


class SlowEngine(MemoryEngine):
    """Keeps nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_keep = asyncio.Event()

    async def commit(self, commit: Commit) -> Sequence[int]:
        await self.may_keep.wait()
        return await super().commit(commit)


class Raw:
    """A client that says what it likes."""

    def __init__(self, channel: grpc.aio.Channel, client_id: str) -> None:
        self._channel = channel
        self._metadata = (("client-id", client_id),)
        self.stream: Any = channel.stream_stream("/agents.AgentRpc/OpenChannel")(
            metadata=self._metadata
        )

    async def register(self, agent_type: str) -> None:
        ask: Any = self._channel.unary_unary("/agents.AgentRpc/RegisterAgent")
        request = pb.RegisterAgentTypeRequest(type=agent_type).SerializeToString()
        await ask(request, metadata=self._metadata)

    async def say(self, message: pb.Message) -> None:
        await self.stream.write(message.SerializeToString())

    async def hear(self) -> pb.Message:
        async with asyncio.timeout(5):
            return pb.Message.FromString(await self.stream.read())


def request(number: str, agent_type: str, key: str = "k") -> pb.Message:
    message = pb.Message()
    message.request.request_id = number
    message.request.target.type, message.request.target.key = agent_type, key
    return message


@asynccontextmanager
async def channel_to(host: Host) -> AsyncIterator[grpc.aio.Channel]:
    # As AutoGen's workers have it: 4 MiB a message.
    async with grpc.aio.insecure_channel(host.address) as channel:
        yield channel


async def test_who_leaves_while_it_is_held_back_is_gone() -> None:
    """It has published more than the engine keeps up with; the host can stop without it."""
    engine = SlowEngine()
    host = Host(port=0, engine=engine, limits=BrokerLimits(publish_window=4))
    await host.start()
    async with channel_to(host) as channel:
        client = Raw(channel, "a")
        for number in range(6):
            event = CloudEvent(id=str(number), type="t", source="s")
            await client.say(pb.Message(cloud_event=event))
        # Answered by the host: all that was said before has arrived.
        await Raw(channel, "b").register("later")
        client.stream.cancel()
        engine.may_keep.set()
    async with asyncio.timeout(10):
        await host.stop(0.1)


async def test_a_caller_hears_of_the_host_s_end() -> None:
    """What has no answer yet gets an error, then its stream ends."""
    async with Host(port=0) as host, channel_to(host) as channel:
        callee, caller = Raw(channel, "callee"), Raw(channel, "caller")
        await callee.register("a")
        await caller.say(request("1", "a"))
        assert (await callee.hear()).request.target.type == "a"
        await host.stop()
        response = (await caller.hear()).response
        assert response.request_id == "1"
        # Which of the two the host sent away first.
        assert response.error in ("the host is stopping", "the worker that ran a/k was lost")


async def test_a_caller_hears_why_its_stream_ends() -> None:
    """It breaks the protocol while a call of it is open."""
    async with Host(port=0) as host, channel_to(host) as channel:
        callee, caller = Raw(channel, "callee"), Raw(channel, "caller")
        await callee.register("a")
        await caller.say(request("1", "a"))
        await callee.hear()
        await caller.stream.write(b"\xff\xff")
        response = (await caller.hear()).response
        assert (response.request_id, response.error) == (
            "1",
            "what was sent is no agents.Message",
        )
        assert await caller.stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_no_part_of_a_call_ends_the_stream_of_its_callee() -> None:
    """However large its key is: the caller gets an error, and the callee goes on."""
    async with Host(port=0) as host, channel_to(host) as channel:
        callee, caller = Raw(channel, "callee"), Raw(channel, "caller")
        await callee.register("a")
        await caller.say(request("1", "a", key="k" * 5 * MEBIBYTE))
        assert "takes at most 4194304" in (await caller.hear()).response.error
        await caller.say(request("2", "a"))
        asked = (await callee.hear()).request
        answer = pb.Message()
        answer.response.request_id = asked.request_id
        answer.response.payload.CopyFrom(Payload(data_type="Answer"))
        await callee.say(answer)
        assert (await caller.hear()).response.payload.data_type == "Answer"


async def test_a_host_with_an_open_control_channel_stops_at_once() -> None:
    """Its streams are ended with the others."""
    async with Host(port=0) as host, channel_to(host) as channel:
        control: Any = channel.stream_stream("/agents.AgentRpc/OpenControlChannel")(
            metadata=(("client-id", "a"),)
        )
        await control.initial_metadata()
        async with asyncio.timeout(2):
            await host.stop(grace=30)
        assert await control.code() is grpc.StatusCode.UNAVAILABLE
