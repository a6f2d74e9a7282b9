"""Subscriptions that a class declares by a decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from callboard.agent.base_agent import BaseAgent, BaseAgentType, subscription_factory
from callboard.agent.instantiation import SubscriptionInstantiationContext
from callboard.core.identity import AgentType
from callboard.core.subscription import TypeSubscription


class DefaultSubscription(TypeSubscription):
    """Events of topic type ``default``, for the agent type that is being registered.

    Args:
        topic_type: Another topic type.
        agent_type: The agent type, where none is being registered.

    Raises:
        NotAllowedNow: No agent type is given, and none is being registered.
    """

    __slots__ = ()

    def __init__(
        self, topic_type: str = "default", agent_type: str | AgentType | None = None
    ) -> None:
        super().__init__(topic_type, agent_type or SubscriptionInstantiationContext.agent_type())


@overload
def default_subscription() -> Callable[[type[BaseAgentType]], type[BaseAgentType]]: ...


@overload
def default_subscription(cls: type[BaseAgentType]) -> type[BaseAgentType]: ...


def default_subscription(cls: type[BaseAgent] | None = None) -> Any:
    """A class decorator, with or without parentheses: subscribe to topic type ``default``."""
    decorate = type_subscription("default")
    return decorate if cls is None else decorate(cls)


def type_subscription(
    topic_type: str,
) -> Callable[[type[BaseAgentType]], type[BaseAgentType]]:
    """A class decorator: subscribe to a topic type. May be given several times."""
    return subscription_factory(lambda: [DefaultSubscription(topic_type)])
