"""Where authors say how failed turns are treated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from callboard import (
    AgentId,
    AgentType,
    BaseAgent,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    Policy,
    RoutedAgent,
    event,
)
from callboard.agent.turn import AgentFactory
from callboard.exceptions import InvalidPolicy
from callboard.local import LocalRuntime

CLASS, GIVEN = Policy(max_attempts=2), Policy(max_attempts=7)


class Base(BaseAgent):
    """Says a policy for its class."""

    policy = CLASS

    def __init__(self) -> None:
        super().__init__("has a policy")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> None:
        """Nothing."""


class Routed(RoutedAgent):
    """The same."""

    policy = CLASS

    def __init__(self) -> None:
        super().__init__("has a policy")

    @event
    async def on_text(self, message: str, ctx: MessageContext) -> None:
        """Nothing."""


class Plain(RoutedAgent):
    """Says nothing."""

    def __init__(self) -> None:
        super().__init__("has none")


class Closures(ClosureAgent):
    """Functions with a policy."""

    policy = CLASS


async def closure(agent: ClosureContext, message: str, ctx: MessageContext) -> None:
    """Nothing."""


Register = Callable[[LocalRuntime, Policy | None], Awaitable[object]]

WAYS: dict[str, Register] = {
    "BaseAgent": lambda runtime, policy: Base.register(runtime, "a", Base, policy=policy),
    "RoutedAgent": lambda runtime, policy: Routed.register(runtime, "a", Routed, policy=policy),
    "an instance": lambda runtime, policy: Routed().register_instance(
        runtime, AgentId("a", "x"), policy=policy
    ),
    "ClosureAgent": lambda runtime, policy: Closures.register_closure(
        runtime, "a", closure, policy=policy
    ),
    "register_factory": lambda runtime, policy: runtime.register_factory(
        "a", Routed, expected_class=Routed, policy=policy
    ),
    "register_agent_instance": lambda runtime, policy: runtime.register_agent_instance(
        Routed(), AgentId("a", "x"), policy=policy
    ),
}


def policy_in_force(runtime: LocalRuntime) -> Policy:
    factory: AgentFactory = runtime._runner._instances.factories["a"]
    return factory.policy


@pytest.mark.parametrize("way", WAYS)
async def test_a_class_has_a_policy_and_a_registration_may_have_another(way: str) -> None:
    """What the registration says goes before what the class says."""
    for given, expected in ((None, CLASS), (GIVEN, GIVEN)):
        runtime = LocalRuntime()
        await WAYS[way](runtime, given)
        assert policy_in_force(runtime) == expected


async def test_who_says_nothing_has_the_default() -> None:
    """Also a factory whose class nobody knows."""
    runtime = LocalRuntime()
    await Plain.register(runtime, "a", Plain)
    assert policy_in_force(runtime) == Policy()
    other = LocalRuntime()
    await other.register_factory(AgentType("a"), Plain)
    assert policy_in_force(other) == Policy()


async def test_what_is_no_policy_is_refused_at_the_registration() -> None:
    """For example the attribute of a class that had one of that name for its own purposes."""

    class Insured(Plain):
        policy = "full coverage"  # type: ignore[assignment]

    runtime = LocalRuntime()
    with pytest.raises(InvalidPolicy, match=r"Insured must be a callboard\.Policy, not 'full"):
        await Insured.register(runtime, "a", Insured)
    await Insured.register(runtime, "a", Insured, policy=GIVEN)
    assert policy_in_force(runtime) == GIVEN
