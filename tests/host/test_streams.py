"""Streamed calls over a real host, with peers that keep the rules and with some that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from callboard import (
    AgentId,
    CallboardError,
    InvalidMessage,
    MessageContext,
    RoutedAgent,
    Unsupported,
    rpc,
)
from callboard.core.errors import Code
from callboard.host import Host, switchboard
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.worker import WorkerRuntime
from host.raw import RawWorker

PATIENCE_S = 20.0
RAW = AgentId("raw", "x")
PAYLOAD = pb.Payload(data_type="int", data_content_type="application/json", data=b"1")
ANSWER = PAYLOAD.SerializeToString()


class Counter(RoutedAgent):
    """Counts to a number."""

    def __init__(self) -> None:
        super().__init__("counts")

    @rpc
    async def on_number(self, message: int, ctx: MessageContext) -> AsyncIterator[int]:
        """The numbers below."""
        for number in range(message):
            yield number


@asynccontextmanager
async def raw_worker(host: Host, *capabilities: str) -> AsyncIterator[RawWorker]:
    """A worker that serves the type ``raw``, and says what it is told to."""
    raw = RawWorker.connect(host.address)
    try:
        await raw.greet(capabilities=capabilities)
        register = pb.Register(revision=1, types=[pb.AgentTypeEntry(name="raw")])
        await raw.say(pb.ConnectRequest(register=register))
        await raw.hear()
        yield raw
    finally:
        await raw.close()


async def heard(raw: RawWorker, kind: str) -> pb.ConnectResponse:
    """The next frame with something of a kind."""
    async with asyncio.timeout(PATIENCE_S):
        while not getattr(frame := await raw.hear(), kind):
            pass
    return frame


async def take(runtime: WorkerRuntime, recipient: AgentId) -> list[int]:
    """All of a stream."""
    return [each async for each in runtime.stream_message(100, recipient, timeout_s=PATIENCE_S)]


async def test_a_session_can_do_what_both_sides_announced() -> None:
    """Names that the host does not know are passed over."""
    async with Host(port=0) as host:
        raw = RawWorker.connect(host.address)
        welcome = await raw.greet(capabilities=["streams", "wings"])
        await raw.close()
        assert welcome.capabilities == ["streams"]


async def test_a_callee_that_sends_more_than_it_has_credit_for_ends_its_call_only() -> None:
    """The caller is told after what was in order; the callee's stream goes on."""
    async with (
        Host(port=0) as host,
        raw_worker(host, "streams") as raw,
        WorkerRuntime(host.address) as caller,
    ):
        for _ in range(2):
            taking = asyncio.create_task(take(caller, RAW))
            (call,) = (await heard(raw, "calls")).calls
            assert call.credit == 32
            part = pb.Reply(call_id=call.id, payload=ANSWER)
            await raw.say(pb.ConnectRequest(replies=[part] * 1000))
            with pytest.raises(CallboardError, match="more answers than it had credit for") as told:
                await taking
            assert told.value.code is Code.INTERNAL
            frame = await heard(raw, "cancels")
            assert [each.call_id for each in frame.cancels] == [call.id]


async def test_answers_after_the_end_of_a_stream_change_nothing() -> None:
    """Nor does one for a call that never was."""
    async with (
        Host(port=0) as host,
        raw_worker(host, "streams") as raw,
        WorkerRuntime(host.address) as caller,
    ):
        taking = asyncio.create_task(take(caller, RAW))
        (call,) = (await heard(raw, "calls")).calls
        replies = [
            pb.Reply(call_id=call.id, payload=ANSWER),
            pb.Reply(call_id=call.id, payload=ANSWER, last=True),
            pb.Reply(call_id=call.id, payload=ANSWER),
            pb.Reply(call_id=call.id, error=pb.CallError(code=2, type="Late"), last=True),
            pb.Reply(call_id=call.id + 7, payload=ANSWER),
        ]
        await raw.say(pb.ConnectRequest(replies=replies))
        assert await taking == [1, 1]


async def test_credit_that_is_none_ends_a_call_at_worst() -> None:
    """For calls that are unknown it is passed over; too much is an error of its call."""
    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address) as worker,
        raw_worker(host, "streams") as raw,
    ):
        await Counter.register(worker, "counter", Counter)
        target = pb.AgentRef(type="counter", key="x")
        request = pb.Payload(data_type="int", data_content_type="application/json", data=b"1000")
        payload = request.SerializeToString()
        calls = [pb.Call(id=number, target=target, payload=payload, credit=2) for number in (1, 2)]
        unknown = [pb.Credit(call_id=number, count=1) for number in (7, 0, 2**64 - 1)]
        overflow = pb.Credit(call_id=1, count=2**32 - 1)
        await raw.say(pb.ConnectRequest(calls=calls, credits=[*unknown, overflow, overflow]))
        replies: dict[int, list[pb.Reply]] = {1: [], 2: []}
        while not replies[1] or len(replies[2]) < 2:
            for reply in (await heard(raw, "replies")).replies:
                replies[reply.call_id].append(reply)
        assert [each.error.code for each in replies[1]] == [Code.INVALID_ARGUMENT]
        await raw.say(pb.ConnectRequest(credits=[pb.Credit(call_id=2, count=3)], cancels=[]))
        while len(replies[2]) < 5:
            replies[2] += (await heard(raw, "replies")).replies
        numbers = [int(pb.Payload.FromString(each.payload).data) for each in replies[2]]
        assert numbers == [0, 1, 2, 3, 4]


async def test_a_worker_that_has_not_announced_streams_is_asked_for_none() -> None:
    """The caller is told so at once."""
    async with Host(port=0) as host, raw_worker(host) as raw, WorkerRuntime(host.address) as caller:
        with pytest.raises(Unsupported, match="the worker that holds raw/x does not know streamed"):
            await take(caller, RAW)
        calling = asyncio.create_task(caller.send_message(1, RAW))
        (call,) = (await heard(raw, "calls")).calls
        await raw.say(
            pb.ConnectRequest(replies=[pb.Reply(call_id=call.id, payload=ANSWER, last=True)])
        )
        assert await calling == 1


async def test_a_host_that_has_not_announced_streams_is_asked_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call does not leave, and all else goes on."""
    monkeypatch.setattr(switchboard, "CAPABILITIES", frozenset())
    async with Host(port=0) as host, WorkerRuntime(host.address) as runtime:
        await Counter.register(runtime, "counter", Counter)
        with pytest.raises(Unsupported, match="does not know streamed calls"):
            await take(runtime, AgentId("counter", "x"))
        with pytest.raises(Unsupported, match="call it by stream_message"):
            await runtime.send_message(3, AgentId("counter", "x"))


async def test_a_last_answer_that_is_no_message_is_an_error() -> None:
    """Bytes from another implementation are judged like those of any call."""
    async with (
        Host(port=0) as host,
        raw_worker(host, "streams") as raw,
        WorkerRuntime(host.address) as caller,
    ):
        taking = asyncio.create_task(take(caller, RAW))
        (call,) = (await heard(raw, "calls")).calls
        await raw.say(pb.ConnectRequest(replies=[pb.Reply(call_id=call.id, payload=b"\xff")]))
        with pytest.raises(InvalidMessage):
            await taking
        assert [each.call_id for each in (await heard(raw, "cancels")).cancels] == [call.id]
