"""What is said of agents' code that failed: to callers, in dead letters, in logs."""

from __future__ import annotations

import asyncio

from callboard.agent.exceptions import CantHandleException, Reject
from callboard.core.errors import (
    CallboardError,
    Code,
    InvalidIdentifier,
    InvalidMessage,
    NotFound,
    RemoteAgentError,
)
from callboard.core.frames import CallFailure, Rejected, clipped

NOT_OF_THE_TURN = (SystemExit, KeyboardInterrupt, GeneratorExit)
"""What ends the process, or its event loop.

Whatever else an agent's code raises ends its turn only: some libraries fail with what is no
`Exception`.
"""

HANDLER_ERROR = "handler_error"
"""The agent's code failed: the turn may be tried again."""

QUEUE_FULL = "queue_full"
"""There was no room for what the turn published: it may be tried again."""

CANCELLED = "something that the turn waited for was cancelled"


def text_of(error: BaseException) -> str:
    """The text of ``error``, whatever class an agent's code made it of: ``str`` may raise too."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 (an agent's code may raise anything)
        return f"<its text cannot be had: {type(broken).__name__}>"


def raised_by_agent(error: BaseException) -> RemoteAgentError:
    """What an agent's code raised, in the form in which it travels."""
    return RemoteAgentError(type(error).__name__, text_of(error))


def failure_of(error: BaseException) -> CallFailure:
    """What the caller of a call that failed with ``error`` is told."""
    if isinstance(error, asyncio.CancelledError):
        return CallFailure(Code.CANCELLED, CANCELLED)
    if isinstance(error, Reject):  # a caller has nothing to reject
        error = raised_by_agent(error)
    return CallFailure.of(error if isinstance(error, CallboardError) else raised_by_agent(error))


def is_of_the_host(error: CallboardError) -> bool:
    """Whether the host could not keep what a turn published: no fault of the turn's."""
    return error.code is Code.UNAVAILABLE


def refusal_of(error: CallboardError) -> Rejected:
    """What stands in the dead letter of an event of which the host refused what it published."""
    is_full = error.code is Code.RESOURCE_EXHAUSTED
    return Rejected(QUEUE_FULL if is_full else "publish_refused", clipped(str(error)))


def rejection_of(error: BaseException) -> Rejected:
    """What stands in the dead letter of an event whose turn failed with ``error``."""
    match error:
        case asyncio.CancelledError():
            return Rejected(HANDLER_ERROR, f"CancelledError: {CANCELLED}")
        case Reject():
            return Rejected("rejected", clipped(text_of(error)))
        case InvalidMessage() | InvalidIdentifier():
            return Rejected("bad_payload", clipped(str(error)))
        case CantHandleException():
            return Rejected("unhandled", clipped(str(error)))
        case NotFound():
            return Rejected("no_such_type", clipped(str(error)))
        case _:
            remote = error if isinstance(error, RemoteAgentError) else raised_by_agent(error)
            return Rejected(HANDLER_ERROR, clipped(str(remote)))
