"""`callboard call`."""

from __future__ import annotations

import pytest

from cli.command import Commands, Result, run
from cli.conftest import Shop


def call(address: str, agent: str, text: str, *options: str) -> Result:
    data = f'{{"text": "{text}"}}'
    return run(
        *("call", agent, "--type-name", "Order", "--data", data, "--host", address, *options)
    )


@pytest.mark.parametrize(
    ("text", "printed"), [("Käse", '{"text": "Käse"}\n'), ("none", "null\n")], ids=["reply", "None"]
)
def test_the_reply_is_printed_as_json(shop: Shop, text: str, printed: str) -> None:
    """The reply, None included, is JSON on the standard output."""
    result = call(shop.address, "clerk/c/1", text)

    assert (result.code, result.stdout, result.stderr) == (0, printed, "")


@pytest.mark.parametrize(
    ("agent", "text", "options", "complaint"),
    [
        ("nosuch/1", "a", (), "NOT_FOUND: no worker has registered the agent type 'nosuch'"),
        ("clerk/1", "fail", (), "UNKNOWN: ValueError: no such order"),
        ("clerk/1", "wait", ("--timeout", "0.2"), "DEADLINE_EXCEEDED: "),
    ],
    ids=["unknown type", "handler raises", "too late"],
)
def test_a_call_that_fails_is_one_line_with_its_code(
    shop: Shop, agent: str, text: str, options: tuple[str, ...], complaint: str
) -> None:
    """An error is one line on the standard error that begins with its code; exit code 1."""
    result = call(shop.address, agent, text, *options)

    assert result.code == 1
    assert result.complaint.startswith(complaint)
    assert not result.stdout


@pytest.mark.parametrize(
    ("agent", "options", "complaint"),
    [
        ("clerk", (), "INVALID_ARGUMENT: invalid agent id 'clerk': it is written with a slash"),
        ("my clerk/1", (), "INVALID_ARGUMENT: invalid agent type 'my clerk': it must be "),
        ("clerk/", (), "INVALID_ARGUMENT: invalid agent key '': it must be "),
        ("clerk/1", ("--timeout", "0"), "callboard call: --timeout: 0 is not a number of seconds"),
        ("clerk/1", ("--timeout", "nan"), "callboard call: --timeout: nan is not a number"),
    ],
    ids=["no key", "type", "empty key", "no time", "NaN"],
)
def test_bad_input_is_told_before_a_host_is_looked_for(
    nobody: str, agent: str, options: tuple[str, ...], complaint: str
) -> None:
    """An invalid agent id or timeout is one line with the rule; exit code 2."""
    result = call(nobody, agent, "a", *options)

    assert result.code == 2
    assert result.complaint.startswith(complaint)


def test_no_host_is_one_line(nobody: str) -> None:
    """Without a host the address is named once the connect timeout has passed."""
    result = call(nobody, "clerk/1", "a", "--connect-timeout", "0.2")

    assert result.code == 1
    assert result.complaint == f"UNAVAILABLE: no host at {nobody}: gave up after 0.2 s"


def test_ctrl_c_cancels_the_call(commands: Commands, shop: Shop) -> None:
    """Ctrl-C reaches the handler and ends the command with exit code 130."""
    caller = commands.start(
        *("call", "clerk/cancelled", "--type-name", "Order", "--data", '{"text": "wait"}'),
        *("--host", shop.address),
    )
    shop.worker.line("clerk/cancelled waits")
    caller.interrupt()

    shop.worker.line("clerk/cancelled was told to stop")
    assert caller.wait() == 130
    assert caller.err == []
