"""Types, subscriptions and streams, as clients without a runtime see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from autogen.world import PROMPTLY_S, Raw, Refused, Said, Stage, note


async def register(raw: Raw, client: str, agent_type: str) -> bool:
    await raw.do("rpc", method="RegisterAgent", client=client, request={"type": agent_type})
    return True


async def subscribe(
    raw: Raw, client: str, agent_type: str, topic: str, name: str = "", *, prefix: bool = False
) -> None:
    match = {"topic_type_prefix" if prefix else "topic_type": topic, "agent_type": agent_type}
    kind = "typePrefixSubscription" if prefix else "typeSubscription"
    await raw.do(
        "rpc",
        method="AddSubscription",
        client=client,
        request={"subscription": {"id": name, kind: match}},
    )


async def subscriptions(raw: Raw, *agent_types: str) -> list[Said]:
    answer = await raw.do("rpc", method="GetSubscriptions", client="reader")
    return [
        each
        for each in answer.get("subscriptions", [])
        if any(value["agent_type"] in agent_types for key, value in each.items() if key != "id")
    ]


async def soon(is_so: Callable[[], Awaitable[object]]) -> None:
    """Within a second it is so, and is not refused."""
    async with asyncio.timeout(PROMPTLY_S):
        while True:
            try:
                if await is_so():
                    return
            except Refused:
                pass
            await asyncio.sleep(0.02)


def event(topic: str, name: str) -> Said:
    return {
        "cloudEvent": {
            "id": name,
            "source": "s",
            "spec_version": "1.0",
            "type": topic,
            "attributes": {
                "datacontenttype": {"ce_string": "application/json"},
                "dataschema": {"ce_string": "Note"},
            },
            "binary_data": "e30=",
        }
    }


@pytest.mark.parametrize("second", ["another", "the same"])
async def test_a_type_is_served_by_one_client(either: Stage, second: str) -> None:
    """A type that is taken is refused with AutoGen's text, even to the client that has it."""
    raw, agent_type = await either.raw(), either.name()
    client = either.name("client")
    await raw.do("open", stream="it", client=client)
    await register(raw, client, agent_type)

    with pytest.raises(Refused) as refused:
        await register(raw, client if second == "the same" else "another", agent_type)

    assert refused.value.code == "INVALID_ARGUMENT"
    assert refused.value.text == f"Agent type {agent_type} already registered with client {client}."


async def test_a_stock_worker_is_told_that_its_type_is_taken(either: Stage) -> None:
    """`register` of a second worker raises the host's words."""
    agent_type = either.name()
    _, second = await asyncio.gather(either.clerk(agent_type), either.stock())

    with pytest.raises(Refused) as refused:
        await second.do("register", agent_type=agent_type)

    assert refused.value.code == "INVALID_ARGUMENT"
    assert refused.value.text.startswith(f"Agent type {agent_type} already registered with client ")


async def test_a_subscription_is_taken_once(either: Stage) -> None:
    """Neither an id nor a pair of type and topic comes twice among those of one kind."""
    raw, agent_type, topic = await either.raw(), either.name(), either.name("topic")
    name, client = either.name("id"), either.name("client")
    await raw.do("open", stream="it", client=client)
    await register(raw, client, agent_type)
    await subscribe(raw, client, agent_type, topic, name)

    for again in ((agent_type, "other", name), (agent_type, topic, "other")):
        for who in (client, "another"):
            with pytest.raises(Refused) as refused:
                await subscribe(raw, who, *again)
            assert refused.value.code == "INVALID_ARGUMENT"
            assert refused.value.text == "Subscription already exists"


async def test_one_id_may_name_two_kinds(either: Stage) -> None:
    """A subscription to a topic and one to a prefix may share an id, and go together."""
    raw, agent_type, topic = await either.raw(), either.name(), either.name("topic")
    name, client = either.name("id"), either.name("client")
    await raw.do("open", stream="it", client=client)
    await register(raw, client, agent_type)
    await subscribe(raw, client, agent_type, topic, name)
    await subscribe(raw, client, agent_type, topic, name, prefix=True)
    assert len(await subscriptions(raw, agent_type)) == 2

    await raw.do("rpc", method="RemoveSubscription", client=client, request={"id": name})

    assert not await subscriptions(raw, agent_type)


