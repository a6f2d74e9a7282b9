"""Which serializer serves which class and which type name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from callboard import (
    JSON_DATA_CONTENT_TYPE,
    AlreadyRegistered,
    InvalidMessage,
    MessageSerializer,
    SerializationRegistry,
    UnknownPayload,
    try_get_known_serializers_for_type,
)


@dataclass
class Note:
    text: str


class Handmade:
    """A class that Callboard has no serializer for."""

    def __init__(self, text: str) -> None:
        self.text = text


class Upper:
    """A program's serializer, as programs for AutoGen have them: it knows its type by name only."""

    data_content_type = JSON_DATA_CONTENT_TYPE

    def __init__(self, type_name: str, made: Any = Note) -> None:
        self.type_name = type_name
        self._made = made

    def serialize(self, message: Any) -> bytes:
        return json.dumps(message.text.upper()).encode()

    def deserialize(self, payload: bytes) -> Any:
        return self._made(json.loads(payload))


class Named(Upper):
    """A program's serializer that names its class, so that its type name is free."""

    def __init__(self, type_name: str, cls: type[Any]) -> None:
        super().__init__(type_name, cls)
        self.cls = cls


class Failing(Upper):
    def serialize(self, message: Any) -> bytes:
        raise KeyError(message.text)

    def deserialize(self, payload: bytes) -> Any:
        raise KeyError(payload)


def another_note(module: str = "elsewhere") -> type[Any]:
    """A class of the same name as `Note` that is not `Note`."""
    return dataclass(type("Note", (), {"__annotations__": {"text": str}, "__module__": module}))


def test_whoever_sends_a_class_can_read_it() -> None:
    """A class needs no registration to be sent, and from then on it is read too."""
    registry = SerializationRegistry()

    written = registry.serialize(Note("hi"))

    assert written == ("Note", JSON_DATA_CONTENT_TYPE, b'{"text":"hi"}')
    assert registry.deserialize(written[2], written[0], written[1]) == Note("hi")


def test_a_registered_class_can_be_read_before_any_is_sent() -> None:
    """What registration adds is known at once, under its name and content type."""
    registry = SerializationRegistry()
    registry.add_serializer(try_get_known_serializers_for_type(Note))

    assert registry.is_registered("Note", JSON_DATA_CONTENT_TYPE)
    assert not registry.is_registered("Note", "text/plain")
    read = registry.deserialize(
        b'{"text": "hi"}', type_name="Note", data_content_type=JSON_DATA_CONTENT_TYPE
    )
    assert read == Note("hi")


def test_an_unknown_type_is_a_payload_that_goes_on_as_it_came() -> None:
    """Without a serializer the bytes come as `UnknownPayload`; an agent may pass that on."""
    registry = SerializationRegistry()

    unknown = registry.deserialize(b"?", "Note", JSON_DATA_CONTENT_TYPE)

    assert unknown == UnknownPayload("Note", JSON_DATA_CONTENT_TYPE, b"?")
    assert registry.serialize(unknown) == ("Note", JSON_DATA_CONTENT_TYPE, b"?")


def test_content_types_are_compared_as_they_stand() -> None:
    """A parameter makes it another content type, as for AutoGen."""
    registry = SerializationRegistry()
    registry.serialize(Note("hi"))

    read = registry.deserialize(b"{}", "Note", "application/json; charset=utf-8")

    assert isinstance(read, UnknownPayload)


def test_a_class_of_an_unknown_kind_is_refused_with_what_to_do() -> None:
    """Sending what nobody can write is an error that names the class and the ways out."""
    with pytest.raises(
        InvalidMessage, match=r"no serializer for Handmade: .*add_message_serializer"
    ):
        SerializationRegistry().serialize(Handmade("hi"))


def test_two_classes_of_one_name_are_an_error() -> None:
    """The second class of a type name is refused, whether it is registered or sent."""
    other = another_note()
    registry = SerializationRegistry()
    registry.serialize(Note("hi"))

    with pytest.raises(
        AlreadyRegistered, match=r"two classes .*test_serial.*Note and elsewhere.Note"
    ):
        registry.add_serializer(try_get_known_serializers_for_type(other))
    with pytest.raises(AlreadyRegistered):
        registry.serialize(other("hi"))
    assert registry.serialize(Note("hi"))[0] == "Note"


def test_a_class_defined_anew_takes_the_place_of_the_old_one() -> None:
    """A class of the same module and qualified name is the same class, as in a notebook."""
    before, after = another_note(), another_note()
    registry = SerializationRegistry()
    registry.serialize(before("hi"))
    written = registry.serialize(after("hi"))

    assert type(registry.deserialize(written[2], written[0], written[1])) is after


def test_registering_a_class_again_changes_nothing() -> None:
    """Several agents may handle one class."""
    registry = SerializationRegistry()
    registry.add_serializer(try_get_known_serializers_for_type(Note))
    registry.add_serializer(try_get_known_serializers_for_type(Note))

    assert registry.serialize(Note("hi"))[2] == b'{"text":"hi"}'


def test_two_classes_of_one_name_can_be_told_apart_by_a_serializer() -> None:
    """A serializer that names its class is free in its type name."""
    other = another_note()
    registry = SerializationRegistry()
    registry.add_serializer(Named("elsewhere.Note", other))

    for message in (Note("hi"), other("HO")):
        type_name, content_type, payload = registry.serialize(message)
        read = registry.deserialize(payload, type_name, content_type)
        assert (type(read), read.text) == (type(message), message.text)
    assert registry.type_name(other("ho")) == "elsewhere.Note"


@pytest.mark.parametrize("custom", [Upper("Note"), Named("Note", Note)])
def test_a_programs_serializer_serves_whenever_it_is_added(custom: MessageSerializer[Any]) -> None:
    """It replaces Callboard's own, before and after the class was sent or registered."""
    known = try_get_known_serializers_for_type(Note)
    early, late = SerializationRegistry(), SerializationRegistry()
    early.add_serializer(custom)
    early.add_serializer(known)
    late.add_serializer(known)
    late.serialize(Note("hi"))
    late.add_serializer([custom])

    for registry in (early, late):
        assert registry.serialize(Note("hi"))[2] == b'"HI"'
        assert registry.deserialize(b'"HI"', "Note", JSON_DATA_CONTENT_TYPE) == Note("HI")


def test_of_two_programs_serializers_the_later_serves() -> None:
    """A program may change its mind."""
    registry = SerializationRegistry()
    registry.add_serializer(Failing("Note"))
    registry.add_serializer(Upper("Note"))

    assert registry.serialize(Note("hi"))[2] == b'"HI"'


def test_any_class_can_travel_with_a_serializer_of_its_own() -> None:
    """A serializer by type name serves the class that has the name."""
    registry = SerializationRegistry()
    registry.add_serializer(Upper("Handmade", Handmade))

    written = registry.serialize(Handmade("hi"))

    assert written == ("Handmade", JSON_DATA_CONTENT_TYPE, b'"HI"')
    assert registry.deserialize(b'"HI"', "Handmade", JSON_DATA_CONTENT_TYPE).text == "HI"


def test_whatever_a_programs_serializer_raises_is_an_error_of_the_message() -> None:
    """Senders and receivers meet one kind of error, with the cause behind it."""
    registry = SerializationRegistry()
    registry.add_serializer(Failing("Note"))

    with pytest.raises(InvalidMessage, match="this Note cannot be written: 'hi'") as caught:
        registry.serialize(Note("hi"))
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(InvalidMessage, match="this is no valid Note"):
        registry.deserialize(b"?", "Note", JSON_DATA_CONTENT_TYPE)
