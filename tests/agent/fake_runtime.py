"""A runtime that only remembers what it was told."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from callboard import (
    Agent,
    AgentId,
    AgentInstantiationContext,
    AgentMetadata,
    AgentType,
    AlreadyRegistered,
    CancellationToken,
    MessageSerializer,
    NotFound,
    Policy,
    Subscription,
    TopicId,
    Unavailable,
)


class FakeRuntime:
    """Keeps registrations as a runtime must, and what was sent.

    Attributes:
        log: What was asked for, in order.
        fails_on: The beginning of an entry of the log whose operation raises `Unavailable`.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.fails_on: str | None = None
        self.types: dict[str, tuple[Callable[[], Any], type | None]] = {}
        self.instances: dict[AgentId, Agent] = {}
        self.subscriptions: list[Subscription] = []
        self.serializers: list[str] = []

    def _do(self, what: str) -> None:
        self.log.append(what)
        if self.fails_on is not None and what.startswith(self.fails_on):
            raise Unavailable(what)

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
        self.sent.append(
            {
                "message": message,
                "recipient": recipient,
                "sender": sender,
                "cancellation_token": cancellation_token,
                "message_id": message_id,
                "timeout_s": timeout_s,
            }
        )
        return "reply"

    async def stream_message(
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
        yield await self.send_message(
            message,
            recipient,
            sender=sender,
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
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.sent.append(
            {
                "message": message,
                "topic_id": topic_id,
                "sender": sender,
                "cancellation_token": cancellation_token,
                "message_id": message_id,
            }
        )

    async def register_factory(
        self,
        type: str | AgentType,  # noqa: A002 (the protocol's)
        agent_factory: Callable[[], Any],
        *,
        expected_class: Any = None,
        policy: Policy | None = None,
    ) -> AgentType:
        self._do(f"type {type}")
        if str(type) in self.types:
            raise AlreadyRegistered(str(type))
        self.types[str(type)] = (agent_factory, expected_class)
        return AgentType(str(type))

    async def unregister_factory(self, type: AgentType) -> None:  # noqa: A002 (the protocol's)
        self._do(f"no type {type}")
        del self.types[str(type)]

    async def register_agent_instance(
        self, agent_instance: Agent, agent_id: AgentId, *, policy: Policy | None = None
    ) -> AgentId:
        self._do(f"instance {agent_id}")
        if agent_id in self.instances:
            raise AlreadyRegistered(str(agent_id))
        await agent_instance.bind_id_and_runtime(agent_id, self)
        self.instances[agent_id] = agent_instance
        return agent_id

    async def unregister_agent_instance(self, agent_id: AgentId) -> None:
        self._do(f"no instance {agent_id}")
        del self.instances[agent_id]

    async def make(self, agent_id: AgentId) -> Any:
        """What a runtime does on an agent's first message."""
        factory, _ = self.types[agent_id.type]
        with AgentInstantiationContext.populate_context((self, agent_id)):
            made = factory()
            return await made if inspect.isawaitable(made) else made

    async def try_get_underlying_agent_instance(
        self,
        id: AgentId,  # noqa: A002 (the protocol's)
        type: Any = Agent,  # noqa: A002 (the protocol's)
    ) -> Any:
        return self.instances[id]

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        return id_or_type if isinstance(id_or_type, AgentId) else AgentId(id_or_type, key)

    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None: ...

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        return self.instances[agent].metadata

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        return await self.instances[agent].save_state()

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        await self.instances[agent].load_state(state)

    async def add_subscription(self, subscription: Subscription) -> None:
        self._do(f"{subscription!r}")
        if subscription in self.subscriptions:
            raise AlreadyRegistered(repr(subscription))
        self.subscriptions.append(subscription)

    async def remove_subscription(self, id: str) -> None:  # noqa: A002 (the protocol's)
        for each in self.subscriptions:
            if each.id == id:
                self._do(f"no {each!r}")
                self.subscriptions.remove(each)
                return
        raise NotFound(id)

    def add_message_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        for each in serializer if isinstance(serializer, Sequence) else [serializer]:
            self.serializers.append(each.type_name)
