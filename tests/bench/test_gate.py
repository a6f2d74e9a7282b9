"""The gate against a loss of speed, with marks that are made up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GATE = Path(__file__).with_name("gate.py")
MARKS = GATE.with_name("gate.json")
PATIENCE_S = 100.0

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def gate(marks: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it as shortly as it goes: what it measures then is of no importance."""
    return subprocess.run(
        [sys.executable, GATE, "--marks", marks, "--rounds", "1", "--seconds", "0.01", *options],
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize(
    ("factor", "code", "word"), [(1000.0, 1, "FAILED"), (0.001, 0, "passed")], ids=["up", "down"]
)
def test_the_gate_fails_when_rows_are_far_below_their_marks(
    tmp_path: Path, factor: float, code: int, word: str
) -> None:
    """With marks far above what can be measured each row fails; far below it, each passes."""
    committed = json.loads(MARKS.read_text())
    marks = tmp_path / "marks.json"
    marks.write_text(json.dumps({row: mark * factor for row, mark in committed.items()}))

    done = gate(marks)

    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.count(word) == len(committed)


def test_marks_are_set_to_what_is_measured(tmp_path: Path) -> None:
    """``--write`` writes a mark for each of the rows that have one in the committed file."""
    marks = tmp_path / "marks.json"

    done = gate(marks, "--write")

    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads(marks.read_text())
    assert written.keys() == json.loads(MARKS.read_text()).keys()
    assert all(mark > 0 for mark in written.values())
