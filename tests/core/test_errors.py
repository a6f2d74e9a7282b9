"""Errors: what crosses the wire comes back as what it was."""

from __future__ import annotations

import pickle

import grpc
import pytest

from callboard.core import errors
from callboard.core.errors import CallboardError, Code, RemoteAgentError, error_of
from callboard.core.frames import MAX_ERROR_CHARS, CallFailure, clipped


@pytest.mark.parametrize(
    "kind",
    [
        errors.CallCancelled,
        errors.InvalidMessage,
        errors.DeadlineExceeded,
        errors.AgentNotFound,
        errors.AlreadyRegistered,
        errors.ResourceExhausted,
        errors.NotAllowedNow,
        errors.Unsupported,
        errors.Unavailable,
    ],
)
def test_an_error_of_the_runtime_comes_back_as_its_kind(kind: type[CallboardError]) -> None:
    """By its code, with its text."""
    again = CallFailure.of(kind("what was wrong")).as_error()

    assert type(again) is kind
    assert str(again) == "what was wrong"


@pytest.mark.parametrize("text", ["no", ""])
def test_an_agent_s_own_error_keeps_type_and_text(text: str) -> None:
    """Also when it is passed on by the agent that called."""
    once = CallFailure.of(ValueError(text)).as_error()
    twice = CallFailure.of(once).as_error()

    for error in (once, twice, pickle.loads(pickle.dumps(once))):
        assert isinstance(error, RemoteAgentError)
        assert (error.error_type, error.error_message) == ("ValueError", text)


@pytest.mark.parametrize("code", [0, 11, 99])
def test_a_code_that_is_not_known_is_shown(code: int) -> None:
    """A peer may be newer."""
    assert str(error_of(code, "what")) == f"what (code {code})"


def test_codes_are_grpc_s() -> None:
    """Names and numbers of its canonical status codes."""
    for code in Code:
        assert grpc.StatusCode[code.name].value[0] == code


@pytest.mark.parametrize(
    ("text", "limit", "result"),
    [
        ("", 5, ""),
        ("12345", 5, "12345"),
        ("123456", 5, "12..."),
        ("ä\ud800", 5, "ä?"),
        ("\udcff file", 20, "? file"),
    ],
)
def test_free_text_is_clipped(text: str, limit: int, result: str) -> None:
    """Cut to its limit, and writable."""
    assert clipped(text, limit) == result


def test_the_text_of_a_failed_call_is_clipped() -> None:
    """At its source already."""
    failure = CallFailure.of(ValueError("x" * 1_000_000))
    assert len(failure.message) == MAX_ERROR_CHARS
