"""Events and payloads as bytes."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.envelope import (
    JSON_DATA_CONTENT_TYPE,
    PROTOBUF_DATA_CONTENT_TYPE,
    Envelope,
)
from callboard.core.errors import InvalidMessage
from callboard.core.event import TraceContext
from callboard.wire.codec import CloudEventCodec
from callboard.wire.v1.agent_host_pb2 import Payload
from callboard.wire.v1.cloudevent_pb2 import CloudEvent, CloudEventBatch

CODEC = CloudEventCodec()

texts = st.text(max_size=20)
envelopes = st.builds(
    Envelope,
    st.text(min_size=1, max_size=20),
    st.sampled_from([JSON_DATA_CONTENT_TYPE, PROTOBUF_DATA_CONTENT_TYPE]),
    st.binary(max_size=50),
    texts,
    st.none() | st.tuples(st.text(min_size=1), st.text(min_size=1)),
    st.tuples(texts, texts),
    st.none() | st.builds(TraceContext, texts, texts),
)


@given(envelopes)
def test_an_events_id_can_be_read_alone(envelope: Envelope) -> None:
    """It is the envelope's message id."""
    assert CODEC.id_of(CODEC.encode_event(envelope)) == envelope.message_id


def test_what_is_no_event_has_no_id() -> None:
    """Garbage is nobody's fault here."""
    assert CODEC.id_of(b"\xff\xff") == ""


IO_CLOUDEVENTS_V1 = {
    "id": (1, "string"),
    "source": (2, "string"),
    "spec_version": (3, "string"),
    "type": (4, "string"),
    "attributes": (5, "map"),
    "binary_data": (6, "bytes"),
    "text_data": (7, "string"),
    "proto_data": (8, "google.protobuf.Any"),
}
ATTRIBUTE_V1 = {
    "ce_boolean": (1, "bool"),
    "ce_integer": (2, "int32"),
    "ce_string": (3, "string"),
    "ce_bytes": (4, "bytes"),
    "ce_uri": (5, "string"),
    "ce_uri_ref": (6, "string"),
    "ce_timestamp": (7, "google.protobuf.Timestamp"),
}
"""The fields of ``io.cloudevents.v1.CloudEvent``: the CloudEvents protobuf format, version 1.0."""


def fields_of(message: type[CloudEvent | CloudEvent.CloudEventAttributeValue]) -> dict[str, object]:
    kinds = {5: "int32", 8: "bool", 9: "string", 12: "bytes"}
    found: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        of = field.message_type
        if of is None:
            kind = kinds[field.type]
        else:
            kind = "map" if of.GetOptions().map_entry else of.full_name
        found[field.name] = (field.number, kind)
    return found


def test_our_cloudevent_is_the_standard_s_field_by_field() -> None:
    """Names, numbers and types are those of the CloudEvents protobuf format."""
    assert fields_of(CloudEvent) == IO_CLOUDEVENTS_V1
    assert fields_of(CloudEvent.CloudEventAttributeValue) == ATTRIBUTE_V1
    assert [(f.number, f.name) for f in CloudEventBatch.DESCRIPTOR.fields] == [(1, "events")]


@given(envelopes)
def test_an_event_is_read_as_it_was_written(envelope: Envelope) -> None:
    """All of the envelope travels in the event."""
    assert CODEC.decode_event(CODEC.encode_event(envelope)) == envelope


@given(envelopes)
def test_a_payload_is_read_as_it_was_written(envelope: Envelope) -> None:
    """All but sender, topic and trace context, which travel beside it."""
    bare = envelope._replace(sender=None, topic=None, trace=None)
    assert CODEC.decode_payload(CODEC.encode_payload(envelope)) == bare


@given(envelopes)
def test_a_trace_context_is_added_to_an_encoded_event(envelope: Envelope) -> None:
    """The event is then what it would have been, had it been written with it."""
    trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b")
    content = CODEC.encode_event(envelope._replace(trace=None))

    traced = CODEC.with_trace(content, trace)

    assert CODEC.trace_of(content) is None
    assert CODEC.trace_of(traced) == trace
    assert CODEC.decode_event(traced) == envelope._replace(trace=trace)
    assert CloudEvent.FromString(traced) == CloudEvent.FromString(
        CODEC.encode_event(envelope._replace(trace=trace))
    )


