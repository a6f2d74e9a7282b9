"""The answers to one streamed call, on the side of the agent that gives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from callboard.agent.exceptions import CantHandleException, Reject
from callboard.agent.failures import raised_by_agent
from callboard.core.errors import RemoteAgentError


class StreamCredit:
    """How many further answers the caller of a streamed call has room for."""

    __slots__ = ("_count", "_has_come")

    def __init__(self, count: int) -> None:
        self._count = count
        self._has_come = asyncio.Event()

    def add(self, count: int) -> None:
        """There is room for so many more."""
        self._count += count
        self._has_come.set()

    async def take(self) -> None:
        """Use up room for one answer, when there is some."""
        while not self._count:
            self._has_come.clear()
            await self._has_come.wait()
        self._count -= 1


async def run_through(
    answers: AsyncGenerator[Any, Any],
    send: Callable[[Any], Awaitable[None]],
    credit: StreamCredit | None,
) -> None:
    """Run a handler that streams to its end, and hand each of its answers to ``send``.

    It does not go on while there is no ``credit``; None: it always may. Cancelled, or when ``send``
    fails, it is closed where it stands: its ``finally`` blocks run.

    Raises what the handler raised, in the form in which it travels.
    """
    task = asyncio.current_task()
    async with aclosing(answers):
        while True:
            if task is not None and task.cancelling():  # the handler has made nothing of it
                raise asyncio.CancelledError
            if credit is not None:
                await credit.take()
            try:
                answer = await anext(answers)
            except StopAsyncIteration:
                return
            except (CantHandleException, Reject, RemoteAgentError):
                raise
            except Exception as error:
                raise raised_by_agent(error) from error
            await send(answer)


async def send_nowhere(_: Any) -> None:
    """For an event: nobody waits for what its handler has to say."""
