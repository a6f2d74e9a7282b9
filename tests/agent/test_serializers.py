"""Models, protobuf messages and plain JSON values as messages."""

from __future__ import annotations

from collections import Counter
from typing import Any, Generic, TypeVar

import pytest
from google.protobuf.descriptor_pb2 import UninterpretedOption
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from callboard import (
    JSON_DATA_CONTENT_TYPE,
    PROTOBUF_DATA_CONTENT_TYPE,
    InvalidMessage,
    MessageSerializer,
    try_get_known_serializers_for_type,
)

T = TypeVar("T")


def serializer_of(cls: type[Any]) -> MessageSerializer[Any]:
    (serializer,) = try_get_known_serializers_for_type(cls)
    return serializer


def round_trip(message: Any) -> Any:
    serializer = serializer_of(type(message))
    return serializer.deserialize(serializer.serialize(message))


class Order(BaseModel):
    item: str
    count: int = 1


class Page(BaseModel, Generic[T]):
    items: list[T]


class Aliased(BaseModel):
    first_name: str = Field(alias="firstName")


class WithAliases(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)

    first_name: str = Field(alias="firstName")


class Custom(BaseModel):
    number: int

    def model_dump_json(self, **_: Any) -> str:
        return '{"number": 7}'


def test_models_are_written_as_pydantic_writes_them() -> None:
    """The JSON of a model is that of ``model_dump_json``, which a class may override."""
    order = Order(item="tea", count=2)

    assert serializer_of(Order).serialize(order) == order.model_dump_json().encode()
    assert serializer_of(Custom).serialize(Custom(number=1)) == b'{"number": 7}'
    assert round_trip(order) == order


def test_parametrised_models_are_classes_of_their_own() -> None:
    """``Page[Order]`` travels under that name, and what it holds comes back."""
    page = Page[Order](items=[Order(item="tea")])

    assert serializer_of(Page[Order]).type_name == "Page[Order]"
    assert round_trip(page) == page
    assert type(round_trip(page)) is Page[Order]


@pytest.mark.parametrize("message", [Aliased(firstName="Ada"), WithAliases(firstName="Ada")])
def test_models_with_aliases_come_back(message: BaseModel) -> None:
    """Fields are read by name and by alias, so that what is written by either is read."""
    assert round_trip(message) == message
    assert serializer_of(Aliased).deserialize(b'{"firstName": "Ada"}').first_name == "Ada"


def test_a_payload_that_a_model_refuses_names_type_and_reason() -> None:
    """A bad payload is an InvalidMessage that says what is wrong where."""
    with pytest.raises(InvalidMessage, match="this is no valid Order: item: Field required"):
        serializer_of(Order).deserialize(b"{}")


def test_a_model_that_names_nothing_that_exists_is_refused() -> None:
    """A forward reference that never resolves is an error at registration."""

    class Broken(BaseModel):
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821 (the point)

    with pytest.raises(InvalidMessage, match=r"Broken cannot be a message: .*Nowhere"):
        try_get_known_serializers_for_type(Broken)


def test_models_may_name_what_a_function_defines() -> None:
    """A model defined in a function before what it names is complete once both are there."""

    class Outer(BaseModel):
        inner: Inner

    class Inner(BaseModel):
        number: int

    message = Outer(inner=Inner(number=1)) if Outer.model_rebuild() else None

    assert round_trip(message) == message


def test_protobuf_messages_travel_as_they_are() -> None:
    """Their name is the full name, their bytes the message's own, not wrapped in Any."""
    message = StringValue(value="tea")
    serializer = serializer_of(StringValue)

    assert serializer.type_name == "google.protobuf.StringValue"
    assert serializer.data_content_type == PROTOBUF_DATA_CONTENT_TYPE
    assert serializer.serialize(message) == message.SerializeToString()
    assert round_trip(message) == message
    assert round_trip(Struct()) == Struct()


def test_bad_protobuf_is_an_error_of_the_message() -> None:
    """Bytes that are no such message, and messages without what they require, are refused."""
    with pytest.raises(InvalidMessage, match=r"this is no valid google\.protobuf\.StringValue"):
        serializer_of(StringValue).deserialize(b"\xff\xff")
    with pytest.raises(InvalidMessage, match="cannot be written"):
        serializer_of(UninterpretedOption.NamePart).serialize(UninterpretedOption.NamePart())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(JSON)
def test_plain_values_come_back(value: Any) -> None:
    """What JSON has is a message by itself, under the name of its Python class."""
    there = round_trip(value)

    assert there == value
    assert type(there) is type(value)
    assert serializer_of(type(value)).type_name == type(value).__name__
    assert serializer_of(type(value)).data_content_type == JSON_DATA_CONTENT_TYPE


@pytest.mark.parametrize(
    "value", [[object()], [(1, 2)], {1: "a"}, {"a": {2}}, [Order(item="tea")], ["\ud800"]]
)
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    """A list or dict with anything else in it is its sender's error, not changed to fit."""
    with pytest.raises(InvalidMessage, match=f"this {type(value).__name__} cannot be written"):
        serializer_of(type(value)).serialize(value)


@pytest.mark.parametrize(
    ("cls", "payload"), [(str, b"1"), (int, b"1.5"), (int, b'"1"'), (bool, b"1"), (list, b"{}")]
)
def test_a_plain_value_of_another_kind_is_refused(cls: type[Any], payload: bytes) -> None:
    """The name says what the payload has to be."""
    with pytest.raises(InvalidMessage, match=f"this is no valid {cls.__name__}"):
        serializer_of(cls).deserialize(payload)


@pytest.mark.parametrize("cls", [object, Counter, bytes, type])
def test_other_classes_have_no_known_serializer(cls: type[Any]) -> None:
    """Whoever wants to send them brings a serializer."""
    assert try_get_known_serializers_for_type(cls) == []
