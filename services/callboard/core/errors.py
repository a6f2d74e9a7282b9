"""Every error that Callboard raises, and the code by which each crosses the wire."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """What kind of failure an error is. Names and numbers are gRPC's canonical status codes."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class CallboardError(Exception):
    """The root of all errors of Callboard.

    Attributes:
        code: The kind of failure, the same on both ends of the wire.
    """

    code: ClassVar[Code] = Code.INTERNAL


class InvalidIdentifier(CallboardError, ValueError):
    """An agent id, topic or subscription breaks its rule.

    Mend the value; trying again is no use.
    """

    code = Code.INVALID_ARGUMENT


class InvalidPolicy(CallboardError, ValueError):
    """The policy of an agent type breaks its rule, or is none.

    Mend the value; trying again is no use.
    """

    code = Code.INVALID_ARGUMENT


class InvalidMessage(CallboardError, ValueError):
    """A message cannot be written or read.

    No serializer, or a payload that does not fit its type.
    """

    code = Code.INVALID_ARGUMENT


class ProtocolViolation(CallboardError):
    """The peer sent what the protocol does not allow. The stream it came on ends."""

    code = Code.INVALID_ARGUMENT


class NotFound(CallboardError, LookupError):
    """What was named is not there."""

    code = Code.NOT_FOUND


class AgentNotFound(NotFound):
    """No worker ever registered the agent type that a call names.

    Mend the name, or start its worker.
    """


class AlreadyRegistered(CallboardError, ValueError):
    """The agent type, agent or subscription exists already.

    To a worker: another one has connected under its name. Give it a name of its own; trying again
    would end the other.
    """

    code = Code.ALREADY_EXISTS


class NotAllowedNow(CallboardError, RuntimeError):
    """The runtime is not in the state that the operation needs, for example not started."""

    code = Code.FAILED_PRECONDITION


class ResourceExhausted(CallboardError):
    """A bound was met: an event too large, a queue full.

    The message names the size and the limit.
    """

    code = Code.RESOURCE_EXHAUSTED


class DeadlineExceeded(CallboardError, TimeoutError):
    """A call had no answer in its time.

    The handler was told to stop; whether it had effects is not known.
    """

    code = Code.DEADLINE_EXCEEDED


class CallCancelled(CallboardError):
    """The other side gave the call up, for example because its worker is leaving."""

    code = Code.CANCELLED


class Unavailable(CallboardError, ConnectionError):
    """The host or the worker that should answer is not there now. Trying again later may help."""

    code = Code.UNAVAILABLE


class PublishOutcomeUnknown(CallboardError):
    """The host was away for so long that it does not know what it had of this process.

    The event is published, or it is not. Publish it again where it may be handled twice.
    """

    code = Code.UNKNOWN


class Unsupported(CallboardError, NotImplementedError):
    """The peer or this runtime does not have the operation."""

    code = Code.UNIMPLEMENTED


class RemoteAgentError(CallboardError):
    """An agent's handler raised. Caught where a caller wants to treat the agent's own failures.

    Attributes:
        error_type: The name of the exception's class in the agent's process, for example
            ``ValueError``.
        error_message: Its text as it was, possibly empty.
    """

    code = Code.UNKNOWN

    def __init__(self, error_type: str, error_message: str) -> None:
        super().__init__(f"{error_type}: {error_message}" if error_message else error_type)
        self.error_type = error_type
        self.error_message = error_message

    def __reduce__(self) -> tuple[type[RemoteAgentError], tuple[str, str]]:
        """Keep both parts when pickled (an exception is rebuilt from its ``args`` otherwise)."""
        return type(self), (self.error_type, self.error_message)


_BY_CODE: dict[Code, type[CallboardError]] = {
    Code.CANCELLED: CallCancelled,
    Code.INVALID_ARGUMENT: InvalidMessage,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    Code.NOT_FOUND: AgentNotFound,
    Code.ALREADY_EXISTS: AlreadyRegistered,
    Code.RESOURCE_EXHAUSTED: ResourceExhausted,
    Code.FAILED_PRECONDITION: NotAllowedNow,
    Code.UNIMPLEMENTED: Unsupported,
    Code.UNAVAILABLE: Unavailable,
}


def error_of(code: int, message: str, error_type: str = "") -> CallboardError:
    """The error to raise for what a peer reported.

    Args:
        code: A number of `Code`; one this version does not know gives a plain `CallboardError`.
        message: The text, for people.
        error_type: Not empty when an agent's own code raised: the class of what it raised.
    """
    if error_type:
        return RemoteAgentError(error_type, message)
    try:
        known = Code(code)
    except ValueError:
        return CallboardError(f"{message} (code {code})")
    return _BY_CODE.get(known, CallboardError)(message)


def cause_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single exception of a task group that broke.

    What happened, its siblings were only cancelled.
    """
    first = group.exceptions[0]
    return cause_of(first) if isinstance(first, BaseExceptionGroup) else first
