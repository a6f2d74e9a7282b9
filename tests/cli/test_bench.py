"""`callboard bench`."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from cli.command import Commands, run

ALL_ROWS_S = 50.0
"""How long all rows may take beside other tests."""

QUICK = ("--duration", "0.1", "--tasks", "8", "--in-flight", "4")


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """A host that nobody else uses, so that what is left there is the benchmark's."""
    commands = Commands()
    _, address = commands.host()
    yield address
    commands.kill()


def left_at(host: str) -> tuple[list[object], list[object], list[object]]:
    """Agent types, sessions and dead letters."""
    status = json.loads(run("status", "--json", "--host", host).stdout)
    letters = json.loads(run("dead-letters", "list", "--json", "--host", host).stdout)
    return status["types"], status["sessions"], letters["dead_letters"]


def test_every_load_is_measured_and_nothing_is_left(host: str) -> None:
    """All rows come as JSON with what they measured, and the host holds nothing of it."""
    result = run("bench", "--host", host, "--json", *QUICK, deadline_s=ALL_ROWS_S)

    assert (result.code, result.stderr) == (0, "")
    results = json.loads(result.stdout)
    rows = results["rows"]
    assert results["engine"] == "memory"
    assert list(rows) == [
        "events, 256 B, 8 tasks await each",
        "events, 256 B, pipelined",
        "publish to handler, 256 B, at half load",
        "calls, 256 B, one at a time",
        "calls, 256 B, 4 at once",
        "answers, 256 B, one stream",
        "answers, 256 B, 4 streams at once",
    ]
    assert all(value > 0 for row in rows.values() for value, *_ in row.values() if row)
    assert rows["events, 256 B, 8 tasks await each"]["events/s"]
    assert rows["calls, 256 B, one at a time"]["p99 ms"]
    assert left_at(host) == ([], [], [])


def test_a_table_says_what_was_measured(host: str) -> None:
    """The rows that are asked for, by their sizes, with the spread of their rounds."""
    result = run(
        "bench",
        "calls",
        "--host",
        host,
        "--size",
        "1024",
        "--rounds",
        "2",
        *QUICK,
        deadline_s=ALL_ROWS_S,
    )

    assert (result.code, result.stderr) == (0, "")
    assert f"host {host}, engine memory, " in result.stdout
    assert "1 publisher and 1 worker, each a process on this machine" in result.stdout
    assert "calls, 1 KiB, 4 at once" in result.stdout
    assert all(word in result.stdout for word in ("median", "lowest", "highest", "calls/s"))
    assert "events" not in result.stdout


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_one_that_is_broken_off_leaves_nothing(
    commands: Commands, host: str, how: signal.Signals, code: int
) -> None:
    """A signal ends it in the middle of a row, and what waited then is dropped."""
    bench = commands.start("bench", "events", "--host", host, "--duration", "10")
    wait_until_published(host)
    bench.process.send_signal(how)

    assert bench.wait() == code
    assert (bench.out, bench.err) == ([], [])
    assert left_at(host) == ([], [], [])


def wait_until_published(host: str) -> None:
    """Return when events come in at the host."""

    def published() -> int:
        status = json.loads(run("status", "--json", "--host", host).stdout)
        count: int = status["counters"]["published"]
        return count

    before = published()
    while published() == before:
        pass


def test_no_host_is_one_line(nobody: str) -> None:
    """Without a host nothing is started, and the address is named."""
    result = run("bench", "--host", nobody, "--connect-timeout", "0.2")

    assert result.code == 1
    assert result.complaint == f"UNAVAILABLE: no host at {nobody}: gave up after 0.2 s"


def test_a_message_that_the_host_does_not_take_is_one_line(commands: Commands) -> None:
    """What fails in a process of the benchmark is told as the command's own failure."""
    _, address = commands.host(env={"CALLBOARD_MAX_EVENT_BYTES": "1000"})
    result = run("bench", "calls", "--host", address, "--size", "2000", *QUICK)

    assert result.code == 1
    assert "1000" in result.complaint
    assert left_at(address) == ([], [], [])
