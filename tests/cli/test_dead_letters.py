"""`callboard dead-letters`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from callboard.wire.codec import CloudEventCodec
from cli.command import DEADLINE_S, Commands, Result, Running, run


class Desk:
    """A host, and a worker whose clerks refuse some orders."""

    def __init__(self, commands: Commands) -> None:
        self.host, self.address = commands.host()
        self.worker: Running = commands.worker(self.address, "shop:setup")

    def run(self, *arguments: str) -> Result:
        return run("dead-letters", *arguments, "--host", self.address)

    def listed(self, *arguments: str) -> dict[str, Any]:
        """What `list --json` says."""
        told: dict[str, Any] = json.loads(self.run("list", "--json", *arguments).stdout)
        return told

    def positions(self, *arguments: str) -> list[int]:
        return [each["position"] for each in self.listed(*arguments)["dead_letters"]]

    def kill(self, *orders: str, source: str = "x") -> None:
        """Let orders become dead letters; returns when the host has them as such."""
        count = len(self.positions()) + len(orders)
        for order in orders:
            data = json.dumps({"text": order})
            published = run(
                *("publish", "orders", "--source", source, "--type-name", "Order"),
                *("--data", data, "--host", self.address),
            )
            assert published.code == 0
        give_up_at = monotonic() + DEADLINE_S
        while len(self.positions()) < count:
            assert monotonic() < give_up_at
            sleep(0.05)  # another process is waited for


@pytest.fixture
def desk(commands: Commands) -> Desk:
    """A host of its own: dead letters are the host's."""
    return Desk(commands)


def test_they_are_listed_and_shown(desk: Desk) -> None:
    """The list has all but the data, which `show` has too; [markup] of others stays text."""
    desk.kill("fail", source="[red]p/1")
    (letter,) = desk.listed()["dead_letters"]

    shown = desk.run("list")
    one = desk.run("show", "1")
    told = json.loads(desk.run("show", "1", "--json").stdout)

    assert shown.code == one.code == 0
    (row,) = [line.split() for line in shown.stdout.splitlines() if "clerk" in line]
    assert row[:5] == ["1", "clerk/[red]p/1", "orders/[red]p/1", "handler_error", "1"]
    assert row[5].startswith("0:00:")
    assert row[6:] == [str(letter["size_bytes"]), letter["event_id"]]
    assert "fail" not in shown.stdout
    assert "ValueError" in one.stdout
    event = json.loads(one.stdout[one.stdout.index("{") :])
    assert event["id"] == letter["event_id"]
    assert (event["type"], event["source"]) == ("orders", "[red]p/1")
    assert event["data"] == {"text": "fail"}
    assert told["dead_letter"]["position"] == 1
    envelope = CloudEventCodec().decode_event(base64.b64decode(told["event"]))
    assert json.loads(envelope.data) == {"text": "fail"}


def test_they_are_listed_page_by_page(desk: Desk) -> None:
    """From either end; a page that is not the last says how to go on."""
    assert "none" in desk.run("list").stdout
    desk.kill("fail", "fail", "fail")

    first = desk.run("list", "--limit", "2")

    assert first.stdout.splitlines()[-1] == "there are more: --cursor 2"
    assert "--cursor" not in desk.run("list", "--limit", "3").stdout
    assert desk.positions("--limit", "2", "--cursor", "2") == [1]
    assert desk.positions("--limit", "2", "--oldest-first") == [1, 2]
    assert desk.positions("--type", "clerk", "--reason", "handler_error") == [3, 2, 1]
    assert desk.positions("--type", "other") == desk.positions("--reason", "other") == []


