"""The demo as a process: what ``make demo`` runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from callboard_samples.command import SampleFailed
from callboard_samples.processes import children

DEMO = (sys.executable, "-u", "-m", "callboard_samples.demo")
TIMEOUT_S = 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve files: agents are placed by their names, and these are placed on both workers."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(12):
        text = f"# Note {number}\n\nNote {number} tells what the demo does with a note.\n"
        (folder / f"note-{number}.md").write_text(text)
    return folder


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end. What it starts inherits its pipes, so this returns when all have ended."""
    return subprocess.run(
        [*DEMO, "--folder", str(folder)],
        capture_output=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
        text=True,
        timeout=TIMEOUT_S,
    )


def assert_none_is_left(printed: str, *, count: int = 3) -> None:
    """Every process that the demo named has ended."""
    pids = [int(pid) for pid in re.findall(r"process (\d+)", printed)]
    assert len(pids) == count, printed
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_both_samples_run_on_two_workers_and_all_leave(folder: Path) -> None:
    """It shows both, says who ran what, and every process leaves with 0 on SIGTERM."""
    demo = run_demo(folder)

    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout + demo.stderr
    assert "ping: hello 5 of 5  (worker-1)" in demo.stdout
    assert "pong: hello 5 of 5  (worker-2)" in demo.stdout
    assert "Note 11 tells what the demo does with a note." in demo.stdout
    placed = dict(re.findall(r"^summariser/(\S+) +(worker-\d)", demo.stdout, re.MULTILINE))
    assert len(placed) == 12
    assert set(placed.values()) == {"worker-1", "worker-2"}
    assert "12 files on 2 workers: published in" in demo.stdout
    assert "left with exit code 0" in demo.stdout
    assert_none_is_left(demo.stdout)


def test_one_file_cannot_show_two_workers(tmp_path: Path) -> None:
    """It fails with what the processes printed and one clear last line, and leaves none behind."""
    (tmp_path / "alone.md").write_text("There is nothing here but this one file.")

    demo = run_demo(tmp_path)

    assert demo.returncode == 1
    *output, error = demo.stderr.splitlines()
    assert error.startswith("error: 1 file cannot keep 2 workers busy")
    assert any(line.startswith("host | listening on ") for line in output)
    assert "worker-2 | ready" in output
    assert_none_is_left(demo.stdout)


def test_no_folder_is_told_before_anything_starts(tmp_path: Path) -> None:
    """One line, no process."""
    demo = run_demo(tmp_path / "missing")

    assert demo.returncode == 1
    assert re.fullmatch(r"error: there is no folder \S+missing: name one .*\n", demo.stderr)
    assert_none_is_left(demo.stdout, count=0)


def test_sigterm_ends_it_with_all_that_it_started(folder: Path) -> None:
    """However it ends, nothing stays."""
    with subprocess.Popen(
        [*DEMO, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        printed = ""
        while "listening on" not in printed:
            line = demo.stdout.readline()
            assert line, demo.communicate()
            printed += line
        demo.send_signal(signal.SIGTERM)
        rest, _ = demo.communicate(timeout=TIMEOUT_S)

    assert demo.returncode == 128 + signal.SIGTERM
    pids = re.findall(r"process (\d+)", printed + rest)
    assert_none_is_left(printed + rest, count=len(pids))


async def test_a_process_that_ends_unasked_ends_the_block(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody waits for what it will not do any more; its output tells why."""
    with pytest.raises(SampleFailed, match="shortlived ended by itself, with exit code 2"):
        await _start_and_wait("shortlived", "no-such-command", timeout_s=30)

    assert "shortlived | " in capsys.readouterr().err


async def test_a_process_that_says_nothing_is_not_waited_for_for_ever() -> None:
    """The deadline names the process and what was missing."""
    with pytest.raises(SampleFailed, match=r"quiet did not print 'ready' within 0\.01 s"):
        await _start_and_wait("quiet", "host", "--address", "127.0.0.1:0", timeout_s=0.01)


async def _start_and_wait(name: str, *arguments: str, timeout_s: float) -> None:
    async with children() as started:
        child = await started.start(name, *arguments)
        await child.until_printed("ready", timeout_s)
