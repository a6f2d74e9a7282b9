"""What can be measured: one class for each kind of row, the same for every runtime."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from callboard.bench.figures import size_text
from callboard.bench.member import BenchmarkFailed
from callboard.bench.program import Ran
from callboard.bench.stage import Shape, Stage
from callboard.bench.tally import Handled
from callboard.bench.usage import Usage

ROW_LIMIT_S = 180.0
"""How long a row may take before it has failed, unless it says more."""

AGENTS_PER_S = 500
"""The slowest that agents may be made, for a row about many of them."""

TASKS = 512
"""Tasks that publish, all publishers together, where a row says nothing else."""

FIRST_COUNT = 1_000
WARM_UP_S = 0.3
"""A row is played twice before it counts: ``FIRST_COUNT`` times, whatever that takes, then about so
long. That finds how often it has to be played to take the time it is given."""

MAX_BYTES = 256 << 20
"""What the messages of a row may come to: a runtime without flow control holds all of them."""


@dataclass(frozen=True)
class Measured:
    """What came of a row.

    Attributes:
        values: By measure; its unit is the last word of its name.
        latencies_ns: Of each event or call, where the row is about that.
    """

    values: Mapping[str, float]
    latencies_ns: Sequence[int] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Row(ABC):
    """One row.

    Attributes:
        size_bytes: Of each message, about.
    """

    size_bytes: int = 256

    @property
    @abstractmethod
    def name(self) -> str:
        """What it measures, for people."""

    @property
    def shape(self) -> Shape:
        """The processes it wants."""
        return Shape()

    @property
    def limit_s(self) -> float:
        """How long it may take."""
        return ROW_LIMIT_S

    async def measure(self, stage: Stage, seconds: float) -> Measured:
        """Measure for about so long.

        Raises:
            BenchmarkFailed: It cannot be measured, or it takes far too long.
        """
        try:
            async with asyncio.timeout(self.limit_s):
                return await self._measure(stage, seconds)
        except TimeoutError as error:
            msg = f"{self.name}: it has not ended after {self.limit_s:.0f} s"
            raise BenchmarkFailed(msg) from error

    @abstractmethod
    async def _measure(self, stage: Stage, seconds: float) -> Measured: ...

    def _count(self, per_s: float, seconds: float) -> int:
        return max(1, min(int(per_s * seconds), MAX_BYTES // self.size_bytes))

    @property
    def _first_count(self) -> int:
        return min(FIRST_COUNT, MAX_BYTES // self.size_bytes // 4)


@dataclass(frozen=True, kw_only=True)
class Events(Row):
    """How many events a second are handled, from the first publish to the end of the last handler.

    Attributes:
        tasks: Tasks that each await one publish before the next, all publishers together.
        is_pipelined: Publish with `publish_many` instead.
        keys: Agents that get the events, by turns; with more than one each gets one at least.
        publishers, workers, types_each, more_subscriptions: See `Shape`.
    """

    tasks: int = TASKS
    is_pipelined: bool = False
    keys: int = 1
    publishers: int = 1
    workers: int = 1
    types_each: int = 1
    more_subscriptions: int = 0

    @property
    def name(self) -> str:
        """As the tables have it."""
        parts = [f"events, {size_text(self.size_bytes)}"]
        if self.is_pipelined:
            parts.append("pipelined")
        elif self.tasks == 1:
            parts.append("a loop that awaits each")
        else:
            parts.append(f"{self.tasks} tasks await each")
        if self.publishers > 1:
            parts.append(f"{self.publishers} publishers")
        if self._targets > 1:
            parts.append(f"to {self._targets} agents on {self.workers} workers")
        if self.keys > 1:
            parts.append(f"{self.keys:,} keys")
        if self.more_subscriptions:
            parts.append(f"{self.more_subscriptions + 1:,} subscriptions")
        return ", ".join(parts)

    @property
    def shape(self) -> Shape:
        """As it says."""
        return Shape(self.publishers, self.workers, self.types_each, self.more_subscriptions)

    @property
    def limit_s(self) -> float:
        """As many agents as there are have to be made."""
        return ROW_LIMIT_S + self.keys / AGENTS_PER_S

    @property
    def _targets(self) -> int:
        return self.workers * self.types_each

    async def _measure(self, stage: Stage, seconds: float) -> Measured:
        per_s = await self.rate(stage)
        count = max(self._count(per_s, seconds), self.keys)
        before = stage.usage()
        per_s = await self._play(stage, count)
        values = {("deliveries/s" if self._targets > 1 else "events/s"): per_s * self._targets}
        return Measured(values | used(before, stage.usage(), count))

    async def rate(self, stage: Stage) -> float:
        """About how many a second there are."""
        per_s = await self._play(stage, self._first_count)
        return await self._play(stage, self._count(per_s, WARM_UP_S))

    async def _play(self, stage: Stage, count: int) -> float:
        each = max(1, count // self.publishers)
        await expect(stage, each * self.publishers)
        ran = await asyncio.gather(
            *(self._publish(stage, at, each) for at in range(self.publishers))
        )
        handled = await all_handled(stage)
        took_ns = max(each["last_ns"] for each in handled) - min(each["began_ns"] for each in ran)
        return each * self.publishers * 1e9 / took_ns

    async def _publish(self, stage: Stage, publisher: int, count: int) -> Ran:
        how = {"topic_type": stage.topic_type, "count": count, "size_bytes": self.size_bytes}
        order = "publish_many"
        if not self.is_pipelined:
            order = "publish"
            how |= {"tasks": max(1, self.tasks // self.publishers), "keys": self.keys}
        ran: Ran = await stage.publishers[publisher].order(order, **how)
        return ran


@dataclass(frozen=True, kw_only=True)
class EventLatency(Row):
    """How long an event takes from the moment it should have left to its handler, at a rate.

    Attributes:
        per_s: The rate; None is half of what goes through at most.
    """

    per_s: float | None = None

    @property
    def name(self) -> str:
        """As the tables have it."""
        rate = "half load" if self.per_s is None else f"{self.per_s:,.0f} a second"
        return f"publish to handler, {size_text(self.size_bytes)}, at {rate}"

    @property
    def shape(self) -> Shape:
        """A publisher that keeps time."""
        return Shape(has_exact_timers=True)

    async def _measure(self, stage: Stage, seconds: float) -> Measured:
        most = await Events(size_bytes=self.size_bytes).rate(stage)
        per_s = self.per_s or most / 2
        await self._play(stage, per_s, WARM_UP_S)
        latencies_ns = await self._play(stage, per_s, seconds)
        return Measured({"rate, events/s": per_s} | quantiles(latencies_ns), latencies_ns)

    async def _play(self, stage: Stage, per_s: float, seconds: float) -> list[int]:
        count = self._count(per_s, seconds)
        await expect(stage, count, is_timed=True)
        await stage.publishers[0].order(
            "publish_at_rate",
            topic_type=stage.topic_type,
            count=count,
            per_s=per_s,
            size_bytes=self.size_bytes,
        )
        (handled,) = await all_handled(stage)
        return handled["latencies_ns"]


@dataclass(frozen=True, kw_only=True)
class Calls(Row):
    """Calls and their answers.

    Attributes:
        in_flight: Calls at once, each at an agent of its own. With one the row is about latency.
    """

    in_flight: int = 1

    @property
    def name(self) -> str:
        """As the tables have it."""
        at_once = "one at a time" if self.in_flight == 1 else f"{self.in_flight} at once"
        return f"calls, {size_text(self.size_bytes)}, {at_once}"

    async def _measure(self, stage: Stage, seconds: float) -> Measured:
        per_s, _ = await self._play(stage, self._first_count // 4)
        per_s, _ = await self._play(stage, self._count(per_s, WARM_UP_S))
        count = self._count(per_s, seconds)
        before = stage.usage()
        per_s, latencies_ns = await self._play(stage, count)
        cost = used(before, stage.usage(), count)
        if self.in_flight == 1:
            return Measured(quantiles(latencies_ns) | cost, latencies_ns)
        return Measured({"calls/s": per_s} | cost)

    async def _play(self, stage: Stage, count: int) -> tuple[float, list[int]]:
        count = max(count, self.in_flight)
        ran: Ran = await stage.publishers[0].order(
            "call",
            agent_type=stage.first_type,
            count=count,
            in_flight=self.in_flight,
            size_bytes=self.size_bytes,
        )
        return count * 1e9 / (ran["ended_ns"] - ran["began_ns"]), ran["took_ns"]


@dataclass(frozen=True, kw_only=True)
class Streams(Row):
    """Answers of calls that are streamed.

    Attributes:
        in_flight: Streams at once, each of an agent of its own.
    """

    in_flight: int = 1

    @property
    def name(self) -> str:
        """As the tables have it."""
        at_once = "one stream" if self.in_flight == 1 else f"{self.in_flight} streams at once"
        return f"answers, {size_text(self.size_bytes)}, {at_once}"

    async def _measure(self, stage: Stage, seconds: float) -> Measured:
        per_s = await self._play(stage, self._first_count)
        per_s = await self._play(stage, self._count(per_s, WARM_UP_S))
        count = self._count(per_s, seconds)
        before = stage.usage()
        per_s = await self._play(stage, count)
        return Measured({"answers/s": per_s} | used(before, stage.usage(), count))

    async def _play(self, stage: Stage, count: int) -> float:
        ran: Ran = await stage.publishers[0].order(
            "stream",
            agent_type=stage.first_type,
            count=count,
            in_flight=self.in_flight,
            size_bytes=self.size_bytes,
        )
        return ran["count"] * 1e9 / (ran["ended_ns"] - ran["began_ns"])


async def expect(stage: Stage, count: int, *, is_timed: bool = False) -> None:
    """Have the workers count so many events, each for every agent type."""
    mine = count * stage.shape.types_each
    await asyncio.gather(
        *(each.order("expect", count=mine, is_timed=is_timed) for each in stage.workers)
    )


async def all_handled(stage: Stage) -> list[Handled]:
    """Wait until all workers have handled what they expect."""
    handled: list[Handled] = await asyncio.gather(
        *(each.order("handled") for each in stage.workers)
    )
    return handled


def quantiles(latencies_ns: Sequence[int]) -> dict[str, float]:
    """The middle of latencies, and their ends."""
    ordered = sorted(latencies_ns)
    names = {0.5: "p50 ms", 0.99: "p99 ms", 0.999: "p99.9 ms"}
    return {
        name: ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1e6
        for share, name in names.items()
    }


def used(before: Mapping[str, Usage], after: Mapping[str, Usage], count: int) -> dict[str, float]:
    """Processor time of each kind of process for each message, and its memory at the end."""
    cpu = {
        f"{kind} CPU us": (after[kind].cpu_s - before[kind].cpu_s) * 1e6 / count
        for kind in after
        if kind in before
    }
    return cpu | {f"{kind} RSS MiB": each.resident_bytes / 2**20 for kind, each in after.items()}
