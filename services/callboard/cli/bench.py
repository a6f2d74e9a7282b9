"""`callboard bench`."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from callboard.bench.figures import Spread, value_text
from callboard.bench.rows import Calls, EventLatency, Events, Row, Streams
from callboard.bench.stage import CALLBOARD, Shape, Stage, open_stage
from callboard.cli.operators import Operators, connected
from callboard.cli.settings import read_settings
from callboard.cli.signals import StopSignals
from callboard.cli.sigterm import BROKEN_OFF
from callboard.cli.tables import console, table
from callboard.core.errors import CallboardError
from callboard.wire.v1 import operations_pb2 as pb
from callboard.worker.settings import ClientSettings

LAST_EVENTS_S = 10.0
"""How long the workers may take for what waits when a load was broken off."""

LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    rows: Sequence[Row]
    rounds: int
    duration_s: float


@dataclass
class Results:
    """What was measured, where, and by which load; the JSON has it as it is here."""

    host: str
    engine: str
    version: str
    load: str
    duration_s: float
    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, values: dict[str, float]) -> None:
        """Add what one round of a row came to."""
        measures = self.rows.setdefault(row, {})
        for measure, value in values.items():
            measures.setdefault(measure, []).append(value)


def run(
    loads: Sequence[str],
    *,
    sizes: Sequence[int],
    tasks: int,
    in_flight: int,
    duration_s: float,
    rounds: int,
    as_json: bool,
    operators: str | None,
    **given: object,
) -> None:
    """Measure, and show what came of it."""
    settings = read_settings(ClientSettings, **given)
    rows = [row for size in sizes for row in rows_of(loads, size, tasks, in_flight)]
    plan = Plan(rows, rounds, duration_s)
    results = asyncio.run(_until_stopped(_measure(settings, operators, plan)))
    if as_json:
        typer.echo(json.dumps(asdict(results), indent=2))
    else:
        _show(results)


def rows_of(loads: Sequence[str], size_bytes: int, tasks: int, in_flight: int) -> list[Row]:
    """The rows of these loads for one size."""
    rows: dict[str, list[Row]] = {
        "events": [
            Events(size_bytes=size_bytes, tasks=tasks),
            Events(size_bytes=size_bytes, is_pipelined=True),
            EventLatency(size_bytes=size_bytes),
        ],
        "calls": [Calls(size_bytes=size_bytes, in_flight=each) for each in sorted({1, in_flight})],
        "stream": [
            Streams(size_bytes=size_bytes, in_flight=each) for each in sorted({1, in_flight})
        ],
    }
    return [row for load in dict.fromkeys(loads) for row in rows[load]]


async def _until_stopped(measuring: Coroutine[None, None, Results]) -> Results:
    """What ``measuring`` returns; a signal breaks it off, in good order."""
    with StopSignals() as signals:
        async with signals.cut_short():
            return await measuring
        raise typer.Abort if signals.was_interrupted else typer.Exit(BROKEN_OFF)


async def _measure(settings: ClientSettings, operators: str | None, plan: Plan) -> Results:
    async with connected(settings, operators) as service:
        host = await service.ask("Describe", pb.DescribeRequest(), pb.DescribeResponse)
        load = "1 publisher and 1 worker, each a process on this machine"
        results = Results(settings.host, host.engine, host.version, load, plan.duration_s)
        async with open_stage(
            CALLBOARD,
            settings.host,
            Shape(has_exact_timers=True),
            publishers_left=lambda stage: _let_all_be_handled(stage, service),
        ) as stage:
            with _bar(plan.rounds * len(plan.rows)) as begin:
                for row in [row for _ in range(plan.rounds) for row in plan.rows]:
                    begin(row.name)
                    measured = await row.measure(stage, plan.duration_s)
                    results.add(row.name, dict(measured.values))
    return results


@contextmanager
def _bar(row_count: int) -> Iterator[Callable[[str], None]]:
    """Draws a bar on the standard error if somebody watches; is told when a row begins."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    text = TextColumn("{task.description}", markup=False)
    with Progress(*columns, text, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=row_count)
        at = itertools.count()
        yield lambda row: progress.update(bar, completed=next(at), description=row)


async def _let_all_be_handled(stage: Stage, service: Operators) -> None:
    """Return when nothing waits for the stage's agents, or there is no hope of that.

    Their types end with its workers; what waited then would become dead letters.
    """
    names = set(stage.agent_types)
    try:
        async with asyncio.timeout(LAST_EVENTS_S):
            while True:
                answer = await service.ask("Types", pb.TypesRequest(), pb.TypesResponse)
                ours = [each for each in answer.types if each.name in names]
                if not any(each.queued or each.in_flight for each in ours):
                    return
                await asyncio.sleep(LOOK_EVERY_S)
    except (CallboardError, TimeoutError):
        typer.echo(f"there may be dead letters left of {', '.join(sorted(names))}", err=True)


def _show(results: Results) -> None:
    out = console()
    out.print(
        f"host {results.host}, engine {results.engine}, callboard {results.version}; "
        f"{results.load}; about {results.duration_s:g} s a row"
    )
    is_repeated = any(
        len(values) > 1 for measures in results.rows.values() for values in measures.values()
    )
    columns = ["row", "measure", *(["median", "lowest", "highest"] if is_repeated else ["value"])]
    made = table("", columns, _lines(results, is_repeated=is_repeated))
    for column in made.columns[2:]:
        column.justify = "right"
    out.print(made)


def _lines(results: Results, *, is_repeated: bool) -> list[list[str]]:
    lines = []
    for row, measures in results.rows.items():
        name = row
        for measure, values in measures.items():
            spread = Spread.of(values)
            numbers = [spread.median]
            if is_repeated:
                numbers += [spread.lowest, spread.highest]
            lines.append([name, measure, *(value_text(measure, each) for each in numbers)])
            name = ""
    return lines
