"""The JSON of a dataclass: field by field, so that everything comes back as what it was.

Pydantic derives a schema from the fields' types; here it is adapted to messages:

- In a union, a value of a structured class (dataclass or pydantic model) that its JSON alone would not tell
  apart carries the name of its class beside its fields, under `TAG`: ``{"$type": "Cat", "name": "Tom"}``. That is
  so when the union has two or more structured classes, or one beside another type that is written as an object
  (``dict``, ``Any``). Everywhere else there is no tag. (``$type`` is also what .NET's System.Text.Json writes,
  and no field can have that name.)
- Other members of a union have to differ in the kind of JSON they are written as: ``str | int`` and
  ``list[int] | None`` do; ``datetime | str`` does not, and is refused.
- A nested value must have exactly the class that its field names: of a subclass, part would be lost.
- ``bytes`` are URL-safe base64; NaN and infinities are ``NaN``, ``Infinity``, as Python's own ``json`` has them.
- Fields that ``__init__`` does not take travel too. A constructor written by hand is called.
- A default of ``None`` makes a field optional, whatever its annotation.
- Unknown fields are ignored, so that receivers may be older than senders.

Models inside dataclasses keep pydantic's rules and their own configuration. The schemas are those of
``pydantic_core.core_schema``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar, cast, get_args, get_type_hints

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
from pydantic_core import CoreSchema, PydanticSerializationUnexpectedValue, core_schema, to_json

from callboard.agent.annotations import local_names
from callboard.core.errors import InvalidMessage

TAG = "$type"
"""Where a tagged value names its class."""

_Schema: TypeAlias = dict[str, Any]

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
"""The keys under which a schema holds schemas, or lists or dicts of them."""

_KINDS = {
    **dict.fromkeys(("int", "float"), "number"),
    **dict.fromkeys(("str", "date", "time", "datetime", "timedelta", "uuid", "bytes"), "string"),
    **dict.fromkeys(("decimal", "url", "multi-host-url"), "string"),
    **dict.fromkeys(("list", "tuple", "set", "frozenset", "generator"), "array"),
    **dict.fromkeys(("dict", "typed-dict", "any"), "object"),
}
"""What kind of JSON a type is written as; those left out are not told apart by kind."""


def dataclass_schema(cls: type[Any]) -> CoreSchema:
    """The schema that writes and reads instances of the dataclass ``cls`` as JSON.

    Raises:
        InvalidMessage: A field's type cannot be a message's; the text names field and reason.
    """
    _refuse_type_variables(cls)
    adapted = _Adaptation(_generated(cls)).run()
    return cast("CoreSchema", adapted)


def _generated(cls: type[Any]) -> _Schema:
    """Pydantic's schema. Names that the module does not know are looked for in the functions around ``cls``."""
    try:
        adapter = TypeAdapter(cls)
        if not adapter.pydantic_complete:
            names = local_names(cls.__qualname__, cls.__module__)
            adapter.rebuild(force=True, _types_namespace=names)
        return cast("_Schema", adapter.core_schema)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{cls.__qualname__} cannot be a message: {reason}"
        raise InvalidMessage(msg) from error


