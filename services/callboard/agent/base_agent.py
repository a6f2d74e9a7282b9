"""What all agents have: an identity, a way to send, and a way to be registered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias, TypeVar, final

from callboard.agent.agent import Agent, AgentMetadata
from callboard.agent.agent_runtime import AgentRuntime
from callboard.agent.cancellation import CancellationToken
from callboard.agent.context import MessageContext
from callboard.agent.instantiation import AgentInstantiationContext
from callboard.agent.registration import (
    Registration,
    UnboundSubscription,
    bind_subscriptions,
    direct_subscription,
)
from callboard.agent.serialization import MessageSerializer, try_get_known_serializers_for_type
from callboard.core.errors import InvalidIdentifier, InvalidMessage, NotAllowedNow, Unsupported
from callboard.core.identity import AgentId, AgentType, TopicId
from callboard.core.retry import DEFAULT_POLICY, Policy
from callboard.core.subscription import Subscription, TypeSubscription

BaseAgentType = TypeVar("BaseAgentType", bound="BaseAgent")

Handled: TypeAlias = tuple[type[Any], list[MessageSerializer[Any]]]
"""A message type with its serializers."""


def subscription_factory(
    subscription: UnboundSubscription,
) -> Callable[[type[BaseAgentType]], type[BaseAgentType]]:
    """A class decorator: registering the class adds what ``subscription`` returns."""

    def decorate(cls: type[BaseAgentType]) -> type[BaseAgentType]:
        cls.internal_unbound_subscriptions_list.append(subscription)
        return cls

    return decorate


def handles(
    type: type[Any],
    serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]] | None = None,
) -> Callable[[type[BaseAgentType]], type[BaseAgentType]]:
    """A class decorator: registering the class lets messages of ``type`` be sent and received.

    Handlers' types need no such line, unless with a serializer that is not Callboard's.

    Raises:
        InvalidMessage: There is no serializer for the type, and none is given.
    """
    if serializer is None:
        handled = (type, serializers_of(type))
    else:
        given = serializer if isinstance(serializer, Sequence) else [serializer]
        handled = (type, list(given))
    return _handling(handled)


def _handling(handled: Handled) -> Callable[[type[BaseAgentType]], type[BaseAgentType]]:
    def decorate(cls: type[BaseAgentType]) -> type[BaseAgentType]:
        cls.internal_extra_handles_types.append(handled)
        return cls

    return decorate


def serializers_of(cls: type[Any]) -> list[MessageSerializer[Any]]:
    """The serializers known for a class; `InvalidMessage` when there is none."""
    serializers = try_get_known_serializers_for_type(cls)
    if not serializers:
        msg = (
            f"there is no serializer for {cls.__qualname__}: make it a dataclass, a pydantic model "
            "or a protobuf message, or name one with @handles"
        )
        raise InvalidMessage(msg)
    return serializers


_Class: TypeAlias = type[Any]
"""Any class; inside `BaseAgent`, ``type`` is the agent's."""


