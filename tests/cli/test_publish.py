"""`callboard publish` with one event."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command import Result, run
from cli.conftest import Shop


def publish(address: str, topic: str, source: str, data: str, stdin: str = "") -> Result:
    return run(
        *("publish", topic, "--source", source, "--type-name", "Order", "--data", data),
        *("--host", address),
        stdin=stdin,
    )


def test_an_event_reaches_the_agent_of_its_source(shop: Shop) -> None:
    """The event goes to the topic of TOPIC and --source, as a message of the type named."""
    result = publish(shop.address, "orders", "p/1", '{"text": "two eggs"}')

    assert (result.code, result.stdout) == (0, "published 1 event to orders/p/1\n")
    assert shop.worker.line("clerk/p/1 got two eggs as ").endswith(" on orders/p/1")


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_the_message_can_come_from_elsewhere(shop: Shop, tmp_path: Path, way: str) -> None:
    """--data @FILE reads a file, --data - the standard input."""
    path = tmp_path / "order.json"
    path.write_text('{"text": "Käse"}')
    data, stdin = ("-", path.read_text()) if way == "stdin" else (f"@{path}", "")

    result = publish(shop.address, "orders", f"from-{way}", data, stdin)

    assert result.code == 0
    shop.worker.line(f"clerk/from-{way} got Käse")


@pytest.mark.parametrize(
    ("topic", "source", "data", "code", "complaint"),
    [
        (
            "my orders",
            "1",
            "{}",
            2,
            "INVALID_ARGUMENT: invalid topic type 'my orders': it must be ",
        ),
        ("orders", "", "{}", 2, "INVALID_ARGUMENT: invalid topic source '': it must be "),
        ("orders", "1", "{", 1, "INVALID_ARGUMENT: --data is not JSON: "),
        ("orders", "1", "@nosuch", 1, "INVALID_ARGUMENT: cannot read --data @nosuch: "),
    ],
    ids=["topic", "source", "no JSON", "no file"],
)
def test_bad_input_is_told_before_a_host_is_looked_for(
    *, nobody: str, topic: str, source: str, data: str, code: int, complaint: str
) -> None:
    """An invalid topic, or a message that is no JSON, is one line with the rule."""
    result = publish(nobody, topic, source, data)

    assert result.code == code
    assert result.complaint.startswith(complaint)


def test_no_host_is_one_line(nobody: str) -> None:
    """Without a host the address is named once the connect timeout has passed."""
    result = run(
        *("publish", "orders", "--source", "1", "--type-name", "Order", "--data", "{}"),
        env={"CALLBOARD_HOST": nobody, "CALLBOARD_CONNECT_TIMEOUT_S": "0.2"},
    )

    assert result.code == 1
    assert result.complaint == f"UNAVAILABLE: no host at {nobody}: gave up after 0.2 s"


def test_what_listens_may_not_be_a_host(shop: Shop) -> None:
    """A server that is no host, such as the operators' port, is told as such at once."""
    status = run("status", "--host", shop.address, "--json")
    assert status.code == 0
    shop.host.error("serving")
    serving = next(line for line in shop.host.err if "serving" in line)
    operators = serving.partition("operators=")[2].split()[0]

    result = publish(operators, "orders", "1", "{}")

    assert result.code == 1
    assert "is not a Callboard host" in result.complaint
