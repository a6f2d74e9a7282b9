"""The functions that an adapted schema calls while pydantic writes and reads."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from pydantic_core import PydanticSerializationUnexpectedValue, core_schema, to_json

TAG = "$type"
"""Where a tagged value names its class."""

Schema: TypeAlias = dict[str, Any]
"""One of ``pydantic_core.core_schema``, as the dict that it is."""


def exactly(cls: type, schema: Schema | None = None) -> core_schema.WrapSerializerFunctionSerSchema:
    """Writes, by ``schema`` if given, only what is of the very class ``cls``."""

    def write(value: Any, handler: core_schema.SerializerFunctionWrapHandler) -> Any:
        if type(value) is cls:
            return handler(value)
        msg = f"expected exactly a {cls.__qualname__}, got a {type(value).__qualname__}"
        raise PydanticSerializationUnexpectedValue(msg)

    return core_schema.wrap_serializer_function_ser_schema(
        write, schema=cast("core_schema.CoreSchema | None", schema)
    )


def tagging(classes: list[type], schema: Schema) -> core_schema.WrapSerializerFunctionSerSchema:
    """Writes by ``schema``, and adds the tag to what is of one of ``classes``."""
    names = {cls: cls.__name__ for cls in classes}

    def write(value: Any, handler: core_schema.SerializerFunctionWrapHandler) -> Any:
        written = handler(value)
        name = names.get(type(value))
        if name is None:
            return written
        if not isinstance(written, dict):
            msg = f"{name} is in a union and has to be written as a JSON object"
            raise PydanticSerializationUnexpectedValue(msg)
        return {TAG: name, **written}

    return core_schema.wrap_serializer_function_ser_schema(
        write, schema=cast("core_schema.CoreSchema", schema)
    )


def without_tag(cls: type, schema: Schema) -> Any:
    """Keeps the tag from classes that do not simply ignore what they do not know."""
    if not hasattr(cls, "__pydantic_config__") and not hasattr(cls, "model_config"):
        return schema

    def strip(value: dict[str, Any]) -> bytes:
        return to_json({key: each for key, each in value.items() if key != TAG})

    # Through JSON once more: reading from Python values differs, for bytes and in strict models.
    again = core_schema.json_schema(cast("core_schema.CoreSchema", schema))
    return core_schema.no_info_before_validator_function(strip, again)


def constructed(schema: Schema) -> Schema:
    """Reads a dataclass by calling its class, then setting what the constructor does not take."""
    cls = schema["cls"]
    kept = [each for each in schema["schema"]["fields"] if not each.get("init_only")]
    taken = {each["name"] for each in kept if each.get("init", True)}

    def construct(fields: dict[str, Any]) -> Any:
        made = cls(**{name: fields[name] for name in taken & fields.keys()})
        for name in fields.keys() - taken:
            object.__setattr__(made, name, fields[name])  # frozen ones too
        return made

    read = {
        each["name"]: core_schema.typed_dict_field(
            each["schema"],
            required=each["name"] in taken and each["schema"]["type"] != "default",
        )
        for each in kept
    }
    return cast(
        "Schema",
        core_schema.no_info_after_validator_function(
            construct,
            core_schema.typed_dict_schema(read, config=schema["config"]),
            ref=schema.get("ref"),
            serialization=exactly(
                cls, {key: value for key, value in schema.items() if key != "ref"}
            ),
        ),
    )
