"""The agents of a runtime that are being closed, side by side and each within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING

from callboard.agent.base_agent import BaseAgent
from callboard.log import Logger

if TYPE_CHECKING:
    from callboard.agent.agent import Agent
    from callboard.core.identity import AgentId

log = Logger(__name__)

DEFAULT_CLOSE_TIMEOUT_S = 10.0
"""How long `Agent.close` may take."""

LAST_STEPS_S = 0.5
"""How long it may go on after it was cancelled; then nobody waits for it any more."""

_IN_CLOSE: ContextVar[bool] = ContextVar("callboard_in_close", default=False)


def is_in_close() -> bool:
    """Whether an agent's `close` asks. It cannot wait for what waits for it."""
    return _IN_CLOSE.get()


def has_nothing_to_close(agent: Agent) -> bool:
    """Whether the agent's `close` is the one that does nothing: most agents have no other.

    Two tasks for each of those cost a worker that makes and lets go of many agents half its time.
    """
    return getattr(getattr(agent, "close", None), "__func__", None) is BaseAgent.close


class Closings:
    """Calls `Agent.close`, and knows which calls have not ended.

    They are no part of a runner's run: that the host is lost is no reason to break off a save.
    Whoever ends a runtime waits for them by `wait`, and none takes much longer than the timeout.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._enough: dict[asyncio.Task[None], asyncio.Future[None]] = {}

    def begin(self, agent: Agent, agent_id: AgentId, ended: Callable[[], None]) -> None:
        """Close ``agent``; ``ended`` is called when that is over, however it went."""
        loop = asyncio.get_running_loop()
        enough: asyncio.Future[None] = loop.create_future()
        # A context of its own: it must not inherit that of a turn, or of whoever ends the runtime.
        task = loop.create_task(
            self._see_to(agent, agent_id, enough, ended),
            name=f"close {agent_id}",
            context=Context(),
        )
        self._enough[task] = enough

    async def wait(self, within_s: float | None = None) -> None:
        """Return when none is left; those that are left after ``within_s`` are cancelled."""
        if within_s is not None and self._enough and not is_in_close():
            await asyncio.wait(self._enough, timeout=within_s)
            for enough in self._enough.values():
                enough.set_result(None)
        while self._enough and not is_in_close():
            await asyncio.wait(self._enough)

    async def _see_to(
        self,
        agent: Agent,
        agent_id: AgentId,
        enough: asyncio.Future[None],
        ended: Callable[[], None],
    ) -> None:
        loop, me = asyncio.get_running_loop(), asyncio.current_task()
        assert me is not None  # noqa: S101 (for the type checker)
        began = loop.time()
        work = loop.create_task(_close(agent, agent_id), name=f"close of {agent_id}")
        try:
            await asyncio.wait(
                [work, enough], timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not work.done():
                after_s = round(loop.time() - began, 1)
                log.warning("agent did not close in time", agent=str(agent_id), after_s=after_s)
                work.cancel()
                await asyncio.wait([work], timeout=LAST_STEPS_S)
        finally:
            work.cancel()
            del self._enough[me]
            ended()


async def _close(agent: Agent, agent_id: AgentId) -> None:
    _IN_CLOSE.set(True)
    try:
        await agent.close()
    except (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
        raise
    except BaseException as error:
        log.warning("agent did not close", agent=str(agent_id), exc_info=error)
