"""The gate against a loss of speed: what it makes of figures, and of marks that are made up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gate import ROWS, Verdict, cost_of, undisturbed
from callboard.bench.rows import Measured

GATE = Path(__file__).with_name("gate.py")
MARKS = GATE.with_name("gate.json")
PATIENCE_S = 100.0

ROW = "events, 256 B, pipelined"
"""The one that is measured here."""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def gate(marks: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it as shortly as it goes: what it measures then is of no importance."""
    return subprocess.run(
        [
            *(sys.executable, GATE, "--marks", marks, "--only", ROW),
            *("--rounds", "1", "--seconds", "0.01", *options),
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize(
    ("cost", "has_passed"), [(0.5, True), (1.0, True), (1.4, True), (1.45, False), (1.6, False)]
)
def test_a_row_fails_when_it_gives_less_than_70_percent_for_its_cost(
    cost: float, *, has_passed: bool
) -> None:
    """One that costs 60 % more is noticed, one that costs 40 % more is not, nor a cheaper one."""
    assert Verdict("row", cost, mark=1.0).has_passed is has_passed


def test_a_row_without_a_mark_fails() -> None:
    """Or a row that is renamed would be compared with nothing, for ever."""
    assert not Verdict("row", 1.0, mark=None).has_passed


def test_a_message_costs_what_all_processes_have_used_for_it() -> None:
    """Publisher, host and worker together; memory and rates are no part of it."""
    values = {"events/s": 9e4, "publisher CPU us": 15.0, "host CPU us": 13.0, "worker CPU us": 19.0}

    assert cost_of(Measured({**values, "host RSS MiB": 70.0})) == 47.0


def test_rounds_that_were_disturbed_do_not_count() -> None:
    """Of five, three may be as dear as they like; one that seems cheap is not believed either."""
    assert undisturbed([9.0, 1.0, 8.0, 0.1, 7.0]) == 1.0


def test_every_row_has_a_mark() -> None:
    """And no mark is of a row that is not measured."""
    marks = json.loads(MARKS.read_text())

    assert marks.keys() == {row.name for row in ROWS}
    assert all(mark > 0 for mark in marks.values())


@pytest.mark.parametrize(
    ("factor", "code", "said"),
    [(0.001, 1, "1 failed in"), (1000.0, 0, "1 passed in")],
    ids=["far dearer", "far cheaper"],
)
def test_the_gate_fails_when_messages_cost_far_more_than_their_marks(
    tmp_path: Path, factor: float, code: int, said: str
) -> None:
    """Its exit code says so, and its last line how many rows there were."""
    marks = tmp_path / "marks.json"
    marks.write_text(json.dumps({ROW: json.loads(MARKS.read_text())[ROW] * factor}))

    done = gate(marks)

    assert (done.returncode, done.stderr) == (code, "")
    assert said in done.stdout.splitlines()[-1]


def test_marks_are_set_to_what_is_measured(tmp_path: Path) -> None:
    """``--write`` writes those of the rows that are measured, and leaves the others."""
    marks = tmp_path / "marks.json"
    marks.write_text(json.dumps({"another row": 7.0, ROW: 1e-9}))

    done = gate(marks, "--write")

    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads(marks.read_text())
    assert written.keys() == {"another row", ROW}
    assert written["another row"] == 7.0
    assert written[ROW] > 1e-3
