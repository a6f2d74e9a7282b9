"""What a runtime asks of an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from callboard.agent.agent_runtime import AgentRuntime
    from callboard.agent.context import MessageContext
    from callboard.core.identity import AgentId


class AgentMetadata(TypedDict):
    """What an agent says about itself.

    Attributes:
        type: The type of its id.
        key: The key of its id.
        description: What it does, for people and models; may be empty.
    """

    type: str
    key: str
    description: str


@runtime_checkable
class Agent(Protocol):
    """What a runtime asks of an agent. Authors subclass `RoutedAgent` or `BaseAgent` instead."""

    @property
    def metadata(self) -> AgentMetadata:
        """What the agent says about itself."""
        ...

    @property
    def id(self) -> AgentId:
        """The agent's address."""
        ...

    async def bind_id_and_runtime(
        self,
        id: AgentId,
        runtime: AgentRuntime,
    ) -> None:
        """Tell an instance that was made outside a factory who it is and where it lives."""
        ...

    async def on_message(self, message: Any, ctx: MessageContext) -> Any:
        """Handle one message: a turn. Only runtimes call this.

        Returns:
            The reply to a call, None included, or an async generator of the replies, which the
            runtime runs as part of the turn. For an event what comes of it is ignored.

        Raises:
            CantHandleException: The agent has no handler for such a message.
        """
        ...

    async def save_state(self) -> Mapping[str, Any]:
        """The agent's state, of JSON values only. Called between turns, never during one."""
        ...

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `save_state` returned. Called between turns, never during one."""
        ...

    async def close(self) -> None:
        """Let go of what the agent holds.

        Called once, when its runtime closes it: no turn runs, and none follows. What is saved here
        is saved before the agent begins anew, in whichever worker. It has 10 s, or
        the worker's drain timeout if that is shorter (but at least 3 s), and is cancelled after
        that; the agents of a worker close side by side. A worker that is killed closes none.
        """
        ...
