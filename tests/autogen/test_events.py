"""Events between stock workers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autogen.world import Stage, note

MESSAGES: list[tuple[str, dict[str, Any]]] = [
    ("Note", {"text": "ünïcode ✓", "number": 7}),
    ("Bill", {"name": "paper", "lines": [1, 2], "tax": None}),
]
PROTOBUF_MESSAGES: list[tuple[str, dict[str, Any]]] = [
    ("StringValue", {"value": "protobuf"}),
    ("Struct", {"number": 1.0, "text": "protobuf"}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message[0])
async def test_an_event_arrives_as_it_was(either: Stage, message: Any) -> None:
    """Dataclasses and pydantic models arrive with their topic and id; the sender is unknown."""
    agent_type, topic = either.name(), either.name("topic")
    worker, publisher = await asyncio.gather(either.clerk(agent_type, topic), either.stock())

    await publisher.do("publish", message=message, topic=(topic, "the source"), message_id="m-1")

    said = await worker.tells(lambda said: "got" in said)
    assert said == {
        "got": [message[0], message[1]],
        "agent": [agent_type, "the source"],
        "topic": [topic, "the source"],
        "sender": ["unknown", "unknown"],
        "is_rpc": False,
        "message_id": "m-1",
    }


@pytest.mark.parametrize("message", PROTOBUF_MESSAGES, ids=lambda message: message[0])
async def test_a_protobuf_event_arrives_as_it_was(either: Stage, message: Any) -> None:
    """A worker that publishes protobuf reaches one that publishes JSON."""
    agent_type, topic = either.name(), either.name("topic")
    worker, publisher = await asyncio.gather(
        either.clerk(agent_type, topic),
        either.stock(protobuf=True, knows=("StringValue", "Struct")),
    )

    await publisher.do("publish", message=message, topic=(topic, "s"))

    said = await worker.tells(lambda said: "got" in said)
    assert said["got"] == list(message)


async def test_a_class_brings_its_subscriptions(either: Stage) -> None:
    """What decorators of classes subscribe to, agents get."""
    default, orders = either.name(), either.name()
    worker = await either.stock()
    await worker.do("register", agent_type=default, clerk="default")
    await worker.do("register", agent_type=orders, clerk="orders")

    source = either.name("source")
    await worker.publish("by default", "default", source)
    await worker.publish("an order", "orders", source)

    assert (await worker.gets("by default"))["agent"] == [default, source]
    assert (await worker.gets("an order"))["agent"] == [orders, source]


async def test_an_instance_gets_the_topic_of_its_key(either: Stage) -> None:
    """`register_instance` subscribes the agent to the topic type that is its key."""
    agent_type, key = either.name(), either.name("key")
    worker = await either.stock()
    await worker.do("register_instance", agent_type=agent_type, key=key)

    await worker.publish("for you", key, key)

    assert (await worker.gets("for you"))["agent"] == [agent_type, key]


async def test_a_prefix_matches_what_begins_with_it(either: Stage) -> None:
    """A prefix subscription gets every topic type that begins so, and no other."""
    agent_type, prefix = either.name(), either.name("prefix")
    worker = await either.clerk(agent_type)
    await worker.do("subscribe", agent_type=agent_type, topic_type=f"{prefix}.", prefix=True)

    await worker.publish("another", prefix)
    await worker.publish("the prefix", f"{prefix}.")
    await worker.publish("more", f"{prefix}.more:x=y")

    assert (await worker.gets("more"))["topic"] == [f"{prefix}.more:x=y", "s"]
    assert len(worker.got("the prefix")) == 1
    assert not worker.got("another")


async def test_an_agent_is_reached_by_its_own_topic(either: Stage) -> None:
    """`register` subscribes a type to the topics that begin with its name and a colon."""
    agent_type = either.name()
    worker = await either.clerk(agent_type)

    await worker.publish("direct", f"{agent_type}:")

    assert (await worker.gets("direct"))["agent"] == [agent_type, "s"]


async def test_the_empty_prefix_matches_everything(either: Stage) -> None:
    """A subscription to the empty prefix gets topics of any type."""
    agent_type, topic = either.name(), either.name("topic")
    worker = await either.clerk(agent_type)
    subscribed = await worker.do("subscribe", agent_type=agent_type, topic_type="", prefix=True)

    await worker.publish("anything", topic)

    await worker.gets("anything")
    await worker.do("unsubscribe", name=subscribed)


async def test_an_empty_source_makes_an_empty_key(either: Stage) -> None:
    """The agent with the empty key gets what has an empty source."""
    agent_type, topic = either.name(), either.name("topic")
    worker = await either.clerk(agent_type, topic)

    await worker.publish("nowhere", topic, "")

    assert (await worker.gets("nowhere"))["agent"] == [agent_type, ""]


async def test_a_type_may_have_letters_of_any_script(either: Stage) -> None:
    """Types and topics of Unicode's word characters get events and calls."""
    agent_type, topic = either.name("größe_尺寸"), either.name("größen")
    worker, other = await asyncio.gather(either.clerk(agent_type, topic), either.stock())

    await other.publish("event", topic, "źródło/x")

    assert (await worker.gets("event"))["agent"] == [agent_type, "źródło/x"]
    answered = await other.call("call", agent_type, "klucz/ł")
    assert answered["answer"][1]["text"] == f"{agent_type}/klucz/ł: call"


