"""Errors about handling messages, under AutoGen's names."""

from __future__ import annotations

from callboard.core.errors import CallboardError, Code


class CantHandleException(CallboardError):  # noqa: N818 (AutoGen's name)
    """The agent has no handler for the message. Trying again is no use; add a handler or mend the type."""

    code = Code.UNIMPLEMENTED


class UndeliverableException(CallboardError):  # noqa: N818 (AutoGen's name)
    """The message cannot reach its recipient. Raised by agents and interventions; a runtime says why."""

    code = Code.UNAVAILABLE


class MessageDroppedException(CallboardError):  # noqa: N818 (AutoGen's name)
    """An intervention handler dropped the call or its reply, so there is no result."""

    code = Code.ABORTED


class NotAccessibleError(CallboardError):
    """The agent's instance lives in another process. Send it a message instead."""

    code = Code.FAILED_PRECONDITION
