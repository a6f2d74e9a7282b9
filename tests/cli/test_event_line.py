"""Lines in the CloudEvents JSON format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from callboard.cli.event_line import read_event
from callboard.core.errors import InvalidMessage
from callboard.wire.codec import CloudEventCodec
from callboard.wire.v1.cloudevent_pb2 import CloudEvent

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "type": "orders",
    "source": "table/7",
    "dataschema": "Order",
    "data": {"text": "Käse"},
}


def read(**more: Any) -> CloudEvent:
    return CloudEvent.FromString(read_event(json.dumps({**EVENT, **more}).encode()).content)


def test_the_message_is_what_a_worker_reads() -> None:
    """A line becomes the envelope of its topic, its type name, its id and its data."""
    event = read_event(json.dumps(EVENT).encode())
    envelope = CloudEventCodec().decode_event(event.content)

    assert (event.topic_type, event.topic_source) == envelope.topic == ("orders", "table/7")
    assert envelope.message_id == "1"
    assert envelope.type_name == "Order"
    assert envelope.content_type == "application/json"
    assert envelope.data == '{"text":"Käse"}'.encode()
    assert envelope.sender is None is event.sender


def test_attributes_are_kept() -> None:
    """Time, subject and extension attributes travel with their types; null is none."""
    event = read(
        time="2024-02-29T12:00:00.5Z",
        subject="cheese",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        priority=-3,
        urgent=True,
        nothing=None,
    )
    attributes = event.attributes

    assert attributes["time"].ce_timestamp.ToDatetime(UTC) == datetime(
        2024, 2, 29, 12, 0, 0, 500_000, UTC
    )
    assert attributes["subject"].ce_string == "cheese"
    assert attributes["traceparent"].ce_string.startswith("00-0af76519")
    assert attributes["priority"].ce_integer == -3
    assert attributes["urgent"].ce_boolean is True
    assert "nothing" not in attributes


def test_nothing_is_made_up() -> None:
    """What is optional and absent stays absent, but for what a worker needs."""
    assert set(read().attributes) == {"datacontenttype", "dataschema", "agmsgkind"}


@pytest.mark.parametrize(
    ("more", "data"),
    [
        ({"data": "text"}, b'"text"'),
        ({"data": None}, b"null"),
        ({"data": [1, 2.5, None]}, b"[1,2.5,null]"),
        ({"data": {"n": 10**30}}, b'{"n":1000000000000000000000000000000}'),
        ({"data": "text", "datacontenttype": "text/plain"}, b"text"),
        ({"data": "text", "datacontenttype": "application/vnd.x+json"}, b'"text"'),
        ({"data": None, "data_base64": "AAH/"}, b"\x00\x01\xff"),
    ],
    ids=str,
)
def test_data_travels_in_its_content_type(more: dict[str, Any], data: bytes) -> None:
    """JSON stays JSON, text becomes UTF-8, and data_base64 the bytes it stands for."""
    assert read(**more).binary_data == data


def test_protobuf_travels_as_any() -> None:
    """Data in protobuf becomes an Any of the type that dataschema names."""
    event = read(
        data=None,
        data_base64="CgFh",
        datacontenttype="application/x-protobuf",
        dataschema="shop.Order",
    )

    assert event.proto_data.type_url == "type.googleapis.com/shop.Order"
    assert event.proto_data.value == b"\n\x01a"


def test_the_sender_is_kept() -> None:
    """An event that an agent published still comes from it."""
    line = json.dumps({**EVENT, "agagentsendertype": "cook", "agagentsenderkey": "1"}).encode()

    assert read_event(line).sender == ("cook", "1")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[]", "a line holds one event, a JSON object"),
        (b"{'a': 1}", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"{}", "'specversion' is missing"),
        (b'{"a":' + b"[" * 100_000, "recursion"),
    ],
    ids=["array", "no JSON", "no UTF-8", "empty", "deep"],
)
def test_what_is_no_event_is_refused(line: bytes, reason: str) -> None:
    """A line that is no JSON object, or lacks what is required, is refused with the rule."""
    with pytest.raises(InvalidMessage) as refused:
        read_event(line)

    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"specversion": "0.3"}, "Attribute 'specversion' must be '1.0'"),
        ({"id": None}, "'id' is missing"),
        ({"id": ""}, "Attribute 'id' must not be None or empty"),
        ({"id": 5}, "'id' must be "),
        ({"type": "a b"}, "invalid topic type 'a b'"),
        ({"source": "s" * 257}, "it has 257 bytes, the limit is 256"),
        ({"dataschema": None}, "no 'dataschema' to name the message's type"),
        ({"time": "noon"}, ""),
        ({"time": "2024-02-29T12:00:00"}, "Attribute 'time' must be timezone aware"),
        ({"Priority": 1}, "'Priority' should only contain lowercase letters and numbers"),
        ({"priority": 1.5}, "'priority' is no text, boolean or integer of 32 bits"),
        ({"priority": 2**31}, "'priority' is no text, boolean or integer of 32 bits"),
        ({"data": None, "data_base64": "AA?="}, "'data_base64' is not base64"),
        ({"data": 1, "datacontenttype": "text/plain"}, "'data' is no text"),
        ({"datacontenttype": "application/protobuf"}, "written 'data_base64'"),
        ({"agagentsendertype": "a b", "agagentsenderkey": "1"}, "invalid agent type 'a b'"),
    ],
    ids=str,
)
def test_what_breaks_a_rule_is_refused(more: dict[str, Any], reason: str) -> None:
    """An attribute that breaks a rule of CloudEvents or of Callboard is named with it."""
    with pytest.raises(InvalidMessage) as refused:
        read(**more)

    assert reason in str(refused.value)
