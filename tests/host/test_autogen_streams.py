"""How AutoGen's streams end: nobody waits for ever, and nobody else is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from callboard import AgentId
from callboard.core.broker import BrokerLimits
from callboard.core.commit import Commit
from callboard.engine.memory import MemoryEngine
from callboard.host import Host
from callboard.host.autogen import servicer
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb
from callboard.wire.v1.agent_host_pb2 import Payload
from callboard.wire.v1.cloudevent_pb2 import CloudEvent
from callboard.worker import WorkerRuntime

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

    async def subscribe(self, agent_type: str, prefix: str) -> None:
        ask: Any = self._channel.unary_unary("/agents.AgentRpc/AddSubscription")
        request = pb.AddSubscriptionRequest()
        request.subscription.type_prefix_subscription.agent_type = agent_type
        request.subscription.type_prefix_subscription.topic_type_prefix = prefix
        await ask(request.SerializeToString(), metadata=self._metadata)

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


def reply_to(message: pb.Message, data_type: str = "Answer") -> pb.Message:
    answer = pb.Message()
    answer.response.request_id = message.request.request_id
    answer.response.payload.CopyFrom(Payload(data_type=data_type))
    return answer


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
        await callee.say(reply_to(await callee.hear()))
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


async def test_who_says_no_more_goes_on_hearing() -> None:
    """A client whose list of messages has an end: calls of it are answered, calls to it arrive."""
    async with Host(port=0) as host, channel_to(host) as channel:
        callee, caller = Raw(channel, "callee"), Raw(channel, "caller")
        await callee.register("a")
        await caller.register("b")
        await caller.say(request("1", "a"))
        await caller.stream.done_writing()
        await callee.say(reply_to(await callee.hear()))
        assert (await caller.hear()).response.request_id == "1"
        await callee.say(request("1", "b"))
        assert (await caller.hear()).request.target.type == "b"


async def test_a_call_belongs_to_the_stream_on_which_it_was_made() -> None:
    """Another process of the same name has taken over, and counts its calls from 1 too."""
    async with Host(port=0) as host, channel_to(host) as channel, channel_to(host) as another:
        callee, old = Raw(channel, "callee"), Raw(channel, "worker")
        await callee.register("a")
        await old.register("b")
        await old.say(request("1", "a", key="old"))
        first = await callee.hear()
        new = Raw(another, "worker")
        assert "another stream of this client-id" in (await old.hear()).response.error
        assert await old.stream.code() is grpc.StatusCode.ALREADY_EXISTS
        await new.say(request("1", "a", key="new"))
        second = await callee.hear()
        await callee.say(reply_to(first, "old"))
        await callee.say(reply_to(second, "new"))
        answer = (await new.hear()).response
        assert (answer.request_id, answer.payload.data_type) == ("1", "new")
        # What it serves has stayed.
        await callee.say(request("1", "b"))
        assert (await new.hear()).request.target.type == "b"


async def test_a_registration_that_comes_after_its_stream_keeps_nothing_from_others() -> None:
    """It was on its way when its worker was lost; whoever opens a stream again is served again."""
    async with Host(port=0) as host, channel_to(host) as channel:
        lost = Raw(channel, "lost")
        await lost.stream.initial_metadata()  # else it may be cancelled before it has left
        await lost.register("a")
        lost.stream.cancel()
        problem, number = None, 0
        async with asyncio.timeout(20):
            while problem is None:
                number += 1
                problem = await problem_of(lost.register(f"b{number}"))
        assert problem == (
            grpc.StatusCode.UNAVAILABLE,
            "the stream of this client-id has ended: it has to open another one first",
        )
        successor = Raw(channel, "successor")
        for agent_type in ("a", *(f"b{each}" for each in range(1, number + 1))):
            await successor.register(agent_type)
        again = Raw(channel, "lost")
        await again.stream.initial_metadata()
        await again.register("c")


async def test_only_agent_types_keep_clear_of_the_host_s_own_names() -> None:
    """A type called ``autogen`` gets the prefix ``autogen:`` from AutoGen."""
    async with Host(port=0) as host, channel_to(host) as channel:
        worker = Raw(channel, "worker")
        await worker.register("autogen")
        await worker.subscribe("autogen", "autogen:")
        for asked in (worker.register("autogen:x"), worker.subscribe("autogen:worker", "t")):
            assert await problem_of(asked) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "agent types that begin with 'autogen:' are the host's own",
            )


async def test_the_subscriptions_of_one_worker_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that others add for its types count too; what is refused leaves nothing."""
    monkeypatch.setattr(servicer, "MAX_SUBSCRIPTIONS", 2)
    async with Host(port=0) as host, channel_to(host) as channel:
        worker, other = Raw(channel, "worker"), Raw(channel, "other")
        await worker.register("a")
        await worker.subscribe("a", "1")
        await other.subscribe("a", "2")
        for _ in range(2):
            assert await problem_of(worker.subscribe("a", "3")) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "a worker has 2 subscriptions, that is the limit",
            )


async def problem_of(asked: Awaitable[None]) -> tuple[grpc.StatusCode, str | None] | None:
    try:
        await asked
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()
    return None


