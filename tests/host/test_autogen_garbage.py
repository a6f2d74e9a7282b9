"""AutoGen's service and clients that say anything: whatever it is, the next one is served.

``CALLBOARD_TEST_AUTOGEN_CASES=100000 pytest tests/host/test_autogen_garbage.py`` takes so many
cases instead of a few.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard.host import Host
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb

CASES = int(os.environ.get("CALLBOARD_TEST_AUTOGEN_CASES", "300"))
SHARE = CASES // 3
pytestmark = pytest.mark.timeout(60 + CASES // 10)
UNARY = {
    "RegisterAgent": pb.RegisterAgentTypeRequest,
    "AddSubscription": pb.AddSubscriptionRequest,
    "RemoveSubscription": pb.RemoveSubscriptionRequest,
    "GetSubscriptions": pb.GetSubscriptionsRequest,
}
ANSWERS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNKNOWN}
ENDINGS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
NAMES = st.sampled_from(["", "shop", "autogen:me", "1", "None", "é", "a/b"]) | st.text(max_size=8)
HABITS = settings(
    max_examples=max(SHARE, 1),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@st.composite
def filled(draw: st.DrawFn, kind: type[Message], depth: int = 4) -> Message:
    """A message with anything in its fields, or in none."""
    message: Any = kind()
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in draw(st.lists(NAMES, max_size=2)):
                entry = getattr(message, field.name)
                if field.message_type.fields_by_name["value"].message_type is None:
                    entry[key] = draw(NAMES)
                else:
                    entry[key].ce_string = draw(NAMES)
        elif field.message_type is not None:
            if depth:
                inner = draw(filled(type(_part(message, field)), depth - 1))
                _part(message, field).MergeFrom(inner)
        elif field.cpp_type == field.CPPTYPE_STRING:
            value = draw(st.binary(max_size=20)) if field.type == field.TYPE_BYTES else draw(NAMES)
            setattr(message, field.name, value)
    return message  # type: ignore[no-any-return]  # made by its class


def _part(message: Any, field: Any) -> Any:
    part = getattr(message, field.name)
    return part.add() if hasattr(part, "add") else part


def anything(kind: type[Message]) -> st.SearchStrategy[bytes]:
    """A message of a kind, one with bytes torn off or put in, or no message at all."""
    whole = filled(kind).map(lambda message: message.SerializeToString())
    spoilt = st.tuples(whole, st.integers(0, 40), st.binary(max_size=4)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )
    return whole | spoilt | st.binary(max_size=40)


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    """To a host in a thread of its own, where a worker serves the type ``shop``."""
    ready: threading.Event = threading.Event()
    stop = asyncio.Event()
    host: list[Host] = []
    loop: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with Host(port=0) as served:
            host.append(served)
            loop.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    with grpc.insecure_channel(host[0].address) as channel:
        yield channel
    loop[0].call_soon_threadsafe(stop.set)
    thread.join(10)
    assert not thread.is_alive()


def ask(channel: grpc.Channel, method: str, data: bytes, client_id: str) -> bytes:
    """What a unary method answers."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/agents.AgentRpc/{method}"
    )
    return call(data, metadata=(("client-id", client_id),), timeout=5)


def converse(channel: grpc.Channel, method: str, said: Iterator[bytes], client_id: str) -> Any:
    """What a stream answers; it can be cancelled."""
    call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
        f"/agents.AgentRpc/{method}"
    )
    return call(said, metadata=(("client-id", client_id),), timeout=10)


def check_ending(
    channel: grpc.Channel, method: str, said: list[bytes], last: Message, answer: Message
) -> None:
    """Say it, and ``last`` when all before was taken in: that is answered, or the stream ends."""
    stream = converse(channel, method, iter([*said, last.SerializeToString()]), "me")
    try:
        for heard in map(type(answer).FromString, stream):
            assert heard.ListFields()
            if heard == answer:
                stream.cancel()
                return
    except grpc.RpcError as error:
        assert error.code() in ENDINGS, error  # noqa: PT017 (either outcome is right)
    else:
        pytest.fail("the stream ended without an error")


def check_next_is_served(channel: grpc.Channel) -> None:
    """A new worker registers, publishes to itself and calls itself, and gets all of it."""
    client_id = kind = uuid4().hex
    to_say: SimpleQueue[pb.Message | None] = SimpleQueue()
    register = pb.RegisterAgentTypeRequest(type=kind)
    ask(channel, "RegisterAgent", register.SerializeToString(), client_id)
    subscribe = pb.AddSubscriptionRequest()
    subscribe.subscription.type_subscription.topic_type = kind
    subscribe.subscription.type_subscription.agent_type = kind
    ask(channel, "AddSubscription", subscribe.SerializeToString(), client_id)
    event = pb.Message()
    event.cloud_event.id = event.cloud_event.source = "1"
    event.cloud_event.type = kind
    call = pb.Message()
    call.request.request_id = "7"
    call.request.target.type = kind
    said = (message.SerializeToString() for message in iter(to_say.get, None))
    stream = converse(channel, "OpenChannel", said, client_id)
    to_say.put(event)
    to_say.put(call)
    got = {}
    for _ in range(2):
        message = pb.Message.FromString(next(stream))
        got[message.WhichOneof("message")] = message
    assert set(got) == {"cloud_event", "request"}
    answer = pb.Message()
    answer.response.request_id = got["request"].request.request_id
    answer.response.payload.data_type = "Answer"
    to_say.put(answer)
    to_say.put(None)
    last = pb.Message.FromString(next(stream))
    assert (last.response.request_id, last.response.payload.data_type) == ("7", "Answer")
    stream.cancel()


@HABITS
@given(said=st.lists(anything(pb.Message), min_size=1, max_size=8))
def test_a_stream_of_garbage_ends_or_is_answered(channel: grpc.Channel, said: list[bytes]) -> None:
    """Each message is taken in, answered, or the end of that stream."""
    last, answer = pb.Message(), pb.Message()
    last.request.request_id = answer.response.request_id = "the last one"
    last.request.target.type = "nobody's"
    answer.response.error = 'no worker has registered the agent type "nobody\'s"'
    check_ending(channel, "OpenChannel", said, last, answer)
    check_next_is_served(channel)


@HABITS
@given(data=st.data(), method=st.sampled_from(sorted(UNARY)), client_id=st.sampled_from("abc"))
def test_garbage_asked_for_is_answered(
    channel: grpc.Channel, data: st.DataObject, method: str, client_id: str
) -> None:
    """Each question has an answer, be it an error of AutoGen's."""
    try:
        ask(channel, method, data.draw(anything(UNARY[method])), client_id)
    except grpc.RpcError as error:
        assert error.code() in ANSWERS, error  # noqa: PT017 (either outcome is right)
    check_next_is_served(channel)


@HABITS
@given(said=st.lists(anything(pb.ControlMessage), min_size=1, max_size=8))
def test_garbage_of_control_is_passed_on_or_refused(
    channel: grpc.Channel, said: list[bytes]
) -> None:
    """The control channel takes it in or ends."""
    last = pb.ControlMessage(rpc_id="the last one", destination="clientid=me")
    check_ending(channel, "OpenControlChannel", said, last, answer=last)
    check_next_is_served(channel)
