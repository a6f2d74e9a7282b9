"""What `.ci/run` takes down and tells, with programs that only write down how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"


def program(
    path: Path, calls: Path, *, code: int = 0, says: Mapping[str, str] | None = None
) -> None:
    """Write one; it says something when it is called with certain words."""
    cases = "".join(f'"{words}") echo "{text}" ;;\n' for words, text in (says or {}).items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\necho {path.name} "$@" >>{calls}\ncase "$*" in\n{cases}esac\nexit {code}\n'
    )
    path.chmod(0o755)


def run(
    tmp_path: Path,
    *,
    has_cluster: bool = False,
    has_docker: bool = False,
    make_says: Mapping[str, str] | None = None,
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """How it ended, and what it has called."""
    calls = tmp_path / "calls"
    checkout = tmp_path / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(RUN, checkout / ".ci")
    for name in ("images/docker.sh", "images/base.sh"):
        program(checkout / ".ci" / name, calls)
    for name in ("npm", "git"):
        program(tmp_path / "bin" / name, calls)
    program(tmp_path / "bin" / "make", calls, says=make_says)
    program(tmp_path / "bin" / "python3", calls, code=0 if has_cluster else 1)
    program(tmp_path / "bin" / "docker", calls, code=0 if has_docker else 1)
    ended = subprocess.run(
        ["bash", checkout / ".ci" / "run"],
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended, calls.read_text().splitlines()


@pytest.mark.parametrize("has_cluster", [True, False])
@pytest.mark.parametrize("has_docker", [True, False])
def test_it_takes_down_what_it_has_started(
    tmp_path: Path, *, has_cluster: bool, has_docker: bool
) -> None:
    """A cluster and a Docker daemon that were there before are there after it."""
    ended, made = run(tmp_path, has_cluster=has_cluster, has_docker=has_docker)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "make test" in made
    assert any(call.endswith("cluster-down") for call in made) == (not has_cluster)
    assert ("docker.sh stop" in made) == (not has_docker)


def test_its_last_lines_say_what_every_run_of_tests_has_counted(tmp_path: Path) -> None:
    """The gate against a loss of speed counts its rows; what has counted nothing did not run."""
    ended, _ = run(
        tmp_path,
        make_says={
            "test": "====== 7 passed, 1 skipped in 3.5s ======",
            "bench-gate": "===== 8 passed in 60.0s =====",
        },
    )

    *_, counts = ended.stdout.partition("=== times")
    assert "\ntest\n====== 7 passed, 1 skipped in 3.5s ======\n" in counts
    assert "\nbench-gate\n===== 8 passed in 60.0s =====\n" in counts
    assert "\nchaos\ndid not run\n" in counts
