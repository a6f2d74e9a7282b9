"""``python -m callboard_samples.tally [--host ADDRESS]``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime
from callboard_samples.command import PATIENCE_S, SampleFailed, run
from callboard_samples.tally.agents import setup
from callboard_samples.tally.driver import DEFAULT_DEADLINE_S, Load, Run
from callboard_samples.tally.score import Report


async def main(arguments: argparse.Namespace) -> None:
    """Publish numbered events by the clock and tell which of them were answered, and how fast."""
    load = Load(arguments.events, arguments.rate, arguments.keys, arguments.work)
    if arguments.host is None:
        async with LocalRuntime() as runtime:
            await setup(runtime)
            report = await Run(runtime, load, deadline_s=arguments.deadline, tell=_tell).count()
    else:
        async with WorkerRuntime(arguments.host, reconnect_timeout_s=PATIENCE_S) as worker:
            report = await Run(
                worker,
                load,
                deadline_s=arguments.deadline,
                tell=_tell,
                until_lost=worker.wait_disconnected,
            ).count()
    show(report, as_json=arguments.json)
    if not report.is_complete:
        raise SampleFailed(complaint(report))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def show(report: Report, *, as_json: bool) -> None:
    """Print how it went: for people, or as one JSON object in one line."""
    if as_json:
        print(json.dumps(asdict(report)), flush=True)
        return
    rows = {
        "published": f"{report.published} of {report.events}, {report.rate:.1f} a second, "
        f"at most {_ms(report.behind_s)} late",
        "answered": str(report.answered),
        "missing": " ".join([str(report.missing), *_named(report)]),
        "twice": str(report.duplicates),
        "out of order": str(report.out_of_order),
        "latency": f"p50 {_ms(report.p50_s)}, p99 {_ms(report.p99_s)}, max {_ms(report.max_s)}",
        **{f"by {worker}": str(count) for worker, count in report.by_worker.items()},
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")


def complaint(report: Report) -> str:
    """What is wrong with a run that is not complete."""
    parts = []
    if report.missing:
        named = " ".join(_named(report))
        parts.append(f"{report.missing} of {report.published} events were not answered {named}")
    if report.published < report.events:
        parts.append(f"{report.events - report.published} of {report.events} were not published")
    if report.failure:
        parts.append(report.failure)
    return "; ".join(parts)


def _named(report: Report) -> list[str]:
    """The numbers of missing events, as words of a line."""
    if not report.missing:
        return []
    numbers = ", ".join(map(str, report.missing_numbers))
    return [f"({numbers}{', ...' * (report.missing > len(report.missing_numbers))})"]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m callboard_samples.tally", description=main.__doc__
    )
    default = Load()
    add = parser.add_argument
    add("--host", metavar="ADDRESS", help="as host:port; without it, no host is needed")
    add("--events", type=int, default=default.events, help="how many; default: %(default)s")
    add("--rate", type=float, default=default.rate, help="a second; default: %(default)g")
    add("--keys", type=int, default=default.keys, help="agents; default: %(default)s")
    add(
        "--work",
        type=float,
        default=default.work_s,
        metavar="SECONDS",
        help="how long an agent is busy with an event; default: %(default)g",
    )
    add(
        "--deadline",
        type=float,
        default=DEFAULT_DEADLINE_S,
        metavar="SECONDS",
        help="how long to wait for answers once all is published; default: %(default)g",
    )
    add("--json", action="store_true", help="print one JSON object at the end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(main(parse_arguments())))
