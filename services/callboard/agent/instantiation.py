"""Where the running code is: in a factory, in a subscription callback, in a handler.

A runtime fills these contexts; factories, constructors, subscription callbacks and handlers read
them. They are context variables, so each task sees its own.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from callboard.core.errors import NotAllowedNow

if TYPE_CHECKING:
    from types import TracebackType

    from callboard.agent.agent_runtime import AgentRuntime
    from callboard.core.identity import AgentId, AgentType

V = TypeVar("V")


class _Populated(Generic[V]):
    """Gives a context variable a value for the length of a ``with``.

    A class, because every turn enters one: a generator costs twice as much.
    """

    __slots__ = ("_token", "_value", "_variable")

    _token: Token[V]

    def __init__(self, variable: ContextVar[V], value: V) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        self._token = self._variable.set(self._value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._variable.reset(self._token)


class _Static:
    """A class of class methods, never instantiated."""

    def __init__(self) -> None:
        msg = f"{type(self).__name__} has class methods only; do not instantiate it"
        raise NotAllowedNow(msg)


class AgentInstantiationContext(_Static):
    """Tells a factory, and the constructor it calls, for which agent and runtime it works."""

    _current: ClassVar[ContextVar[tuple[AgentRuntime, AgentId]]] = ContextVar("agent_instantiation")

    @classmethod
    def populate_context(
        cls, ctx: tuple[AgentRuntime, AgentId]
    ) -> _Populated[tuple[AgentRuntime, AgentId]]:
        """For runtimes: the ``with`` in which a factory runs."""
        return _Populated(cls._current, ctx)

    @classmethod
    def current_runtime(cls) -> AgentRuntime:
        """The runtime that is making an agent. `NotAllowedNow` outside a factory."""
        return cls._get()[0]

    @classmethod
    def current_agent_id(cls) -> AgentId:
        """The id of the agent being made. `NotAllowedNow` outside a factory."""
        return cls._get()[1]

    @classmethod
    def is_in_factory_call(cls) -> bool:
        """Whether a runtime is making an agent right now, in this task."""
        return cls._current.get(None) is not None

    @classmethod
    def _get(cls) -> tuple[AgentRuntime, AgentId]:
        try:
            return cls._current.get()
        except LookupError:
            msg = "no agent is being made here: read this in a factory that a runtime calls"
            raise NotAllowedNow(msg) from None


class SubscriptionInstantiationContext(_Static):
    """Tells a subscription callback for which agent type it makes subscriptions."""

    _current: ClassVar[ContextVar[AgentType]] = ContextVar("subscription_instantiation")

    @classmethod
    def populate_context(cls, ctx: AgentType) -> _Populated[AgentType]:
        """For registration: the ``with`` in which subscription callbacks run."""
        return _Populated(cls._current, ctx)

    @classmethod
    def agent_type(cls) -> AgentType:
        """The agent type being registered. `NotAllowedNow` outside a subscription callback."""
        try:
            return cls._current.get()
        except LookupError:
            msg = (
                "there is no agent type being registered here; read this in a subscription callback"
            )
            raise NotAllowedNow(msg) from None


class MessageHandlerContext(_Static):
    """Tells which agent's handler is running."""

    _current: ClassVar[ContextVar[AgentId]] = ContextVar("message_handler")

    @classmethod
    def populate_context(cls, ctx: AgentId) -> _Populated[AgentId]:
        """For runtimes: the ``with`` in which a handler runs."""
        return _Populated(cls._current, ctx)

    @classmethod
    def enter(cls, ctx: AgentId) -> None:
        """For runtimes: a handler runs in the present context, to the end of that."""
        cls._current.set(ctx)

    @classmethod
    def agent_id(cls) -> AgentId:
        """The agent whose handler is running. `NotAllowedNow` outside a handler."""
        try:
            return cls._current.get()
        except LookupError:
            msg = "there is no handler running here"
            raise NotAllowedNow(msg) from None
