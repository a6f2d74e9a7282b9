"""A partition that moves while its agents are busy with each other."""

from __future__ import annotations

import asyncio

from callboard import AgentId, MessageContext, RoutedAgent, rpc
from callboard.core.partition import partition_of
from callboard.host import Host
from callboard.worker import WorkerRuntime


def neighbours(agent_type: str) -> tuple[str, str]:
    """The keys of two agents of one partition."""
    first, *others = map(str, range(10_000))
    partition = partition_of(agent_type, first, 256)
    return first, next(key for key in others if partition_of(agent_type, key, 256) == partition)


async def test_a_turn_of_a_leaving_partition_can_call_an_agent_of_the_same() -> None:
    """The surrender waits for the turn, the turn for the call: so the call is taken in."""
    began = asyncio.Event()
    go_on = asyncio.Event()

    class Pair(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("calls its neighbour")

        @rpc
        async def on_text(self, message: str, ctx: MessageContext) -> str:
            if message == "answer":
                return "here"
            began.set()
            await go_on.wait()
            return str(await self.send_message("answer", AgentId("pair", message), timeout_s=5))

    async with Host(port=0) as host, WorkerRuntime(host.address) as caller:
        leaving = WorkerRuntime(host.address)
        await leaving.start()
        await Pair.register(leaving, "pair", Pair)
        first, second = neighbours("pair")
        call = asyncio.create_task(caller.send_message(second, AgentId("pair", first)))
        await began.wait()
        stopping = asyncio.create_task(leaving.stop())
        while not leaving._runner._leaving:
            await asyncio.sleep(0)
        async with WorkerRuntime(host.address) as other:
            await Pair.register(other, "pair", Pair)
            go_on.set()
            async with asyncio.timeout(10):
                assert await call == "here"
                await stopping
