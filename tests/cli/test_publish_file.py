"""`callboard publish --file`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.command import CALLBOARD, Commands, environment, run
from cli.conftest import Shop


def line(number: int, source: str, **more: Any) -> str:
    event = {
        "specversion": "1.0",
        "id": f"event-{number}",
        "type": "orders",
        "source": source,
        "dataschema": "Order",
        "data": {"text": f"no {number}"},
        **more,
    }
    return json.dumps(event) + "\n"


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A file of events."""
    return tmp_path / "events.jsonl"


def test_each_event_keeps_what_it_is(shop: Shop, events: Path) -> None:
    """Every line, blank ones aside, is published under its own id, type and source, in order."""
    events.write_text(line(1, "f1") + "\n" + line(2, "f1") + line(3, "f2", id="café").rstrip())

    result = run("publish", "--file", str(events), "--host", shop.address)

    assert (result.code, result.stdout, result.stderr) == (0, "published 3 events\n", "")
    assert shop.worker.line("clerk/f1 got", times=1).endswith("no 1 as event-1 on orders/f1")
    assert shop.worker.line("clerk/f1 got", times=2).endswith("no 2 as event-2 on orders/f1")
    assert shop.worker.line("clerk/f2 got").endswith("no 3 as café on orders/f2")


def test_a_file_of_nothing(shop: Shop, events: Path) -> None:
    """An empty file is no error."""
    events.touch()

    result = run("publish", "--file", str(events), "--host", shop.address)

    assert (result.code, result.stdout) == (0, "published 0 events\n")


def test_type_name_names_what_the_lines_do_not(shop: Shop, events: Path) -> None:
    """--type-name is the message type of the lines without a dataschema."""
    events.write_text(line(1, "typed", dataschema=None))

    result = run("publish", "--file", str(events), "--type-name", "Order", "--host", shop.address)

    assert result.code == 0
    shop.worker.line("clerk/typed got no 1")


def test_a_bad_line_ends_it(shop: Shop, events: Path) -> None:
    """The bad line is named with its rule and how many were published; none after it is."""
    bad = line(3, "bad", type="my orders")
    events.write_text(line(1, "bad") + "\n" + bad + line(4, "bad"))

    result = run("publish", "--file", str(events), "--host", shop.address)

    assert result.code == 1
    assert result.complaint == (
        f"INVALID_ARGUMENT: line 3 of {events}: invalid topic type 'my orders': it must be one or "
        "more of A-Z a-z 0-9 _ . : = -; published 1 event"
    )
    assert not result.stdout
    run("publish", "--file", "-", "--host", shop.address, stdin=line(5, "bad"))
    shop.worker.line("clerk/bad got no 5")
    assert [text.split()[3] for text in shop.worker.out if "clerk/bad got" in text] == ["1", "5"]


def test_an_event_too_large_ends_it(commands: Commands, events: Path) -> None:
    """An event beyond the host's limit is named by its line; those before it are published."""
    _, address = commands.host(env={"CALLBOARD_MAX_EVENT_BYTES": "500"})
    large = line(3, "a", data={"text": "a" * 500})
    events.write_text(line(1, "a") + line(2, "a") + large + line(4, "a"))

    result = run("publish", "--file", str(events), "--host", address)

    assert result.code == 1
    assert result.complaint.startswith(f"RESOURCE_EXHAUSTED: line 3 of {events}: the event has ")
    assert result.complaint.endswith("; published 2 events")


def test_a_missing_file_is_one_line(nobody: str) -> None:
    """A file that is not there is told before a host is looked for."""
    result = run("publish", "--file", "nosuch.jsonl", "--host", nobody)

    assert result.code == 1
    assert result.complaint == (
        "INVALID_ARGUMENT: cannot read nosuch.jsonl: No such file or directory"
    )


def test_many_events_travel_together(commands: Commands, events: Path) -> None:
    """Twenty thousand events, more than fit a window, are all published and counted by the host."""
    _, address = commands.host()
    events.write_text("".join(line(number, str(number % 7)) for number in range(20_000)))

    result = run("publish", "--file", str(events), "--host", address)

    assert result.stdout == "published 20000 events\n"
    assert '"published": 20000' in run("status", "--host", address, "--json").stdout


def test_a_pipe_is_published_as_it_comes(commands: Commands, shop: Shop) -> None:
    """Events written to the standard input are published while it is still open."""
    publisher = commands.start("publish", "--file", "-", "--host", shop.address)
    publisher.write(line(1, "pipe"))
    shop.worker.line("clerk/pipe got no 1")
    publisher.write(line(2, "pipe"))
    shop.worker.line("clerk/pipe got no 2")
    publisher.close_stdin()

    assert publisher.wait() == 0
    assert publisher.out == ["published 2 events"]


def test_ctrl_c_ends_it_while_it_waits_for_a_pipe(commands: Commands, shop: Shop) -> None:
    """Ctrl-C ends it with exit code 130 though the standard input stays open."""
    publisher = commands.start("publish", "--file", "-", "--host", shop.address)
    publisher.write(line(1, "broken-off"))
    shop.worker.line("clerk/broken-off got no 1")
    publisher.interrupt()

    assert publisher.wait() == 130
    assert publisher.err == []


def test_a_terminal_sees_progress(shop: Shop, events: Path) -> None:
    """With a terminal a bar is drawn while events are published."""
    events.write_text(line(1, "terminal"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [CALLBOARD, "publish", "--file", str(events), "--host", shop.address],
        stdout=theirs,
        stderr=theirs,
        env=environment({"TERM": "xterm"}),
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # Linux ends a terminal that nobody has open with EIO
    os.close(ours)

    assert process.wait() == 0
    assert b"publishing" in shown
    assert b"100%" in shown
    assert b"published 1 event\r\n" in shown
