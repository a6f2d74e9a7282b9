"""The round trip over a real host."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from callboard.core.errors import Unavailable
from callboard.host import Host
from callboard_samples import roundtrip
from callboard_samples.command import SampleFailed
from cli.command import Commands, environment, run


@pytest.fixture
def commands() -> Iterator[Commands]:
    """Starts commands that end with the test."""
    commands = Commands()
    yield commands
    commands.kill()


def run_roundtrip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "callboard_samples.roundtrip", *arguments],
        capture_output=True,
        check=False,
        env=environment(),
        text=True,
        timeout=40,
    )


def test_it_says_how_long_each_took_and_leaves_nothing_behind(commands: Commands) -> None:
    """One line; the host knows no type, no session and no event of it any more."""
    _, address = commands.host()
    program = run_roundtrip("--host", address)

    assert (program.returncode, program.stderr) == (0, "")
    line = r"(\S+): two sessions in .* ms, an event there and back in .* ms, a call in .* ms\n"
    told = re.fullmatch(line, program.stdout)
    assert told is not None
    assert told[1] == address
    status = json.loads(run("status", "--host", address, "--json").stdout)
    assert (status["types"], status["sessions"]) == ([], [])


async def test_round_trips_do_not_disturb_each_other() -> None:
    """Each has an agent type and topics of its own."""
    async with Host(port=0) as host:
        times = await asyncio.gather(*(roundtrip.go(host.address) for _ in range(5)))

    assert all(each.event_s > 0 and each.call_s > 0 for each in times)


async def test_no_host_is_told_at_the_deadline() -> None:
    """The error names the address."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises((SampleFailed, Unavailable), match=address):
            await roundtrip.go(address, deadline_s=0.3)


async def test_how_far_it_came_is_told_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not come ends the trip."""

    async def keep(self: roundtrip.Echo, message: roundtrip.There, ctx: object) -> None:
        pass

    monkeypatch.setattr(roundtrip.Echo, "publish_message", keep)
    async with Host(port=0) as host:
        with pytest.raises(SampleFailed, match=r"within 1 s: it got as far as publishing an event"):
            await roundtrip.go(host.address, deadline_s=1)


def test_a_failure_is_one_line_and_exit_code_1() -> None:
    """As a program that a pod runs."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        program = run_roundtrip("--host", address, "--deadline", "0.3")

    assert (program.returncode, program.stdout) == (1, "")
    assert program.stderr.startswith("error: no ")
    assert len(program.stderr.splitlines()) == 1
