"""What agents, and programs that use agents, ask of a runtime.

Names and signatures are AutoGen's, so that programs move by changing imports; arguments that
AutoGen does not have are keywords with a default.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload, runtime_checkable

from callboard.agent.agent import Agent, AgentMetadata
from callboard.agent.cancellation import CancellationToken
from callboard.agent.serialization import MessageSerializer
from callboard.core.identity import AgentId, AgentType, TopicId
from callboard.core.retry import Policy
from callboard.core.subscription import Subscription

T = TypeVar("T", bound=Agent)


@runtime_checkable
class AgentRuntime(Protocol):
    """Where agents live: `LocalRuntime` in one process, `WorkerRuntime` in many."""

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> Any:
        """Call one agent and wait for its reply.

        Args:
            message: What to send; a serializer of its type must be known.
            recipient: The agent to call. It is created if it is not there.
            sender: Who calls; None when that is no agent.
            cancellation_token: When it is cancelled the call ends with `asyncio.CancelledError` and
                the handler is told to stop.
            message_id: `MessageContext.message_id` of the handler; None makes one.
            timeout_s: Seconds until the call ends with `DeadlineExceeded`; None is the runtime's
                default.
            reply_type: The class of the reply: the runtime learns to read it, and checks it. Not
                needed for a class that agents of this runtime handle or return, that was sent
                here, or whose serializer was added. `UnknownPayload` takes any, unread.

        Returns:
            What the handler returned, None included.

        Raises:
            AgentNotFound: No worker registered the recipient's type.
            RemoteAgentError: The handler raised.
            DeadlineExceeded: There was no answer in time.
            Unavailable: The agent's worker, or the host, was lost.
            InvalidMessage: The message cannot be written; or the reply is of a class that this
                runtime does not know, or not of ``reply_type``.
            ResourceExhausted: The message is too large, or too many calls wait for that agent.
            CantHandleException: The recipient does not handle the message, or answers it with a
                stream, which `stream_message` takes.
        """
        ...

    def stream_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call one agent and take its replies as they come: ``async for reply in ...``.

        The call leaves when the iteration begins. The handler is at most 32 replies ahead of
        whoever takes them, and its agent has no other turn before the stream has ended. A handler
        that does not stream gives its one reply.

        Leaving the iteration early gives the call up, and the handler is told to stop: at once by
        ``aclose``, the token, or a cancelled task; by ``break`` as soon as nothing refers to the
        generator any more. `contextlib.aclosing` leaves nothing to chance.

        Args:
            message: What to send; a serializer of its type must be known.
            recipient: The agent to call. It is created if it is not there.
            sender: Who calls; None when that is no agent.
            cancellation_token: When it is cancelled the iteration ends with
                `asyncio.CancelledError`, whatever has come.
            message_id: `MessageContext.message_id` of the handler; None makes one.
            timeout_s: Seconds until the stream ends with `DeadlineExceeded`, all of it; None is the
                runtime's default.
            reply_type: The class of each reply; see `send_message`.

        Yields:
            What the handler yielded, None included, in order.

        Raises:
            CallboardError: As `send_message`, when no reply or after those that came before.
            Unsupported: The host, or the worker of the agent, does not know streams.
        """
        ...

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Publish an event to all agents subscribed to the topic, except ``sender`` itself.

        Outside a turn it returns when the host has the event, which waits where the queue of an
        agent type is full; inside a turn it leaves at once and is not waited for, and a refusal
        fails the turn, which is tried again where it was one for want of room.

        Args:
            message: What to publish.
            topic_id: Where.
            sender: The agent that publishes, if one does.
            cancellation_token: Lets the caller stop waiting. The event may be taken all the same.
            message_id: Chosen by the caller; None makes one.
            timeout_s: Seconds that the event may wait for room, outside a turn; None is 30. Then it
                is refused, unless there is room for some of the agents that it is for: those get
                it, and for each of the others it becomes a dead letter (``queue_full``).

        Raises:
            Unavailable: The host was lost before it confirmed the event.
            InvalidMessage: The message cannot be written.
            ResourceExhausted: The event is larger than the host's limit, or there was no room for
                it in time; the text names sizes and limits.
        """
        ...

    async def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], T | Awaitable[T]],
        *,
        expected_class: type[T] | None = None,
        policy: Policy | None = None,
    ) -> AgentType:
        """Serve agents of ``type`` here.

        The factory runs once for each instance, on its first message. Inside it
        `AgentInstantiationContext` tells the id and the runtime.

        Args:
            type: The name of the type.
            agent_factory: Makes an agent, or an awaitable of one.
            expected_class: What it must be an instance of; None: anything.
            policy: How turns of events that fail are treated; None: as ``expected_class`` says.

        Raises:
            AlreadyRegistered: This runtime serves the type already.
            InvalidIdentifier: The name breaks its rule.
            InvalidPolicy: What the class has as ``policy`` is none.
        """
        ...

    async def register_agent_instance(
        self, agent_instance: Agent, agent_id: AgentId, *, policy: Policy | None = None
    ) -> AgentId:
        """Serve the agent ``agent_id`` with an instance made elsewhere.

        The ``policy`` of a type, or else that of the instance's class, is that of its first one.
        """
        ...

    async def try_get_underlying_agent_instance(
        self,
        id: AgentId,
        type: type[T] = Agent,  # type: ignore[assignment]
    ) -> T:
        """The instance itself, for tests.

        Raises `NotAccessibleError` when it lives in another process.
        """
        ...

    @overload
    async def get(self, id: AgentId, /, *, lazy: bool = ...) -> AgentId: ...

    @overload
    async def get(
        self, type: AgentType | str, /, key: str = ..., *, lazy: bool = ...
    ) -> AgentId: ...

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        """The id of an agent. With ``lazy=False`` an instance served here is created now."""
        ...

    async def save_state(self) -> Mapping[str, Any]:
        """The state of every instance in this runtime, by ``type/key``."""
        ...

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Give instances the state that `save_state` returned, creating them where needed."""
        ...

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        """The metadata of an agent served here."""
        ...

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """The state of an agent served here."""
        ...

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Give an agent served here its state."""
        ...

    async def add_subscription(self, subscription: Subscription) -> None:
        """Subscribe, also while events flow: what is published after this returns is delivered.

        Raises:
            AlreadyRegistered: This runtime has a subscription equal to it.
        """
        ...

    async def remove_subscription(self, id: str) -> None:
        """Unsubscribe, also while events flow: what is published from here on is not delivered.

        Raises:
            LookupError: There is no such subscription.
        """
        ...

    def add_message_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Let messages of a type be sent and received.

        A second serializer of a type replaces the first.
        """
        ...
