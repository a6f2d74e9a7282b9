"""Reads events from lines in the CloudEvents JSON format and encodes them for the wire."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import Any, NoReturn

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from callboard.core.envelope import JSON_DATA_CONTENT_TYPE
from callboard.core.errors import InvalidIdentifier, InvalidMessage
from callboard.core.event import Address, Event
from callboard.core.identity import AgentId, TopicId
from callboard.wire.codec import (
    DATA_CONTENT_TYPE,
    DATA_SCHEMA,
    MESSAGE_KIND,
    SENDER_KEY,
    SENDER_TYPE,
)
from callboard.wire.v1 import cloudevent_pb2 as pb

_REQUIRED = ("specversion", "id", "source", "type")
_JSON = re.compile(r"(application|text)/([A-Za-z0-9.-]+\+)?json(;.*)?\Z")
_PROTOBUF = re.compile(r"application/(x-)?protobuf(;.*)?\Z")
_MAX_INTEGER = 2**31 - 1
"""CloudEvents' Integer has 32 bits; section "Type system"."""

_format = JSONFormat()


def read_event(line: bytes, *, type_name: str = "") -> Event:
    """The event of one line, with its own id, attributes and data.

    Its ``type`` and ``source`` are the topic. Its ``dataschema`` names the message's type, and
    ``type_name`` does for a line without; its ``datacontenttype`` is JSON if there is none.

    Raises:
        InvalidMessage: The line breaks a rule of CloudEvents, of their JSON format, or of
            Callboard; the text says which.
    """
    if not line.lstrip().startswith(b"{"):
        _refuse("a line holds one event, a JSON object")
    try:
        if b"data_base64" in line:
            _check_base64(line)
        read = _format.read(_made, line)
        return _encoded(read.get_attributes(), read.get_data(), type_name)
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at column {error.colno}"
        raise InvalidMessage(reason) from error
    except CloudEventValidationError as error:
        first = next(iter(error.errors.values()))[0]
        raise InvalidMessage(str(first)) from error
    except InvalidMessage:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidMessage(str(error)) from error


def _check_base64(line: bytes) -> None:
    """The package leaves out what is no base64, instead of refusing it."""
    written = json.loads(line).get("data_base64")
    try:
        base64.b64decode(written or "", validate=True)
    except (ValueError, TypeError) as error:
        reason = f"'data_base64' is not base64: {error}"
        raise InvalidMessage(reason) from error


def _made(attributes: dict[str, Any], data: Any) -> BaseCloudEvent:
    """Has the `cloudevents` package check an event, but not fill in what is missing."""
    attributes = {name: value for name, value in attributes.items() if value is not None}
    for name in _REQUIRED:
        if name not in attributes:
            _refuse(f"{name!r} is missing")
    had_time = "time" in attributes
    event = CloudEvent(attributes, data)
    if not had_time:
        attributes.pop("time", None)
    return event


def _encoded(attributes: dict[str, Any], data: Any, type_name: str) -> Event:
    topic = TopicId(attributes["type"], attributes["source"])
    content_type = attributes.setdefault(DATA_CONTENT_TYPE, JSON_DATA_CONTENT_TYPE)
    type_name = attributes.setdefault(DATA_SCHEMA, type_name)
    if not type_name:
        _refuse("there is no 'dataschema' to name the message's type, and no --type-name")
    attributes.setdefault(MESSAGE_KIND, "publish")
    event = pb.CloudEvent(
        id=attributes["id"], spec_version="1.0", source=topic.source, type=topic.type
    )
    for name, value in attributes.items():
        if name not in _REQUIRED:
            _set(event.attributes[name], name, value)
    if _PROTOBUF.match(content_type):
        if not isinstance(data, bytes):
            _refuse("data in protobuf is written 'data_base64'")
        event.proto_data.type_url = f"type.googleapis.com/{type_name}"
        event.proto_data.value = data
    else:
        event.binary_data = _bytes_of(data, content_type)
    return Event(event.SerializeToString(), topic.type, topic.source, _sender_of(attributes))


def _set(attribute: pb.CloudEvent.CloudEventAttributeValue, name: str, value: object) -> None:
    match value:
        case bool():
            attribute.ce_boolean = value
        case int() if -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
            attribute.ce_integer = value
        case str():
            attribute.ce_string = value
        case datetime():
            attribute.ce_timestamp.FromDatetime(value)
        case _:
            _refuse(f"attribute {name!r} is no text, boolean or integer of 32 bits")


def _bytes_of(data: Any, content_type: str) -> bytes:
    if isinstance(data, bytes):
        return data
    if _JSON.match(content_type):
        written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return written.encode()
    if data is None:
        return b""
    if not isinstance(data, str):
        _refuse(f"'data' is no text, and {DATA_CONTENT_TYPE!r} is no JSON: {content_type!r}")
    return data.encode()


def _sender_of(attributes: dict[str, Any]) -> Address | None:
    if SENDER_TYPE not in attributes or SENDER_KEY not in attributes:
        return None
    try:
        sender = AgentId(attributes[SENDER_TYPE], attributes[SENDER_KEY])
    except InvalidIdentifier as error:
        _refuse(f"{SENDER_TYPE!r} and {SENDER_KEY!r}: {error}")
    return (sender.type, sender.key)


def _refuse(reason: str) -> NoReturn:
    raise InvalidMessage(reason)