async def test_an_event_reaches_all_that_are_subscribed(either: Stage) -> None:
    """Agents of several types in several workers, the publisher's own among them, get it once."""
    topic, types = either.name("topic"), [either.name() for _ in range(4)]
    workers = await either.stocks(2)
    for agent_type, worker in zip(types, [*workers, *workers], strict=True):
        await worker.do("register", agent_type=agent_type)
        await worker.do("subscribe", agent_type=agent_type, topic_type=topic)

    await workers[0].publish("all", topic)
    await workers[0].publish("then", topic)

    for agent_type, worker in zip(types, [*workers, *workers], strict=True):
        await worker.gets("then", agent_type)
        assert [said["agent"][0] for said in worker.got("all")].count(agent_type) == 1


async def test_two_subscriptions_that_match_bring_a_client_one_event(either: Stage) -> None:
    """The host sends a client an event once; what its worker makes of it is the worker's."""
    raw, topic, agent_type = await either.raw(), either.name("topic"), either.name()
    client = either.name("client")
    await raw.do("open", stream="it", client=client)
    await raw.do("rpc", method="RegisterAgent", client=client, request={"type": agent_type})
    for subscription in (
        {"typeSubscription": {"topic_type": topic, "agent_type": agent_type}},
        {"typePrefixSubscription": {"topic_type_prefix": topic, "agent_type": agent_type}},
    ):
        await raw.do(
            "rpc",
            method="AddSubscription",
            client=client,
            request={"subscription": subscription},
        )

    publisher = await either.stock()
    await publisher.publish("twice?", topic)
    await publisher.do("publish", message=note("then"), topic=(topic, "s"), message_id="last")

    await raw.hears("it", "cloudEvent", id="last")
    assert len(raw.heard("it")) == 2


async def test_an_agent_does_not_get_its_own_event(either: Stage) -> None:
    """The sender is left out, others that subscribe are not."""
    one, other, topic = either.name(), either.name(), either.name("topic")
    worker = await either.clerk(one, topic)
    await worker.do("register", agent_type=other)
    await worker.do("subscribe", agent_type=other, topic_type=topic)

    await worker.call(f"publish {topic} k", one, "k")

    said = await worker.gets("published")
    assert said["agent"] == [other, "k"]
    assert said["sender"] == [one, "k"]
    await worker.publish("fence", topic, "k")
    await worker.tells(lambda said: said.get("agent") == [one, "k"] and said["topic"] is not None)
    assert [said["agent"] for said in worker.got("published")] == [[other, "k"]]


async def test_events_of_one_publisher_keep_their_order(either: Stage) -> None:
    """A hundred events arrive in the order of their publishing."""
    agent_type, topic = either.name(), either.name("topic")
    worker, publisher = await asyncio.gather(either.clerk(agent_type, topic), either.stock())

    for number in range(100):
        await publisher.do("publish", message=note("count", number), topic=(topic, "s"))

    await worker.tells(lambda said: "got" in said and said["got"][1]["number"] == 99)
    assert [said["got"][1]["number"] for said in worker.got("count")] == list(range(100))


async def test_events_on_several_topics_keep_their_order(either: Stage) -> None:
    """So do those that one publisher spreads over topics of one source, for one worker."""
    agent_type, topics = either.name(), [either.name("topic") for _ in range(3)]
    worker, publisher = await asyncio.gather(either.clerk(agent_type, *topics), either.stock())

    for number in range(100):
        topic = (topics[number % 3], "s")
        await publisher.do("publish", message=note("count", number), topic=topic)

    await worker.tells(lambda said: "got" in said and said["got"][1]["number"] == 99)
    assert [said["got"][1]["number"] for said in worker.got("count")] == list(range(100))


