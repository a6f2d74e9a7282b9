"""The agents that are active in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TypeAlias

from callboard.agent.turn import Activation
from callboard.core.event import Address
from callboard.core.identity import AgentId
from callboard.core.partition import partition_of

Place: TypeAlias = tuple[str, int]
"""A partition of an agent type."""


class Activations:
    """Finds active agents by address and by partition, and knows which of them are busy."""

    def __init__(self, max_calls_waiting: int) -> None:
        self._max_calls_waiting = max_calls_waiting
        self._max_concurrency: dict[str, int] = {}
        self._partitions = 1
        self._by_address: dict[Address, Activation] = {}
        # By when they came, not by their addresses: a run of the simulator is the same each time.
        self._by_place: dict[Place, dict[Activation, None]] = {}
        self._busy: dict[Activation, None] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __iter__(self) -> Iterator[Activation]:
        return iter(list(self._by_address.values()))

    def __len__(self) -> int:
        return len(self._by_address)

    def find(self, agent: Address) -> Activation | None:
        """The activation of an agent, if it is active."""
        return self._by_address.get(agent)

    def of(self, agent: Address) -> Activation:
        """The activation of an agent, made when it is not active.

        Raises `InvalidIdentifier` for an address that no agent has.
        """
        activation = self._by_address.get(agent)
        if activation is None:
            max_concurrency = self._max_concurrency.get(agent[0], 1)
            activation = Activation(AgentId(*agent), self._max_calls_waiting, max_concurrency)
            self._by_address[agent] = activation
            self._file(activation)
        return activation

    def divide(self, partitions: int) -> None:
        """There are so many partitions; agents made before that was known find theirs."""
        self._partitions = partitions
        self._by_place.clear()
        for activation in self._by_address.values():
            self._file(activation)

    def limit(self, agent_type: str, max_concurrency: int) -> None:
        """Agents of a type may have so many turns at once, also those that are active."""
        self._max_concurrency[agent_type] = max_concurrency
        for activation in self._by_address.values():
            if activation.agent_id.type == agent_type:
                activation.mailbox.max_concurrency = max_concurrency

    def unlimit(self, agent_type: str) -> None:
        """The type is served no more."""
        self._max_concurrency.pop(agent_type, None)

    def at(self, place: Place) -> list[Activation]:
        """The active agents of a partition."""
        return list(self._by_place.get(place, ()))

    def forget(self, activation: Activation) -> None:
        """The agent is active no more. Idempotent, also when it has become active anew."""
        agent_id = activation.agent_id
        if self._by_address.get((agent_id.type, agent_id.key)) is activation:
            del self._by_address[agent_id.type, agent_id.key]
        there = self._by_place.get(activation.place)
        if there is not None:
            there.pop(activation, None)
            if not there:
                del self._by_place[activation.place]

    # Which have something to do.

    def set_busy(self, activation: Activation) -> None:
        """The agent has something to do, or is being closed."""
        if activation not in self._busy:
            self._busy[activation] = None
            self._idle.clear()

    def is_busy(self, activation: Activation) -> bool:
        """Whether the agent has something to do, as far as was said."""
        return activation in self._busy

    def set_idle(self, activation: Activation) -> None:
        """The agent has nothing to do."""
        self._busy.pop(activation, None)
        if not self._busy:
            self._idle.set()

    @property
    def busy(self) -> list[Activation]:
        """Those that have something to do."""
        return list(self._busy)

    @property
    def are_idle(self) -> bool:
        """Whether none has something to do."""
        return not self._busy

    async def wait_idle(self) -> None:
        """Return when `are_idle`."""
        await self._idle.wait()

    # Inside.

    def _file(self, activation: Activation) -> None:
        agent_id = activation.agent_id
        partition = partition_of(agent_id.type, agent_id.key, self._partitions)
        activation.place = (agent_id.type, partition)
        self._by_place.setdefault(activation.place, {})[activation] = None
