"""What `.ci/run` takes down, with programs that only write down how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"


def program(path: Path, calls: Path, *, code: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {path.name} "$@" >>{calls}\nexit {code}\n')
    path.chmod(0o755)


@pytest.mark.parametrize("has_cluster", [True, False])
@pytest.mark.parametrize("has_docker", [True, False])
def test_it_takes_down_what_it_has_started(
    tmp_path: Path, *, has_cluster: bool, has_docker: bool
) -> None:
    """A cluster and a Docker daemon that were there before are there after it."""
    calls = tmp_path / "calls"
    checkout = tmp_path / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(RUN, checkout / ".ci")
    for name in ("images/docker.sh", "images/base.sh"):
        program(checkout / ".ci" / name, calls)
    for name in ("make", "npm", "git"):
        program(tmp_path / "bin" / name, calls)
    program(tmp_path / "bin" / "python3", calls, code=0 if has_cluster else 1)
    program(tmp_path / "bin" / "docker", calls, code=0 if has_docker else 1)

    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", checkout / ".ci" / "run"],
        env={"PATH": path, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    made = calls.read_text().splitlines()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "make test" in made
    assert any(call.endswith("cluster-down") for call in made) == (not has_cluster)
    assert ("docker.sh stop" in made) == (not has_docker)
