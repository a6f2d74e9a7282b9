"""What code is told about where it runs, and the defaults that depend on it."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from agent.fake_runtime import FakeRuntime
from callboard import (
    AgentId,
    AgentInstantiationContext,
    AgentType,
    DefaultInterventionHandler,
    DefaultTopicId,
    InterventionHandler,
    MessageHandlerContext,
    NotAllowedNow,
    SubscriptionInstantiationContext,
    TopicId,
    TypeSubscription,
)

A, B = AgentId("one", "a"), AgentId("two", "b")


def test_a_factory_knows_for_whom_it_works() -> None:
    """Inside a factory there are an id and a runtime; of nested ones those of the inner."""
    outer, inner = FakeRuntime(), FakeRuntime()

    assert not AgentInstantiationContext.is_in_factory_call()
    with AgentInstantiationContext.populate_context((outer, A)):
        with AgentInstantiationContext.populate_context((inner, B)):
            assert AgentInstantiationContext.current_runtime() is inner
        assert AgentInstantiationContext.is_in_factory_call()
        assert AgentInstantiationContext.current_agent_id() == A
    assert not AgentInstantiationContext.is_in_factory_call()


@pytest.mark.parametrize(
    "read",
    [
        AgentInstantiationContext.current_runtime,
        AgentInstantiationContext.current_agent_id,
        SubscriptionInstantiationContext.agent_type,
        MessageHandlerContext.agent_id,
    ],
)
def test_outside_there_is_nothing_to_read(read: Any) -> None:
    """Reading a context that nobody filled is an error of its own kind."""
    with pytest.raises(NotAllowedNow):
        read()


@pytest.mark.parametrize(
    "context",
    [AgentInstantiationContext, SubscriptionInstantiationContext, MessageHandlerContext],
)
def test_contexts_are_not_instantiated(context: type[Any]) -> None:
    """They have class methods only."""
    with pytest.raises(NotAllowedNow, match=f"{context.__name__} has class methods only"):
        context()


async def test_each_task_has_its_own_context() -> None:
    """Handlers that run side by side do not see each other."""

    async def handler(agent_id: AgentId) -> AgentId:
        with MessageHandlerContext.populate_context(agent_id):
            await asyncio.sleep(0)
            return MessageHandlerContext.agent_id()

    assert tuple(await asyncio.gather(handler(A), handler(B))) == (A, B)


def test_the_default_topic_is_about_what_the_running_agent_is_about() -> None:
    """Its source is the key of the agent whose handler runs, else ``default``."""
    assert DefaultTopicId() == TopicId("default", "default")
    assert DefaultTopicId("orders", "7") == TopicId("orders", "7")
    with MessageHandlerContext.populate_context(A):
        assert DefaultTopicId() == TopicId("default", "a")
        assert DefaultTopicId(source="7") == TopicId("default", "7")


def test_a_default_topic_is_a_topic_like_any_other() -> None:
    """It compares, hashes, prints, pickles and matches as the plain topic does."""
    topic, plain = DefaultTopicId("orders", "7"), TopicId("orders", "7")

    assert plain == topic
    assert topic != TopicId("orders", "8")
    assert topic != "orders/7"
    assert {topic, plain} == {plain}
    assert str(topic) == "orders/7"
    assert pickle.loads(pickle.dumps(topic)) == plain
    assert TypeSubscription("orders", "clerk").map_to_agent(topic) == AgentId("clerk", "7")


def test_a_registration_knows_its_type() -> None:
    """Inside a callback for subscriptions there is the agent type."""
    with SubscriptionInstantiationContext.populate_context(AgentType("clerk")):
        assert SubscriptionInstantiationContext.agent_type() == AgentType("clerk")


async def test_the_default_intervention_lets_everything_pass() -> None:
    """A subclass overrides what it needs; the rest goes through as it is."""
    handler: InterventionHandler = DefaultInterventionHandler()
    context: Any = object()

    assert await handler.on_send("a", message_context=context, recipient=A) == "a"
    assert await handler.on_publish("b", message_context=context) == "b"
    assert await handler.on_response("c", sender=A, recipient=None) == "c"
    assert isinstance(handler, InterventionHandler)
