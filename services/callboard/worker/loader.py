"""Finds what a worker is told to run: ``module:attribute``."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from callboard.core.errors import CallboardError, Code, InvalidIdentifier, Unavailable

if TYPE_CHECKING:
    from types import ModuleType

    from callboard.agent.agent_runtime import AgentRuntime

Setup: TypeAlias = "Callable[[AgentRuntime], Awaitable[object]]"

_NOT_THE_AUTHORS = tuple(
    str(Path(path).resolve())
    for path in (
        str(Path(__file__).parent.parent),
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    )
)


class NotLoadable(CallboardError):
    """What a worker was told to run cannot be run. Mend the name, or the code that it names.

    Attributes:
        trace: Where in the author's own code it happened; empty when the name is what is wrong.
    """

    code = Code.FAILED_PRECONDITION

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


@dataclass(frozen=True, slots=True)
class Target:
    """Something that a worker is told to run, found.

    Attributes:
        name: How it was named, ``module:attribute``.
        setup: Registers what is to be served with a runtime.
    """

    name: str
    setup: Setup

    @classmethod
    def load(cls, name: str) -> Target:
        """Import what ``name`` names: ``async def setup(runtime)``, or an agent class.

        An agent class declares its type by a class attribute, ``agent_type = "name"``; without one
        the type is the name of the class. It is made without arguments, but for a ``description``,
        which is its docstring; a class that needs more is registered by a setup function.

        Raises:
            InvalidIdentifier: ``name`` is not written ``module:attribute``.
            NotLoadable: There is no such thing, it failed to import, or it is of another kind.
        """
        module_name, _, path = name.partition(":")
        parts = [*module_name.split("."), *path.split(".")]
        if not all(part.isidentifier() for part in parts):
            msg = f"invalid name {name!r}: it is written module:attribute, as in shop.agents:setup"
            raise InvalidIdentifier(msg)
        found: Any = _import(module_name, name)
        for part in path.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                msg = f"cannot load {name!r}: {module_name!r} has no attribute {path!r}"
                raise NotLoadable(msg + _where(module_name)) from error
        return cls(name, _setup_of(found, name))

    async def register(self, runtime: AgentRuntime) -> None:
        """Run the setup.

        Raises:
            NotLoadable: It raised; names what, and where.
            Unavailable: The host was lost meanwhile.
        """
        try:
            await self.setup(runtime)
        except Unavailable:
            raise
        except Exception as error:  # the author's code may raise anything
            msg = f"cannot set up {self.name!r}: {_described(error)}"
            raise NotLoadable(msg, _own_trace(error)) from error


def _import(module_name: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            msg = f"cannot load {name!r}: no module {error.name!r} in {Path.cwd()} or installed"
            raise NotLoadable(msg) from error
        raise _failed_import(name, error) from error
    except Exception as error:  # the author's code may raise anything
        raise _failed_import(name, error) from error


def _failed_import(name: str, error: Exception) -> NotLoadable:
    return NotLoadable(f"cannot load {name!r}: {_described(error)}", _own_trace(error))


def _setup_of(found: Any, name: str) -> Setup:
    if isinstance(found, type) and callable(getattr(found, "register", None)):
        return _class_setup(found, name)
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(
        getattr(found, "__call__", None)  # noqa: B004 (an instance whose call is a coroutine function)
    ):
        missing = _unfilled(found, None)
        if missing is not None:
            msg = f"cannot load {name!r}: it is called with the runtime alone, but {missing}"
            raise NotLoadable(msg)
        setup: Setup = found
        return setup
    what = "a plain function" if inspect.isfunction(found) else f"of class {type(found).__name__}"
    if isinstance(found, type):
        what = "a class, but no agent"
    msg = f"cannot load {name!r}: it is {what}; give `async def setup(runtime)` or an agent class"
    raise NotLoadable(msg)


def _class_setup(agent_class: Any, name: str) -> Setup:
    arguments: dict[str, Any] = {}
    missing = _unfilled(agent_class)
    if missing is not None:
        # `BaseAgent` asks for a description, and a class without a constructor of its own has none.
        arguments["description"] = inspect.getdoc(agent_class) or agent_class.__name__
        if _unfilled(agent_class, **arguments) is not None:
            msg = (
                f"cannot load {name!r}: an agent class is made without arguments, but {missing}; "
                "register it in an `async def setup(runtime)`"
            )
            raise NotLoadable(msg)
    agent_type = getattr(agent_class, "agent_type", None) or agent_class.__name__

    async def setup(runtime: AgentRuntime) -> None:
        await agent_class.register(runtime, agent_type, partial(agent_class, **arguments))

    return setup


def _unfilled(found: Callable[..., object], *given: object, **named: object) -> str | None:
    """Why ``found`` cannot be called with these arguments; None when it can."""
    try:
        inspect.signature(found).bind(*given, **named)
    except TypeError as error:
        return str(error)
    except ValueError:
        return None  # it has no signature to look at
    return None


def _described(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _where(module_name: str) -> str:
    path = getattr(sys.modules.get(module_name), "__file__", None)
    return f" ({path})" if path else ""


def _own_trace(error: Exception) -> str:
    """The frames of the author's own code, in Python's form; that of a syntax error too."""
    told = traceback.TracebackException.from_exception(error)
    own = [frame for frame in told.stack if _is_own(frame.filename)]
    lines = traceback.StackSummary.from_list(own).format()
    if isinstance(error, SyntaxError):
        lines.extend(list(told.format_exception_only())[:-1])
    return "".join(lines)


def _is_own(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = str(Path(filename).resolve())
    return not path.startswith(_NOT_THE_AUTHORS)
