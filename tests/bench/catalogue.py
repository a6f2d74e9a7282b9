"""The rows of `make bench`, by group, and what AutoGen has no counterpart for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callboard.bench.rows import Calls, EventLatency, Events, Measured, Row, Streams
from callboard.bench.stage import Shape, Stage

SIZES_BYTES = (256, 4 << 10, 256 << 10)
IS_LONG = os.environ.get("LONG") == "1"
SETTLES_S = 1.0
"""How long a host has before its memory is looked at."""


@dataclass(frozen=True, kw_only=True)
class IdleSessions(Row):
    """What sessions cost that do nothing: memory of the host, and processor time of each event.

    Attributes:
        count: How many there are.
    """

    count: int

    @property
    def name(self) -> str:
        """As the tables have it."""
        return (
            f"events, 256 B, 512 tasks await each, {self.count} idle session{'s'[: self.count - 1]}"
        )

    @property
    def shape(self) -> Shape:
        """A process more, which holds the sessions."""
        return Shape(publishers=2)

    async def _measure(self, stage: Stage, seconds: float) -> Measured:
        events = Events(size_bytes=self.size_bytes)
        await events.rate(stage)
        before = stage.usage()["host"].resident_bytes
        await stage.publishers[1].order("crowd", address=stage.address, count=self.count)
        await asyncio.sleep(SETTLES_S)
        grown = stage.usage()["host"].resident_bytes - before
        measured = await events.measure(stage, seconds)
        values = {"host memory a session KiB": grown / 1024 / self.count, **measured.values}
        return Measured(values)


GROUPS: Mapping[str, Sequence[Row]] = {
    "events": [
        *(
            Events(size_bytes=size, is_pipelined=is_pipelined)
            for size in SIZES_BYTES
            for is_pipelined in (False, True)
        ),
        Events(publishers=4),
        Events(workers=4, types_each=4),
    ],
    "tasks": [Events(tasks=tasks) for tasks in (1, 8, 64)],
    "calls": [Calls(in_flight=1), Calls(in_flight=64)],
    "streams": [Streams(in_flight=1), Streams(in_flight=16)],
    "latency": [EventLatency(), EventLatency(per_s=1_000)],
    "subscriptions": [Events(more_subscriptions=count - 1) for count in (10, 100, 1_000, 10_000)],
    "sessions": [IdleSessions(count=count) for count in (1, 100, 500)],
    "keys": [
        Events(keys=count) for count in (10, 1_000, 100_000, *([1_000_000] if IS_LONG else []))
    ],
}

QUICK_GROUPS = ("events", "tasks", "calls", "streams", "latency")
"""Those of ``--quick``: the others need time to be set up."""


def missing_in_autogen(row: Row) -> str | None:
    """Why AutoGen cannot be measured in this row; None: it can."""
    match row:
        case Events(is_pipelined=True):
            return "has no pipelined form"
        case Streams():
            return "has no streams"
        case Events(more_subscriptions=count) if count >= 9_999:
            return "compares each new subscription with all that it has"
        case Events(keys=count) if count > 100_000:
            return "keeps all agents and topics for ever"
    return None
