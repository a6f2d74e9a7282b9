"""Registering agents: all of it in its order, or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from agent.fake_runtime import FakeRuntime
from callboard import (
    AgentId,
    AgentRuntime,
    AgentType,
    AlreadyRegistered,
    DefaultSubscription,
    InvalidIdentifier,
    MessageContext,
    RoutedAgent,
    Subscription,
    SubscriptionInstantiationContext,
    TypeSubscription,
    Unavailable,
    default_subscription,
    event,
    type_subscription,
)
from callboard.agent.base_agent import subscription_factory


@dataclass
class Order:
    item: str


@default_subscription
@type_subscription("orders")
class Clerk(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("takes orders")

    @event
    async def take(self, message: Order, ctx: MessageContext) -> None: ...


ALL = [
    "type clerk",
    "TypeSubscription('orders', 'clerk')",
    "TypeSubscription('default', 'clerk')",
    "TypePrefixSubscription('clerk:', 'clerk')",
]


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


def test_the_fake_is_a_runtime(runtime: FakeRuntime) -> None:
    """What these tests stand on has the methods of the real thing."""
    accepted: AgentRuntime = runtime

    assert isinstance(accepted, AgentRuntime)


async def test_a_type_comes_before_its_subscriptions(runtime: FakeRuntime) -> None:
    """First the type, then the class's subscriptions, then the one for direct topics."""
    registered = await Clerk.register(runtime, "clerk", Clerk)

    assert registered == AgentType("clerk")
    assert runtime.log == ALL
    assert runtime.types["clerk"] == (Clerk, Clerk)
    assert runtime.serializers == ["Order", "NoneType"]


async def test_subscriptions_can_be_left_out(runtime: FakeRuntime) -> None:
    """A program that subscribes by itself says so."""
    await Clerk.register(
        runtime,
        "clerk",
        Clerk,
        skip_class_subscriptions=True,
        skip_direct_message_subscription=True,
    )

    assert runtime.log == ["type clerk"]


async def test_subscriptions_may_be_awaited(runtime: FakeRuntime) -> None:
    """A callback for subscriptions may be async, and knows the type being registered."""

    async def subscriptions() -> list[Subscription]:
        await asyncio.sleep(0)
        return [TypeSubscription("late", SubscriptionInstantiationContext.agent_type())]

    @subscription_factory(subscriptions)
    class Late(Clerk):
        pass

    await Late.register(runtime, "late", Late, skip_direct_message_subscription=True)

    assert runtime.log == ["type late", "TypeSubscription('late', 'late')"]


def test_subscriptions_of_a_class_are_not_inherited() -> None:
    """A subclass says by itself what it subscribes to, as in AutoGen."""

    class Child(Clerk):
        pass

    assert len(Clerk._unbound_subscriptions()) == 2
    assert Child._unbound_subscriptions() == []


@pytest.mark.parametrize("failing", ALL)
async def test_a_failed_registration_leaves_nothing(runtime: FakeRuntime, failing: str) -> None:
    """Wherever it fails, what was added is taken back, last first, and it can be tried again."""
    runtime.fails_on = failing

    with pytest.raises(Unavailable):
        await Clerk.register(runtime, "clerk", Clerk)
    done = ALL[: ALL.index(failing)]
    assert runtime.log == [*done, failing, *(f"no {what}" for what in reversed(done))]
    assert (runtime.types, runtime.subscriptions) == ({}, [])

    runtime.fails_on = None
    await Clerk.register(runtime, "clerk", Clerk)
    assert len(runtime.subscriptions) == 3


async def test_a_second_registration_leaves_the_first_alone(runtime: FakeRuntime) -> None:
    """Registering a type again is an error that takes nothing back from the first."""
    await Clerk.register(runtime, "clerk", Clerk)

    with pytest.raises(AlreadyRegistered):
        await Clerk.register(runtime, "clerk", Clerk)
    assert list(runtime.types) == ["clerk"]
    assert len(runtime.subscriptions) == 3


async def test_a_bad_name_reaches_no_runtime(runtime: FakeRuntime) -> None:
    """An invalid type is refused before anything is asked for."""
    with pytest.raises(InvalidIdentifier):
        await Clerk.register(runtime, "no/slash", Clerk)
    assert runtime.log == []


async def test_a_failing_callback_reaches_no_runtime(runtime: FakeRuntime) -> None:
    """A callback for subscriptions that raises leaves the runtime as it was."""

    def subscriptions() -> list[Subscription]:
        raise KeyError

    @subscription_factory(subscriptions)
    class Broken(Clerk):
        pass

    with pytest.raises(KeyError):
        await Broken.register(runtime, "broken", Broken)
    assert runtime.log == []


async def test_what_cannot_be_taken_back_is_told(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If undoing fails too, the first error is raised and says what stays."""

    async def refuse(_: Any) -> None:
        msg = "gone"
        raise Unavailable(msg)

    monkeypatch.setattr(runtime, "unregister_factory", refuse)
    runtime.fails_on = ALL[2]

    with pytest.raises(Unavailable, match="default") as caught:
        await Clerk.register(runtime, "clerk", Clerk)
    assert caught.value.__notes__ == ["agent type clerk stays: Unavailable: gone"]
    assert runtime.subscriptions == []


async def test_instances_share_the_subscriptions_of_their_type(runtime: FakeRuntime) -> None:
    """Each instance gets what is published to its key; the rest is there once."""
    for key in ("one", "two"):
        agent_id = await Clerk().register_instance(
            runtime, AgentId("clerk", key), skip_class_subscriptions=False
        )
        assert agent_id == AgentId("clerk", key)

    assert [repr(each) for each in runtime.subscriptions] == [
        "TypeSubscription('one', 'clerk')",
        "TypeSubscription('orders', 'clerk')",
        "TypeSubscription('default', 'clerk')",
        "TypePrefixSubscription('clerk:', 'clerk')",
        "TypeSubscription('two', 'clerk')",
    ]


async def test_an_instance_knows_itself(runtime: FakeRuntime) -> None:
    """After registration it has its id and its runtime."""
    agent = Clerk()
    await agent.register_instance(runtime, AgentId("clerk", "a"))

    assert (agent.id, agent.type, agent.runtime) == (AgentId("clerk", "a"), "clerk", runtime)
    assert runtime.log == [
        "instance clerk/a",
        "TypeSubscription('a', 'clerk')",
        "TypePrefixSubscription('clerk:', 'clerk')",
    ]


async def test_a_key_need_not_be_a_topic_type(runtime: FakeRuntime) -> None:
    """No topic can have such a type, so there is nothing to subscribe to."""
    await Clerk().register_instance(
        runtime, AgentId("clerk", "a/b c"), skip_direct_message_subscription=True
    )

    assert runtime.log == ["instance clerk/a/b c"]


async def test_a_failed_instance_leaves_nothing_but_what_was_there(runtime: FakeRuntime) -> None:
    """Subscriptions that an earlier instance added stay."""
    await Clerk().register_instance(runtime, AgentId("clerk", "one"))
    runtime.fails_on = "TypePrefix"

    with pytest.raises(Unavailable):
        await Clerk().register_instance(runtime, AgentId("clerk", "two"))
    assert list(runtime.instances) == [AgentId("clerk", "one")]
    assert len(runtime.subscriptions) == 2


async def test_a_default_subscription_elsewhere_names_its_type() -> None:
    """Outside a registration the agent type has to be given."""
    assert repr(DefaultSubscription(agent_type="clerk")) == "TypeSubscription('default', 'clerk')"
    with pytest.raises(RuntimeError, match="no agent type being registered"):
        DefaultSubscription()
