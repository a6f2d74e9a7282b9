"""A digest for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from callboard_samples.digest.driver import Report


def show(report: Report, console: Console) -> None:
    """Print the digest, which worker ran what, and how long it took."""
    for summary in report.digest.summaries:
        title = Text(summary.title, style="bold")
        if summary.title != summary.name:
            title.append(f"  {summary.name}", style="not bold dim")
        console.print(title)
        sentences = Table.grid(padding=(0, 1))
        for sentence in summary.sentences or ["(no sentences in it)"]:
            sentences.add_row(" -", Text(sentence))
        console.print(sentences)
        console.print()
    console.print(_places(report))
    console.print(_timings(report))


def _places(report: Report) -> Table:
    times = {summary.name: summary.seconds for summary in report.digest.summaries}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("agent", overflow="fold")
    table.add_column("worker", overflow="fold")
    table.add_column("time", justify="right")
    for agent, worker in report.places.items():
        seconds = times.get(agent.partition("/")[2])
        table.add_row(Text(agent), Text(worker), "" if seconds is None else _milliseconds(seconds))
    return table


def _timings(report: Report) -> Text:
    summaries = report.digest.summaries
    work_s = sum(summary.seconds for summary in summaries)
    workers = len(report.summarising_workers)
    return Text(
        f"\n{len(summaries)} file{'s' * (len(summaries) != 1)} on "
        f"{workers} worker{'s' * (workers != 1)}: "
        f"published in {_milliseconds(report.publish_s)}, "
        f"digest after {_milliseconds(report.total_s)} "
        f"({_milliseconds(work_s)} of summarising)"
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
