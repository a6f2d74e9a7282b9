"""Every error that Callboard raises, in one place to import from."""

from callboard.agent.exceptions import (
    CantHandleException,
    InvalidHandler,
    MessageDroppedException,
    NotAccessibleError,
    UndeliverableException,
)
from callboard.core.errors import (
    AgentNotFound,
    AlreadyRegistered,
    CallboardError,
    CallCancelled,
    Code,
    DeadlineExceeded,
    InvalidIdentifier,
    InvalidMessage,
    NotAllowedNow,
    NotFound,
    ProtocolViolation,
    RemoteAgentError,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)

__all__ = [
    "AgentNotFound",
    "AlreadyRegistered",
    "CallCancelled",
    "CallboardError",
    "CantHandleException",
    "Code",
    "DeadlineExceeded",
    "InvalidHandler",
    "InvalidIdentifier",
    "InvalidMessage",
    "MessageDroppedException",
    "NotAccessibleError",
    "NotAllowedNow",
    "NotFound",
    "ProtocolViolation",
    "RemoteAgentError",
    "ResourceExhausted",
    "Unavailable",
    "UndeliverableException",
    "Unsupported",
]
