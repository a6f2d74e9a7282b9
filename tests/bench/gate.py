"""Fails when Callboard has become much slower: ``make bench-gate``.

Rates are compared as ratios to what gRPC alone echoes in the same run, so that the marks in
``gate.json`` hold for other machines too. They depend on the versions of Python and grpcio, and
somewhat on the machine: ``make bench-gate ARGS=--write`` sets them anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.table import Table

from bench.bare import echo, run_echo
from bench.contenders import run_host
from callboard.bench.member import Member
from callboard.bench.rows import Calls, Events, Measured, Row, Streams
from callboard.bench.stage import CALLBOARD, Shape, Stage, open_stage

MARKS = Path(__file__).with_name("gate.json")
FLOOR = 0.7
"""What is below this part of its mark fails: a change of program, not of the machine's mood."""

ROWS: Sequence[Row] = (
    Events(),
    Events(is_pipelined=True),
    Events(tasks=1),
    Calls(in_flight=1),
    Calls(in_flight=64),
    Streams(in_flight=16),
)


@dataclass(frozen=True)
class Verdict:
    """What is said of a row.

    Attributes:
        row: Its name.
        ratio: To the echo, as measured.
        mark: As it should be; None: there is none, which fails.
    """

    row: str
    ratio: float
    mark: float | None

    @property
    def share(self) -> float:
        """What there is of the mark."""
        return self.ratio / self.mark if self.mark else 0.0

    @property
    def has_passed(self) -> bool:
        """Whether it is near the mark, or above it."""
        return self.share >= FLOOR


def main() -> int:
    """Measure, and compare or write; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-gate ARGS=...", description=__doc__)
    parser.add_argument("--write", action="store_true", help="set the marks to what is measured")
    parser.add_argument("--marks", type=Path, default=MARKS, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a row in a round, about")
    options = parser.parse_args()
    marks = {} if options.write else json.loads(options.marks.read_text())
    ratios = asyncio.run(_measure(marks, options.rounds, options.seconds))
    if options.write:
        marks = {name: round(ratio, 3) for name, ratio in ratios.items()}
        options.marks.write_text(json.dumps(marks, indent=2) + "\n")
    verdicts = [Verdict(name, ratio, marks.get(name)) for name, ratio in ratios.items()]
    _show(verdicts)
    return 0 if all(each.has_passed for each in verdicts) else 1


async def _measure(marks: Mapping[str, float], rounds: int, seconds: float) -> dict[str, float]:
    """The ratio of every row; of those that fail it is the better one of two medians."""
    async with (
        run_echo() as client,
        run_host(CALLBOARD) as host,
        open_stage(CALLBOARD, host.address, Shape()) as stage,
    ):
        ratios = await _ratios(ROWS, client, stage, rounds, seconds)
        failed = [row for row in ROWS if ratios[row.name] < FLOOR * marks.get(row.name, 0.0)]
        again = await _ratios(failed, client, stage, rounds, seconds)
    return ratios | {name: max(ratio, ratios[name]) for name, ratio in again.items()}


async def _ratios(
    rows: Sequence[Row], client: Member, stage: Stage, rounds: int, seconds: float
) -> dict[str, float]:
    found: dict[str, list[float]] = {row.name: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            echoed = rate_of(await echo(client, seconds))
            found[row.name].append(rate_of(await row.measure(stage, seconds)) / echoed)
    return {name: statistics.median(ratios) for name, ratios in found.items()}


def rate_of(measured: Measured) -> float:
    """Messages a second: as measured, or one after another, each as long as the middle one."""
    if "p50 ms" in measured.values:
        return 1000 / measured.values["p50 ms"]
    return next(iter(measured.values.values()))


def _show(verdicts: Sequence[Verdict]) -> None:
    table = Table(title=f"messages, to one of gRPC's own echo; below {FLOOR:.0%} of the mark fails")
    table.add_column("row")
    for column in ("measured", "mark", "share", ""):
        table.add_column(column, justify="right")
    for each in verdicts:
        numbers = [f"{each.ratio:.3f}", "none", "", ""]
        if each.mark is not None:
            numbers[1:] = [f"{each.mark:.3f}", f"{each.share:.0%}", ""]
        numbers[3] = "passed" if each.has_passed else "FAILED"
        table.add_row(each.row, *numbers)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
