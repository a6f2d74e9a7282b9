"""Between AutoGen's messages and the values of our protocol."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from callboard.core.envelope import JSON_DATA_CONTENT_TYPE
from callboard.core.errors import Code, InvalidMessage, ProtocolViolation
from callboard.core.event import Event, TraceContext
from callboard.core.frames import Call, CallFailure, Reply, SubscriptionEntry
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb
from callboard.wire.codec import SENDER_KEY, SENDER_TYPE
from callboard.wire.v1.agent_host_pb2 import Payload
from callboard.wire.v1.cloudevent_pb2 import CloudEvent

RAISED = "Exception"
"""The class of every error that AutoGen's workers report: they send the text alone."""

_NONE = Payload(data_type="NoneType", data_content_type=JSON_DATA_CONTENT_TYPE, data=b"null")
"""No value, for AutoGen's workers, which have no form for it.

A program that has registered a serializer of that name gets what this makes; others an
`UnknownPayload` that says what it was.
"""

_NOTHING = Payload(data_content_type=JSON_DATA_CONTENT_TYPE, data=b"null")
"""No value, in our own protocol."""

_WITHOUT_TEXT = "the agent failed, without a text"


def parse(data: bytes) -> pb.Message:
    """What a worker has sent. Raises `ProtocolViolation` when it is no message."""
    try:
        return pb.Message.FromString(data)
    except DecodeError as error:
        msg = "what was sent is no agents.Message"
        raise ProtocolViolation(msg) from error


# From a worker.


def event_from(message: CloudEvent) -> Event:
    """An event that a worker publishes; its agents are "unknown" where none published it."""
    attributes = message.attributes
    sender = None
    if SENDER_TYPE in attributes and SENDER_KEY in attributes:
        sender = (attributes[SENDER_TYPE].ce_string, attributes[SENDER_KEY].ce_string)
    return Event(message.SerializeToString(), message.type, message.source, sender)


def call_from(request: pb.RpcRequest, number: int) -> Call:
    """A call that a worker makes, under a number of ours."""
    metadata = request.metadata
    trace = None
    if "traceparent" in metadata:
        trace = TraceContext(metadata["traceparent"], metadata.get("tracestate", ""))
    return Call(
        number,
        (request.target.type, request.target.key),
        request.payload.SerializeToString(),
        sender=(request.source.type, request.source.key) if request.HasField("source") else None,
        hop=trace,
    )


def reply_from(response: pb.RpcResponse, call_id: int) -> Reply:
    """A worker's answer to a call.

    One without a payload is an error, whatever its text: an exception without a text looks so.
    """
    if response.error or not response.HasField("payload"):
        return Reply(call_id, error=CallFailure(Code.UNKNOWN, response.error, RAISED))
    if response.payload.data_type in ("", _NONE.data_type):
        return Reply(call_id, _NOTHING.SerializeToString())
    return Reply(call_id, response.payload.SerializeToString())


def subscription_from(subscription: pb.Subscription, subscription_id: str) -> SubscriptionEntry:
    """A subscription under an id. Raises `InvalidMessage` for one that subscribes to nothing."""
    match subscription.WhichOneof("subscription"):
        case "type_subscription":
            by_type = subscription.type_subscription
            return SubscriptionEntry(
                subscription_id, by_type.agent_type, "type", by_type.topic_type
            )
        case "type_prefix_subscription":
            prefix = subscription.type_prefix_subscription
            return SubscriptionEntry(
                subscription_id, prefix.agent_type, "prefix", prefix.topic_type_prefix
            )
        case _:
            msg = "the subscription is neither by topic type nor by prefix"
            raise InvalidMessage(msg)


# To a worker.


def event_to(event: Event) -> bytes:
    """An event in the message that brings it.

    Raises `InvalidMessage` for what a native worker has published and is no event: what an AutoGen
    worker cannot read is the end of its stream.
    """
    try:
        return pb.Message(cloud_event=CloudEvent.FromString(event.content)).SerializeToString()
    except DecodeError as error:
        msg = "it is no CloudEvent"
        raise InvalidMessage(msg) from error


def request_to(call: Call) -> bytes:
    """A call for one of the worker's agents, under the host's id. Raises `InvalidMessage`."""
    request = pb.RpcRequest(
        request_id=str(call.id),
        target=pb.AgentId(type=call.target[0], key=call.target[1]),
        payload=_payload(call.payload),
    )
    request.payload.ClearField("message_id")
    if call.sender is not None:
        request.source.type, request.source.key = call.sender
    if call.hop is not None:
        request.metadata["traceparent"] = call.hop.traceparent
        request.metadata["tracestate"] = call.hop.tracestate
    return pb.Message(request=request).SerializeToString()


def response_to(reply: Reply, request_id: str) -> bytes:
    """The answer to a call that the worker made, under its own id. Raises `InvalidMessage`."""
    response = pb.RpcResponse(request_id=request_id)
    if reply.error is not None:
        # An empty text would be taken for a success.
        response.error = reply.error.message or reply.error.type or _WITHOUT_TEXT
    else:
        payload = _payload(reply.payload)
        payload.ClearField("message_id")
        response.payload.CopyFrom(payload if payload.data_type else _NONE)
    return pb.Message(response=response).SerializeToString()


def subscription_to(entry: SubscriptionEntry) -> pb.Subscription:
    """A subscription as `GetSubscriptions` tells it."""
    subscription = pb.Subscription(id=entry.id)
    if entry.kind == "type":
        subscription.type_subscription.topic_type = entry.pattern
        subscription.type_subscription.agent_type = entry.agent_type
    else:
        subscription.type_prefix_subscription.topic_type_prefix = entry.pattern
        subscription.type_prefix_subscription.agent_type = entry.agent_type
    return subscription


def _payload(data: bytes) -> Payload:
    try:
        return Payload.FromString(data)
    except DecodeError as error:
        msg = "it holds no payload"
        raise InvalidMessage(msg) from error
