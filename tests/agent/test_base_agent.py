"""What every agent has, and those who stand for one."""

from __future__ import annotations

from typing import Any

import pytest

from agent.fake_runtime import FakeRuntime
from callboard import (
    Agent,
    AgentId,
    AgentInstantiationContext,
    AgentProxy,
    BaseAgent,
    CancellationToken,
    MessageContext,
    NotAllowedNow,
    TopicId,
    Unsupported,
)

A, B = AgentId("one", "a"), AgentId("two", "b")


class Plain(BaseAgent):
    """As little as an agent can have."""

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        return message


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def agent(runtime: FakeRuntime) -> Plain:
    with AgentInstantiationContext.populate_context((runtime, A)):
        return Plain("does nothing")


def test_an_agent_made_in_a_factory_knows_itself(agent: Plain, runtime: FakeRuntime) -> None:
    """Its id and runtime are there from the constructor on."""
    assert isinstance(agent, Agent)
    assert (agent.id, agent.type, agent.runtime) == (A, "one", runtime)
    assert agent.metadata == {"type": "one", "key": "a", "description": "does nothing"}


@pytest.mark.parametrize("attribute", ["id", "type", "runtime", "metadata"])
def test_an_agent_without_runtime_says_what_to_do(attribute: str) -> None:
    """Made by hand it has no address, and asking for it is an error that helps."""
    with pytest.raises(NotAllowedNow, match=r"this Plain is in no runtime: .*register_instance"):
        getattr(Plain("test"), attribute)


def test_a_description_is_text() -> None:
    """Anything else is an error of whoever makes the agent."""
    with pytest.raises(TypeError, match="description of Plain must be text"):
        Plain(3)  # type: ignore[arg-type]  # the point


async def test_an_agent_is_bound_once(agent: Plain, runtime: FakeRuntime) -> None:
    """Binding it to the same id and runtime again is fine, to others an error."""
    await agent.bind_id_and_runtime(A, runtime)

    for other in ((B, runtime), (A, FakeRuntime())):
        with pytest.raises(NotAllowedNow, match="is agent one/a of a runtime already"):
            await agent.bind_id_and_runtime(*other)
    assert (agent.id, agent.runtime) == (A, runtime)


async def test_an_agent_sends_in_its_own_name(agent: Plain, runtime: FakeRuntime) -> None:
    """Calls and events carry its id as the sender, and every argument reaches the runtime."""
    token = CancellationToken()

    reply = await agent.send_message(
        "hi", B, cancellation_token=token, message_id="7", timeout_s=3.0
    )
    await agent.publish_message("all", TopicId("t", "s"), cancellation_token=token)

    assert reply == "reply"
    assert runtime.sent == [
        {
            "message": "hi",
            "recipient": B,
            "sender": A,
            "cancellation_token": token,
            "message_id": "7",
            "timeout_s": 3.0,
        },
        {
            "message": "all",
            "topic_id": TopicId("t", "s"),
            "sender": A,
            "cancellation_token": token,
            "message_id": None,
        },
    ]


async def test_an_agent_without_state_has_none_to_save(agent: Plain) -> None:
    """Its state is empty, an empty state can be loaded, and any other is refused, not dropped."""
    assert await agent.save_state() == {}
    await agent.load_state({})
    with pytest.raises(Unsupported, match="Plain has no load_state"):
        await agent.load_state({"count": 1})


async def test_a_proxy_passes_on_what_its_agent_streams(agent: Plain, runtime: FakeRuntime) -> None:
    """As it passes calls on."""
    proxy = AgentProxy(A, runtime)

    assert [each async for each in proxy.stream_message("hi", sender=B)] == ["reply"]
    assert (runtime.sent[0]["recipient"], runtime.sent[0]["sender"]) == (A, B)


async def test_a_proxy_stands_for_its_agent(agent: Plain, runtime: FakeRuntime) -> None:
    """What it is asked goes to the runtime with the agent's id."""
    await runtime.register_agent_instance(agent, A)
    proxy = AgentProxy(A, runtime)

    assert proxy.id == A
    assert await proxy.metadata == agent.metadata
    assert await proxy.save_state() == {}
    await proxy.load_state({})
    assert await proxy.send_message("hi", sender=B, message_id="7", timeout_s=3.0) == "reply"
    assert runtime.sent[0] == {
        "message": "hi",
        "recipient": A,
        "sender": B,
        "cancellation_token": None,
        "message_id": "7",
        "timeout_s": 3.0,
    }