async def test_a_subscription_can_be_taken_back(either: Stage) -> None:
    """After `remove_subscription` nothing comes by it; others stay."""
    agent_type, topic, kept = either.name(), either.name("topic"), either.name("kept")
    worker = await either.clerk(agent_type, kept)
    subscribed = await worker.do("subscribe", agent_type=agent_type, topic_type=topic)
    await worker.publish("before", topic)
    await worker.gets("before")

    await worker.do("unsubscribe", name=subscribed)
    await worker.publish("after", topic)
    await worker.publish("fence", kept)

    await worker.gets("fence")
    assert not worker.got("after")


async def test_what_nobody_subscribed_to_harms_nobody(either: Stage) -> None:
    """Such an event is dropped, and the publisher goes on."""
    agent_type, topic = either.name(), either.name("topic")
    worker, publisher = await asyncio.gather(either.clerk(agent_type, topic), either.stock())

    await publisher.publish("into the void", either.name("void"))
    await publisher.publish("heard", topic)

    await worker.gets("heard")


async def test_a_message_of_an_unknown_class_arrives_unread(either: Stage) -> None:
    """The agent gets AutoGen's stand-in with the name and the bytes."""
    agent_type, topic = either.name(), either.name("topic")
    worker, publisher = await asyncio.gather(
        either.clerk(agent_type, topic), either.stock(knows=("Secret",))
    )

    await publisher.do("publish", message=("Secret", {"text": "?"}), topic=(topic, "s"))

    said = await worker.tells(lambda said: "got" in said)
    assert said["got"] == [
        "UnknownPayload",
        {
            "type_name": "Secret",
            "data_content_type": "application/json",
            "payload": '{"text": "?"}',
        },
    ]


async def test_a_failing_handler_harms_nobody(either: Stage) -> None:
    """A handler that raises loses its own event and nothing else."""
    agent_type, topic = either.name(), either.name("topic")
    worker, publisher = await asyncio.gather(either.clerk(agent_type, topic), either.stock())

    await publisher.publish("raise out of paper", topic)
    await publisher.publish("next", topic)

    await worker.gets("next")
    assert len(worker.got("raise out of paper")) == 1


async def test_an_agent_that_is_busy_gets_events_all_the_same(either: Stage) -> None:
    """AutoGen's worker runs handlers side by side, so no event waits for another's handler."""
    agent_type, topic = either.name(), either.name("topic")
    worker, publisher = await asyncio.gather(either.clerk(agent_type, topic), either.stock())

    await publisher.publish("hold", topic)
    await publisher.publish("meanwhile", topic)

    await worker.gets("meanwhile")


@pytest.mark.parametrize("size", [5_000_000, 9_000_000])
async def test_a_large_event_harms_nobody(stage: Stage, size: int) -> None:
    """The publisher of an event that no stock worker can take goes on, and so do subscribers."""
    agent_type, topic = stage.name(), stage.name("topic")
    worker, publisher, third = await asyncio.gather(
        stage.clerk(agent_type, topic), stage.clerk(stage.name()), stage.stock()
    )

    large = ("Note", {"repeat": size, "number": 1})
    await publisher.do("publish", message=large, topic=(topic, "s"))
    await publisher.publish("small", topic)

    await worker.gets("small")
    await third.publish("from another", topic)
    await worker.gets("from another")
    assert "answer" in await third.call("hello", agent_type)


async def test_a_message_beyond_all_bounds_harms_nobody_else(stage: Stage) -> None:
    """The host does not read twelve megabytes: their sender's stream ends, and no other."""
    agent_type, topic = stage.name(), stage.name("topic")
    worker, publisher, third = await asyncio.gather(
        stage.clerk(agent_type, topic), stage.stock(), stage.stock()
    )

    large = ("Note", {"repeat": 12_000_000, "number": 1})
    await publisher.do("publish", message=large, topic=(topic, "s"))

    await third.publish("from another", topic)
    await worker.gets("from another")
    assert "answer" in await third.call("hello", agent_type)


async def test_three_megabytes_arrive(stage: Stage) -> None:
    """What is below gRPC's limit of 4 MiB arrives."""
    agent_type, topic = stage.name(), stage.name("topic")
    worker, publisher = await asyncio.gather(stage.clerk(agent_type, topic), stage.stock())

    large = ("Note", {"repeat": 3_000_000, "number": 1})
    await publisher.do("publish", message=large, topic=(topic, "s"))

    await worker.gets("3000000 letters")