class _Adaptation:
    """One pass over a generated schema. It copies; pydantic's own schemas stay as they are."""

    def __init__(self, generated: _Schema) -> None:
        self._root = generated
        self._definitions: dict[str, _Schema] = {}
        self._field = ""
        if generated["type"] == "definitions":
            self._root = generated["schema"]
            self._definitions = {each["ref"]: each for each in generated["definitions"]}

    def run(self) -> _Schema:
        is_recursive = self._root["type"] == "definition-ref"
        root = self._adapt(self._root) if is_recursive else self._dataclass(self._root, is_root=True)
        done: dict[str, _Schema] = {}
        while waiting := self._definitions.keys() - done.keys():  # adapting may find more
            for ref in sorted(waiting):
                done[ref] = self._adapt(self._definitions[ref])
        return {"type": "definitions", "schema": root, "definitions": list(done.values())}

    def _adapt(self, schema: _Schema) -> _Schema:
        match schema["type"]:
            case "dataclass":
                return self._dataclass(schema)
            case "model":
                return schema | {"serialization": _only(schema["cls"], schema)}
            case "union":
                return self._union(schema)
        adapted = {key: self._nested(schema[key]) for key in _NESTED if key in schema}
        return schema | adapted

    def _nested(self, value: Any) -> Any:  # noqa: ANN401 (a schema, or a container of schemas, or neither)
        if isinstance(value, list | tuple):
            return type(value)(map(self._nested, value))
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("type"), str):
            return self._adapt(value)
        return {key: self._nested(each) for key, each in value.items()}

    # Dataclasses.

    def _dataclass(self, schema: _Schema, *, is_root: bool = False) -> _Schema:
        cls = schema["cls"]
        if "generic_origin" not in schema:
            _refuse_type_variables(cls)
        present = schema["schema"]["fields"]
        fields = [self._dataclass_field(cls, each) for each in present]
        fields += [self._dataclass_field(cls, each) for each in self._left_out(cls, present)]
        adapted = schema | {
            "config": _CONFIG | schema.get("config", {}),
            "schema": schema["schema"] | {"fields": fields},
            "fields": [each["name"] for each in fields if not each.get("init_only")],
        }
        if _has_own_init(cls) or not all(each["init"] for each in fields):
            return self._constructed(adapted)
        return adapted if is_root else adapted | {"serialization": _only(cls, adapted)}

    def _dataclass_field(self, cls: type, field: _Schema) -> _Schema:
        if field.get("init_only") and field["schema"]["type"] != "default":
            msg = f"{cls.__qualname__} cannot be a message: {field['name']}, an InitVar without default, is not kept"
            raise InvalidMessage(msg)
        outer, self._field = self._field, f"{cls.__qualname__}.{field['name']}"
        inner = self._adapt(field["schema"])
        self._field = outer
        if inner["type"] == "default" and inner.get("default", ...) is None:
            inner = inner | {"schema": core_schema.nullable_schema(inner["schema"])}
        return field | {"schema": inner}

    def _left_out(self, cls: type, present: list[_Schema]) -> list[_Schema]:
        """The fields that pydantic passes over: those that only ``__post_init__`` sets."""
        names = {each["name"] for each in present}
        missing = [each.name for each in dataclasses.fields(cls) if each.name not in names]
        if not missing:
            return []
        hints = get_type_hints(cls, None, local_names(cls.__qualname__, cls.__module__), include_extras=True)
        stand_in = dataclasses.make_dataclass(cls.__name__, [(name, hints[name]) for name in missing])
        found = _Adaptation(_generated(stand_in))
        self._definitions = found._definitions | self._definitions  # noqa: SLF001 (its own kind)
        return [each | {"init": False} for each in found._root["schema"]["fields"]]  # noqa: SLF001 (its own kind)

    def _constructed(self, schema: _Schema) -> _Schema:
        """Read by calling the class, then setting what its constructor does not take."""
        cls = schema["cls"]
        kept = [each for each in schema["schema"]["fields"] if not each.get("init_only")]
        taken = {each["name"] for each in kept if each["init"]}
        read = {
            each["name"]: core_schema.typed_dict_field(each["schema"], required=each["init"]) for each in kept
        }
        return cast(
            "_Schema",
            core_schema.no_info_after_validator_function(
                _constructor(cls, taken),
                core_schema.typed_dict_schema(read, config=schema["config"]),
                serialization=_only(cls, schema, schema),
            ),
        )

    # Unions.

    def _union(self, schema: _Schema) -> _Schema:
        members = list(self._members(schema))
        structured = [(cls, each) for each in members if (cls := self._structured(each))]
        others = [each for each in members if not self._structured(each)]
        kinds = self._distinct_kinds(others)
        written = schema | {"choices": [self._adapt(each) for each in members]}
        if len(structured) < 2 and not (structured and "object" in kinds):
            return written
        choices: dict[str, _Schema] = {}
        for cls, each in structured:
            if cls.__name__ in choices:
                self._refuse(f"two of its classes are named {cls.__name__}")
            choices[cls.__name__] = _without_tag(self._adapt(each), is_model=_is_model(cls))
        tagged: Any = core_schema.tagged_union_schema(choices, TAG)
        read = core_schema.union_schema([tagged, *map(self._adapt, others)]) if others else tagged
        write = _tagging({cls for cls, _ in structured}, has_others=bool(others))
        serialization = core_schema.wrap_serializer_function_ser_schema(write, schema=cast("CoreSchema", written))
        return cast("_Schema", read | {"serialization": serialization})

    def _members(self, schema: _Schema) -> Iterator[_Schema]:
        """The members of a union, those of unions inside it included."""
        for choice in schema["choices"]:
            member = choice[0] if isinstance(choice, tuple) else choice
            there = self._definitions[member["schema_ref"]] if member["type"] == "definition-ref" else member
            if there["type"] == "nullable":
                yield core_schema.none_schema()
                there = there["schema"]
                member = there
            if there["type"] == "union":
                yield from self._members(there)
            else:
                yield member

    def _structured(self, schema: _Schema) -> type | None:
        """The dataclass or model that a member is; None when it is something else."""
        inner = self._inner(schema)
        is_structured = inner["type"] == "dataclass" or (inner["type"] == "model" and not inner["root_model"])
        return cast("type", inner["cls"]) if is_structured else None

    def _inner(self, schema: _Schema) -> _Schema:
        """What is left of a schema without references and the functions around it."""
        while True:
            if schema["type"] == "definition-ref":
                schema = self._definitions[schema["schema_ref"]]
            elif schema["type"].startswith("function-") and "schema" in schema:
                schema = schema["schema"]
            else:
                return schema

    def _distinct_kinds(self, members: list[_Schema]) -> set[str]:
        kinds: dict[str, str] = {}
        for member in members:
            inner = self._inner(member)
            name = inner["type"]
            if name == "model":
                inner = self._inner(inner["schema"])
            kind = _KINDS.get(_kind_name(inner), inner["type"])
            before = kinds.setdefault(kind, name)
            if before != name and kind != "number":
                self._refuse(f"{before} and {name} are both written as a JSON {kind} and could not be told apart")
            if before == name and kind in {"array", "object"} and any(inner is not m for m in members[:0]):
                self._refuse("")
        return set(kinds)

    def _refuse(self, reason: str) -> None:
        msg = f"the union in {self._field} cannot be in a message: {reason}; use a dataclass for one of them"
        raise InvalidMessage(msg)