async def test_who_breaks_the_protocol_and_does_not_read_serves_nothing_more() -> None:
    """Its stream cannot end while more is under way than it takes; what it had is free."""
    async with Host(port=0) as host, channel_to(host) as channel, channel_to(host) as another:
        deaf, other = Raw(channel, "deaf"), Raw(another, "other")
        await deaf.register("a")
        for number in range(40):
            message = request(str(number), "a")
            message.request.payload.data = b"x" * MEBIBYTE
            await other.say(message)
        # Answered by the host: it has all that was said before.
        await other.say(request("last", "nobody's"))
        assert (await other.hear()).response.request_id == "last"
        await deaf.stream.write(b"\xff\xff")
        errors = {(await other.hear()).response.error for _ in range(40)}
        assert errors == {"the worker that ran a/k was lost"}
        await other.register("a")


async def test_workers_of_two_protocols_may_have_one_name() -> None:
    """Neither takes the other's session over."""
    async with (
        Host(port=0) as host,
        channel_to(host) as channel,
        WorkerRuntime(host.address, client_id="name") as native,
    ):
        stock = Raw(channel, "name")
        await stock.register("a")
        asked = asyncio.create_task(native.send_message("?", AgentId("a", "k")))
        message = await stock.hear()
        answer = reply_to(message, "str")
        answer.response.payload.data_content_type = "application/json"
        answer.response.payload.data = b'"!"'
        await stock.say(answer)
        assert await asked == "!"


async def test_a_worker_that_reads_larger_messages_gets_them() -> None:
    """Where its channel's bound is raised, the host's is too."""
    bounds = [("grpc.max_receive_message_length", 8 * MEBIBYTE)]
    async with (
        Host(port=0, autogen_message_bytes=6 * MEBIBYTE) as host,
        grpc.aio.insecure_channel(host.address, options=bounds) as channel,
    ):
        worker = Raw(channel, "worker")
        await worker.register("a")
        await worker.say(request("1", "a", key="k" * 5 * MEBIBYTE))
        assert len((await worker.hear()).request.target.key) == 5 * MEBIBYTE
        await worker.say(request("2", "a", key="k" * 7 * MEBIBYTE))
        assert "takes at most 6291456" in (await worker.hear()).response.error


async def test_events_that_are_refused_leave_their_publisher_alone() -> None:
    """It reads nothing, as nothing is said to it."""
    limits = BrokerLimits(max_event_bytes=100, max_answers_waiting=50)
    async with Host(port=0, limits=limits) as host, channel_to(host) as channel:
        publisher = Raw(channel, "publisher")
        large = CloudEvent(id="1", type="t", source="s", text_data="x" * 200)
        for _ in range(200):
            await publisher.say(pb.Message(cloud_event=large))
        await publisher.say(request("1", "nobody's"))
        assert (await publisher.hear()).response.request_id == "1"


async def test_a_host_without_room_for_a_worker_says_so() -> None:
    """A worker that could not be told of events must not believe that it is."""
    async with (
        Host(port=0, limits=BrokerLimits(max_types=1)) as host,
        channel_to(host) as channel,
    ):
        first = Raw(channel, "first")
        await first.stream.initial_metadata()
        second = Raw(channel, "second")
        assert await second.stream.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the host keeps 1 agent types" in await second.stream.details()


class Control:
    """A control channel."""

    def __init__(self, channel: grpc.aio.Channel, client_id: str) -> None:
        self.stream: Any = channel.stream_stream("/agents.AgentRpc/OpenControlChannel")(
            metadata=(("client-id", client_id),)
        )

    async def ask(self, rpc_id: str, destination: str, data: bytes = b"") -> None:
        message = pb.ControlMessage(rpc_id=rpc_id, destination=destination, respond_to="clientid=a")
        message.rpc_message.type_url = "type.googleapis.com/agents.SaveStateRequest"
        message.rpc_message.value = data
        await self.stream.write(message.SerializeToString())

    async def refusal(self) -> str:
        async with asyncio.timeout(5):
            message = pb.ControlMessage.FromString(await self.stream.read())
        return pb.SaveStateResponse.FromString(message.rpc_message.value).error


async def test_control_messages_that_do_not_fit_are_refused() -> None:
    """One that its worker could not read, those that it does not, and a name that is too long."""
    async with Host(port=0) as host, channel_to(host) as channel, channel_to(host) as another:
        asker, deaf = Control(channel, "a"), Control(another, "deaf")
        await deaf.stream.initial_metadata()
        await asker.ask("1", "clientid=deaf", b"x" * 5 * MEBIBYTE)
        assert "takes at most 4194304" in await asker.refusal()
        for number in range(30):
            await asker.ask(str(number), "clientid=deaf", b"x" * MEBIBYTE)
        await asker.ask("2", "clientid=deaf", b"x" * 3 * MEBIBYTE)
        assert "there is no room for more" in await asker.refusal()
        await asker.ask("3", "x" * 3 * MEBIBYTE)
        while "neither" not in (problem := await asker.refusal()):
            assert "there is no room for more" in problem
        assert len(problem) < 300
