"""The instances of a runtime's agents: made when they are wanted, closed when they are let go."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from callboard.agent.closings import Closings, has_nothing_to_close
from callboard.agent.failures import raised_by_agent
from callboard.agent.instantiation import AgentInstantiationContext
from callboard.core.errors import NotFound

if TYPE_CHECKING:
    from callboard.agent.activations import Activations
    from callboard.agent.agent import Agent
    from callboard.agent.agent_runtime import AgentRuntime
    from callboard.agent.turn import Activation, AgentFactory


class Instances:
    """Makes one instance for each agent that needs one, and closes those that were made.

    An agent that is being closed is busy, and has no instance until that has ended. One that does
    nothing in its `close` is closed at once, and not called.

    Attributes:
        factories: By agent type, how its agents come into being.
        made_count: How many instances there are that were made here.
    """

    def __init__(
        self,
        runtime: AgentRuntime,
        activations: Activations,
        changed: Callable[[Activation], None],
        close_timeout_s: float,
    ) -> None:
        """Make nothing yet.

        Args:
            runtime: What factories find as theirs.
            activations: Hears which agents are busy.
            changed: Called when an agent's instance has been made or closed, or cannot be made.
            close_timeout_s: How long an agent's `close` may take; then it is cancelled.
        """
        self.factories: dict[str, AgentFactory] = {}
        self.made_count = 0
        self._runtime = runtime
        self._activations = activations
        self._changed = changed
        self._closings = Closings(close_timeout_s)

    async def of(self, activation: Activation) -> Agent:
        """The instance, made when there is none: once, however many ask while it is being made.

        Raises `NotFound` for a type without factory, and what the factory raises.
        """
        while activation.making is not None:
            await asyncio.wait([activation.making])
        agent = activation.instance
        if agent is None:
            activation.making = asyncio.get_running_loop().create_future()
            try:
                agent = await self._make(activation)
            finally:
                activation.making.set_result(None)
                activation.making = None
                self._changed(activation)
        return agent

    def let_go(self, activation: Activation) -> None:
        """Be done with an instance: close it if it was made here; else it is another's."""
        if activation.is_made:
            self.begin_close(activation)
        else:
            activation.instance = None

    def begin_close(self, activation: Activation) -> None:
        """Close the instance, if there is one. `Activation.closing` is None if that has ended."""
        instance, activation.instance, activation.is_retired = activation.instance, None, False
        if instance is None:
            return
        if activation.is_made:
            activation.is_made = False
            self.made_count -= 1
        if has_nothing_to_close(instance):
            return
        closing = activation.closing = asyncio.get_running_loop().create_future()
        self._activations.set_busy(activation)

        def ended() -> None:
            closing.set_result(None)
            activation.closing = None
            self._changed(activation)

        self._closings.begin(instance, activation.agent_id, ended)

    async def wait_closed(self, within_s: float | None) -> None:
        """Return when none is being closed; those that are after ``within_s`` are cancelled."""
        await self._closings.wait(within_s)

    # Inside.

    async def _make(self, activation: Activation) -> Agent:
        agent_id = activation.agent_id
        factory = self.factories.get(agent_id.type)
        if factory is None:
            msg = f"agent type {agent_id.type!r} is not registered here"
            raise NotFound(msg)
        with AgentInstantiationContext.populate_context((self._runtime, agent_id)):
            try:
                made = factory.make()
                agent: Agent = await made if inspect.isawaitable(made) else made
            except Exception as error:
                if factory.makes_new:  # a program's code, like a handler
                    raise raised_by_agent(error) from error
                raise
        expected = factory.expected_class
        if expected is not None and not isinstance(agent, expected):
            made_class = type(agent).__name__
            msg = f"the factory of {agent_id.type!r} made a {made_class}, not a {expected.__name__}"
            raise TypeError(msg)
        activation.instance = agent
        activation.is_made = factory.makes_new
        self.made_count += factory.makes_new
        return agent
