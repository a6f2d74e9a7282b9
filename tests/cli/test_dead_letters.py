"""`callboard dead-letters`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import grpc
import pytest

from callboard.wire.codec import CloudEventCodec
from callboard.wire.status import OPERATIONS
from callboard.wire.v1 import operations_pb2 as pb
from cli.command import DEADLINE_S, Commands, Result, Running, run


class Desk:
    """A host, and a worker whose clerks refuse some orders."""

    def __init__(self, commands: Commands) -> None:
        host, self.address = commands.host()
        self.worker: Running = commands.worker(self.address, "shop:setup")
        operators = host.error("serving").partition("operators=")[2].split()[0]
        self._channel = grpc.insecure_channel(operators)

    def close(self) -> None:
        self._channel.close()

    def run(self, *arguments: str) -> Result:
        """Run a command of dead letters."""
        return run("dead-letters", *arguments, "--host", self.address)

    def positions(self) -> list[int]:
        """The dead letters that there are, oldest first; asked without the command."""
        ask = self._channel.unary_unary(
            f"/{OPERATIONS}/DeadLetters",
            request_serializer=pb.DeadLettersRequest.SerializeToString,
            response_deserializer=pb.DeadLettersResponse.FromString,
        )
        page = ask(pb.DeadLettersRequest(oldest_first=True))
        return [each.position for each in page.dead_letters]

    def wait_for(self, count: int) -> list[int]:
        """The dead letters as soon as there are so many."""
        give_up_at = monotonic() + DEADLINE_S
        while len(positions := self.positions()) != count:
            assert monotonic() < give_up_at, positions
            sleep(0.02)  # other processes are waited for
        return positions

    def kill(self, *orders: str, source: str = "x") -> list[int]:
        """Let orders become the dead letters, all there are; their positions."""
        event = {"specversion": "1.0", "type": "orders", "source": source, "dataschema": "Order"}
        lines = [
            json.dumps({**event, "id": f"{source}-{n}", "data": {"text": order}})
            for n, order in enumerate(orders)
        ]
        file = "\n".join(lines)
        published = run("publish", "--file", "-", "--host", self.address, stdin=file)
        assert published.code == 0, published.stderr
        return self.wait_for(len(orders))


@pytest.fixture(scope="module")
def one_desk() -> Iterator[Desk]:
    """A host and a worker for all tests here."""
    commands = Commands()
    desk = Desk(commands)
    yield desk
    desk.close()
    commands.kill()


@pytest.fixture
def desk(one_desk: Desk) -> Desk:
    """The same without dead letters."""
    ask = one_desk._channel.unary_unary(
        f"/{OPERATIONS}/DropDeadLetters",
        request_serializer=pb.DropDeadLettersRequest.SerializeToString,
        response_deserializer=pb.DropDeadLettersResponse.FromString,
    )
    ask(pb.DropDeadLettersRequest(selection=pb.DeadLetterSelection(all=True)))
    return one_desk


def test_they_are_listed_and_shown(desk: Desk) -> None:
    """The list has all but the data, which `show` has too; [markup] of others stays text."""
    (position,) = desk.kill("fail", source="[red]p/1")
    name = str(position)

    shown = desk.run("list")
    listed = json.loads(desk.run("list", "--json").stdout)
    one = desk.run("show", name)
    told = json.loads(desk.run("show", name, "--json").stdout)

    assert shown.code == one.code == 0
    (letter,) = listed["dead_letters"]
    (row,) = [line.split() for line in shown.stdout.splitlines() if "clerk" in line]
    assert row[:5] == [name, "clerk/[red]p/1", "orders/[red]p/1", "handler_error", "1"]
    assert row[5].startswith("0:00:")
    assert row[6:] == [str(letter["size_bytes"]), "[red]p/1-0"]
    assert "fail" not in shown.stdout
    assert "ValueError" in one.stdout
    event = json.loads(one.stdout[one.stdout.index("{") :])
    assert (event["id"], event["type"], event["source"]) == ("[red]p/1-0", "orders", "[red]p/1")
    assert event["data"] == {"text": "fail"}
    assert told["dead_letter"]["position"] == position
    envelope = CloudEventCodec().decode_event(base64.b64decode(told["event"]))
    assert json.loads(envelope.data) == {"text": "fail"}


def test_they_are_listed_page_by_page(desk: Desk) -> None:
    """From either end; a page that is not the last says how to go on."""
    assert "none" in desk.run("list").stdout
    first, second, third = desk.kill("fail", "fail", "fail")

    def listed(*arguments: str) -> list[int]:
        told = json.loads(desk.run("list", "--json", *arguments).stdout)
        return [each["position"] for each in told["dead_letters"]]

    page = desk.run("list", "--limit", "2", "--type", "clerk", "--reason", "handler_error")

    assert page.stdout.splitlines()[-1] == f"there are more: --cursor {second}"
    assert listed("--limit", "3") == [third, second, first]
    assert listed("--limit", "2", "--cursor", str(second)) == [first]
    assert listed("--limit", "2", "--oldest-first") == [first, second]
    assert listed("--type", "other") == listed("--reason", "other") == []


def test_a_replay_is_handled_again(desk: Desk, tmp_path: Path) -> None:
    """What is mended is handled; what fails again is another dead letter."""
    there = tmp_path / "there"
    before = desk.kill(f"need {there}", "fail", source="r")
    there.write_text("two eggs")

    replayed = desk.run("replay", "--type", "clerk", "--reason", "handler_error")

    assert (replayed.code, replayed.stdout) == (0, "replayed 2 dead letters\n")
    assert desk.worker.line("clerk/r has it: two eggs")
    desk.worker.line("clerk/r got fail", times=2)
    assert desk.wait_for(1)[0] > max(before)
    assert desk.run("replay", "--reason", "other").stdout == "replayed 0 dead letters\n"


def test_a_replay_that_is_refused_fails_and_says_why(commands: Commands) -> None:
    """The first reason, by its code; the dead letter stays."""
    desk = Desk(commands)
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
    desk.close()


def test_what_is_not_there_fails_and_the_others_are_done(desk: Desk) -> None:
    """For all commands that name positions."""
    first, second = map(str, desk.kill("fail", "fail"))

    dropped = desk.run("drop", first, "100008", "100009")
    replayed = desk.run("replay", second, first)
    shown = desk.run("show", first)

    assert (dropped.code, dropped.stdout) == (1, "dropped 1 dead letter\n")
    assert dropped.complaint == "NOT_FOUND: there is no dead letter 100008, 100009"
    assert (replayed.code, replayed.stdout) == (1, "replayed 1 dead letter\n")
    assert replayed.complaint == f"NOT_FOUND: there is no dead letter {first}"
    assert (shown.code, shown.stdout) == (1, "")
    assert shown.complaint == f"NOT_FOUND: there is no dead letter {first}"
    desk.wait_for(1)


def test_they_are_dropped(desk: Desk) -> None:
    """By filter, or all; the answer says how many."""
    first, _ = desk.kill("fail", "fail")

    assert desk.run("drop", "--type", "other").stdout == "dropped 0 dead letters\n"
    assert json.loads(desk.run("drop", str(first), "--json").stdout) == {
        "dropped": 1,
        "missing": [],
    }
    assert desk.run("drop", "--all").stdout == "dropped 1 dead letter\n"
    assert desk.positions() == []


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_an_empty_name_does_not_mean_everything(command: str) -> None:
    """It may be of a variable that is not set."""
    result = run("dead-letters", command, "--reason", "handler_error", "--type", "")

    assert result.code == 2
    assert "--type and --reason name something" in result.complaint


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
