"""The sample `tally` in a pod: numbered events at a steady rate, and what became of them."""

from __future__ import annotations

import json
import re
from typing import Any

from e2e.release import HOST, Release, wait_until


def start_load(release: Release, pod: str, *, events: int, rate: int) -> None:
    """Start publishing in a pod of its own."""
    tally = ("python", "-m", "callboard_samples.tally", "--host", HOST, "--json")
    release.start(pod, *tally, f"--events={events}", f"--rate={rate}")


def answered(release: Release, pod: str) -> int:
    """How many events have been answered, as the load last said."""
    counts = re.findall(r"(\d+) answered", release.log(pod, tail_lines=3))
    return int(counts[-1]) if counts else 0


def wait_for_answers(release: Release, pod: str, count: int) -> None:
    """Wait until so many events have been answered."""
    wait_until(lambda: answered(release, pod) >= count, f"{count} answers")


def finish_load(release: Release, pod: str) -> dict[str, Any]:
    """Wait for the end of a load; its report."""
    lines = [line for line in release.finish(pod).splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1]))
