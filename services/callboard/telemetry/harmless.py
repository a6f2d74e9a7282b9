"""What keeps a defect of telemetry from the work that it is about."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from callboard.log import Logger

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

log = Logger(__name__)

_told: set[str] = set()
"""The functions whose failures were logged, of this process."""


def harmless(instead: Callable[..., S]) -> Callable[[Callable[P, R]], Callable[P, R | S]]:
    """Make a function that raises return what ``instead`` makes of the same arguments.

    Behind a span is code of others: the SDK, a program's samplers and span processors, the
    ``__str__`` of what an agent raised. No turn, publish, call or commit ends otherwise because of
    them: all that touches a span, or prepares one, is made harmless by this. It logs the first
    failure of each function, and no other, since they come with every message.
    """

    def made_harmless(function: Callable[P, R]) -> Callable[P, R | S]:
        @wraps(function)
        def attempt(*args: P.args, **named: P.kwargs) -> R | S:
            try:
                return function(*args, **named)
            except Exception:
                name = function.__qualname__
                if name not in _told:
                    _told.add(name)
                    log.warning("traces are incomplete", failed=name, exc_info=True)
                return instead(*args, **named)

        return attempt

    return made_harmless


def nothing(*_: object, **__: object) -> None:
    """For what returns nothing."""
