"""Messages in CloudEvents and payloads."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from callboard.core.envelope import PROTOBUF_DATA_CONTENT_TYPE, Envelope
from callboard.core.errors import InvalidMessage
from callboard.core.event import Address, TraceContext
from callboard.wire.v1.agent_host_pb2 import Payload
from callboard.wire.v1.cloudevent_pb2 import CloudEvent

SPEC_VERSION = "1.0"
_TYPE_URL = "type.googleapis.com/"

DATA_CONTENT_TYPE = "datacontenttype"
DATA_SCHEMA = "dataschema"
SENDER_TYPE = "agagentsendertype"
SENDER_KEY = "agagentsenderkey"
MESSAGE_KIND = "agmsgkind"
"""The names of CloudEvents attributes that AutoGen's workers write and read."""

NO_SENDER = ("unknown", "unknown")
"""What AutoGen's workers write, in Python, where no agent has published; in .NET empty ones."""

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
"""CloudEvents' distributed tracing extension: the trace context in which the event was created."""


class CloudEventCodec:
    """The one codec: CloudEvents in their protobuf format, and ``Payload`` messages."""

    def encode_event(self, envelope: Envelope) -> bytes:
        """An encoded CloudEvent on ``envelope.topic``.

        JSON travels in ``binary_data``, a protobuf message as an Any in ``proto_data``. Raises
        `InvalidMessage` for text that cannot be written as UTF-8.
        """
        try:
            same = _same_of(
                envelope.topic or ("", ""),
                envelope.content_type,
                envelope.type_name,
                envelope.sender,
            )
            event = CloudEvent(id=envelope.message_id)
            if envelope.trace is not None:
                _put_trace(event, envelope.trace)
            if envelope.content_type == PROTOBUF_DATA_CONTENT_TYPE:
                event.proto_data.type_url = _TYPE_URL + envelope.type_name
                event.proto_data.value = envelope.data
            else:
                event.binary_data = envelope.data
            return same + event.SerializeToString()
        except UnicodeEncodeError as error:
            raise _unwritable(envelope, error) from error

    def decode_event(self, content: bytes) -> Envelope:
        """What is in an encoded CloudEvent."""
        try:
            event = CloudEvent.FromString(content)
        except DecodeError as error:
            msg = f"not a CloudEvent: {error}"
            raise InvalidMessage(msg) from error
        attributes = event.attributes
        # The membership tests matter: reading a missing key of a protobuf map adds it.
        content_type = (
            attributes[DATA_CONTENT_TYPE].ce_string if DATA_CONTENT_TYPE in attributes else ""
        )
        type_name = attributes[DATA_SCHEMA].ce_string if DATA_SCHEMA in attributes else ""
        sender = None
        if SENDER_TYPE in attributes and SENDER_KEY in attributes:
            sender = (attributes[SENDER_TYPE].ce_string, attributes[SENDER_KEY].ce_string)
            sender = sender if all(sender) and sender != NO_SENDER else None
        match event.WhichOneof("data"):
            case "binary_data":
                data = event.binary_data
            case "proto_data":
                data = event.proto_data.value
                type_name = type_name or event.proto_data.type_url.rpartition("/")[2]
                content_type = content_type or PROTOBUF_DATA_CONTENT_TYPE
            case "text_data":
                data = event.text_data.encode()
            case _:
                data = b""
        topic = (event.type, event.source)
        trace = _trace_of(event) if TRACEPARENT in attributes else None
        return Envelope(type_name, content_type, data, event.id, sender, topic, trace)

    def with_trace(self, content: bytes, trace: TraceContext) -> bytes:
        """The encoded event ``content``, which holds no trace context, with one.

        Nothing of it is written anew: see `_same_of`.
        """
        more = CloudEvent()
        _put_trace(more, trace)
        return content + more.SerializeToString()

    def trace_of(self, content: bytes) -> TraceContext | None:
        """The trace context in an encoded event; None when it holds none or is no event."""
        if TRACEPARENT.encode() not in content:  # saves nearly all others from being decoded
            return None
        try:
            return _trace_of(CloudEvent.FromString(content))
        except DecodeError:
            return None

    def id_of(self, content: bytes) -> str:
        """The id of an encoded event; empty when it is no event."""
        try:
            return CloudEvent.FromString(content).id
        except DecodeError:
            return ""

    def encode_payload(self, envelope: Envelope) -> bytes:
        """An encoded ``Payload``; a protobuf message travels as a serialized Any.

        Raises `InvalidMessage` for text that cannot be written as UTF-8.
        """
        data = envelope.data
        try:
            if envelope.content_type == PROTOBUF_DATA_CONTENT_TYPE:
                data = Any(type_url=_TYPE_URL + envelope.type_name, value=data).SerializeToString()
            return Payload(
                data_type=envelope.type_name,
                data_content_type=envelope.content_type,
                data=data,
                message_id=envelope.message_id,
            ).SerializeToString()
        except UnicodeEncodeError as error:
            raise _unwritable(envelope, error) from error

    def decode_payload(self, payload: bytes) -> Envelope:
        """What is in an encoded ``Payload``."""
        try:
            message = Payload.FromString(payload)
            data = message.data
            if message.data_content_type == PROTOBUF_DATA_CONTENT_TYPE:
                data = Any.FromString(data).value
        except DecodeError as error:
            msg = f"not a payload: {error}"
            raise InvalidMessage(msg) from error
        return Envelope(message.data_type, message.data_content_type, data, message.message_id)


@lru_cache(4096)
def _same_of(topic: Address, content_type: str, type_name: str, sender: Address | None) -> bytes:
    """What the events of a publisher on a topic have in common, encoded.

    The rest may follow it: encoded messages that follow each other are one message
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
    """
    topic_type, topic_source = topic
    event = CloudEvent(source=topic_source, spec_version=SPEC_VERSION, type=topic_type)
    attributes = event.attributes
    attributes[DATA_CONTENT_TYPE].ce_string = content_type
    attributes[DATA_SCHEMA].ce_string = type_name
    attributes[MESSAGE_KIND].ce_string = "publish"
    if sender is not None:
        attributes[SENDER_TYPE].ce_string, attributes[SENDER_KEY].ce_string = sender
    return event.SerializeToString()


def _put_trace(event: CloudEvent, trace: TraceContext) -> None:
    event.attributes[TRACEPARENT].ce_string = trace.traceparent
    if trace.tracestate:
        event.attributes[TRACESTATE].ce_string = trace.tracestate


def _trace_of(event: CloudEvent) -> TraceContext | None:
    attributes = event.attributes
    if TRACEPARENT not in attributes:
        return None
    tracestate = attributes[TRACESTATE].ce_string if TRACESTATE in attributes else ""
    return TraceContext(attributes[TRACEPARENT].ce_string, tracestate)


def _unwritable(envelope: Envelope, error: UnicodeEncodeError) -> InvalidMessage:
    return InvalidMessage(f"message {envelope.message_id[:80]!r} cannot be written: {error.reason}")
