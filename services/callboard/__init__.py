"""What authors of agents import.

Runtimes come from `callboard.local`, `callboard.worker` and `callboard.host`; all errors also from
`callboard.exceptions`.

A name is imported when it is first asked for: the command imports this package before it can answer
a signal, and all of it takes 0.3 s, most of that pydantic and protobuf.
"""

TYPE_CHECKING = False  # as in `typing`, whose import takes longer than this whole package

if TYPE_CHECKING:
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
        Reject,
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
        InvalidPolicy,
        NotAllowedNow,
        NotFound,
        PublishOutcomeUnknown,
        RemoteAgentError,
        ResourceExhausted,
        Unavailable,
        Unsupported,
    )
    from callboard.core.identity import AgentId, AgentType, TopicId
    from callboard.core.retry import Policy
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
    "InvalidPolicy",
    "MessageContext",
    "MessageDroppedException",
    "MessageHandler",
    "MessageHandlerContext",
    "MessageSerializer",
    "NotAccessibleError",
    "NotAllowedNow",
    "NotFound",
    "Policy",
    "PublishOutcomeUnknown",
    "Reject",
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

_MODULES = {
    "callboard.agent.agent": ("Agent", "AgentMetadata"),
    "callboard.agent.agent_proxy": ("AgentProxy",),
    "callboard.agent.agent_runtime": ("AgentRuntime",),
    "callboard.agent.base_agent": ("BaseAgent", "handles"),
    "callboard.agent.cancellation": ("CancellationToken",),
    "callboard.agent.closure_agent": ("ClosureAgent", "ClosureContext"),
    "callboard.agent.context": ("MessageContext",),
    "callboard.agent.default_subscription": (
        "DefaultSubscription",
        "default_subscription",
        "type_subscription",
    ),
    "callboard.agent.default_topic": ("DefaultTopicId",),
    "callboard.agent.exceptions": (
        "CantHandleException",
        "InvalidHandler",
        "MessageDroppedException",
        "NotAccessibleError",
        "Reject",
        "UndeliverableException",
    ),
    "callboard.agent.instantiation": (
        "AgentInstantiationContext",
        "MessageHandlerContext",
        "SubscriptionInstantiationContext",
    ),
    "callboard.agent.intervention": (
        "DefaultInterventionHandler",
        "DropMessage",
        "InterventionHandler",
    ),
    "callboard.agent.message_handler": ("MessageHandler", "event", "message_handler", "rpc"),
    "callboard.agent.routed_agent": ("RoutedAgent",),
    "callboard.agent.serialization": ("SerializationRegistry", "UnknownPayload"),
    "callboard.agent.serializers": (
        "JSON_DATA_CONTENT_TYPE",
        "PROTOBUF_DATA_CONTENT_TYPE",
        "MessageSerializer",
        "try_get_known_serializers_for_type",
    ),
    "callboard.core.errors": (
        "AgentNotFound",
        "AlreadyRegistered",
        "CallboardError",
        "CallCancelled",
        "DeadlineExceeded",
        "InvalidIdentifier",
        "InvalidMessage",
        "InvalidPolicy",
        "NotAllowedNow",
        "NotFound",
        "PublishOutcomeUnknown",
        "RemoteAgentError",
        "ResourceExhausted",
        "Unavailable",
        "Unsupported",
    ),
    "callboard.core.identity": ("AgentId", "AgentType", "TopicId"),
    "callboard.core.retry": ("Policy",),
    "callboard.core.subscription": ("Subscription", "TypePrefixSubscription", "TypeSubscription"),
}
"""Where each name of `__all__` comes from: what the imports above say to type checkers."""

_PACKAGES = ("agent", "core")
"""What `import callboard` is enough for, with those of their modules that are above."""

if not TYPE_CHECKING:  # or a checker would take any name for one of this module

    def __getattr__(name: str) -> object:
        """Import what is asked for the first time."""
        import sys  # noqa: PLC0415 (this package's own import is to cost nothing)
        from importlib import import_module  # noqa: PLC0415

        if name in _PACKAGES:  # and their modules
            for module in _MODULES:
                import_module(module)
            return globals()[name]
        for module, names in _MODULES.items():
            if name in names:
                found = globals()[name] = getattr(import_module(module), name)
                return found
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg, name=name, obj=sys.modules[__name__])

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_PACKAGES})
