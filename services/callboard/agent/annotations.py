"""What annotations say, also those that are text and name what a running function defined.

With ``from __future__ import annotations`` a name in an annotation is looked up later. For what was
defined in a function, such as a test, that name is a local of that function, which its module does
not know; it is found in the function's frame as long as the function runs.
"""

from __future__ import annotations

import sys
import types
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

_STREAMS = (AsyncIterator, AsyncGenerator, AsyncIterable)

_PLAIN = (str, int, float, bool, types.NoneType, list, dict)


class AnyType:
    """Stands for ``Any`` among the types of a handler."""


def local_names(qualname: str, module: str | None) -> dict[str, Any]:
    """What the functions and class bodies around ``qualname`` define, those that run now.

    Args:
        qualname: The ``__qualname__`` of what was defined in them.
        module: The name of its module.

    Returns:
        The names; of two equal ones the inner.
    """
    found: dict[str, Any] = {}
    frame = sys._getframe(1)  # noqa: SLF001 (the documented way to the stack)
    while frame is not None:
        around = f"{frame.f_code.co_qualname}."
        if qualname.startswith(around) and frame.f_globals.get("__name__") == module:
            found = {**frame.f_locals, **found}
        frame = frame.f_back  # type: ignore[assignment]  # None ends the stack
    return found


def hints_of(function: Any, names: Iterable[str], local: Mapping[str, Any]) -> dict[str, Any]:
    """The types that ``function`` annotates ``names`` with; a name without annotation is left out.

    Other annotations are not looked at, so they may name what exists for type checkers only.

    Raises:
        NameError: An annotation names what is not there, or not yet.
    """
    written = getattr(function, "__annotations__", {})
    asked = types.SimpleNamespace(__annotations__={n: written[n] for n in names if n in written})
    return get_type_hints(asked, getattr(function, "__globals__", {}), dict(local))


def message_types(annotation: Any) -> tuple[type, ...]:
    """The classes that messages of an annotation have; `AnyType` for ``Any``.

    Raises:
        TypeError: It is not made of classes that a message can have; the text says what is wrong.
    """
    annotation = _unwrapped(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return (AnyType,)
    if origin in {Union, types.UnionType}:
        return tuple(dict.fromkeys(each for part in arguments for each in message_types(part)))
    if origin is Literal:
        return tuple(dict.fromkeys(type(value) for value in arguments))
    if origin is None and isinstance(annotation, type):
        return (annotation,)
    if origin in {list, dict} and _is_plain(annotation):
        return (origin,)
    msg = f"{annotation} is no class that a message can have"
    if isinstance(origin, type):
        msg += "; a list or dict may hold plain JSON values only, others go into a field of a class"
    raise TypeError(msg)


def streamed(annotation: Any) -> Any:
    """What an async generator yields that is annotated with ``annotation``.

    Raises:
        TypeError: It is not annotated with what an async generator is.
    """
    unwrapped = _unwrapped(annotation)
    arguments = get_args(unwrapped)
    if get_origin(unwrapped) not in _STREAMS or not arguments:
        msg = f"{annotation} is not what it returns: annotate -> AsyncIterator[Reply], it streams"
        raise TypeError(msg)
    return arguments[0]


def _unwrapped(annotation: Any) -> Any:
    """What an alias, a ``NewType`` or an ``Annotated`` stands for."""
    while True:
        if annotation is None:
            return types.NoneType
        if isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # typing's or typing_extensions'
            annotation = annotation.__value__
        elif get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        else:
            return annotation


def _is_plain(annotation: Any) -> bool:
    if annotation is Any or annotation is None or annotation in _PLAIN:
        return True
    if get_origin(annotation) in {list, dict, Union, types.UnionType}:
        return all(_is_plain(part) for part in get_args(annotation))
    return False
