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


def loaded_by(statement: str, *heavy: str) -> str:
    script = f"import sys\n{statement}\nprint([n for n in {heavy!r} if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return ran.stdout.strip()


def test_authors_load_neither_grpc_nor_a_runtime() -> None:
    """All that authors of agents import stays light: no gRPC, host, worker or command."""
    heavy = ("grpc", "typer", "callboard.host", "callboard.worker", "callboard.cli")

    assert loaded_by("from callboard import *", *heavy) == "[]"


def test_the_package_alone_loads_nothing() -> None:
    """``import callboard`` takes next to no time: a name is imported when it is asked for."""
    heavy = ("typing", "pydantic", "google.protobuf", "callboard.agent", "callboard.core")

    assert loaded_by("import callboard", *heavy) == "[]"


def test_only_the_command_touches_signals() -> None:
    """An import of the command's modules leaves SIGTERM alone: only running it sets that."""
    statement = (
        "import callboard.__main__, callboard.cli.__main__, callboard.cli.main, signal\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
    )

    assert loaded_by(statement) == "[]"


def test_what_answers_signals_first_waits_for_nothing() -> None:
    """Where the command begins, before it answers SIGTERM, nothing is imported that takes time."""
    heavy = ("typing", "asyncio", "typer", "callboard.cli.main", "callboard.agent")

    assert loaded_by("import callboard.cli.entry", *heavy) == "[]"


def test_the_command_answers_sigterm_before_it_loads() -> None:
    """What the command is made of is imported when SIGTERM has its handler already."""
    statement = (
        "import signal, callboard.cli.entry\n"
        "sys.modules['callboard.cli.main'] = None\n"
        "try:\n"
        "    callboard.cli.entry.main()\n"
        "except ImportError:\n"
        "    assert callable(signal.getsignal(signal.SIGTERM))\n"
    )

    assert loaded_by(statement, "typer", "asyncio") == "[]"
