"""The JSON of a dataclass: field by field, so that everything comes back as what it was.

Pydantic derives a schema from the types of the fields; here it is adapted to messages:

- In a union, a value of a structured class (a dataclass, or a pydantic model with fields) carries
  the name of its class under `TAG`, beside its fields: ``{"$type": "Cat", "name": "Tom"}``. That is
  so where the union has two or more structured classes, or one and another type that is written as
  an object (``dict``, ``Any``). Nowhere else is there a tag. (``$type`` is what .NET's
  System.Text.Json writes too; no Python field can have that name.)
- The other members of a union have to differ in the kind of JSON that they are written as: ``str |
  int | None`` do, ``datetime | str`` do not and are refused, since some text would come back as a
  date.
- A nested value has to be of exactly the class that its field names: of a subclass, a part would be
  lost.
- ``bytes`` are URL-safe base64. NaN and infinities are written as Python's own ``json`` does.
- Keys of dicts are text in JSON: numbers, dates, enums of text and the like come back, unions and
  tuples are refused.
- Fields that ``__init__`` does not take travel too. A constructor written by hand is called.
- A default of ``None`` makes a field optional, whatever its annotation.
- Unknown fields are ignored, so that a receiver may be older than the sender.

Models inside dataclasses keep pydantic's rules and their own configuration. The schemas are those
documented in ``pydantic_core.core_schema``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import PydanticUserError, TypeAdapter
from pydantic_core import core_schema

from callboard.agent.annotations import local_names
from callboard.agent.schema_functions import (
    TAG,
    Schema,
    constructed,
    exactly,
    tagging,
    without_tag,
)
from callboard.core.errors import InvalidMessage

_CONFIG = {"ser_json_bytes": "base64", "val_json_bytes": "base64", "ser_json_inf_nan": "constants"}

_NESTED = (
    "schema",
    "items_schema",
    "keys_schema",
    "values_schema",
    "choices",
    "steps",
    "fields",
    "json_schema",
    "python_schema",
    "lax_schema",
    "strict_schema",
)
"""Under which keys a schema holds others, also in lists and dicts."""

_KINDS = {
    **dict.fromkeys(("none", "bool", "literal"), ""),
    **dict.fromkeys(("int", "float"), "number"),
    **dict.fromkeys(
        ("list", "tuple", "set", "frozenset", "generator", "deque", "named-tuple"), "array"
    ),
    **dict.fromkeys(("dict", "typed-dict", "ordered-dict", "counter", "any"), "object"),
}
"""As what kind of JSON a type is written: none that others share if empty, text if not here."""

_SCALARS = {
    *("bool", "int", "float", "decimal", "str", "bytes", "uuid", "enum"),
    *("date", "time", "datetime", "timedelta"),
}
"""What is read strictly in a union: a number that may be a date would be one."""

_NO_KEYS = {"union", "nullable", "none", "tuple", "frozenset", "dataclass", "model"}
"""What cannot be the key of a dict."""

_ALIKE = ({"int", "float"}, {"str"})
"""Types of one kind that JSON tells apart all the same, or need not."""


def dataclass_schema(cls: type[Any]) -> core_schema.CoreSchema:
    """The schema that writes and reads instances of the dataclass ``cls`` as JSON.

    Raises:
        InvalidMessage: A field has a type that no message can have; the text names field and
            reason.
    """
    return cast("core_schema.CoreSchema", _Adaptation(_generate(cls)).run())


def _generate(cls: type[Any]) -> Schema:
    """Pydantic's schema.

    Names that modules do not know are looked for in the functions around ``cls``.
    """
    try:
        adapter = TypeAdapter(cls)
        if not adapter.pydantic_complete:
            local = local_names(cls.__qualname__, cls.__module__)
            adapter.rebuild(force=True, _types_namespace=local)
    except (PydanticUserError, NameError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{cls.__qualname__} cannot be a message: {reason}"
        raise InvalidMessage(msg) from error
    return cast("Schema", adapter.core_schema)


class _Adaptation:
    """One pass over a generated schema. It copies, because pydantic shares its schemas."""

    def __init__(self, generated: Schema) -> None:
        self._root = generated
        self._definitions: dict[str, Schema] = {}
        if generated["type"] == "definitions":
            self._root = generated["schema"]
            self._definitions = {each["ref"]: each for each in generated["definitions"]}
        self._field = ""
        self._is_internal = False

    def run(self) -> Schema:
        root = self._root
        adapted = (
            self._dataclass(root, is_root=True)
            if root["type"] == "dataclass"
            else self._adapt(root)
        )
        done: dict[str, Schema] = {}
        while waiting := self._definitions.keys() - done.keys():  # adapting can add some
            done |= {ref: self._adapt(self._definitions[ref]) for ref in waiting}
        return {"type": "definitions", "schema": adapted, "definitions": list(done.values())}

    def _adapt(self, schema: Schema) -> Schema:
        match schema["type"]:
            case "dataclass":
                return self._dataclass(schema)
            case "model":
                own = schema if "serialization" in schema else None
                return schema | {"serialization": exactly(schema["cls"], own)}
            case "union":
                return self._union(schema)
            case "dict":
                self._check_keys(schema.get("keys_schema", {"type": "any"}))
                return self._adapt_nested(schema)
            case (
                "lax-or-strict"
            ):  # what pydantic makes of a path and the like holds unions of its own
                outer, self._is_internal = self._is_internal, True
                adapted = self._adapt_nested(schema)
                self._is_internal = outer
                return adapted
            case _:
                return self._adapt_nested(schema)

    def _adapt_nested(self, schema: Schema) -> Schema:
        adapted = {key: self._nested(schema[key]) for key in _NESTED if key in schema}
        if schema.get("serialization", {}).get("type") == "function-wrap":
            adapted["serialization"] = self._adapt_nested(schema["serialization"])
        return schema | adapted

    def _nested(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(self._nested, value))
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("type"), str):
            return self._adapt(value)
        return {key: self._nested(each) for key, each in value.items()}

    # Dataclasses.

    def _dataclass(self, schema: Schema, *, is_root: bool = False) -> Schema:
        cls = schema["cls"]
        if "generic_origin" not in schema:
            _refuse_type_variables(cls)
        fields = schema["schema"]["fields"]
        fields = [
            self._dataclass_field(cls, each) for each in (*fields, *self._left_out(cls, fields))
        ]
        adapted = schema | {
            "config": _CONFIG | schema.get("config", {}),
            "schema": schema["schema"] | {"fields": fields},
        }
        if _has_own_init(cls) or not all(each.get("init", True) for each in fields):
            return constructed(adapted)
        return adapted if is_root else adapted | {"serialization": exactly(cls)}

    def _dataclass_field(self, cls: type, field: Schema) -> Schema:
        if field.get("init_only") and field["schema"]["type"] != "default":
            msg = (
                f"{cls.__qualname__} cannot be a message: its InitVar {field['name']} "
                "has no default and is not kept"
            )
            raise InvalidMessage(msg)
        outer, self._field = self._field, f"{cls.__qualname__}.{field['name']}"
        inner = self._adapt(field["schema"])
        self._field = outer
        if inner["type"] == "default" and inner.get("default", ...) is None:
            inner = inner | {"schema": core_schema.nullable_schema(inner["schema"])}
        return field | {"schema": inner}

    def _left_out(self, cls: type, present: list[Schema]) -> list[Schema]:
        """The fields that pydantic leaves out: those that only ``__post_init__`` gives a value."""
        names = {each["name"] for each in present}
        missing = [each.name for each in dataclasses.fields(cls) if each.name not in names]
        if not missing:
            return []
        hints = _hints(cls)
        stand_in = dataclasses.make_dataclass(
            cls.__name__, [(name, hints[name]) for name in missing]
        )
        found = _Adaptation(_generate(stand_in))
        self._definitions = found._definitions | self._definitions
        return [each | {"init": False} for each in found._root["schema"]["fields"]]

    # Unions.

    def _union(self, schema: Schema) -> Schema:
        members = [self._strict(each) for each in self._members(schema)]
        classes = [self._structured(each) for each in members]
        others = [each for each, cls in zip(members, classes, strict=True) if cls is None]
        kinds = self._kinds(others)
        written = schema | {"choices": [self._adapt(each) for each in members]}
        structured = [cls for cls in classes if cls is not None]
        if not structured or (len(structured) == 1 and "object" not in kinds):
            return written
        choices: dict[str, Any] = {}
        for each, cls in zip(members, classes, strict=True):
            if cls is not None and cls.__name__ in choices:
                self._refuse(f"two of its classes are named {cls.__name__}")
            if cls is not None:
                choices[cls.__name__] = without_tag(cls, self._adapt(each))
        read: Any = core_schema.tagged_union_schema(choices, TAG)
        if others:
            read = core_schema.union_schema([read, *map(self._adapt, others)])
        return cast("Schema", read | {"serialization": tagging(structured, written)})

    def _members(self, schema: Schema) -> Iterator[Schema]:
        """The members of a union, and of unions in it."""
        for choice in schema["choices"]:
            member = choice[0] if isinstance(choice, tuple) else choice
            there = self._referred(member)
            if there["type"] == "nullable":
                yield {"type": "none"}
                member, there = there["schema"], self._referred(there["schema"])
            if there["type"] == "union":
                yield from self._members(there)
            else:
                yield member

    def _strict(self, member: Schema) -> Schema:
        there = self._referred(member)
        return there | {"strict": True} if there["type"] in _SCALARS else member

    def _structured(self, schema: Schema) -> type | None:
        """The class of a member that is a dataclass or a model with fields; None for others."""
        inner = self._inner(schema)
        is_model = inner["type"] == "model" and not inner.get("root_model")
        return cast("type", inner["cls"]) if is_model or inner["type"] == "dataclass" else None

    def _referred(self, schema: Schema) -> Schema:
        is_reference = schema["type"] == "definition-ref"
        return self._definitions[schema["schema_ref"]] if is_reference else schema

    def _inner(self, schema: Schema) -> Schema:
        """A schema without references to it and functions around it."""
        inner = self._referred(schema)
        while inner["type"].startswith("function-") and "schema" in inner:
            inner = self._referred(inner["schema"])
        return self._inner(inner["json_schema"]) if inner["type"] == "json-or-python" else inner

    def _kinds(self, members: list[Schema]) -> set[str]:
        """What kinds of JSON ``members`` are written as.

        Refuses two that could not be told apart.
        """
        names: dict[str, list[str]] = {}
        for member in members:
            inner = self._inner(member)
            name, written_as = inner["type"], inner["type"]
            if name == "model":  # a RootModel: written as what it wraps
                name, written_as = inner["cls"].__name__, self._inner(inner["schema"])["type"]
            elif name == "enum":
                name, written_as = inner["cls"].__name__, inner.get("sub_type", "str")
            names.setdefault(_KINDS.get(written_as, "string"), []).append(name)
        for kind, found in names.items():
            if kind and len(found) > 1 and not any(alike.issuperset(found) for alike in _ALIKE):
                self._refuse(
                    f"{' and '.join(found)} are both written as JSON {kind} "
                    "and could not be told apart"
                )
        return set(names)

    def _check_keys(self, keys: Schema) -> None:
        """Refuse keys of a dict that do not come back as they were: JSON has only text there."""
        inner = self._inner(keys)
        kind = inner["type"]
        if kind in {"enum", "literal"} and "sub_type" not in inner:
            values = [
                getattr(each, "value", each) for each in inner.get("members") or inner["expected"]
            ]
            is_text = all(isinstance(value, str) for value in values)
        else:
            is_text = kind not in _NO_KEYS
        if not is_text:
            msg = (
                f"{self._field} cannot be in a message: "
                f"keys of type {kind} do not come back from JSON"
            )
            raise InvalidMessage(msg)

    def _refuse(self, reason: str) -> None:
        if not self._is_internal:
            msg = (
                f"the union in {self._field} cannot be in a message: {reason}; "
                "put one of them into a dataclass"
            )
            raise InvalidMessage(msg)


def _has_own_init(cls: Any) -> bool:
    """Whether ``__init__`` was written by hand, so that reading must call it."""
    code = getattr(cls.__init__, "__code__", None)
    is_generated = code is None or code.co_filename == "<string>"
    return not is_generated and not hasattr(cls, "__pydantic_validator__")


def _hints(cls: type) -> dict[str, Any]:
    local = local_names(cls.__qualname__, cls.__module__)
    return get_type_hints(cls, None, local, include_extras=True)


def _refuse_type_variables(cls: type) -> None:
    """Refuse a generic class: an instance does not know what its type variables stand for."""
    if not hasattr(cls, "__parameters__") and not hasattr(cls, "__orig_bases__"):
        return
    for field, hint in _hints(cls).items():
        is_open = isinstance(hint, TypeVar) or hasattr(hint, "__parameters__")
        if is_open and not isinstance(hint, type) and getattr(hint, "__parameters__", True):
            msg = (
                f"{cls.__qualname__} cannot be a message: "
                f"an instance does not know what {hint} is, the type of {field}"
            )
            raise InvalidMessage(msg)