def test_what_is_no_event_holds_no_trace_context() -> None:
    """Whoever gets it refuses it."""
    assert CODEC.trace_of(b"\xfftraceparent") is None


def test_json_travels_in_binary_data_with_autogen_s_attributes() -> None:
    """A worker of AutoGen's reads the same attributes."""
    content = CODEC.encode_event(
        Envelope("Order", JSON_DATA_CONTENT_TYPE, b"{}", "id-1", ("shop", "main"), ("t", "x"))
    )

    event = CloudEvent.FromString(content)
    assert (event.id, event.source, event.spec_version, event.type) == ("id-1", "x", "1.0", "t")
    assert {name: value.ce_string for name, value in event.attributes.items()} == {
        "datacontenttype": "application/json",
        "dataschema": "Order",
        "agmsgkind": "publish",
        "agagentsendertype": "shop",
        "agagentsenderkey": "main",
    }
    assert event.WhichOneof("data") == "binary_data"
    assert event.binary_data == b"{}"


def test_protobuf_travels_as_an_any() -> None:
    """In an event as the message, in a payload as its bytes."""
    envelope = Envelope(
        "pkg.Order", PROTOBUF_DATA_CONTENT_TYPE, b"\x0a\x01x", "1", None, ("t", "x")
    )

    event = CloudEvent.FromString(CODEC.encode_event(envelope))
    payload = Payload.FromString(CODEC.encode_payload(envelope))

    assert event.proto_data.type_url == "type.googleapis.com/pkg.Order"
    assert event.proto_data.value == b"\x0a\x01x"
    assert AnyMessage.FromString(payload.data) == event.proto_data


def test_what_others_leave_out_is_found_where_it_is() -> None:
    """An event of another origin may say its type only in the Any, or bring text."""
    event = CloudEvent(id="1", source="x", spec_version="1.0", type="t")
    event.proto_data.type_url = "example.org/pkg.Order"
    event.proto_data.value = b"v"
    assert CODEC.decode_event(event.SerializeToString())[:3] == (
        "pkg.Order",
        PROTOBUF_DATA_CONTENT_TYPE,
        b"v",
    )
    event.text_data = "täxt"
    assert CODEC.decode_event(event.SerializeToString()).data == "täxt".encode()
    event.ClearField("text_data")
    assert CODEC.decode_event(event.SerializeToString()).data == b""


@pytest.mark.parametrize("sender", [("", ""), ("shop", ""), ("", "main")])
def test_an_empty_sender_is_none(sender: tuple[str, str]) -> None:
    """AutoGen's workers write empty attributes for a publisher that is no agent."""
    event = CloudEvent(id="1", source="x", spec_version="1.0", type="t")
    event.attributes["agagentsendertype"].ce_string = sender[0]
    event.attributes["agagentsenderkey"].ce_string = sender[1]

    assert CODEC.decode_event(event.SerializeToString()).sender is None


def test_reading_does_not_add_attributes() -> None:
    """Missing ones stay missing."""
    event = CloudEvent(id="1", source="x", spec_version="1.0", type="t")

    assert CODEC.decode_event(event.SerializeToString()).type_name == ""


@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x05a"])
def test_bytes_that_are_no_event_or_payload_are_invalid(content: bytes) -> None:
    """`InvalidMessage`, not protobuf's own error."""
    with pytest.raises(InvalidMessage, match="not a CloudEvent"):
        CODEC.decode_event(content)
    with pytest.raises(InvalidMessage, match="not a payload"):
        CODEC.decode_payload(content)


def test_a_payload_that_promises_an_any_holds_one() -> None:
    """Its data is read as an Any only when its content type says so."""
    payload = Payload(data_type="x", data_content_type=PROTOBUF_DATA_CONTENT_TYPE, data=b"\xff")

    with pytest.raises(InvalidMessage, match="not a payload"):
        CODEC.decode_payload(payload.SerializeToString())


def test_text_that_is_not_writable_is_invalid() -> None:
    """A message id is whatever its author chose."""
    envelope = Envelope("x", JSON_DATA_CONTENT_TYPE, b"", "\ud800", None, ("t", "x"))

    with pytest.raises(InvalidMessage, match="cannot be written"):
        CODEC.encode_event(envelope)
    with pytest.raises(InvalidMessage, match="cannot be written"):
        CODEC.encode_payload(envelope)