async def test_an_empty_id_is_given_one(either: Stage) -> None:
    """Subscriptions without an id get one each from the host."""
    raw, agent_type, topic = await either.raw(), either.name(), either.name("topic")
    client = either.name("client")
    await raw.do("open", stream="it", client=client)
    await register(raw, client, agent_type)
    await subscribe(raw, client, agent_type, topic)
    await subscribe(raw, client, agent_type, f"{topic}2")

    made = {each["id"] for each in await subscriptions(raw, agent_type)}

    assert len(made) == 2
    assert all(made)
    await raw.do("send", stream="it", message=event(topic, "e-1"))
    await raw.hears("it", "cloudEvent", id="e-1")


async def test_all_clients_subscriptions_are_listed(either: Stage) -> None:
    """`GetSubscriptions` tells anyone of everyone's, in the order in which they came."""
    raw, one, other = await either.raw(), either.name(), either.name()
    clients, names = [either.name("client") for _ in "12"], [either.name("id") for _ in "12"]
    for number, (client, agent_type) in enumerate(zip(clients, (one, other), strict=True)):
        await raw.do("open", stream=client, client=client)
        await register(raw, client, agent_type)
        await subscribe(raw, client, agent_type, "x.", names[number], prefix=bool(number))

    assert await subscriptions(raw, one, other) == [
        {"id": names[0], "typeSubscription": {"topic_type": "x.", "agent_type": one}},
        {
            "id": names[1],
            "typePrefixSubscription": {"topic_type_prefix": "x.", "agent_type": other},
        },
    ]


async def test_what_is_wrong_with_subscriptions_is_said_in_autogens_words(either: Stage) -> None:
    """One that is not there cannot be removed, and one to nothing cannot be added."""
    raw = await either.raw()

    with pytest.raises(Refused) as refused:
        await raw.do("rpc", method="RemoveSubscription", client="c", request={"id": "nothing"})
    assert refused.value.code == "UNKNOWN"
    assert refused.value.text == "Unexpected <class 'ValueError'>: Subscription does not exist"

    empty = {"subscription": {"id": either.name("id")}}
    with pytest.raises(Refused) as refused:
        await raw.do("rpc", method="AddSubscription", client="c", request=empty)
    assert refused.value.code == "UNKNOWN"
    assert refused.value.text == "Unexpected <class 'ValueError'>: Invalid subscription message."


@pytest.mark.parametrize(
    "method", ["RegisterAgent", "AddSubscription", "RemoveSubscription", "GetSubscriptions"]
)
async def test_a_call_says_which_client_makes_it(either: Stage, method: str) -> None:
    """Without a client id every call is refused."""
    raw = await either.raw()

    with pytest.raises(Refused) as refused:
        await raw.do("rpc", method=method, client=None)

    assert refused.value.code == "INVALID_ARGUMENT"
    assert refused.value.text == "client-id metadata not found."


@pytest.mark.parametrize("method", ["OpenChannel", "OpenControlChannel"])
async def test_a_stream_says_which_client_opens_it(either: Stage, method: str) -> None:
    """Without a client id both kinds of streams are refused."""
    raw = await either.raw()

    await raw.do("open", stream="it", client=None, method=method)

    ended = await raw.ends("it")
    assert ended["ended"] == "INVALID_ARGUMENT"
    assert ended["details"] == "client-id metadata not found."


async def test_a_type_may_be_registered_before_the_stream_is_open(either: Stage) -> None:
    """The order in which a client registers, subscribes and opens its stream is its own."""
    raw, agent_type, topic = await either.raw(), either.name(), either.name("topic")
    client = either.name("client")
    await register(raw, client, agent_type)
    await subscribe(raw, client, agent_type, topic)
    await raw.do("open", stream="it", client=client)

    publisher = await either.stock()
    await publisher.do("publish", message=note("x"), topic=(topic, "s"), message_id="e-1")

    await raw.hears("it", "cloudEvent", id="e-1")


