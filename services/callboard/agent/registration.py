"""Registering an agent with a runtime: all of it, or nothing."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from callboard.agent.agent import Agent
from callboard.agent.agent_runtime import AgentRuntime
from callboard.agent.instantiation import SubscriptionInstantiationContext
from callboard.core.errors import AlreadyRegistered, InvalidPolicy
from callboard.core.identity import AgentId, AgentType
from callboard.core.retry import DEFAULT_POLICY, Policy
from callboard.core.subscription import Subscription, TypePrefixSubscription

UnboundSubscription: TypeAlias = Callable[
    [], "Sequence[Subscription] | Awaitable[Sequence[Subscription]]"
]
"""Makes subscriptions while `SubscriptionInstantiationContext` names the agent type."""


@runtime_checkable
class _Unregisters(Protocol):
    """A runtime that can take registrations back. Both undo what succeeded, nothing else."""

    async def unregister_factory(self, type: AgentType) -> None: ...

    async def unregister_agent_instance(self, agent_id: AgentId) -> None: ...


class Registration:
    """One registration. If its ``async with`` fails, everything it added is taken back, last first.

    So a registration can be tried again after the cause is mended. What cannot be taken back, for
    example because the host is gone, is told in a note on the error.
    """

    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._added: list[tuple[str, Callable[[], Awaitable[None]]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        for what, take_back in reversed(self._added):
            try:
                await take_back()
            except Exception as failure:  # noqa: BLE001 (the first error is the one to tell)
                error.add_note(f"{what} stays: {type(failure).__name__}: {failure}")

    async def add_factory(
        self,
        agent_type: AgentType,
        factory: Callable[[], Any],
        expected_class: type[Agent],
        policy: Policy | None = None,
    ) -> AgentType:
        """Have the runtime serve ``agent_type``."""
        runtime = self._runtime
        added = await runtime.register_factory(
            agent_type, factory, expected_class=expected_class, policy=policy
        )
        if isinstance(runtime, _Unregisters):
            unregister = runtime.unregister_factory
            self._added.append((f"agent type {added}", lambda: unregister(added)))
        return added

    async def add_instance(
        self, agent: Agent, agent_id: AgentId, policy: Policy | None = None
    ) -> AgentId:
        """Have the runtime serve ``agent_id`` with ``agent``."""
        runtime = self._runtime
        added = await runtime.register_agent_instance(agent, agent_id, policy=policy)
        if isinstance(runtime, _Unregisters):
            unregister = runtime.unregister_agent_instance
            self._added.append((f"agent {added}", lambda: unregister(added)))
        return added

    async def subscribe(
        self, subscriptions: Iterable[Subscription], *, may_exist: bool = False
    ) -> None:
        """Add subscriptions; with ``may_exist``, one that is there already is fine."""
        for subscription in subscriptions:
            try:
                await self._runtime.add_subscription(subscription)
            except AlreadyRegistered:
                if not may_exist:
                    raise
            else:
                self._added.append((repr(subscription), self._unsubscribing(subscription.id)))

    def _unsubscribing(self, id: str) -> Callable[[], Awaitable[None]]:
        return lambda: self._runtime.remove_subscription(id)


async def bind_subscriptions(
    agent_type: AgentType, unbound: Iterable[UnboundSubscription]
) -> list[Subscription]:
    """The subscriptions that callbacks make for ``agent_type``."""
    bound: list[Subscription] = []
    with SubscriptionInstantiationContext.populate_context(agent_type):
        for each in unbound:
            made = each()
            bound.extend(await made if inspect.isawaitable(made) else made)
    return bound


def policy_of(agent_class: type[Any] | None, given: Policy | None) -> Policy:
    """The policy given at a registration, or else that of the class, or else the default.

    Raises `InvalidPolicy` for what is none.
    """
    policy = getattr(agent_class, "policy", DEFAULT_POLICY) if given is None else given
    if not isinstance(policy, Policy):
        name = agent_class.__qualname__ if agent_class else "an agent type"
        msg = f"the policy of {name} must be a callboard.Policy, not {policy!r}"
        raise InvalidPolicy(msg)
    return policy


def direct_subscription(agent_type: AgentType) -> Subscription:
    """What lets agents of a type get events under ``<type>:...``, whatever follows."""
    return TypePrefixSubscription(f"{agent_type}:", agent_type)
