"""An agent that is one function, for tools, tests and results on their way out of a runtime."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

from callboard.agent.agent_runtime import AgentRuntime
from callboard.agent.annotations import AnyType, hints_of, local_names, message_types, streamed
from callboard.agent.base_agent import BaseAgent, serializers_of
from callboard.agent.cancellation import CancellationToken
from callboard.agent.context import MessageContext
from callboard.agent.exceptions import CantHandleException, InvalidHandler
from callboard.agent.instantiation import AgentInstantiationContext
from callboard.agent.registration import Registration, bind_subscriptions, direct_subscription
from callboard.agent.serialization import MessageSerializer, UnknownPayload
from callboard.core.errors import NotAllowedNow
from callboard.core.identity import AgentId, AgentType, TopicId
from callboard.core.retry import Policy
from callboard.core.subscription import Subscription

T = TypeVar("T")

UnknownTypePolicy: TypeAlias = Literal["error", "warn", "ignore"]


class ClosureContext(Protocol):
    """What a closure can do; its first argument."""

    @property
    def id(self) -> AgentId:
        """The agent's address."""
        ...

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> Any:
        """Call another agent and wait for its reply."""
        ...

    def stream_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call another agent and take its replies as they come."""
        ...

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        cancellation_token: CancellationToken | None = None,
    ) -> None:
        """Publish an event to the others."""
        ...


Closure: TypeAlias = Callable[
    [ClosureContext, T, MessageContext], Awaitable[Any] | AsyncIterator[Any]
]
"""An async function, or an async generator, whose calls are streamed."""


class ClosureAgent(BaseAgent, ClosureContext):
    """An agent whose handler is a function ``closure(agent, message, ctx)``.

    `register_closure` makes them. Their type ends with the session that registered it, since a
    function matters to its process only.

    Args:
        description: What the agent does.
        closure: The function; what its second parameter is annotated with says what it takes.
        unknown_type_policy: What to do with messages of other types; see `register_closure`.

    Raises:
        NotAllowedNow: It is not made in a factory.
        InvalidHandler: The function cannot be a handler.
    """

    durable: ClassVar[bool] = False

    def __init__(
        self,
        description: str,
        closure: Closure[Any],
        *,
        unknown_type_policy: UnknownTypePolicy = "warn",
    ) -> None:
        if not AgentInstantiationContext.is_in_factory_call():
            msg = "a ClosureAgent is made by a runtime only: use ClosureAgent.register_closure"
            raise NotAllowedNow(msg)
        super().__init__(description)
        self._closure = closure
        self._unknown_type_policy = unknown_type_policy
        self._expected_types: tuple[type, ...] = ()

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Call the closure, if the message has one of its types."""
        if not self._expected_types:
            self._expected_types, _ = _types_of(self._closure)
        expected = self._expected_types
        if type(message) not in expected and AnyType not in expected:
            names = " or ".join(each.__qualname__ for each in expected)
            msg = f"{self.id} takes {names}, not {type(message).__qualname__}"
            if self._unknown_type_policy == "error":
                raise CantHandleException(msg)
            if self._unknown_type_policy == "warn":
                if ctx.is_rpc:
                    raise CantHandleException(msg)
                warnings.warn(msg, stacklevel=2)
                return None
        result = self._closure(self, message, ctx)
        return await result if inspect.isawaitable(result) else result

    @classmethod
    async def register_closure(
        cls,
        runtime: AgentRuntime,
        type: str | AgentType,
        closure: Closure[T],
        *,
        unknown_type_policy: UnknownTypePolicy = "warn",
        skip_direct_message_subscription: bool = False,
        description: str = "",
        subscriptions: Callable[[], Sequence[Subscription] | Awaitable[Sequence[Subscription]]]
        | None = None,
        policy: Policy | None = None,
    ) -> AgentType:
        """Have ``runtime`` serve agents of ``type`` with a function, for its session only.

        If anything fails, nothing stays registered.

        Args:
            runtime: Where the agents are to live.
            type: The name of the type.
            closure: The function. Its second parameter is annotated with a class of messages, a
                union of some, or ``Any``.
            unknown_type_policy: What to do with a message of another type. ``error``: raise
                `CantHandleException`. ``warn``: the same for a call, which waits for an answer; an
                event is dropped with a Python warning. ``ignore``: call the function all the same.
            skip_direct_message_subscription: Leave out the subscription for ``<type>:``.
            description: What the agents do.
            subscriptions: Makes what the agents subscribe to, `DefaultSubscription` for example.
            policy: How turns of events that fail are treated; None: as the class says.

        Raises:
            InvalidHandler: The function cannot be a handler.
            AlreadyRegistered: The runtime has the type, or one of the subscriptions.
        """
        agent_type = type if isinstance(type, AgentType) else AgentType(type)
        targets, produced = _types_of(closure)
        for serializers in _serializers(targets, produced):
            runtime.add_message_serializer(serializers)
        bound = await bind_subscriptions(agent_type, [subscriptions] if subscriptions else [])
        if not skip_direct_message_subscription:
            bound.append(direct_subscription(agent_type))

        def factory() -> ClosureAgent:
            agent = cls(description, closure, unknown_type_policy=unknown_type_policy)
            agent._expected_types = targets  # by now names local to a function may be gone
            return agent

        async with Registration(runtime) as registration:
            registered = await registration.add_factory(agent_type, factory, cls, policy)
            await registration.subscribe(bound)
        return registered


def _types_of(closure: Callable[..., Any]) -> tuple[tuple[type, ...], tuple[type, ...]]:
    """The classes of what a closure takes and returns."""
    name = getattr(closure, "__qualname__", repr(closure))
    positional = [
        each.name
        for each in inspect.signature(closure).parameters.values()
        if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}
    ]
    if len(positional) != 3:  # noqa: PLR2004 (as the text says)
        msg = f"closure {name}: its parameters must be the agent, the message and the context"
        raise InvalidHandler(msg)
    if not hasattr(closure, "__annotations__"):  # an object that can be called
        closure = type(closure).__call__
    function = inspect.unwrap(closure)
    local = local_names(name, getattr(function, "__module__", None))
    try:
        hints = hints_of(function, (positional[1], "return"), local)
        returned = hints["return"]
        if inspect.isasyncgenfunction(function):
            returned = streamed(returned)
        return message_types(hints[positional[1]]), message_types(returned)
    except KeyError as error:
        msg = f"closure {name}: annotate {positional[1]} and what the function returns"
        raise InvalidHandler(msg) from error
    except (TypeError, NameError) as error:
        msg = f"closure {name}: {error}"
        raise InvalidHandler(msg) from error


def _serializers(*types: tuple[type, ...]) -> list[list[MessageSerializer[Any]]]:
    wanted = {each for group in types for each in group} - {AnyType, UnknownPayload}
    return [serializers_of(each) for each in wanted]
