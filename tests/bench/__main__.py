"""Measure Callboard beside AutoGen's own runtime, and gRPC alone: ``make bench``.

Host, publishers and workers are processes of this machine. Each row has processes of its own in
each round; the runtimes take turns in every row, and the first one of a row changes by round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console

from bench import bare
from bench.catalogue import GROUPS, QUICK_GROUPS, missing_in_autogen
from bench.contenders import AUTOGEN, AUTOGEN_PYTHON, run_host
from bench.plots import draw
from bench.report import markdown, show
from bench.results import BARE, Results, machine
from callboard.bench.member import BenchmarkFailed
from callboard.bench.rows import Measured, Row
from callboard.bench.stage import CALLBOARD, Contender, open_stage

OUTPUT = Path("bench-results")
SECONDS, QUICK_SECONDS = 3.0, 0.5


async def _echo(seconds: float) -> Measured:
    async with bare.run_echo() as run:
        return await bare.echo(run, seconds)


async def _ping(seconds: float) -> Measured:
    async with bare.run_echo() as run:
        return await bare.ping(run, seconds)


BARE_ROWS: Mapping[str, Callable[[float], Awaitable[Measured]]] = {
    "echo, 256 B, one way of a stream as fast as the other": _echo,
    "ping-pong, 256 B": _ping,
    f"publisher, relay, sink, {bare.BATCH} items of 256 B a message": bare.pipeline,
}
"""Those of gRPC alone; they are measured first."""

console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def main() -> None:
    """Measure what the command line asks for, and write all of it down."""
    options = _options()
    is_chosen = _chosen(options)
    chosen = [(group, name) for group, name in _names() if is_chosen(group, name)]
    if not chosen:
        sys.exit(f"no group is called, and no row's name has in it: {', '.join(options.only)}")
    if options.list:
        for group, name in chosen:
            console.print(f"{group:14}{name}", markup=False)
        return
    contenders = [CALLBOARD] if options.without_autogen else [CALLBOARD, AUTOGEN]
    if AUTOGEN in contenders and not AUTOGEN_PYTHON.exists():
        sys.exit("AutoGen has no environment: use `make bench`, or --without-autogen")
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    found = machine(with_autogen=AUTOGEN in contenders)
    results = Results(found, seconds, options.rounds)
    try:
        asyncio.run(_measure(results, contenders, is_chosen))
    finally:  # what is there of a run that was broken off
        if results.lines:
            _write(results, options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        help=f"a group ({', '.join([*GROUPS, 'bare'])}) or a part of a row's name; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="name the rows, and measure nothing")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS") or 3))
    parser.add_argument("--seconds", type=float, help=f"of a row, about (default {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", help="short rows, and fewer groups")
    parser.add_argument("--without-autogen", action="store_true", help="measure Callboard alone")
    parser.add_argument("--json", type=Path, default=OUTPUT / "results.json", metavar="FILE")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> Callable[[str, str], bool]:
    """Whether a row is to be measured, by its group and name."""

    def is_chosen(group: str, name: str) -> bool:
        if options.only:
            named = [each for each in options.only if each in {*GROUPS, "bare"}]
            return group in named or any(each in name for each in options.only if each not in named)
        return not options.quick or group in {*QUICK_GROUPS, "bare"}

    return is_chosen


def _names() -> Iterator[tuple[str, str]]:
    """All groups and rows, in the order in which they are measured."""
    for name in BARE_ROWS:
        yield "bare", name
    for group, rows in GROUPS.items():
        for row in rows:
            yield group, row.name


async def _measure(
    results: Results,
    contenders: Sequence[Contender],
    is_chosen: Callable[[str, str], bool],
) -> None:
    rows = [
        (group, row) for group, rows in GROUPS.items() for row in rows if is_chosen(group, row.name)
    ]
    for at in range(results.rounds):
        console.rule(f"round {at + 1} of {results.rounds}")
        await _measure_bare(results, at, is_chosen)
        by_turns = contenders if at % 2 == 0 else list(reversed(contenders))
        for group, row in rows:
            for contender in by_turns:
                await _measure_row(results, at, group, row, contender)


async def _measure_bare(results: Results, at: int, is_chosen: Callable[[str, str], bool]) -> None:
    for name, measure in BARE_ROWS.items():
        if is_chosen("bare", name):
            measured = await measure(results.seconds)
            results.line("bare", name).add(BARE, at, measured)
            _tell(BARE, name, measured)


async def _measure_row(
    results: Results, at: int, group: str, row: Row, contender: Contender
) -> None:
    line = results.line(group, row.name)
    if contender is AUTOGEN and (reason := missing_in_autogen(row)):
        line.failures[contender.name] = reason
        return
    try:
        async with (
            run_host(contender) as host,
            open_stage(contender, host.address, row.shape, host_pid=host.pid) as stage,
        ):
            measured = await row.measure(stage, results.seconds)
    except BenchmarkFailed as error:
        line.failures[contender.name] = str(error)
        console.print(f"{contender.name:>10}  {row.name}: {error}", markup=False)
        return
    line.add(contender.name, at, measured)
    _tell(contender.name, row.name, measured)


def _tell(contender: str, row: str, measured: Measured) -> None:
    measure, value = next(iter(measured.values.items()))
    console.print(f"{contender:>10}  {row}: {value:,.2f} {measure}", markup=False)


def _write(results: Results, file: Path) -> None:
    show(results, console)
    for each in (OUTPUT, file.parent):
        each.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results.as_json(), indent=2) + "\n")
    tables = OUTPUT / "tables.md"
    tables.write_text(markdown(results))
    console.print("written:", *map(str, [file, tables, *draw(results, OUTPUT)]))


if __name__ == "__main__":
    main()
