"""The processes of one run: workers and publishers at a host that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from callboard.bench.member import COMMAND, Member, run_member
from callboard.bench.program import EXACT_TIMERS
from callboard.bench.usage import Usage, usage_of


@dataclass(frozen=True)
class Contender:
    """A runtime that is measured.

    Attributes:
        name: For people.
        command: Runs a process that obeys the orders of `callboard.bench.program`.
        environment: What that needs beside this process's own.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


CALLBOARD = Contender("Callboard", COMMAND)


@dataclass(frozen=True)
class Shape:
    """Which processes a run has.

    Attributes:
        publishers: Processes that publish or call.
        workers: Processes that hold agents.
        types_each: Agent types of each worker; all are subscribed to the topic.
        more_subscriptions: Subscriptions of the first type beside it, which get nothing.
        has_exact_timers: Whether the publishers publish at a rate.
    """

    publishers: int = 1
    workers: int = 1
    types_each: int = 1
    more_subscriptions: int = 0
    has_exact_timers: bool = False


class Stage:
    """Workers that serve, and publishers that are connected.

    Attributes:
        address: Of the host.
        topic_type: What all agents are subscribed to. Its name, which those of the agent types
            begin with, is new for each stage: others at the host are not touched.
        shape: Which processes there are.
    """

    def __init__(self, address: str, shape: Shape, host_pid: int | None) -> None:
        self.address = address
        self.shape = shape
        self.topic_type = f"bench-{uuid4().hex[:8]}"
        self.publishers: list[Member] = []
        self.workers: list[Member] = []
        self._host_pid = host_pid

    @property
    def first_type(self) -> str:
        """The agent type that is called."""
        return self.types_of(0)[0]

    @property
    def agent_types(self) -> list[str]:
        """All of them."""
        return [name for number in range(self.shape.workers) for name in self.types_of(number)]

    def types_of(self, worker: int) -> list[str]:
        """The agent types of one worker."""
        first = worker * self.shape.types_each
        return [f"{self.topic_type}-{first + each}" for each in range(self.shape.types_each)]

    def usage(self) -> dict[str, Usage]:
        """What the processes have used so far, by ``publisher``, ``host`` and ``worker``.

        Those of one kind are added up; those that cannot be looked at are left out.
        """
        pids = {
            "publisher": [each.pid for each in self.publishers],
            "host": [] if self._host_pid is None else [self._host_pid],
            "worker": [each.pid for each in self.workers],
        }
        found = {kind: [usage_of(pid) for pid in of_kind] for kind, of_kind in pids.items()}
        return {
            kind: Usage(
                sum(each.cpu_s for each in usages if each),
                sum(each.resident_bytes for each in usages if each),
            )
            for kind, usages in found.items()
            if usages and all(usages)
        }


@asynccontextmanager
async def open_stage(
    contender: Contender,
    address: str,
    shape: Shape,
    *,
    host_pid: int | None = None,
    publishers_left: Callable[[Stage], Awaitable[None]] | None = None,
) -> AsyncIterator[Stage]:
    """Start the processes of a run; they leave at the end, the publishers first.

    Args:
        contender: Whose they are.
        address: Of a host of that runtime.
        shape: Which there are.
        host_pid: The process of the host, where it is to be looked at.
        publishers_left: Is awaited before the workers leave.
    """
    stage = Stage(address, shape, host_pid)

    async def begin(stack: AsyncExitStack, *options: str) -> Member:
        member = await stack.enter_async_context(
            run_member([*contender.command, *options], contender.environment)
        )
        await member.order("connect", address=address)
        return member

    async def serve(number: int) -> None:
        member = stage.workers[number]
        for agent_type in stage.types_of(number):
            topics = [stage.topic_type]
            if agent_type == stage.first_type:
                topics += [f"{stage.topic_type}.{each}" for each in range(shape.more_subscriptions)]
            await member.order("serve", agent_type=agent_type, topic_types=topics)

    timers = [EXACT_TIMERS] if shape.has_exact_timers else []
    async with AsyncExitStack() as workers:
        stage.workers += await asyncio.gather(*(begin(workers) for _ in range(shape.workers)))
        await asyncio.gather(*(serve(number) for number in range(shape.workers)))
        try:
            async with AsyncExitStack() as publishers:
                stage.publishers += await asyncio.gather(
                    *(begin(publishers, *timers) for _ in range(shape.publishers))
                )
                yield stage
        finally:
            if publishers_left is not None:
                await publishers_left(stage)
