"""A chaos run: a steady load on real processes, and what is done to them, drawn from a seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

import grpc.aio

from callboard.core.errors import CallboardError
from callboard.wire.v1 import operations_pb2 as pb
from callboard.worker import WorkerRuntime
from chaos.cast import PATIENCE_S, Worker
from chaos.operators import operators_at
from chaos.publisher import Publisher
from chaos.troupe import LEASE_MARGIN_S, LEASE_S, Troupe
from chaos.verdict import Evidence, Verdict, judge
from chaos.wires import DIRECTIONS

PUBLISHERS = ("ann", "bob")
RATE = 100.0
"""Events a second of each publisher."""

AGENTS, BUSY_AGENTS = 500, 20
BUSY_SHARE = 0.3
"""Of all events, what goes to the busy agents, so that they have queues."""

LONGEST_WORK_MS = 250
AFTERMATH_S = 10.0
"""How long the load goes on after the last action."""

LOST_THRICE = "worker_lost"
"""Why an event may become a dead letter: three workers were lost with it."""

LAPSED = "lease has run out"
"""What a worker says whose lease did."""


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes:
        verdict: What its journals say.
        complaints: What else must not have happened.
        actions: How often what was done.
        accepted: Deliveries accepted, as far as hosts have told before they were killed.
        host_kills: How many of them were.
        seconds: How long it took.
    """

    verdict: Verdict
    complaints: list[str]
    actions: Counter[str]
    accepted: int
    host_kills: int
    seconds: float


