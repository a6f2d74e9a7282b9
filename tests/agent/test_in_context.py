"""A coroutine in a context of its own, within one task."""

from __future__ import annotations

import asyncio
from contextvars import Context, ContextVar

import pytest

from callboard.agent.in_context import InContext

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


async def paint(colour: str) -> tuple[str, str]:
    """Set the colour, wait, and tell the colour before and after."""
    before = COLOUR.get()
    COLOUR.set(colour)
    await asyncio.sleep(0)
    return before, COLOUR.get()


def nothing() -> None:
    """Whoever awaits it need not know that it waits."""


async def test_it_says_when_it_waits() -> None:
    """Before each wait, and outside of the context."""
    seen: list[str] = []
    COLOUR.set("outside")
    await InContext(paint("red"), Context(), lambda: seen.append(COLOUR.get()))
    assert seen == ["outside"]


async def test_what_it_sets_stays_inside() -> None:
    """The context keeps what the coroutine set, over its waits; the task outside never sees it."""
    COLOUR.set("outside")
    context = Context()
    assert await InContext(paint("red"), context, nothing) == ("none", "red")
    assert await InContext(paint("blue"), context, nothing) == ("red", "blue")
    assert COLOUR.get() == "outside"


async def test_it_runs_in_the_task_that_awaits_it() -> None:
    """There is no other task, so timeouts and cancellation are those of the task."""

    async def task() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    assert await InContext(task(), Context(), nothing) is asyncio.current_task()

    async def too_long() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "never"

    assert await InContext(too_long(), Context(), nothing) == "in time"


async def test_errors_pass_both_ways() -> None:
    """What it raises comes out; what it waits for raises in it."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await InContext(fail(), Context(), nothing)

    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(KeyError("missing"))

    async def handle() -> str:
        try:
            await future
        except KeyError as error:
            return str(error)
        return "nothing"

    assert await InContext(handle(), Context(), nothing) == "'missing'"


async def test_cancellation_is_the_coroutines_to_see() -> None:
    """A cancelled task cancels it where it waits; it may clean up, also by waiting."""
    log: list[str] = []

    async def clean_up() -> None:
        COLOUR.set("inside")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append(COLOUR.get())

    async def outer() -> None:
        await InContext(clean_up(), Context(), nothing)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["inside"]