def test_a_replay_is_handled_again(desk: Desk, tmp_path: Path) -> None:
    """What is mended is handled; what fails again is another dead letter."""
    there = tmp_path / "there"
    desk.kill(f"need {there}", "fail", source="r")
    there.write_text("two eggs")

    replayed = desk.run("replay", "--type", "clerk", "--reason", "handler_error")

    assert (replayed.code, replayed.stdout) == (0, "replayed 2 dead letters\n")
    assert desk.worker.line("clerk/r has it: two eggs")
    desk.worker.line("clerk/r got fail", times=2)
    give_up_at = monotonic() + DEADLINE_S
    while desk.positions() != [4]:
        assert monotonic() < give_up_at
        sleep(0.05)  # another process is waited for
    assert desk.run("replay", "--reason", "other").stdout == "replayed 0 dead letters\n"


def test_a_replay_that_is_refused_fails_and_says_why(desk: Desk) -> None:
    """The first reason, by its code; the dead letter stays."""
    desk.kill("fail")
    desk.worker.terminate()
    desk.worker.wait()
    assert run("types", "remove", "clerk", "--host", desk.address).code == 0

    refused = desk.run("replay", "--all")
    told = json.loads(desk.run("replay", "1", "--json").stdout)

    assert (refused.code, refused.stdout) == (1, "replayed 0 dead letters\n")
    assert refused.complaint == (
        "NOT_FOUND: 1 dead letter refused, the first 1 for clerk/x: there is no agent type "
        "'clerk' now: start a worker that registers it"
    )
    assert (told["refused"], told["refusals"][0]["code"]) == (1, 5)
    assert desk.positions() == [1]


def test_what_is_not_there_fails_and_the_others_are_done(desk: Desk) -> None:
    """For all commands that name positions."""
    desk.kill("fail", "fail")

    dropped = desk.run("drop", "1", "8", "9")
    replayed = desk.run("replay", "2", "1")
    shown = desk.run("show", "1")

    assert (dropped.code, dropped.stdout) == (1, "dropped 1 dead letter\n")
    assert dropped.complaint == "NOT_FOUND: there is no dead letter 8, 9"
    assert (replayed.code, replayed.stdout) == (1, "replayed 1 dead letter\n")
    assert replayed.complaint == "NOT_FOUND: there is no dead letter 1"
    assert (shown.code, shown.stdout) == (1, "")
    assert shown.complaint == "NOT_FOUND: there is no dead letter 1"


def test_they_are_dropped(desk: Desk) -> None:
    """By filter, or all; the answer says how many."""
    desk.kill("fail", "fail")

    assert desk.run("drop", "--type", "other").stdout == "dropped 0 dead letters\n"
    assert json.loads(desk.run("drop", "1", "--json").stdout) == {"dropped": 1, "missing": []}
    assert desk.run("drop", "--all").stdout == "dropped 1 dead letter\n"
    assert desk.positions() == []


@pytest.mark.parametrize("command", ["replay", "drop"])
@pytest.mark.parametrize(
    "arguments", [[], ["1", "--all"], ["1", "--type", "a"], ["--all", "--reason", "r"]]
)
def test_nothing_said_does_not_mean_everything(command: str, arguments: list[str]) -> None:
    """Before any host is asked."""
    result = run("dead-letters", command, *arguments)

    assert result.code == 2
    assert "say which: POSITION, or --type or --reason or both, or --all" in result.complaint


def test_the_group_alone_explains_itself() -> None:
    """Like the command itself."""
    result = run("dead-letters")

    assert result.code == 0
    assert all(f" {name} " in result.stdout for name in ("list", "show", "replay", "drop"))


def test_no_host_is_one_line(nobody: str) -> None:
    """As for `status`."""
    result = run("dead-letters", "list", "--host", nobody, "--connect-timeout", "0.2")

    assert result.code == 1
    assert result.complaint == f"UNAVAILABLE: no host at {nobody}: gave up after 0.2 s"


def test_a_port_of_something_else_is_one_line(desk: Desk) -> None:
    """The workers' port given as --operators is told as such."""
    result = run("dead-letters", "drop", "--all", "--operators", desk.address)

    assert result.code == 1
    assert result.complaint == (
        f"UNAVAILABLE: what serves {desk.address} is not the operators' service of a Callboard "
        "host, or of an older one"
    )
