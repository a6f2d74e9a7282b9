"""How messages become bytes and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from google.protobuf.message import Message
from pydantic import BaseModel, TypeAdapter

from callboard.core.errors import InvalidMessage

T = TypeVar("T")

JSON_DATA_CONTENT_TYPE = "application/json"
PROTOBUF_DATA_CONTENT_TYPE = "application/x-protobuf"

Written: TypeAlias = tuple[str, str, bytes]
"""A message as it travels: its type name, the content type, the bytes."""


@runtime_checkable
class MessageSerializer(Protocol[T]):
    """Writes and reads messages of one type, in one content type."""

    @property
    def data_content_type(self) -> str: ...
    @property
    def type_name(self) -> str: ...
    def deserialize(self, payload: bytes) -> T: ...
    def serialize(self, message: T) -> bytes: ...


@dataclass
class UnknownPayload:
    """A message whose type has no serializer here."""

    type_name: str
    data_content_type: str
    payload: bytes


class _Json(Generic[T]):
    def __init__(self, cls: type[T]) -> None:
        self.cls = cls
        self.type_name = cls.__name__
        self.data_content_type = JSON_DATA_CONTENT_TYPE
        self._adapter = TypeAdapter(cls)

    def deserialize(self, payload: bytes) -> T:
        return self._adapter.validate_json(payload)

    def serialize(self, message: T) -> bytes:
        return self._adapter.dump_json(message)


class _Protobuf:
    def __init__(self, cls: type[Message]) -> None:
        self.cls = cls
        self.type_name = cls.DESCRIPTOR.full_name
        self.data_content_type = PROTOBUF_DATA_CONTENT_TYPE

    def deserialize(self, payload: bytes) -> Message:
        return self.cls.FromString(payload)

    def serialize(self, message: Message) -> bytes:
        return message.SerializeToString()


_PLAIN = (str, int, float, bool, list, dict, type(None))


def try_get_known_serializers_for_type(cls: type[Any]) -> list[MessageSerializer[Any]]:
    """The serializers that Callboard has for a class; empty when it has none."""
    if issubclass(cls, Message):
        return [_Protobuf(cls)]
    if issubclass(cls, BaseModel) or is_dataclass(cls) or cls in _PLAIN:
        return [_Json(cls)]
    return []


class SerializationRegistry:
    """The serializers of one runtime."""

    def __init__(self) -> None:
        self._by_class: dict[type, MessageSerializer[Any]] = {}
        self._by_name: dict[tuple[str, str], MessageSerializer[Any]] = {}

    def add_serializer(self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]) -> None:
        """Let messages of a type be written and read."""
        for each in serializer if isinstance(serializer, Sequence) else (serializer,):
            self._by_name[each.type_name, each.data_content_type] = each

    def serialize(self, message: Any) -> Written:  # noqa: ANN401 (any message)
        """Write a message. A class met for the first time gets the serializer known for it."""
        serializer = self._by_class.get(type(message))
        if serializer is None:
            known = try_get_known_serializers_for_type(type(message))
            if not known:
                msg = f"there is no serializer for {type(message).__qualname__}"
                raise InvalidMessage(msg)
            serializer = self._by_class[type(message)] = known[0]
            self._by_name.setdefault((serializer.type_name, serializer.data_content_type), serializer)
        return serializer.type_name, serializer.data_content_type, serializer.serialize(message)

    def deserialize(self, payload: bytes, type_name: str, data_content_type: str) -> Any:  # noqa: ANN401 (any message)
        """Read a message; `UnknownPayload` when its type has no serializer."""
        serializer = self._by_name.get((type_name, data_content_type))
        if serializer is None:
            return UnknownPayload(type_name, data_content_type, payload)
        return serializer.deserialize(payload)
