"""Between AutoGen's messages and ours: what one side cannot read does not reach it."""

from __future__ import annotations

import pytest

from callboard.core.errors import Code, InvalidMessage
from callboard.core.event import Event, TraceContext
from callboard.core.frames import Call, CallFailure, Reply
from callboard.host.autogen import messages
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb
from callboard.wire.v1.agent_host_pb2 import Payload

HELLO = Payload(data_type="Hello", data_content_type="application/json", data=b"{}")


def answered(reply: Reply) -> pb.RpcResponse:
    return pb.Message.FromString(messages.response_to(reply, "7")).response


def test_what_is_no_event_is_not_sent() -> None:
    """A native worker may publish any bytes; those would end an AutoGen worker's stream."""
    with pytest.raises(InvalidMessage):
        messages.event_to(Event(b"\xff\xff", "t", "s"))
    # A CloudEvent whose id is no UTF-8.
    with pytest.raises(InvalidMessage):
        messages.event_to(Event(b"\x0a\x02\xc3\x28", "t", "s"))


def test_what_is_no_payload_is_not_sent() -> None:
    """Neither in a call nor in an answer."""
    with pytest.raises(InvalidMessage):
        messages.request_to(Call(1, ("a", "k"), b"\xff\xff"))
    with pytest.raises(InvalidMessage):
        messages.response_to(Reply(1, b"\xff\xff"), "7")


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (CallFailure(Code.NOT_FOUND, "no such type"), "no such type"),
        (CallFailure(Code.UNKNOWN, "", "ValueError"), "ValueError"),
        (CallFailure(Code.UNKNOWN, ""), "the agent failed, without a text"),
    ],
)
def test_an_error_has_a_text(failure: CallFailure, text: str) -> None:
    """AutoGen's workers take one without for a success."""
    response = answered(Reply(1, error=failure))
    assert response.error == text
    assert not response.HasField("payload")


def test_no_value_is_a_value_of_its_own() -> None:
    """AutoGen has no form for it: it travels under its class and comes back as none."""
    response = answered(Reply(1, Payload().SerializeToString()))
    assert (response.payload.data_type, response.payload.data) == ("NoneType", b"null")
    back = Payload(data_content_type="application/json", data=b"null").SerializeToString()
    for answer in (response, answered(Reply(1, b""))):
        assert messages.reply_from(answer, 1) == Reply(1, back)
    empty = pb.RpcResponse(payload=Payload())
    assert messages.reply_from(empty, 1) == Reply(1, back), "no bytes would end a stream"


def test_a_response_without_a_payload_is_an_error() -> None:
    """It is what AutoGen's workers send for an exception without a text."""
    reply = messages.reply_from(pb.RpcResponse(request_id="1"), 1)
    assert reply.error == CallFailure(Code.UNKNOWN, "", "Exception")


def test_a_call_keeps_its_sender_and_its_trace() -> None:
    """There and back; without a sender none is named."""
    trace = TraceContext("00-" + "1" * 32 + "-" + "2" * 16 + "-01", "a=b")
    call = Call(1, ("a", ""), HELLO.SerializeToString(), sender=("b", "k"), hop=trace)
    request = pb.Message.FromString(messages.request_to(call)).request
    assert request.request_id == "1"
    assert messages.call_from(request, 1) == call
    alone = Call(1, ("a", "k"), HELLO.SerializeToString())
    request = pb.Message.FromString(messages.request_to(alone)).request
    assert not request.HasField("source")
    assert messages.call_from(request, 1) == alone


def test_autogen_has_no_message_id_in_a_payload() -> None:
    """What native workers put there does not travel on."""
    named = Payload(data_type="Hello", message_id="x").SerializeToString()
    request = pb.Message.FromString(messages.request_to(Call(1, ("a", "k"), named))).request
    assert request.payload == Payload(data_type="Hello")
