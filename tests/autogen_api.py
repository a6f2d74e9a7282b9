"""AutoGen's public runtime API, as a table: what `autogen_api.json` holds.

``python tests/autogen_api.py`` writes the table anew, in an environment with
``autogen-core autogen-ext[grpc]`` of the version that it is to be about (the two cannot be
installed beside the newest protobuf); ``--check`` compares it with the table and writes nothing.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

TABLE = Path(__file__).with_suffix(".json")

MODULES = ("autogen_core", "autogen_core.exceptions", "autogen_ext.runtimes.grpc")

Parameter: TypeAlias = list[Any]
"""Name, `inspect.Parameter` kind, whether it has a default."""


class Kind(StrEnum):
    """What a name stands for."""

    CLASS = "class"
    FUNCTION = "function"
    COROUTINE = "coroutine"
    ATTRIBUTE = "attribute"
    VALUE = "value"


def surface() -> dict[str, dict[str, Any]]:
    """Every public name of the installed AutoGen, members of classes included, dotted."""
    found: dict[str, dict[str, Any]] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(module.__all__):
            found |= described(f"{module_name}.{name}", getattr(module, name))
    return found


def described(name: str, thing: Any) -> dict[str, dict[str, Any]]:
    """A public thing, and if it is a class its members."""
    if not inspect.isclass(thing):
        return {name: signature_of(thing) if callable(thing) else {"kind": Kind.VALUE}}
    found: dict[str, dict[str, Any]] = {name: {"kind": Kind.CLASS}}
    if "__init__" in vars(thing) and not is_protocol(thing):
        found[f"{name}.__init__"] = signature_of(thing.__init__, is_method=True)
    for member in members_of(thing):
        attribute = inspect.getattr_static(thing, member, None)
        if inspect.isfunction(attribute):
            found[f"{name}.{member}"] = signature_of(attribute, is_method=True)
        elif isinstance(attribute, classmethod | staticmethod):
            found[f"{name}.{member}"] = signature_of(getattr(thing, member))
        else:
            found[f"{name}.{member}"] = {"kind": Kind.ATTRIBUTE}
    return found


def members_of(thing: type[Any]) -> list[str]:
    """The public members of a class that itself or its own package defines, fields included."""
    own = [base for base in thing.__mro__ if base.__module__.startswith("autogen")]
    names = {name for base in own for name in (*vars(base), *inspect.get_annotations(base))}
    if dataclasses.is_dataclass(thing):
        names |= {field.name for field in dataclasses.fields(thing)}
    return sorted(name for name in names if not name.startswith("_"))


def signature_of(function: Any, *, is_method: bool = False) -> dict[str, Any]:
    """How something is called; of a method what comes after ``self``."""
    parameters: list[Parameter] = [
        [each.name, each.kind.name, each.default is not each.empty]
        for each in inspect.signature(function).parameters.values()
    ]
    kind = Kind.COROUTINE if inspect.iscoroutinefunction(function) else Kind.FUNCTION
    return {"kind": kind, "parameters": parameters[1 if is_method else 0 :]}


def is_protocol(thing: type[Any]) -> bool:
    """Whether a class is a protocol, whose constructor means nothing."""
    return bool(getattr(thing, "_is_protocol", False))


if __name__ == "__main__":
    lines = [f"  {json.dumps(name)}: {json.dumps(about)}" for name, about in surface().items()]
    table = "{\n" + ",\n".join(lines) + "\n}\n"
    if sys.argv[1:] != ["--check"]:
        TABLE.write_text(table)
    elif TABLE.read_text() != table:
        sys.exit("the table is not what the installed AutoGen has")
    sys.stdout.write(f"{len(lines)} names\n")
