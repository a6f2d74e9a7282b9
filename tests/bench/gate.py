"""Fails when Callboard has come to cost much more: ``make bench-gate``.

What is measured is processor time, of all processes and threads together, for each message, as a
ratio to what one costs that gRPC alone echoes just before it. All run on one processor, so that
what the machine does beside it slows both alike. The ratios depend on the versions of Python and
grpcio: ``make bench-gate ARGS=--write`` sets the marks in ``gate.json`` anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.table import Table

from bench.bare import Echo, echo, ping, run_echo
from bench.contenders import run_host
from callboard.bench.rows import Calls, Events, Measured, Row, Streams
from callboard.bench.stage import CALLBOARD, Shape, Stage, open_stage

MARKS = Path(__file__).with_name("gate.json")
FLOOR = 0.7
"""A row fails that gives less than this part of its mark for the same processor time: a change of
program, not of the machine's mood."""

ROWS: Mapping[Row, Callable[[Echo, float], Awaitable[Measured]]] = {
    Events(): echo,
    Events(is_pipelined=True): echo,
    Events(size_bytes=4 << 10): echo,
    Events(workers=4, types_each=4): echo,
    Events(tasks=1): ping,
    Calls(in_flight=64): echo,
    Streams(in_flight=16): echo,
}
"""Each beside gRPC alone that is played in its way: a stream, or one message at a time."""


BUSY_LOOP = """if True:
    import os

    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(100_000):
            pass
"""
"""Ends with whoever has started it, be that killed."""


@dataclass(frozen=True)
class Verdict:
    """What is said of a row.

    Attributes:
        row: Its name.
        cost: Of a message, in messages of the echo, as measured.
        mark: As it should be; None: there is none, which fails.
    """

    row: str
    cost: float
    mark: float | None

    @property
    def share(self) -> float:
        """What goes through for the same processor time, to what should."""
        return self.mark / self.cost if self.mark else 0.0

    @property
    def has_passed(self) -> bool:
        """Whether it is near the mark, or better."""
        return self.share >= FLOOR


class Gate:
    """What runs while it is measured.

    Attributes:
        echo: gRPC alone.
        stages: Of Callboard, by what the rows want; all at one host.
        seconds: How long a row is measured in each round, about.
    """

    def __init__(self, run: Echo, stages: Mapping[Shape, Stage], seconds: float) -> None:
        self.echo = run
        self.stages = stages
        self.seconds = seconds

    async def costs(self, rows: Iterable[Row], rounds: int) -> dict[str, float]:
        """What each row costs, in messages of the echo just before it."""
        found: dict[str, list[float]] = {row.name: [] for row in rows}
        for _ in range(rounds):
            for row in rows:
                echoed = await ROWS[row](self.echo, self.seconds)
                measured = await row.measure(self.stages[row.shape], self.seconds)
                found[row.name].append(cost_of(measured) / cost_of(echoed))
        return {name: undisturbed(costs) for name, costs in found.items()}


def undisturbed(costs: Sequence[float]) -> float:
    """The lower quartile: what comes between makes a round dearer, hardly ever cheaper."""
    return sorted(costs)[len(costs) // 4]


def cost_of(measured: Measured) -> float:
    """Processor time of a message, all processes together, in microseconds."""
    return sum(value for name, value in measured.values.items() if name.endswith("CPU us"))


def main() -> int:
    """Measure, and compare or write; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-gate ARGS=...", description=__doc__)
    parser.add_argument("--write", action="store_true", help="set the marks to what is measured")
    parser.add_argument("--marks", type=Path, default=MARKS, metavar="FILE")
    parser.add_argument("--only", default="", metavar="NAME", help="a part of the rows' names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of a row in a round, about")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only in row.name]
    if not rows:
        parser.error(f"no row's name has {options.only!r} in it")
    if sys.platform != "linux":
        sys.exit("the gate wants Linux, which tells what other processes cost")
    _share_one_processor()
    marks = json.loads(options.marks.read_text()) if options.only or not options.write else {}
    began_s = time.monotonic()
    costs = asyncio.run(
        _measure(rows, {} if options.write else marks, options.rounds, options.seconds)
    )
    if options.write:
        marks |= {name: float(f"{cost:.3g}") for name, cost in costs.items()}
        options.marks.write_text(json.dumps(marks, indent=2) + "\n")
    verdicts = [Verdict(name, cost, marks.get(name)) for name, cost in costs.items()]
    _show(verdicts, time.monotonic() - began_s)
    return 0 if all(each.has_passed for each in verdicts) else 1


def _share_one_processor() -> None:
    """Have all that is started from here on run on one processor, one after another.

    Where processes run side by side, or break in on each other whenever they are woken, it depends
    on the rest of the machine how many messages a frame holds, and so what a message costs.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@asynccontextmanager
async def beside_a_busy_loop() -> AsyncIterator[None]:
    """Keep this processor busy for the length of the block.

    So it is on a machine that does other things: without, a message would cost less on an idle one.
    """
    loop = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY_LOOP)
    try:
        yield
    finally:
        loop.kill()
        await loop.wait()


async def _measure(
    rows: Sequence[Row], marks: Mapping[str, float], rounds: int, seconds: float
) -> dict[str, float]:
    """The cost of every row; of those that are to fail it is the better one of two."""
    async with AsyncExitStack() as stack:
        run = await stack.enter_async_context(run_echo())
        host = await stack.enter_async_context(run_host(CALLBOARD))
        stages = {
            shape: await stack.enter_async_context(
                open_stage(CALLBOARD, host.address, shape, host_pid=host.pid)
            )
            for shape in {row.shape for row in rows}
        }
        await stack.enter_async_context(beside_a_busy_loop())
        gate = Gate(run, stages, seconds)
        costs = await gate.costs(rows, rounds)
        verdicts = {row: Verdict(row.name, costs[row.name], marks.get(row.name)) for row in rows}
        failed = [row for row, said in verdicts.items() if said.mark and not said.has_passed]
        again = await gate.costs(failed, rounds)
    return costs | {name: min(cost, costs[name]) for name, cost in again.items()}


def _show(verdicts: Sequence[Verdict], took_s: float) -> None:
    table = Table(
        title="processor time of a message, in messages of gRPC's own echo; "
        f"below {FLOOR:.0%} of the mark's worth a row fails"
    )
    table.add_column("row")
    for column in ("measured", "mark", "worth", ""):
        table.add_column(column, justify="right")
    for each in verdicts:
        numbers = [f"{each.cost:.3g}", "none", "", ""]
        if each.mark is not None:
            numbers[1:] = [f"{each.mark:.3g}", f"{each.share:.0%}", ""]
        numbers[3] = "passed" if each.has_passed else "FAILED"
        table.add_row(each.row, *numbers)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(table)
    passed = sum(each.has_passed for each in verdicts)
    counts = {"failed": len(verdicts) - passed, "passed": passed}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    console.print(f"===== {said} in {took_s:.1f}s =====")  # as pytest has it, for those who count


if __name__ == "__main__":
    sys.exit(main())
