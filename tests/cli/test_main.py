"""The command line itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.command import CALLBOARD, environment, run

COMMANDS = ["host", "worker", "dev", "publish", "call", "status", "dead-letters", "types", "bench"]


def test_version() -> None:
    """`callboard --version` prints the installed version."""
    result = run("--version")

    assert (result.code, result.stdout) == (0, f"callboard {version('callboard')}\n")


@pytest.mark.parametrize("module", ["callboard", "callboard.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    """`python -m callboard` is the same command."""
    command = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)

    assert (done.returncode, done.stdout) == (0, f"callboard {version('callboard')}\n")


@pytest.mark.parametrize("arguments", [(), ("--help",)], ids=["alone", "--help"])
def test_help_names_every_command(arguments: tuple[str, ...]) -> None:
    """`callboard`, alone or with --help, lists the commands."""
    result = run(*arguments)

    assert result.code == 0
    assert all(f" {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """Each command has a --help that names what it is run with."""
    result = run(command, "--help")

    assert result.code == 0
    assert f"callboard {command}" in result.stdout


def test_help_is_quick() -> None:
    """--help loads neither gRPC, nor a runtime, nor what single commands need."""
    heavy = ["grpc", "google.protobuf", "opentelemetry", "pydantic", "structlog", "asyncio"]
    heavy += ["watchfiles", "cloudevents"]
    heavy += [f"callboard.{name}" for name in ("agent", "core", "host", "local", "worker", "wire")]
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print([n for n in {heavy} if n in sys.modules]))\n"
        "sys.argv = ['callboard', '--help']\n"
        "from callboard.cli.entry import main\n"
        "main()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nosuch"], "callboard: No such command 'nosuch'"),
        (["host", "--nosuch"], "callboard host: No such option"),
        (["worker"], "callboard worker: Missing argument"),
        (["call"], "callboard call: "),
        (["call", "a/b", "--data", "{}"], "callboard call: --type-name is missing"),
        (["call", "a/b", "--type-name", "T"], "callboard call: --data is missing"),
        (["publish"], "callboard publish: TOPIC is missing"),
        (["publish", "t", "--data", "1"], "callboard publish: --source is missing"),
        (["publish", "t", "--file", "f"], "callboard publish: TOPIC does not go with --file"),
        (["dev", "shop:setup", "--workers", "0"], "callboard dev: Invalid value for '--workers'"),
        (["status", "--log-level", "loud"], "callboard status: --log-level: Input should be "),
        (["status", "--host", "here"], "callboard status: --host: invalid address 'here'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    arguments: list[str], complaint: str
) -> None:
    """What is wrong on the command line is told in one line that says where help is."""
    result = run(*arguments)

    assert result.code == 2
    assert result.complaint.startswith(complaint)
    assert result.complaint.endswith(" --help)")
    assert not result.stdout


def test_a_wrong_setting_is_named_as_it_was_given() -> None:
    """A wrong environment variable is told by its name."""
    result = run("status", env={"CALLBOARD_CONNECT_TIMEOUT_S": "soon"})

    assert result.code == 2
    assert "CALLBOARD_CONNECT_TIMEOUT_S: " in result.complaint


def test_a_reader_that_goes_away_is_no_error_to_tell() -> None:
    """Writing into a pipe that was closed ends the command without a word."""
    with subprocess.Popen(
        [CALLBOARD, "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("grpc_health", "host", ["host", "--address", "127.0.0.1:0"]),
        ("grpc_health", "worker", ["worker", "shop:setup", "--health-address", "127.0.0.1:0"]),
        ("watchfiles", "cli", ["dev", "shop:setup"]),
        ("cloudevents", "cli", ["publish", "--file", "-"]),
    ],
)
def test_a_command_without_its_extra_says_which_one(
    missing: str, extra: str, arguments: list[str]
) -> None:
    """What is not installed is named with the command that installs it."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {arguments!r}; "
        "from callboard.cli.main import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parent,
    )
    assert ran.returncode == 1
    assert f"pip install 'callboard[{extra}]'" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
