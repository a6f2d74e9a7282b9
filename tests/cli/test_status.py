"""`callboard status`."""

from __future__ import annotations

import json

from cli.command import Commands, run


def test_it_shows_types_sessions_and_counters(commands: Commands) -> None:
    """From a host's address alone it shows what the host holds, without the session it asks by."""
    _, address = commands.host()
    commands.worker(address, "shop:Clerk", "shop:Stamper", "--client-id", "front desk")
    run(
        *("publish", "nowhere", "--source", "1", "--type-name", "Order", "--data", "{}"),
        *("--host", address),
    )

    shown = run("status", "--host", address)
    told = json.loads(run("status", "--host", address, "--json").stdout)

    assert shown.code == 0
    assert f"at {address}, up 0:00:" in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["clerk", "yes", "1", "256", "0", "0", "clerk:*"] in rows
    assert ["unmatched", "1"] in rows
    assert [each["client_id"] for each in told["sessions"]] == ["front desk"]
    assert [each["name"] for each in told["types"]] == ["Stamper", "clerk"]
    assert told["sessions"][0]["types"] == ["Stamper", "clerk"]
    assert told["counters"]["published"] == told["counters"]["unmatched"] == 1
    assert told["address"] == address


def test_an_empty_host(commands: Commands) -> None:
    """A host without workers has empty tables."""
    _, address = commands.host()

    result = run("status", "--host", address)

    assert result.code == 0
    assert result.stdout.count("none") == 2


def test_the_operators_port_can_be_asked_directly(commands: Commands) -> None:
    """--operators names the operators' address, for who cannot reach the other port."""
    host, address = commands.host()
    operators = host.error("serving").partition("operators=")[2].split()[0]

    assert f"at {address}" in run("status", "--operators", operators).stdout
    assert host.err == [line for line in host.err if "session" not in line]


def test_a_port_of_something_else_is_one_line(commands: Commands) -> None:
    """The workers' port given as --operators is told as such."""
    _, address = commands.host()

    result = run("status", "--operators", address)

    assert result.code == 1
    assert result.complaint == (
        f"UNAVAILABLE: what serves {address} is not the operators' service of a Callboard host"
    )


def test_no_host_is_one_line(nobody: str) -> None:
    """Without a host, or an operators' service, the address is named in one line."""
    by_host = run("status", "--host", nobody, "--connect-timeout", "0.2")
    by_operators = run("status", "--operators", nobody, "--connect-timeout", "0.2")

    assert by_host.code == by_operators.code == 1
    assert by_host.complaint == f"UNAVAILABLE: no host at {nobody}: gave up after 0.2 s"
    assert by_operators.complaint.startswith(f"UNAVAILABLE: no operators' service at {nobody}: ")