class BaseAgent(ABC, Agent):
    """An agent that takes its messages in one method. Most authors want `RoutedAgent`.

    Attributes:
        durable: Whether the type outlives the session that registered it: its events are kept
            while no worker serves it. False for agents that matter to one process only.
        policy: How turns of events that fail are treated, unless the registration says otherwise.
    """

    durable: ClassVar[bool] = True
    policy: ClassVar[Policy] = DEFAULT_POLICY

    internal_unbound_subscriptions_list: ClassVar[list[UnboundSubscription]] = []
    """What decorators of this very class added; subclasses start with none, as in AutoGen."""

    internal_extra_handles_types: ClassVar[list[Handled]] = []
    """What `handles` added to this very class."""

    _id: AgentId | None = None
    _runtime: AgentRuntime | None = None
    _description: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.internal_unbound_subscriptions_list = []
        cls.internal_extra_handles_types = []

    def __init__(self, description: str) -> None:
        """Make an agent.

        Args:
            description: What the agent does, for people and models.
        """
        if not isinstance(description, str):
            msg = f"the description of {type(self).__qualname__} must be text, not {description!r}"
            raise TypeError(msg)
        self._description = description
        if AgentInstantiationContext.is_in_factory_call():
            self._runtime = AgentInstantiationContext.current_runtime()
            self._id = AgentInstantiationContext.current_agent_id()

    @property
    def metadata(self) -> AgentMetadata:
        """What the agent says about itself."""
        return AgentMetadata(type=self.id.type, key=self.id.key, description=self._description)

    @property
    def id(self) -> AgentId:
        """The agent's address. `NotAllowedNow` as long as no runtime has the agent."""
        if self._id is None:
            raise self._unbound()
        return self._id

    @property
    def type(self) -> str:
        """The type of the agent's id."""
        return self.id.type

    @property
    def runtime(self) -> AgentRuntime:
        """Where the agent lives. `NotAllowedNow` as long as no runtime has the agent."""
        if self._runtime is None:
            raise self._unbound()
        return self._runtime

    async def bind_id_and_runtime(
        self,
        id: AgentId,
        runtime: AgentRuntime,
    ) -> None:
        """For runtimes: tell an instance made outside a factory who it is and where it lives.

        Raises:
            NotAllowedNow: It is another agent already, or in another runtime.
        """
        if self._id not in {None, id} or (
            self._runtime is not None and self._runtime is not runtime
        ):
            msg = f"this {type(self).__qualname__} is agent {self._id} of a runtime already"
            raise NotAllowedNow(msg)
        self._id = id
        self._runtime = runtime

    @final
    async def on_message(self, message: Any, ctx: MessageContext) -> Any:
        """For runtimes: handle one message."""
        return await self.on_message_impl(message, ctx)

    @abstractmethod
    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Handle one message; what it returns is the reply to a call.

        An async generator that it returns is run as a part of the turn: what it yields are replies.

        Raises:
            CantHandleException: Raise it for what the agent does not handle.
        """

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: _Class | None = None,
    ) -> Any:
        """Call another agent and wait for its reply, as `AgentRuntime.send_message` does."""
        return await self.runtime.send_message(
            message,
            recipient,
            sender=self.id,
            cancellation_token=cancellation_token,
            message_id=message_id,
            timeout_s=timeout_s,
            reply_type=reply_type,
        )

    def stream_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: _Class | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call another agent and take its replies, as `AgentRuntime.stream_message` does."""
        return self.runtime.stream_message(
            message,
            recipient,
            sender=self.id,
            cancellation_token=cancellation_token,
            message_id=message_id,
            timeout_s=timeout_s,
            reply_type=reply_type,
        )

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        cancellation_token: CancellationToken | None = None,
    ) -> None:
        """Publish an event to the others, as `AgentRuntime.publish_message` does."""
        await self.runtime.publish_message(
            message, topic_id, sender=self.id, cancellation_token=cancellation_token
        )

    async def save_state(self) -> Mapping[str, Any]:
        """The agent's state, of JSON values only. Agents without state need not override it."""
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` returned.

        Raises:
            Unsupported: There is a state, and the class does not override this.
        """
        if state:
            msg = f"{type(self).__qualname__} has no load_state, and there is state for {self._id}"
            raise Unsupported(msg)

    async def close(self) -> None:
        """Let go of what the agent holds. No turn follows."""

    async def register_instance(
        self,
        runtime: AgentRuntime,
        agent_id: AgentId,
        *,
        skip_class_subscriptions: bool = True,
        skip_direct_message_subscription: bool = False,
        policy: Policy | None = None,
    ) -> AgentId:
        """Register this very instance as ``agent_id``.

        It also gets events whose topic type is its key. A further instance of a type shares the
        subscriptions of the first. If anything fails, nothing stays registered.

        Args:
            runtime: Where the agent is to live.
            agent_id: Its address.
            skip_class_subscriptions: Leave out those that decorators gave the class.
            skip_direct_message_subscription: Leave out ``<type>:``.
            policy: How turns of events that fail are treated; None: as the class says. A further
                instance of a type shares that of the first.

        Raises:
            AlreadyRegistered: The agent, or its type with a factory, is there already.
        """
        agent_type = AgentType(agent_id.type)
        self._add_serializers(runtime)
        subscriptions = _subscriptions_to_key(agent_id)
        if not skip_class_subscriptions:
            subscriptions += await bind_subscriptions(agent_type, self._unbound_subscriptions())
        if not skip_direct_message_subscription:
            subscriptions.append(direct_subscription(agent_type))
        async with Registration(runtime) as registration:
            registered = await registration.add_instance(self, agent_id, policy)
            await registration.subscribe(subscriptions, may_exist=True)
        return registered

    @classmethod
    async def register(
        cls,
        runtime: AgentRuntime,
        type: str | AgentType,
        factory: Callable[[], Self | Awaitable[Self]],
        *,
        skip_class_subscriptions: bool = False,
        skip_direct_message_subscription: bool = False,
        policy: Policy | None = None,
    ) -> AgentType:
        """Have ``runtime`` serve agents of ``type``, made by ``factory`` on their first message.

        Serializers of the messages that the class handles come first, then the type, the
        subscriptions of the class, and the one for ``<type>:``. If anything fails, nothing stays
        registered.

        Args:
            runtime: Where the agents are to live.
            type: The name of the type.
            factory: Makes an agent, or an awaitable of one, of this class.
            skip_class_subscriptions: Leave out those that decorators gave the class.
            skip_direct_message_subscription: Leave out ``<type>:``.
            policy: How turns of events that fail are treated; None: as the class says.

        Raises:
            AlreadyRegistered: The runtime has the type, or one of the subscriptions.
            InvalidIdentifier: The name breaks its rule.
            InvalidMessage: A message type of the class cannot travel.
            InvalidPolicy: What the class has as ``policy`` is none.
        """
        agent_type = type if isinstance(type, AgentType) else AgentType(type)
        cls._add_serializers(runtime)
        subscriptions: list[Subscription] = []
        if not skip_class_subscriptions:
            subscriptions += await bind_subscriptions(agent_type, cls._unbound_subscriptions())
        if not skip_direct_message_subscription:
            subscriptions.append(direct_subscription(agent_type))
        async with Registration(runtime) as registration:
            registered = await registration.add_factory(agent_type, factory, cls, policy)
            await registration.subscribe(subscriptions)
        return registered

    @classmethod
    def _handles_types(cls) -> list[Handled]:
        """The message types of the class with their serializers."""
        return cls.internal_extra_handles_types

    @classmethod
    def _unbound_subscriptions(cls) -> list[UnboundSubscription]:
        return cls.internal_unbound_subscriptions_list

    @classmethod
    def _add_serializers(cls, runtime: AgentRuntime) -> None:
        for _, serializers in cls._handles_types():
            runtime.add_message_serializer(serializers)

    def _unbound(self) -> NotAllowedNow:
        msg = (
            f"this {type(self).__qualname__} is in no runtime: make it in a factory that a runtime "
            "calls, or use register_instance"
        )
        return NotAllowedNow(msg)


def _subscriptions_to_key(agent_id: AgentId) -> list[Subscription]:
    """Events whose topic type is the agent's key, as in AutoGen; a key need not be a topic type."""
    try:
        return [TypeSubscription(agent_id.key, agent_id.type)]
    except InvalidIdentifier:
        return []
