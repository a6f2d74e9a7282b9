"""What authors of agents import.

Runtimes come from `callboard.local`, `callboard.worker` and `callboard.host`; all errors also from
`callboard.exceptions`.
"""

from callboard.agent.agent import Agent, AgentMetadata
from callboard.agent.agent_proxy import AgentProxy
from callboard.agent.agent_runtime import AgentRuntime
from callboard.agent.base_agent import BaseAgent, handles
from callboard.agent.cancellation import CancellationToken
from callboard.agent.closure_agent import ClosureAgent, ClosureContext
from callboard.agent.context import MessageContext
from callboard.agent.default_subscription import (
    DefaultSubscription,
    default_subscription,
    type_subscription,
)
from callboard.agent.default_topic import DefaultTopicId
from callboard.agent.exceptions import (
    CantHandleException,
    InvalidHandler,
    MessageDroppedException,
    NotAccessibleError,
    UndeliverableException,
)
from callboard.agent.instantiation import (
    AgentInstantiationContext,
    MessageHandlerContext,
    SubscriptionInstantiationContext,
)
from callboard.agent.intervention import (
    DefaultInterventionHandler,
    DropMessage,
    InterventionHandler,
)
from callboard.agent.message_handler import MessageHandler, event, message_handler, rpc
from callboard.agent.routed_agent import RoutedAgent
from callboard.agent.serialization import SerializationRegistry, UnknownPayload
from callboard.agent.serializers import (
    JSON_DATA_CONTENT_TYPE,
    PROTOBUF_DATA_CONTENT_TYPE,
    MessageSerializer,
    try_get_known_serializers_for_type,
)
from callboard.core.errors import (
    AgentNotFound,
    AlreadyRegistered,
    CallboardError,
    CallCancelled,
    DeadlineExceeded,
    InvalidIdentifier,
    InvalidMessage,
    NotAllowedNow,
    NotFound,
    RemoteAgentError,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)
from callboard.core.identity import AgentId, AgentType, TopicId
from callboard.core.subscription import Subscription, TypePrefixSubscription, TypeSubscription

__all__ = [
    "JSON_DATA_CONTENT_TYPE",
    "PROTOBUF_DATA_CONTENT_TYPE",
    "Agent",
    "AgentId",
    "AgentInstantiationContext",
    "AgentMetadata",
    "AgentNotFound",
    "AgentProxy",
    "AgentRuntime",
    "AgentType",
    "AlreadyRegistered",
    "BaseAgent",
    "CallCancelled",
    "CallboardError",
    "CancellationToken",
    "CantHandleException",
    "ClosureAgent",
    "ClosureContext",
    "DeadlineExceeded",
    "DefaultInterventionHandler",
    "DefaultSubscription",
    "DefaultTopicId",
    "DropMessage",
    "InterventionHandler",
    "InvalidHandler",
    "InvalidIdentifier",
    "InvalidMessage",
    "MessageContext",
    "MessageDroppedException",
    "MessageHandler",
    "MessageHandlerContext",
    "MessageSerializer",
    "NotAccessibleError",
    "NotAllowedNow",
    "NotFound",
    "RemoteAgentError",
    "ResourceExhausted",
    "RoutedAgent",
    "SerializationRegistry",
    "Subscription",
    "SubscriptionInstantiationContext",
    "TopicId",
    "TypePrefixSubscription",
    "TypeSubscription",
    "Unavailable",
    "UndeliverableException",
    "UnknownPayload",
    "Unsupported",
    "default_subscription",
    "event",
    "handles",
    "message_handler",
    "rpc",
    "try_get_known_serializers_for_type",
    "type_subscription",
]
