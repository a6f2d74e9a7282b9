"""The serializers of a runtime, by class and by type name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from callboard.agent.serializers import (
    JSON_DATA_CONTENT_TYPE,
    PLAIN_TYPES,
    PROTOBUF_DATA_CONTENT_TYPE,
    KnownSerializer,
    MessageSerializer,
    try_get_known_serializers_for_type,
    type_name_of,
    unreadable,
    unwritable,
)
from callboard.core.errors import AlreadyRegistered, CallboardError, InvalidMessage

__all__ = [
    "JSON_DATA_CONTENT_TYPE",
    "PROTOBUF_DATA_CONTENT_TYPE",
    "MessageSerializer",
    "SerializationRegistry",
    "UnknownPayload",
    "Written",
    "try_get_known_serializers_for_type",
]

Written: TypeAlias = tuple[str, str, bytes]
"""A message as it travels: type name, content type, bytes."""


@dataclass
class UnknownPayload:
    """A message that nothing here can read. Sent on, it goes as it came.

    Attributes:
        type_name: The name that no serializer is known for.
        data_content_type: The content type of ``payload``.
        payload: The bytes as they came.
    """

    type_name: str
    data_content_type: str
    payload: bytes


class SerializationRegistry:
    """The serializers of one runtime.

    A class gets its serializer with the registration of an agent that handles or returns it, by
    `add_serializer`, or when the first message of it is sent: whoever sends a class can read it
    too. Plain JSON values need none of these.

    There is one class for a type name. A second one is refused, unless it is the same class defined
    anew, with the same module and qualified name, as notebooks do.
    """

    def __init__(self) -> None:
        self._writers: dict[type, tuple[str, str, Callable[[Any], bytes]]] = {}
        self._readers: dict[tuple[str, str], Callable[[bytes], Any]] = {}
        self._serializers: dict[tuple[str, str], MessageSerializer[Any]] = {}
        for cls in PLAIN_TYPES:
            self.add_serializer(try_get_known_serializers_for_type(cls))

    def add_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Let messages of a class be written and read.

        Of two serializers of one class and content type the later serves, but one of Callboard's
        own never takes the place of a program's. Of several content types, that of the latest is
        written, all are read.

        Raises:
            AlreadyRegistered: Another class has the type name.
        """
        for each in serializer if isinstance(serializer, Sequence) else (serializer,):
            self._add(each)

    def serialize(self, message: Any) -> Written:
        """Write a message as (type name, content type, bytes).

        Raises:
            InvalidMessage: No serializer is known for its class, or its content does not fit its
                type.
            AlreadyRegistered: Another class has its type name.
        """
        writer = self._writers.get(type(message))
        if writer is None:
            if type(message) is UnknownPayload:
                return message.type_name, message.data_content_type, message.payload
            writer = self._meet(type(message))
        type_name, data_content_type, write = writer
        try:
            return type_name, data_content_type, write(message)
        except CallboardError:
            raise
        except Exception as error:  # a program's serializer may raise anything
            raise unwritable(type_name, error) from error

    def deserialize(self, payload: bytes, type_name: str, data_content_type: str) -> Any:
        """Read a message; an `UnknownPayload` when there is no serializer for it.

        Raises:
            InvalidMessage: The payload does not fit its type.
        """
        read = self._readers.get((type_name, data_content_type))
        if read is None:
            return UnknownPayload(type_name, data_content_type, payload)
        try:
            return read(payload)
        except CallboardError:
            raise
        except Exception as error:  # a program's serializer or constructor may raise anything
            raise unreadable(type_name, error) from error

    def is_registered(self, type_name: str, data_content_type: str) -> bool:
        """Whether messages of that name and content type can be read."""
        return (type_name, data_content_type) in self._readers

    def type_name(self, message: Any) -> str:
        """The name under which ``message`` travels."""
        writer = self._writers.get(type(message))
        return writer[0] if writer else type_name_of(type(message))

    def _add(self, serializer: MessageSerializer[Any]) -> None:
        key = (serializer.type_name, serializer.data_content_type)
        cls: type | None = getattr(serializer, "cls", None)
        before = self._serializers.get(key)
        if before is not None:
            self._check_same_class(key[0], getattr(before, "cls", None), cls)
            if isinstance(serializer, KnownSerializer) and not isinstance(before, KnownSerializer):
                return
        self._serializers[key] = serializer
        self._readers[key] = serializer.deserialize
        if cls is not None:
            self._writers[cls] = (*key, serializer.serialize)
        else:  # whichever class has the name meets it with its next message
            for each in [each for each, writer in self._writers.items() if writer[0] == key[0]]:
                del self._writers[each]

    def _meet(self, cls: type) -> tuple[str, str, Callable[[Any], bytes]]:
        """The writer of a class that has none yet."""
        name = type_name_of(cls)
        for key, serializer in reversed(self._serializers.items()):
            if key[0] == name and getattr(serializer, "cls", None) is None:
                self._writers[cls] = (*key, serializer.serialize)
                return self._writers[cls]
        known = try_get_known_serializers_for_type(cls)
        if not known:
            msg = (
                f"there is no serializer for {cls.__qualname__}: make it a dataclass, a pydantic "
                "model or a protobuf message, or give the runtime one with add_message_serializer"
            )
            raise InvalidMessage(msg)
        self.add_serializer(known)
        return self._writers[cls]

    def _check_same_class(self, type_name: str, before: type | None, now: type | None) -> None:
        if before is None or now is None or _full_name(before) == _full_name(now):
            return
        msg = (
            f"two classes have the type name {type_name!r}: {_full_name(before)} and "
            f"{_full_name(now)}; rename one, or give it a serializer with another type_name"
        )
        raise AlreadyRegistered(msg)


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
