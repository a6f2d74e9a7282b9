"""An agent as seen by those who have only its id."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any

from callboard.agent.agent import AgentMetadata
from callboard.agent.agent_runtime import AgentRuntime
from callboard.agent.cancellation import CancellationToken
from callboard.core.identity import AgentId


class AgentProxy:
    """Stands for the agent ``agent`` of ``runtime``."""

    def __init__(self, agent: AgentId, runtime: AgentRuntime) -> None:
        self._agent = agent
        self._runtime = runtime

    @property
    def id(self) -> AgentId:
        """The agent's address."""
        return self._agent

    @property
    def metadata(self) -> Awaitable[AgentMetadata]:
        """What the agent says about itself; to be awaited."""
        return self._runtime.agent_metadata(self._agent)

    async def send_message(
        self,
        message: Any,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> Any:
        """Call the agent, as `AgentRuntime.send_message` does."""
        return await self._runtime.send_message(
            message,
            self._agent,
            sender=sender,
            cancellation_token=cancellation_token,
            message_id=message_id,
            timeout_s=timeout_s,
            reply_type=reply_type,
        )

    def stream_message(
        self,
        message: Any,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call the agent and take its replies, as `AgentRuntime.stream_message` does."""
        return self._runtime.stream_message(
            message,
            self._agent,
            sender=sender,
            cancellation_token=cancellation_token,
            message_id=message_id,
            timeout_s=timeout_s,
            reply_type=reply_type,
        )

    async def save_state(self) -> Mapping[str, Any]:
        """The agent's state, of JSON values only."""
        return await self._runtime.agent_save_state(self._agent)

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Give the agent its state."""
        await self._runtime.agent_load_state(self._agent, state)
