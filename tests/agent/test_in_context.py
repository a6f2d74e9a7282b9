"""A coroutine in a context of its own, within one task."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any, TypeVar

import pytest

from callboard.agent.in_context import InContext

T = TypeVar("T")

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


async def paint(colour: str) -> tuple[str, str]:
    """Set the colour, wait, and tell the colour before and after."""
    before = COLOUR.get()
    COLOUR.set(colour)
    await asyncio.sleep(0)
    return before, COLOUR.get()


async def through(coroutine: Coroutine[Any, Any, T], context: Context) -> T:
    """Run all of a coroutine in ``context``."""
    try:
        waited_for = context.run(coroutine.send, None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # what the coroutine returned
    return await InContext(coroutine, context, waited_for)


async def test_what_it_sets_stays_inside() -> None:
    """The context keeps what the coroutine set, over its waits; the task outside never sees it."""
    COLOUR.set("outside")
    context = Context()
    assert await through(paint("red"), context) == ("none", "red")
    assert await through(paint("blue"), context) == ("red", "blue")
    assert COLOUR.get() == "outside"


async def test_it_runs_in_the_task_that_awaits_it() -> None:
    """There is no other task, so timeouts and cancellation are those of the task."""

    async def task() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    assert await through(task(), Context()) is asyncio.current_task()

    async def too_long() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "never"

    assert await through(too_long(), Context()) == "in time"


async def test_errors_pass_both_ways() -> None:
    """What it raises comes out; what it waits for raises in it."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await through(fail(), Context())

    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(KeyError("missing"))

    async def handle() -> str:
        try:
            await future
        except KeyError as error:
            return str(error)
        return "nothing"

    assert await through(handle(), Context()) == "'missing'"


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
        await through(clean_up(), Context())

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["inside"]
