"""`callboard types`."""

from __future__ import annotations

import json

from cli.command import Commands, run


def test_types_are_listed_with_whether_they_are_durable(commands: Commands) -> None:
    """As `status` shows them."""
    _, address = commands.host()
    commands.worker(address, "shop:Clerk")

    shown = run("types", "list", "--host", address)
    (told,) = json.loads(run("types", "list", "--json", "--host", address).stdout)["types"]

    assert shown.code == 0
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["clerk", "yes", "1", "256", "0", "0", "clerk:*"] in rows
    assert (told["name"], told["durable"], told["sessions"]) == ("clerk", True, 1)


def test_a_type_is_removed_when_its_workers_are_gone(commands: Commands) -> None:
    """Not before; what waited is a dead letter, and the type is not there any more."""
    _, address = commands.host()
    worker = commands.worker(address, "shop:setup")

    served = run("types", "remove", "clerk", "--host", address)
    worker.terminate()
    worker.wait()
    run(
        *("publish", "orders", "--source", "1", "--type-name", "Order", "--data", "{}"),
        *("--host", address),
    )
    removed = run("types", "remove", "clerk", "--host", address)
    again = run("types", "remove", "clerk", "--host", address)
    letters = run("dead-letters", "list", "--host", address)

    assert (served.code, served.stdout) == (1, "")
    assert served.complaint.startswith(
        "FAILED_PRECONDITION: agent type 'clerk' is served by 1 worker ("
    )
    assert (removed.code, removed.stdout) == (
        0,
        "removed agent type clerk; 1 event that waited for it is a dead letter now\n",
    )
    assert (again.code, again.complaint) == (1, "NOT_FOUND: there is no agent type 'clerk'")
    assert "type_removed" in letters.stdout


def test_a_type_has_to_be_named() -> None:
    """There is no removal of all."""
    result = run("types", "remove")

    assert result.code == 2
    assert result.complaint.startswith("callboard types remove: AGENT_TYPE is missing")
