"""An agent that takes its time, for a worker that is told to stop meanwhile."""

from __future__ import annotations

import asyncio

from callboard import MessageContext, RoutedAgent, rpc


class Slow(RoutedAgent):
    """Says when it starts; answers after the seconds it is asked for."""

    agent_type = "slow"

    @rpc
    async def work(self, message: float, ctx: MessageContext) -> str:
        print("at work")  # noqa: T201 (the test waits for it)
        await asyncio.sleep(message)
        return "done"
