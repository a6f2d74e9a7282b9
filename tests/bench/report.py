"""The tables of a run: for the terminal, and as Markdown for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from bench.results import BARE, Line, Results
from callboard.bench.figures import Spread, value_text
from callboard.bench.stage import CALLBOARD

THEIRS = "AutoGen"

TITLES = {
    "events": "Events",
    "tasks": "Events, by the number of tasks that publish",
    "calls": "Calls",
    "streams": "Streamed answers",
    "latency": "Latency of an event, from when it should leave to its handler",
    "subscriptions": "By the number of subscriptions",
    "sessions": "By the number of idle sessions",
    "keys": "By the number of agents",
    "bare": "gRPC alone",
}

SCALING = ("subscriptions", "sessions", "keys")
_USAGE = ("CPU us", "RSS MiB")
_COST = ("publisher CPU us", "host CPU us", "worker CPU us")
_MEMORY = ("publisher RSS MiB", "host RSS MiB", "worker RSS MiB")


@dataclass(frozen=True)
class Table:
    """A table of text; all columns but the first are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> RichTable:
        """For a terminal."""
        made = RichTable(title=self.title, title_justify="left")
        for at, column in enumerate(self.columns):
            made.add_column(column, justify="right" if at else "left")
        for row in self.rows:
            made.add_row(*row)
        return made

    def markdown(self) -> str:
        """For a document."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"### {self.title}\n\n{table}\n"


def tables(results: Results) -> list[Table]:
    """All tables of a run."""
    made = [_group(results, group) for group in results.groups]
    made += [
        _usage(results, "Processor time of each message, microseconds", _COST, CALLBOARD.name),
        _usage(results, "Processor time of each message, microseconds", _COST, THEIRS),
        _usage(results, "Resident memory at the end, MiB", _MEMORY, CALLBOARD.name),
        _usage(results, "Resident memory at the end, MiB", _MEMORY, THEIRS),
    ]
    return [table for table in made if table.rows]


def show(results: Results, console: Console) -> None:
    """Print all tables, and what could not be measured."""
    console.print(", ".join(f"{name} {value}" for name, value in results.machine.items()))
    for table in tables(results):
        console.print(table.rich())
    for line in results.lines.values():
        for contender, reason in line.failures.items():
            console.print(f"{line.name}: {contender} {reason}", markup=False)


def markdown(results: Results) -> str:
    """All of it as a document's part."""
    where = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    how = f"Medians of {results.rounds} rounds by turns (lowest to highest)"
    return "\n".join([f"{where}. {how}.\n", *(table.markdown() for table in tables(results))])


def _group(results: Results, group: str) -> Table:
    lines = results.of_group(group)
    if group == "bare":
        rows = [
            [line.name, measure, _cell(line, BARE, measure)]
            for line in lines
            for measure in line.measures
        ]
        return Table(TITLES[group], ["row", "measure", "gRPC"], rows)
    rows = [
        [
            line.name,
            measure,
            *(_cell(line, name, measure) for name in (CALLBOARD.name, THEIRS)),
            _ratio(line.ratio(measure)),
        ]
        for line in lines
        for measure in line.measures
        if not measure.endswith(_USAGE) or (group in SCALING and measure == "host CPU us")
    ]
    return Table(TITLES[group], ["row", "measure", CALLBOARD.name, THEIRS, "ratio"], rows)


def _usage(results: Results, title: str, measures: Sequence[str], contender: str) -> Table:
    rows = [
        [line.name, *(_cell(line, contender, measure) for measure in measures)]
        for line in results.lines.values()
        if any(measure in line.values.get(contender, {}) for measure in measures)
    ]
    columns = ["row", *(measure.partition(" ")[0] for measure in measures)]
    return Table(f"{title}: {contender}", columns, rows)


def _cell(line: Line, contender: str, measure: str) -> str:
    rounds = line.values.get(contender, {}).get(measure)
    if not rounds:
        return "—" if contender in line.failures else ""
    return _spread(measure, rounds.values())


def _spread(measure: str, values: Iterable[float]) -> str:
    spread = Spread.of(list(values))
    median, lowest, highest = (
        value_text(measure, each) for each in (spread.median, spread.lowest, spread.highest)
    )
    return median if lowest == highest else f"{median} ({lowest} to {highest})"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