async def test_the_end_of_a_stream_frees_what_it_had(either: Stage) -> None:
    """Within a second another client may take the type, and the subscriptions are gone."""
    raw, agent_type, topic = await either.raw(), either.name(), either.name("topic")
    name, client = either.name("id"), either.name("client")
    await raw.do("open", stream="it", client=client)
    await register(raw, client, agent_type)
    await subscribe(raw, client, agent_type, topic, name)

    await raw.do("close", stream="it")

    await soon(lambda: register(raw, "another", agent_type))
    assert not await subscriptions(raw, agent_type)


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_worker_can_be_started_again(either: Stage, how: str) -> None:
    """Within a second of the end of a worker, its successor can have its types and topics."""
    agent_type, topic = either.name(), either.name("topic")
    first, second, raw = await asyncio.gather(
        either.clerk(agent_type, topic), either.stock(), either.raw()
    )

    await (first.kill() if how == "killed" else first.do("stop"))

    async def is_gone() -> bool:
        return not await subscriptions(raw, agent_type)

    await soon(is_gone)
    await second.do("register", agent_type=agent_type)
    await second.do("subscribe", agent_type=agent_type, topic_type=topic)
    await second.publish("anew", topic)
    await second.gets("anew")


async def test_a_second_stream_takes_over(stage: Stage) -> None:
    """The newer stream of a client gets what comes; the end of the older one takes nothing away."""
    raw, agent_type, topic = await stage.raw(), stage.name(), stage.name("topic")
    client = stage.name("client")
    await raw.do("open", stream="old", client=client)
    await register(raw, client, agent_type)
    await subscribe(raw, client, agent_type, topic)
    await raw.do("send", stream="old", message=event(topic, "e-1"))
    await raw.hears("old", "cloudEvent", id="e-1")

    await raw.do("open", stream="new", client=client)
    await raw.do("send", stream="new", message=event(topic, "e-2"))
    await raw.hears("new", "cloudEvent", id="e-2")
    await raw.do("close", stream="old")
    await raw.do("send", stream="new", message=event(topic, "e-3"))

    await raw.hears("new", "cloudEvent", id="e-3")
    assert [each["cloudEvent"]["id"] for each in raw.heard("old")] == ["e-1"]
    with pytest.raises(Refused):
        await register(raw, "another", agent_type)


async def test_a_client_may_subscribe_anothers_type(either: Stage) -> None:
    """Its events go to the client that serves the type, until the one that subscribed is gone."""
    raw, agent_type, topic = await either.raw(), either.name(), either.name("topic")
    server, other = either.name("client"), either.name("client")
    await raw.do("open", stream="server", client=server)
    await raw.do("open", stream="other", client=other)
    await register(raw, server, agent_type)
    await subscribe(raw, server, agent_type, f"{topic}.own")
    await subscribe(raw, other, agent_type, topic)

    await raw.do("send", stream="other", message=event(topic, "e-1"))
    await raw.hears("server", "cloudEvent", id="e-1")
    await raw.do("close", stream="other")

    async def is_gone() -> bool:
        return len(await subscriptions(raw, agent_type)) == 1

    await soon(is_gone)
    await raw.do("send", stream="server", message=event(topic, "e-2"))
    await raw.do("send", stream="server", message=event(f"{topic}.own", "e-3"))
    await raw.hears("server", "cloudEvent", id="e-3")
    assert [each["cloudEvent"]["id"] for each in raw.heard("server")] == ["e-1", "e-3"]
    assert not raw.heard("other")


async def test_a_type_that_only_subscribes_harms_nobody(stage: Stage) -> None:
    """Subscriptions of types that no stream serves take no event from others."""
    raw, agent_type, topic = await stage.raw(), stage.name(), stage.name("topic")
    absent, strange = stage.name("absent"), stage.name("absent")
    worker = await stage.clerk(agent_type, topic)
    await register(raw, "no-stream", absent)
    await subscribe(raw, "no-stream", absent, topic)
    await subscribe(raw, "no-stream", strange, topic)

    for number in range(10):
        await worker.publish(f"event {number}", topic)

    await worker.gets("event 9")
    assert all(len(worker.got(f"event {number}")) == 1 for number in range(10))
