"""``python -m callboard_samples.digest [--folder FOLDER] [--host ADDRESS]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime
from callboard_samples.command import PATIENCE_S, run
from callboard_samples.digest.agents import setup
from callboard_samples.digest.driver import (
    DEFAULT_DEADLINE_S,
    check_workers,
    make_digest,
    read_folder,
)
from callboard_samples.digest.report import show


async def main(folder: Path | None, host: str | None, deadline_s: float) -> None:
    """Print a digest of a folder, made by the workers at a host or else in this process."""
    files = read_folder(folder)
    console = Console()
    if host is None:
        async with LocalRuntime() as runtime:
            await setup(runtime)
            show(await make_digest(runtime, files, deadline_s=deadline_s), console)
        return
    async with WorkerRuntime(host, reconnect_timeout_s=PATIENCE_S) as worker:
        report = await make_digest(worker, files, deadline_s=deadline_s)
    show(report, console)
    check_workers(report, 2)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m callboard_samples.digest", description=main.__doc__
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="with .md, .markdown and .txt files; default: docs and README.md here",
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="as host:port; fails unless two of its workers summarised files",
    )
    parser.add_argument(
        "--deadline",
        type=float,
        default=DEFAULT_DEADLINE_S,
        metavar="SECONDS",
        help="how long to wait for the summaries; default: %(default)g",
    )
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    sys.exit(run(main(arguments.folder, arguments.host, arguments.deadline)))