class Play:
    """One run; see `play`."""

    def __init__(
        self, seed: int, troupe: Troupe, publishers: list[Publisher], tell: Callable[[str], None]
    ) -> None:
        self._random = Random(seed)
        self._load_random = Random(seed)
        self._troupe = troupe
        self._publishers = publishers
        self._tell = tell
        self._began_at = monotonic()
        self._heard: dict[str, pb.DescribeResponse] = {}
        self._actions: Counter[str] = Counter()
        self._complaints: list[str] = []

    async def run(self, seconds: float) -> Report:
        """Do something to processes for so long at least, and until each action was done."""
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch_host())
            loads = [
                tasks.create_task(each.publish(RATE, self._draw, is_over))
                for each in self._publishers
            ]
            await self._act(seconds)
            self._say("that was the last action")
            await asyncio.sleep(AFTERMATH_S)
            is_over.set()
            await asyncio.wait(loads, timeout=PATIENCE_S)
            await self._until_idle()
            self._say("all is handled")
            watch.cancel()
        return await self._report()

    # What is done.

    async def _act(self, seconds: float) -> None:
        """Rounds of all actions, each in another order; some go on while others begin."""
        actions = {
            "kill": self._kill,
            "stop": self._stop,
            "start two": self._start_two,
            "drain": self._drain,
            "cut": self._cut,
            "restart host": self._restart_host,
        }
        end_at = monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            while not self._actions or monotonic() < end_at:
                names = sorted(actions)
                self._random.shuffle(names)
                for name in names:
                    await asyncio.sleep(self._random.uniform(1.0, 3.0))
                    self._actions[name] += 1
                    await actions[name](tasks)

    async def _kill(self, _: asyncio.TaskGroup) -> None:
        worker = await self._troupe.victim(self._random)
        await worker.kill_in_turn()
        self._say(f"{worker.name} is killed")

    async def _stop(self, tasks: asyncio.TaskGroup) -> None:
        worker = await self._troupe.victim(self._random)
        tasks.create_task(self._outlast(worker, "stopped", worker.freeze(self._past_lease_s())))

    async def _cut(self, tasks: asyncio.TaskGroup) -> None:
        worker = await self._troupe.victim(self._random)
        direction = self._random.choice(DIRECTIONS)
        trouble = self._troupe.cut_off(worker, direction, self._past_lease_s())
        tasks.create_task(self._outlast(worker, f"cut off, {direction}", trouble))

    async def _outlast(
        self, worker: Worker, what: str, trouble: Coroutine[None, None, None]
    ) -> None:
        """A worker is in ``trouble`` for longer than its lease; it has to notice, and come back."""
        await worker.until_at_work()
        self._say(f"{worker.name} is {what}")
        before = worker.said().count(LAPSED)
        await trouble
        self._say(f"{worker.name} is no longer {what}")
        try:
            async with asyncio.timeout(PATIENCE_S):
                while worker.said().count(LAPSED) == before:
                    await asyncio.sleep(0.05)
                await worker.until_at_work()
        except TimeoutError:
            self._complaints.append(f"{worker.name}, {what}, has not noticed, or not come back")
        worker.is_spared = False

    async def _start_two(self, _: asyncio.TaskGroup) -> None:
        await asyncio.gather(self._troupe.start_worker(), self._troupe.start_worker())
        self._say("two more have started")

    async def _drain(self, _: asyncio.TaskGroup) -> None:
        worker = await self._troupe.victim(self._random)
        self._complaints += await self._troupe.drain(worker)
        self._say(f"{worker.name} has left")

    async def _restart_host(self, _: asyncio.TaskGroup) -> None:
        await self._troupe.restart_host(self._random.uniform(0.2, 1.5))
        self._say("the host was killed, and is back")

    def _past_lease_s(self) -> float:
        return LEASE_S + LEASE_MARGIN_S + self._random.uniform(0.7, 2.5)

    def _draw(self) -> tuple[str, int]:
        random = self._load_random
        some = BUSY_AGENTS if random.random() < BUSY_SHARE else AGENTS
        return f"agent-{random.randrange(some)}", random.randint(20, LONGEST_WORK_MS)

    def _say(self, what: str) -> None:
        self._tell(f"{monotonic() - self._began_at:7.2f} {what}")

    # What is seen.

    async def _watch_host(self) -> None:
        """Ask the host again and again what it has counted: it may be killed at any moment."""
        while True:
            await asyncio.sleep(0.25)
            with suppress(CallboardError, grpc.aio.AioRpcError):
                await self._describe()

    async def _describe(self) -> pb.DescribeResponse:
        async with operators_at(self._publishers[0].operators_port) as operators:
            described = await operators.describe()
        self._heard[described.host_id] = described
        return described

    async def _until_idle(self) -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            while any(each.queued + each.in_flight for each in (await self._describe()).types):
                await asyncio.sleep(0.1)

    async def _report(self) -> Report:
        async with operators_at(self._publishers[0].operators_port) as operators:
            letters = await operators.dead_letters()
        dead = [each.event_id.split() for each in letters]
        self._complaints += [
            f"a dead letter, {each.reason}: {each.detail}, for {each.agent_key}"
            for each in letters
            if each.reason != LOST_THRICE
        ]
        for publisher in self._publishers:
            await publisher.leave()
        self._complaints += await self._troupe.leave()
        acknowledged = frozenset().union(*(each.acknowledged for each in self._publishers))
        evidence = Evidence(
            acknowledged=acknowledged,
            unknown=frozenset().union(*(each.unknown for each in self._publishers)),
            dead=frozenset((name, agent, int(number)) for name, agent, number in dead),
            turns=[turn for worker in self._troupe.workers for turn in worker.turns()],
            lives={worker.name: worker.life for worker in self._troupe.workers},
        )
        accepted = sum(each.counters.accepted for each in self._heard.values())
        self._check_accepted(evidence, accepted)
        return Report(
            judge(evidence),
            self._complaints,
            self._actions,
            accepted,
            self._troupe.host_kills,
            monotonic() - self._began_at,
        )

    def _check_accepted(self, evidence: Evidence, accepted: int) -> None:
        """Of each event one settlement counts, whoever was granted its agent meanwhile.

        What a host has counted since it was last asked goes with it when it is killed.
        """
        alive = evidence.acknowledged - evidence.dead
        most, least = len(alive | evidence.unknown - evidence.dead), len(alive)
        if accepted > most or (accepted < least and not self._troupe.host_kills):
            what = f"{accepted} deliveries were accepted, of {least} to {most} events"
            self._complaints.append(what)


@asynccontextmanager
async def playing(seed: int, directory: Path, tell: Callable[[str], None]) -> AsyncIterator[Play]:
    """Three workers and a host, all of which end with it."""
    async with AsyncExitStack() as stack:
        troupe = Troupe(directory)
        stack.push_async_callback(troupe.end)
        await troupe.start(workers=3)
        publishers = []
        for name in PUBLISHERS:
            runtime = WorkerRuntime(troupe.host.address, client_id=name, drain_timeout_s=3)
            publishers.append(Publisher(name, await stack.enter_async_context(runtime)))
        tell(f"seed {seed}; workers are cut off by {troupe.wires.kind}")
        yield Play(seed, troupe, publishers, tell)
