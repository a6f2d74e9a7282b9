"""A host and two workers, each a process of its own, and both samples on them: ``make demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from rich.console import Console

from callboard.worker import WorkerRuntime
from callboard_samples import hello
from callboard_samples.command import PATIENCE_S, run
from callboard_samples.digest.driver import check_workers, make_digest, read_folder
from callboard_samples.digest.report import show
from callboard_samples.processes import Children, children

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0

WORKERS = {
    "worker-1": ("hello:ping", "digest:setup"),
    "worker-2": ("hello:pong", "digest:setup"),
}
"""What each worker serves: one side of hello, and all of digest."""


async def main(folder: Path | None) -> None:
    """Start a host and two workers, run hello and digest on them, and stop all."""
    files = read_folder(folder)
    console = Console()
    began = perf_counter()
    async with children() as company:
        console.rule("start", align="left")
        address = await _start(company, console)
        async with WorkerRuntime(
            address, client_id="driver", reconnect_timeout_s=PATIENCE_S
        ) as runtime:
            console.print()
            console.rule("hello: two agents greet each other", align="left")
            hello.show(await hello.play(runtime))
            console.print()
            console.rule("digest: an agent for each file, and one that collates", align="left")
            report = await make_digest(runtime, files)
            show(report, console)
            check_workers(report, len(WORKERS))
        console.print()
        console.rule("stop", align="left")
        await company.stop(STOP_TIMEOUT_S)
    console.print("all were asked to stop by SIGTERM and left with exit code 0", highlight=False)
    console.print(f"{perf_counter() - began:.1f} s in all", highlight=False)


async def _start(company: Children, console: Console) -> str:
    """Start all three; the host's address."""
    host = await company.start("host", "host", "--address", "127.0.0.1:0")
    address = await host.until_printed("listening on ", START_TIMEOUT_S)
    console.print(f"host: process {host.process.pid}, listening on {address}", highlight=False)
    # Both at once: a worker waits for nobody.
    workers = [
        await company.start(
            name, "worker", "--host", address, "--client-id", name, *_targets(served)
        )
        for name, served in WORKERS.items()
    ]
    for worker in workers:
        await worker.until_printed("ready", START_TIMEOUT_S)
        served = " and ".join(WORKERS[worker.name])
        console.print(
            f"{worker.name}: process {worker.process.pid}, serves {served}", highlight=False
        )
    return address


def _targets(served: Iterable[str]) -> list[str]:
    return [f"callboard_samples.{name}" for name in served]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m callboard_samples.demo", description=main.__doc__
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="what to make a digest of; default: docs and README.md here",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(main(parse_arguments().folder)))
