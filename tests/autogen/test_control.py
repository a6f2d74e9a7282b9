"""AutoGen's control channel, by hand: its own workers never open it."""

from __future__ import annotations

import asyncio
from typing import Any

from autogen.world import Raw, Stage

ANY = "type.googleapis.com/agents."


def asks(what: str, destination: str, respond_to: str, **fields: Any) -> dict[str, Any]:
    return {
        "rpc_id": f"{what}-1",
        "destination": destination,
        "respond_to": respond_to,
        "rpcMessage": {"@type": f"{ANY}{what}Request", **fields},
    }


async def message(raw: Raw, stream: str, rpc_id: str) -> dict[str, Any]:
    said = await raw.tells(
        lambda said: (
            said.get("stream") == stream and said.get("message", {}).get("rpc_id") == rpc_id
        )
    )
    found: dict[str, Any] = said["message"]
    return found


async def test_state_is_saved_and_loaded(either: Stage) -> None:
    """A client asks the worker of an agent for its state, and gives it back, by the agent's id."""
    raw, agent_type = await either.raw(), either.name()
    worker, tool = either.name("worker"), either.name("tool")
    await raw.do("open", stream="data", client=worker)
    await raw.do("open", stream=worker, client=worker, method="OpenControlChannel")
    await raw.do("open", stream=tool, client=tool, method="OpenControlChannel")
    await raw.do("rpc", method="RegisterAgent", client=worker, request={"type": agent_type})
    agent = {"type": agent_type, "key": "a/b"}

    question = asks("SaveState", f"agentid={agent_type}/a/b", f"clientid={tool}", agentId=agent)
    await raw.do("send", stream=tool, message=question)
    asked = await message(raw, worker, "SaveState-1")
    assert asked == question
    answer = {
        "rpc_id": asked["rpc_id"],
        "destination": asked["respond_to"],
        "rpcMessage": {"@type": f"{ANY}SaveStateResponse", "state": '{"count": 1}'},
    }
    await raw.do("send", stream=worker, message=answer)
    assert await message(raw, tool, "SaveState-1") == answer

    question = asks(
        "LoadState",
        f"clientid={worker}",
        f"clientid={tool}",
        agentId=agent,
        state='{"count": 1}',
    )
    await raw.do("send", stream=tool, message=question)
    assert await message(raw, worker, "LoadState-1") == question
    answer = {
        "rpc_id": "LoadState-1",
        "destination": f"clientid={tool}",
        "rpcMessage": {"@type": f"{ANY}LoadStateResponse"},
    }
    await raw.do("send", stream=worker, message=answer)
    assert await message(raw, tool, "LoadState-1") == answer


async def test_a_client_may_write_to_itself(either: Stage) -> None:
    """A message to one's own client id comes back as it was."""
    raw, client = await either.raw(), either.name("client")
    await raw.do("open", stream="it", client=client, method="OpenControlChannel")

    question = asks("SaveState", f"clientid={client}", f"clientid={client}")
    await raw.do("send", stream="it", message=question)

    assert await message(raw, "it", "SaveState-1") == question


async def test_questions_to_nobody_are_answered(stage: Stage) -> None:
    """Where nobody can be asked the host answers with an error, and the channel goes on."""
    raw, client = await stage.raw(), stage.name("client")
    await raw.do("open", stream="it", client=client, method="OpenControlChannel")

    for number, destination in enumerate(
        (f"agentid={stage.name()}/k", f"clientid={stage.name()}", "agentid=no-slash", "", "?")
    ):
        question = asks("SaveState", destination, f"clientid={client}")
        question["rpc_id"] = str(number)
        await raw.do("send", stream="it", message=question)
        answer = await message(raw, "it", str(number))
        assert answer["rpcMessage"]["@type"] == f"{ANY}SaveStateResponse"
        assert answer["rpcMessage"]["error"]

    question = asks("LoadState", "clientid=nobody", f"clientid={client}")
    await raw.do("send", stream="it", message=question)
    answer = await message(raw, "it", "LoadState-1")
    assert answer["rpcMessage"]["error"]


async def test_the_end_of_a_control_channel_takes_nothing_else(either: Stage) -> None:
    """The worker's types and events stay."""
    raw, agent_type = await either.raw(), either.name()
    client = either.name("client")
    await raw.do("open", stream="data", client=client)
    await raw.do("open", stream="control", client=client, method="OpenControlChannel")
    await raw.do("rpc", method="RegisterAgent", client=client, request={"type": agent_type})

    await raw.do("close", stream="control")

    stock = await either.stock()
    call = asyncio.create_task(stock.call("hello", agent_type))
    asked = await raw.hears("data", "request")
    assert asked["target"]["type"] == agent_type
    call.cancel()
