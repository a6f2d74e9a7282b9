"""What import-linter cannot see: which files the tests run against and what one import loads."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import callboard
import callboard_samples

SERVICES = Path(__file__).parent.parent / "services"


@pytest.mark.skipif(
    os.environ.get("CALLBOARD_TEST_WHEEL") != "1", reason="only `make test` has a wheel"
)
@pytest.mark.parametrize("package", [callboard, callboard_samples], ids=lambda p: p.__name__)
def test_the_installed_wheel_is_what_is_tested(package: object) -> None:
    """Both packages come from site-packages, whole, and ``services/`` cannot be imported from."""
    name = getattr(package, "__name__", "")
    installed = Path(sysconfig.get_path("purelib"), name)

    assert Path(getattr(package, "__file__", "")) == installed / "__init__.py"
    assert (installed / "py.typed").is_file()
    assert SERVICES.resolve() not in [Path(entry).resolve() for entry in sys.path]


def test_authors_load_neither_grpc_nor_a_runtime() -> None:
    """``import callboard`` stays light: no gRPC, host, worker or command."""
    heavy = ("grpc", "typer", "callboard.host", "callboard.worker", "callboard.cli")
    script = f"import sys, callboard; print([n for n in {heavy!r} if n in sys.modules])"

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )

    assert loaded.stdout.strip() == "[]"
