"""Agents that are one function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from agent.fake_runtime import FakeRuntime
from callboard import (
    AgentId,
    BaseAgent,
    CancellationToken,
    CantHandleException,
    ClosureAgent,
    ClosureContext,
    DefaultSubscription,
    InvalidHandler,
    MessageContext,
    NotAllowedNow,
    TypeSubscription,
    Unavailable,
)

ID = AgentId("closure", "a")
CALL = MessageContext(
    None, None, is_rpc=True, cancellation_token=CancellationToken(), message_id="1"
)
EVENT = MessageContext(
    None, None, is_rpc=False, cancellation_token=CancellationToken(), message_id="1"
)


@dataclass
class Ask:
    text: str


@dataclass
class Tell:
    text: str


async def answer(agent: ClosureContext, message: Ask, ctx: MessageContext) -> Tell:
    return Tell(f"{agent.id} says {message}")


async def swallow(agent: ClosureContext, message: Any, ctx: MessageContext) -> Any:
    return message


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


async def test_a_closure_is_registered_like_a_class(runtime: FakeRuntime) -> None:
    """Its types bring their serializers, then come the type and the subscriptions."""
    await ClosureAgent.register_closure(
        runtime,
        "closure",
        answer,
        description="answers",
        subscriptions=lambda: [DefaultSubscription(), TypeSubscription("asks", "closure")],
    )
    agent = await runtime.make(ID)

    assert runtime.log == [
        "type closure",
        "TypeSubscription('default', 'closure')",
        "TypeSubscription('asks', 'closure')",
        "TypePrefixSubscription('closure:', 'closure')",
    ]
    assert sorted(runtime.serializers) == ["Ask", "Tell"]
    assert agent.metadata["description"] == "answers"
    assert await agent.on_message(Ask("hi"), CALL) == Tell("closure/a says Ask(text='hi')")


async def test_direct_topics_can_be_left_out(runtime: FakeRuntime) -> None:
    """A closure that nobody addresses needs no subscription for it."""
    await ClosureAgent.register_closure(
        runtime, "closure", answer, skip_direct_message_subscription=True
    )

    assert runtime.log == ["type closure"]


async def test_a_failed_registration_leaves_nothing(runtime: FakeRuntime) -> None:
    """What was added before the failure is taken back."""
    runtime.fails_on = "TypePrefix"

    with pytest.raises(Unavailable):
        await ClosureAgent.register_closure(
            runtime, "closure", answer, subscriptions=lambda: [DefaultSubscription()]
        )
    assert (runtime.types, runtime.subscriptions) == ({}, [])


def test_a_closure_lives_as_long_as_its_session() -> None:
    """A function matters to its process only; other agents' types outlive it."""
    assert BaseAgent.durable
    assert not ClosureAgent.durable


async def test_other_types_are_handled_by_policy(runtime: FakeRuntime) -> None:
    """``error`` raises, ``ignore`` calls the function, ``warn`` drops an event and fails a call."""
    policies: tuple[Literal["error", "warn", "ignore"], ...] = ("error", "warn", "ignore")
    for policy in policies:
        await ClosureAgent.register_closure(runtime, policy, answer, unknown_type_policy=policy)
    error, warn, ignore = [await runtime.make(AgentId(each, "a")) for each in policies]

    for agent, ctx in ((error, CALL), (error, EVENT), (warn, CALL)):
        with pytest.raises(CantHandleException, match=f"{agent.id} takes Ask, not Tell"):
            await agent.on_message(Tell("hi"), ctx)
    with pytest.warns(UserWarning, match="warn/a takes Ask, not Tell"):
        assert await warn.on_message(Tell("hi"), EVENT) is None
    assert await ignore.on_message(Tell("hi"), EVENT) == Tell("ignore/a says Tell(text='hi')")


async def test_any_takes_everything(runtime: FakeRuntime) -> None:
    """A closure annotated with ``Any`` has no unknown types."""
    await ClosureAgent.register_closure(runtime, "closure", swallow, unknown_type_policy="error")
    agent = await runtime.make(ID)

    assert await agent.on_message(3, CALL) == 3


async def test_types_of_a_function_are_known_after_it_returned(runtime: FakeRuntime) -> None:
    """A closure over local classes works when the function that defined them is over."""

    async def register() -> type[Any]:
        @dataclass
        class Local: ...

        async def closure(agent: ClosureContext, message: Local, ctx: MessageContext) -> None: ...

        await ClosureAgent.register_closure(
            runtime, "closure", closure, unknown_type_policy="error"
        )
        return Local

    local = await register()
    agent = await runtime.make(ID)

    assert await agent.on_message(local(), EVENT) is None
    with pytest.raises(CantHandleException):
        await agent.on_message(Ask("hi"), EVENT)


class Counter:
    """Has closures that are no plain functions."""

    def __init__(self) -> None:
        self.count = 0

    async def method(self, agent: ClosureContext, message: Ask, ctx: MessageContext) -> int:
        self.count += 1
        return self.count

    async def __call__(self, agent: ClosureContext, message: Ask, ctx: MessageContext) -> int:
        return await self.method(agent, message, ctx)


async def test_methods_and_callable_objects_are_closures_too(runtime: FakeRuntime) -> None:
    """Whatever can be called with agent, message and context will do."""
    counter = Counter()
    await ClosureAgent.register_closure(runtime, "method", counter.method)
    await ClosureAgent.register_closure(runtime, "object", counter)

    for name in ("method", "object"):
        await (await runtime.make(AgentId(name, "a"))).on_message(Ask("hi"), CALL)
    assert counter.count == 2


async def two(message: Ask, ctx: MessageContext) -> None: ...


async def bare(agent, message, ctx) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 (the point)


async def no_class(agent: ClosureContext, message: list[Ask], ctx: MessageContext) -> None: ...


@pytest.mark.parametrize(
    ("closure", "reason"),
    [
        (two, "closure two: its parameters must be the agent, the message and the context"),
        (bare, "closure bare: annotate message and what the function returns"),
        (no_class, "closure no_class: .* is no class that a message can have"),
    ],
)
async def test_a_function_that_cannot_be_one_is_refused(
    runtime: FakeRuntime, closure: Any, reason: str
) -> None:
    """The error names the function and the rule, and the runtime is left alone."""
    with pytest.raises(InvalidHandler, match=reason):
        await ClosureAgent.register_closure(runtime, "closure", closure)
    assert runtime.log == []


def test_a_closure_agent_is_made_by_a_runtime() -> None:
    """Made by hand it would be nowhere; the error says what to use."""
    with pytest.raises(NotAllowedNow, match=r"use ClosureAgent\.register_closure"):
        ClosureAgent("test", answer)
