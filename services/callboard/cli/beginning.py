"""How a command begins, and what it needs for that."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from callboard.cli.lifeline import hold_lifeline
from callboard.cli.usage import UsageError

T = TypeVar("T")

EXTRAS = {
    "host": {"grpc_health": "host"},
    "worker": {"grpc_health": "worker"},
    "dev": {"grpc_health": "host", "watchfiles": "cli"},
    "publish_file": {"cloudevents": "cli"},
}
"""What a command may miss, and the extra of the distribution that brings it."""

_debug = False
_running = ""


def is_debugged() -> bool:
    """Whether errors are to be shown with their tracebacks."""
    return _debug


def begin(log_level: str | None, log_format: str | None, *, debug: bool) -> None:
    """A command line was read: what it says holds for all that comes."""
    global _debug  # noqa: PLW0603 (set once, by the command line)
    _debug = debug
    hold_lifeline()
    module("log").set_up(log_level=log_level, log_format=log_format)


def module(name: str) -> Any:
    """The module of the command that runs, imported only now."""
    global _running  # noqa: PLW0603 (the last one is the command that runs)
    _running = name
    return import_module(f"callboard.cli.{name}")


def extra_missed(error: Exception) -> str | None:
    """The extra that brings the module for want of which a command failed."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    return EXTRAS.get(_running, {}).get((error.name or "").partition(".")[0])


def given(value: T | None, name: str) -> T:
    """``value``, unless the command line leaves it out."""
    if value is None:
        msg = f"{name} is missing"
        raise UsageError(msg)
    return value
