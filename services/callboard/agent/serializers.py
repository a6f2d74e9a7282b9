"""How messages become bytes and come back.

Type names are AutoGen's, so that its workers understand them: the class's bare name, or the full
name of a protobuf message.
"""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache
from types import NoneType
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from google.protobuf.message import DecodeError, EncodeError, Message
from pydantic import BaseModel, JsonValue, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import (
    CoreConfig,
    PydanticSerializationError,
    SchemaSerializer,
    SchemaValidator,
    to_json,
)

from callboard.agent.annotations import local_names
from callboard.agent.dataclass_schema import dataclass_schema
from callboard.core.errors import InvalidMessage

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)
ProtobufT = TypeVar("ProtobufT", bound=Message)

JSON_DATA_CONTENT_TYPE = "application/json"
"""The content type of JSON, compared as it stands: no parameters."""

PROTOBUF_DATA_CONTENT_TYPE = "application/x-protobuf"
"""The content type of a serialized protobuf message. (AutoGen's; CloudEvents has no ``x-``.)"""

_WARNING = re.compile(
    r"Error serializing to JSON: (?=Pydantic)"
    r"|(PydanticSerializationError: )?Pydantic serializer warnings:"
    r"|PydanticSerializationUnexpectedValue\(|\)$| - serialized value may not be as expected"
    r"|input_value=.*, (?=input_type=)",
    re.MULTILINE,
)
"""What pydantic says around the reason when a value does not fit its field."""

_SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
"""Types by what pydantic's schemas call them, of which all values are written alike."""

_MAX_REASON = 300
"""How much of an error's text is passed on: it can hold parts of the message."""


@runtime_checkable
class MessageSerializer(Protocol[T]):
    """Writes and reads messages of one class in one content type.

    A serializer may have an attribute ``cls``, the class. Without it, it serves the class whose
    name is its ``type_name``; with it, the type name is free, so that two classes of one name can
    be told apart.
    """

    @property
    def data_content_type(self) -> str:
        """The content type of what `serialize` returns."""
        ...

    @property
    def type_name(self) -> str:
        """The name that travels with the message."""
        ...

    def deserialize(self, payload: bytes) -> T:
        """Read a message. Whatever it raises becomes `InvalidMessage`."""
        ...

    def serialize(self, message: T) -> bytes:
        """Write a message. Whatever it raises becomes `InvalidMessage`."""
        ...


def try_get_known_serializers_for_type(cls: type[Any]) -> list[MessageSerializer[Any]]:
    """The serializers that Callboard has for ``cls``; none for a class of a kind it does not know.

    It knows dataclasses, pydantic models, protobuf messages, and plain JSON values: ``str``,
    ``int``, ``float``, ``bool``, ``list``, ``dict`` and ``None``.

    Raises:
        InvalidMessage: A dataclass or model has fields that cannot travel; the text says which and
            why.
    """
    return list(_known_serializers(cls))  # type: ignore[arg-type]  # mypy: a class is not Hashable


@lru_cache(maxsize=1024)
def _known_serializers(cls: type) -> tuple[MessageSerializer[Any], ...]:
    if issubclass(cls, Message):
        return (ProtobufMessageSerializer(cls),)
    if issubclass(cls, BaseModel):
        return (PydanticJsonMessageSerializer(cls),)
    if dataclasses.is_dataclass(cls):
        return (DataclassJsonMessageSerializer(cls),)
    if cls in _PLAIN:
        return (PlainJsonMessageSerializer(cls),)
    return ()


def type_name_of(cls: type[Any]) -> str:
    """The name under which messages of ``cls`` travel, unless a serializer says otherwise."""
    return str(cls.DESCRIPTOR.full_name) if issubclass(cls, Message) else cls.__name__


class KnownSerializer(Generic[T]):
    """What the serializers below have in common."""

    data_content_type = JSON_DATA_CONTENT_TYPE

    def __init__(self, cls: type[T]) -> None:
        self.cls = cls
        self.type_name = type_name_of(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cls.__qualname__})"


class DataclassJsonMessageSerializer(KnownSerializer[T]):
    """Writes dataclasses as JSON; `callboard.agent.dataclass_schema` says how."""

    def __init__(self, cls: type[T]) -> None:
        super().__init__(cls)
        schema = dataclass_schema(cls)
        # Of the configuration in the schema, floats in unions heed only what is said here again.
        self._write = SchemaSerializer(schema, CoreConfig(ser_json_inf_nan="constants")).to_json
        self._scalars = _scalars_of(schema)
        self._read = SchemaValidator(schema).validate_json

    def deserialize(self, payload: bytes) -> T:
        """Read one; `InvalidMessage` when a field is missing or of the wrong type."""
        try:
            return self._read(payload)  # type: ignore[no-any-return]  # the schema's class
        except ValidationError as error:
            raise unreadable(self.type_name, error) from error

    def serialize(self, message: T) -> bytes:
        """Write one; `InvalidMessage` when a field holds what its type does not allow."""
        try:
            # That warnings are errors takes pydantic most of its time to understand. There are none
            # where all fields are scalars and hold just what they say.
            if (
                self._scalars
                and type(message) is self.cls
                and [*map(type, vars(message).values())] == self._scalars
            ):
                return self._write(message)
            return self._write(message, warnings="error")
        except PydanticSerializationError as error:
            raise unwritable(self.type_name, error) from error


