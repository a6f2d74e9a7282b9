"""Errors about agents and how they handle messages."""

from __future__ import annotations

from callboard.core.errors import CallboardError, Code, Unsupported


class InvalidHandler(CallboardError, TypeError):
    """A handler, as it is written, can never work.

    The message names it and the rule; mend the code.
    """

    code = Code.INVALID_ARGUMENT


class CantHandleException(Unsupported):
    """The agent has no handler for the message.

    Trying again is no use; add a handler or mend the type.
    """


class Reject(CallboardError):
    """The event cannot be handled, now or later: an agent raises it to have no further attempt.

    The event becomes a dead letter at once, with this text. The caller of a call gets it as any
    other error of the handler.
    """


class UndeliverableException(CallboardError):
    """The message cannot reach its recipient.

    Callboard's own errors say more; agents may raise this one.
    """

    code = Code.UNAVAILABLE


class MessageDroppedException(CallboardError):
    """An intervention handler dropped the call or its reply, so there is no result."""

    code = Code.ABORTED


class NotAccessibleError(CallboardError):
    """The agent's instance lives in another process. Send it a message instead."""

    code = Code.FAILED_PRECONDITION
