"""Waking those who wait, a few in each step of the loop.

An answer of the host's may end the waiting of hundreds, all of whom would say what they say next
before anything of it can leave: host and worker would then work by turns, each waiting for the
other. What the first few say leaves while the next ones run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TypeVar

T = TypeVar("T")


def in_slices(tell: Callable[[T], object], those: Sequence[T], size: int) -> None:
    """Call ``tell`` with each: the first ``size`` now, as many more in each step that follows."""
    for each in those[:size]:
        tell(each)
    if len(those) > size:
        loop = asyncio.get_running_loop()
        loop.call_soon(in_slices, tell, those[size:], size, context=Context())
