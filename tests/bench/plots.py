"""The plots of a run, as SVG files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bench.catalogue import GROUPS, IdleSessions
from bench.results import Results
from callboard.bench.rows import Events, Row
from callboard.bench.stage import CALLBOARD

mpl.use("svg")

from matplotlib import pyplot as plt

CONTENDERS = (CALLBOARD.name, "AutoGen")
COLOURS = {CALLBOARD.name: "tab:blue", "AutoGen": "tab:orange"}
_COST = ("publisher CPU us", "host CPU us", "worker CPU us")


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw all that has data; the files."""
    mpl.rcParams["svg.hashsalt"] = "callboard"  # the same plot is the same file
    drawn = [
        _latency(results),
        _throughput(results, "size", "bytes of each event", lambda row: row.size_bytes, "events"),
        _throughput(results, "tasks", "tasks that publish", _tasks, "tasks", "events"),
        *(_scaling(results, group) for group in ("subscriptions", "sessions", "keys")),
    ]
    written = []
    for name, figure in drawn:
        if figure is not None:
            written.append(directory / f"{name}.svg")
            figure.savefig(written[-1], metadata={"Date": None})
            plt.close(figure)
    return written


def _axes(title: str, across: str, up: str) -> tuple[Any, Any]:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.set(title=title, xlabel=across, ylabel=up, xscale="log")
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _finish(figure: Any, axes: Any) -> Any | None:
    if not axes.lines:
        plt.close(figure)
        return None
    axes.legend()
    return figure


def _latency(results: Results) -> tuple[str, Any | None]:
    figure, axes = _axes("Latency of events", "share of events that take longer", "milliseconds")
    for line in results.of_group("latency"):
        rate = line.name.rpartition(" at ")[2]
        for contender, histogram in line.latencies.items():
            steps = [
                (1 - each.percentile_level_iterated_to / 100, each.value_iterated_to / 1000)
                for each in histogram.get_percentile_iterator(5)
                if each.percentile_level_iterated_to < 100
            ]
            axes.plot(
                *zip(*steps, strict=True),
                label=f"{contender}, {rate}",
                color=COLOURS[contender],
                linestyle="-" if rate == "half load" else "--",
            )
    axes.set(yscale="log")
    axes.invert_xaxis()
    return "latency", _finish(figure, axes)


def _tasks(row: Row) -> int:
    is_plain = isinstance(row, Events) and row == Events(tasks=row.tasks)
    return row.tasks if is_plain and isinstance(row, Events) else 0


def _throughput(
    results: Results, name: str, across: str, value: Callable[[Row], int], *groups: str
) -> tuple[str, Any | None]:
    figure, axes = _axes(f"Events a second, by {across}", across, "events a second")
    kinds: Sequence[tuple[str, bool]] = [*((each, False) for each in CONTENDERS)]
    for contender, is_pipelined in [*kinds, (CALLBOARD.name, True)]:
        points = sorted(
            (value(row), median)
            for group in groups
            for row in GROUPS[group]
            if isinstance(row, Events) and _is_one_to_one(row) and row.is_pipelined == is_pipelined
            if value(row) and row.name in results.lines
            if (median := results.lines[row.name].median(contender, "events/s")) is not None
        )
        if len(points) > 1:
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                label=f"{contender}, pipelined" if is_pipelined else contender,
                color=COLOURS[contender],
                linestyle="--" if is_pipelined else "-",
            )
    axes.set(yscale="log")
    return f"throughput-{name}", _finish(figure, axes)


def _is_one_to_one(row: Events) -> bool:
    return row.publishers == row.workers == row.types_each == 1


def _scaling(results: Results, group: str) -> tuple[str, Any | None]:
    across = {"sessions": "idle sessions", "keys": "agents"}.get(group, group)
    figure, axes = _axes(
        f"Processor time of an event, by {across}", across, "microseconds, all processes"
    )
    for contender in CONTENDERS:
        points = []
        for row in GROUPS[group]:
            line = results.lines.get(row.name)
            costs = [line.median(contender, each) if line else None for each in _COST]
            if None not in costs:
                points.append((_scale(row), sum(each or 0.0 for each in costs)))
        if points:
            axes.plot(
                *zip(*points, strict=True), marker="o", label=contender, color=COLOURS[contender]
            )
    axes.set_ylim(bottom=0)
    return f"scaling-{group}", _finish(figure, axes)


def _scale(row: Row) -> int:
    match row:
        case IdleSessions(count=count):
            return count
        case Events(more_subscriptions=more) if more:
            return more + 1
        case Events(keys=keys):
            return keys
    raise TypeError(row)