def _scalars_of(schema: Any) -> list[type]:
    """The types of the fields of a dataclass, if all are plain scalars; else nothing."""
    found: list[type] = []
    root = schema["schema"]
    if root["type"] != "dataclass" or root.get("slots") or "serialization" in root:
        return []
    for field in root["schema"]["fields"]:
        inner = field["schema"]
        if inner["type"] == "default":
            inner = inner["schema"]
        if len(inner) > 1 or inner["type"] not in _SCALARS:
            return []
        found.append(_SCALARS[inner["type"]])
    return found


class PydanticJsonMessageSerializer(KnownSerializer[ModelT]):
    """Writes pydantic models as JSON, as ``model_dump_json`` does.

    Reads fields by name and by alias.
    """

    def __init__(self, cls: type[ModelT]) -> None:
        super().__init__(cls)
        if not cls.__pydantic_complete__:
            local = local_names(cls.__qualname__, cls.__module__)
            try:
                cls.model_rebuild(_types_namespace=local or None)
            except (PydanticUserError, NameError) as error:
                msg = f"{cls.__qualname__} cannot be a message: {error}".partition("\n")[0]
                raise InvalidMessage(msg) from error
        self._is_overridden = cls.model_dump_json is not BaseModel.model_dump_json

    def deserialize(self, payload: bytes) -> ModelT:
        """Read one; `InvalidMessage` when the model refuses it."""
        try:
            read = self.cls.__pydantic_validator__.validate_json
            return cast("ModelT", read(payload, by_alias=True, by_name=True))
        except ValidationError as error:
            raise unreadable(self.type_name, error) from error

    def serialize(self, message: ModelT) -> bytes:
        """Write one."""
        try:
            if self._is_overridden:
                return message.model_dump_json().encode()
            return self.cls.__pydantic_serializer__.to_json(message)
        except PydanticSerializationError as error:
            raise unwritable(self.type_name, error) from error


class ProtobufMessageSerializer(KnownSerializer[ProtobufT]):
    """Writes protobuf messages as they are, not wrapped in ``google.protobuf.Any``."""

    data_content_type = PROTOBUF_DATA_CONTENT_TYPE

    def deserialize(self, payload: bytes) -> ProtobufT:
        """Read one; `InvalidMessage` when the bytes are no such message."""
        try:
            return self.cls.FromString(payload)
        except DecodeError as error:
            raise unreadable(self.type_name, error) from error

    def serialize(self, message: ProtobufT) -> bytes:
        """Write one; `InvalidMessage` when a required field (of proto2) is not set."""
        try:
            return message.SerializeToString()
        except EncodeError as error:
            raise unwritable(self.type_name, error) from error


class PlainJsonMessageSerializer(KnownSerializer[T]):
    """Writes plain JSON values: no class in them, keys of text only."""

    def __init__(self, cls: type[T]) -> None:
        super().__init__(cls)
        self._adapter: TypeAdapter[Any] = TypeAdapter(_PLAIN[cls])
        self._is_container = issubclass(cls, list | dict)

    def deserialize(self, payload: bytes) -> T:
        """Read one; `InvalidMessage` when it is another kind of value."""
        try:
            return self._adapter.validate_json(payload, strict=True)  # type: ignore[no-any-return]  # cls
        except ValidationError as error:
            raise unreadable(self.type_name, error) from error

    def serialize(self, message: T) -> bytes:
        """Write one; `InvalidMessage` when there is anything in it that is not plain JSON."""
        try:
            if self._is_container:
                self._adapter.validate_python(message, strict=True)
            return to_json(message)
        except (ValidationError, PydanticSerializationError) as error:
            raise unwritable(self.type_name, error) from error


_PLAIN: dict[type, Any] = {
    **{cls: cls for cls in (str, int, float, bool, NoneType)},
    list: list[JsonValue],
    dict: dict[str, JsonValue],
}

PLAIN_TYPES = tuple(_PLAIN)
"""The classes of plain JSON values."""


def unreadable(type_name: str, error: Exception) -> InvalidMessage:
    """The error for a payload that does not fit its type."""
    return InvalidMessage(f"this is no valid {type_name}: {_reason(error)}")


def unwritable(type_name: str, error: Exception) -> InvalidMessage:
    """The error for a message that does not fit its type."""
    return InvalidMessage(f"this {type_name} cannot be written: {_reason(error)}")


def _reason(error: Exception) -> str:
    """What is wrong, without what the message holds as far as that can be told."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        text = "; ".join(".".join(map(str, each["loc"])) + ": " + each["msg"] for each in found)
        return text.removeprefix(": ")[:_MAX_REASON]
    text = _WARNING.sub(" ", str(error)).strip() or type(error).__name__
    return text[:_MAX_REASON]
