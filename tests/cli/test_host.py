"""`callboard host`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from cli.command import Commands, run


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=lambda by: by.name)
def test_it_says_where_it_listens_and_stops_when_asked(
    commands: Commands, by: signal.Signals
) -> None:
    """A host prints its address once it serves, and SIGTERM or Ctrl-C ends it with exit code 0."""
    host, address = commands.host("--log-level", "error")
    host.process.send_signal(by)

    assert host.wait() == 0
    assert host.out == [f"listening on {address}"]
    assert host.err == []


def test_it_stops_while_a_worker_is_there(commands: Commands) -> None:
    """A host that is asked to stop does not wait for its workers to leave."""
    host, address = commands.host()
    worker = commands.worker(address, "--reconnect-timeout", "0.5", "shop:setup")
    host.terminate()

    assert host.wait() == 0
    assert worker.wait() == 1


def test_the_command_line_goes_over_the_environment(commands: Commands) -> None:
    """The address is taken from CALLBOARD_ADDRESS unless --address names one."""
    by_environment = commands.start("host", env={"CALLBOARD_ADDRESS": "localhost:0"})
    by_argument = commands.start(
        "host", "--address", "127.0.0.1:0", env={"CALLBOARD_ADDRESS": "nowhere:1"}
    )

    assert by_environment.line("listening on localhost:")
    assert by_argument.line("listening on 127.0.0.1:")


@pytest.mark.parametrize("option", ["--address", "--operators-address"])
def test_a_busy_port_is_one_line(commands: Commands, option: str) -> None:
    """An address that is taken, for workers or for tools, is named in one line; exit code 1."""
    _, address = commands.host()

    addresses = {"--address": "127.0.0.1:0", option: address}
    result = run("host", *(part for pair in addresses.items() for part in pair))

    assert result.code == 1
    assert result.complaint.startswith(f"UNAVAILABLE: cannot listen on {address}")
    assert not result.stdout


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"CALLBOARD_ADDRESS": "here"}, "CALLBOARD_ADDRESS: invalid address 'here'"),
        ({"CALLBOARD_MAX_EVENT_BYTES": "0"}, "CALLBOARD_MAX_EVENT_BYTES: "),
        ({"CALLBOARD_ENGINE": "paper"}, "CALLBOARD_ENGINE: "),
        (
            {"CALLBOARD_AGENT_SHARE": "9", "CALLBOARD_DELIVERY_WINDOW": "8"},
            "CALLBOARD_AGENT_SHARE is 9",
        ),
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_line(setting: dict[str, str], complaint: str) -> None:
    """A setting that breaks its rule is named before anything is served; exit code 2."""
    result = run("host", env=setting)

    assert result.code == 2
    assert result.complaint.startswith(f"callboard host: {complaint}")


def test_limits_come_from_the_environment(commands: Commands) -> None:
    """CALLBOARD_MAX_EVENT_BYTES bounds events; one beyond it is refused naming both sizes."""
    _, address = commands.host(env={"CALLBOARD_MAX_EVENT_BYTES": "300"})
    event = ["orders", "--source", "1", "--type-name", "Order", "--host", address, "--data"]

    small = run("publish", *event, '{"text": "a"}')
    large = run("publish", *event, json.dumps({"text": "a" * 300}))

    assert small.code == 0
    assert large.code == 1
    assert large.complaint.startswith("RESOURCE_EXHAUSTED: the event has ")
    assert large.complaint.endswith(" bytes, the host takes at most 300")


def test_the_engine_and_its_directory_come_from_the_environment(
    commands: Commands, tmp_path: Path
) -> None:
    """CALLBOARD_ENGINE and CALLBOARD_DATA; the default directory is below the current one."""
    engine = {"CALLBOARD_ENGINE": "sqlite"}
    here = commands.start("host", "--address", "127.0.0.1:0", cwd=tmp_path, env=engine)
    there, _ = commands.host(env={**engine, "CALLBOARD_DATA": str(tmp_path / "there")})
    here.line("listening on ")

    assert (tmp_path / "callboard-data" / "callboard.db").exists()
    assert (tmp_path / "there" / "callboard.db").exists()
    for each in (here, there):
        each.terminate()
        assert each.wait() == 0
        assert not [line for line in each.err if "kept in memory" in line]


def test_logs_as_json(commands: Commands) -> None:
    """With --log-format json each line on the standard error is an object."""
    host, _ = commands.host("--log-format", "json")
    host.error("serving")
    host.terminate()
    host.wait()

    lines = [json.loads(line) for line in host.err]
    assert {"event", "level", "logger", "timestamp"} <= lines[0].keys()
    assert "serving" in [line["event"] for line in lines]
