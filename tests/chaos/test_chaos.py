"""Real processes, real kills. ``make chaos SECONDS=600 SEED=7`` is the long form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos.play import playing

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.mark.timeout(SECONDS * 2 + 180)
async def test_nothing_is_lost_or_disordered_whatever_happens_to_processes(tmp_path: Path) -> None:
    """Workers and their host are killed, stopped, cut off, started and drained under a load."""
    async with playing(SEED, tmp_path, print) as play:
        report = await play.run(SECONDS)
    print(dict(report.actions), dict(report.verdict.counts))
    print(f"{report.accepted} accepted, {report.host_kills} hosts killed, {report.seconds:.0f} s")
    complaints = report.complaints + report.verdict.complaints
    assert not complaints, "\n".join(complaints[:20])
    assert set(report.actions) >= {"kill", "stop", "start two", "drain", "cut", "restart host"}
    assert report.verdict.counts["redeliveries"]
