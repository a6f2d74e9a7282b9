"""Events: who gets them, in which order, and who does not."""

from __future__ import annotations

import asyncio

import pytest

from behaviour.agents import Order, Seen, Unheard
from behaviour.world import World
from callboard import (
    AgentId,
    DefaultTopicId,
    NotFound,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
)
from callboard.core.errors import AlreadyRegistered


async def test_an_event_goes_to_the_agent_whose_key_is_its_source(world: World) -> None:
    """The agent of that key gets the event; an agent of another key gets none."""
    watch = await world.watch()
    await world.runtime.publish_message(Order(7), TopicId("orders", world.key))
    assert (await watch.next()).agent == f"recorder/{world.key}"
    assert await world.runtime.send_message(Seen(), AgentId("recorder", world.key)) == [7]
    assert await world.runtime.send_message(Seen(), AgentId("recorder", f"{world.key}-other")) == []


async def test_two_subscriptions_that_match_deliver_once(world: World) -> None:
    """An agent subscribed twice to a topic handles each event once."""
    watch = await world.watch()
    await world.runtime.add_subscription(TypePrefixSubscription("order", "recorder", id=world.key))
    try:
        for number in range(3):
            await world.runtime.publish_message(Order(number), TopicId("orders", world.key))
        assert await watch.numbers(3) == [0, 1, 2]
        assert await world.runtime.send_message(Seen(), AgentId("recorder", world.key)) == [0, 1, 2]
    finally:
        await world.runtime.remove_subscription(world.key)


async def test_a_prefix_matches_the_beginning_of_a_topic_type(world: World) -> None:
    """A prefix subscription hears every topic type that begins with it, and no other."""
    for number, topic_type in enumerate(
        ["metrics.cpu", "metricsx", "metrics.", "other.metrics.cpu"]
    ):
        await world.runtime.publish_message(Order(number), TopicId(topic_type, world.key))
    watch = await world.watch()
    await world.runtime.publish_message(Order(9), TopicId("metrics.end", world.key))
    while (await watch.next()).number != 9:
        pass
    assert await world.runtime.send_message(Seen(), AgentId("prefix_recorder", world.key)) == [
        0,
        2,
        9,
    ]


async def test_an_agent_is_addressed_by_the_topic_of_its_own_type(world: World) -> None:
    """A topic type that begins with an agent type and a colon reaches that type alone."""
    watch = await world.watch()
    await world.runtime.publish_message(Order(4), TopicId("recorder:direct", world.key))
    assert (await watch.next()).agent == f"recorder/{world.key}"
    assert watch.is_empty


async def test_the_default_topic_joins_agents_of_one_key_and_spares_the_publisher(
    world: World,
) -> None:
    """In a handler the default topic's source is the agent's key.

    What an agent publishes does not come back.
    """
    watch = await world.watch()
    await world.runtime.publish_message(Order(1), TopicId("default", world.key))
    heard = await watch.take(6)
    assert sorted((noted.agent.split("/")[0], noted.number) for noted in heard) == [
        (name, number) for name in ("repeater", "second_repeater") for number in (1, 2, 3)
    ]
    assert {noted.topic_source for noted in heard} == {world.key}


async def test_the_default_topic_outside_a_handler_has_the_default_source(world: World) -> None:
    """Outside a handler the default topic's source is ``default``."""
    assert DefaultTopicId() == TopicId("default", "default")
    watch = await world.watch("default")
    await world.runtime.publish_message(Order(3), DefaultTopicId())
    assert {noted.agent for noted in await watch.take(2)} == {
        "repeater/default",
        "second_repeater/default",
    }


async def test_events_of_one_publisher_arrive_in_order(world: World) -> None:
    """An agent sees a thousand events of one publisher on one topic in the order published."""
    await world.runtime.publish_many(
        (Order(number) for number in range(1000)), TopicId("orders", world.key)
    )
    watch = await world.watch()
    await world.runtime.publish_message(Order(1000), TopicId("orders", world.key))
    while (await watch.next()).number != 1000:
        pass
    assert await world.runtime.send_message(Seen(), AgentId("recorder", world.key)) == list(
        range(1001)
    )


async def test_an_event_without_subscribers_is_taken(world: World) -> None:
    """Publishing to a topic that nobody subscribes to returns as any other publish."""
    await world.runtime.publish_message(Order(1), TopicId("nobody.listens", world.key))


async def test_subscribing_while_events_flow_takes_effect_when_it_returns(world: World) -> None:
    """What is published after add_subscription returned is heard.

    After remove_subscription it is not.
    """
    topic = TopicId(f"flow.{world.key}", world.key)
    subscription = TypePrefixSubscription(f"flow.{world.key}", "recorder")
    published = 0
    expected: list[int] = []
    stop = asyncio.Event()
    is_subscribed = False

    async def publish() -> None:
        nonlocal published
        while not stop.is_set():
            sure = is_subscribed
            number = published = published + 1
            await world.runtime.publish_message(Order(number), topic)
            if sure and is_subscribed:
                expected.append(number)

    async with asyncio.TaskGroup() as tasks:
        publisher = tasks.create_task(publish())
        for _ in range(5):
            await world.runtime.add_subscription(subscription)
            is_subscribed = True
            first = published
            while published < first + 20:
                await asyncio.sleep(0)
            is_subscribed = False
            await world.runtime.remove_subscription(subscription.id)
            last = published
            # One publish may have been under way when it was removed; those begun later are not
            # heard.
            while published < last + 20:
                await asyncio.sleep(0)
            heard = await world.runtime.send_message(Seen(), AgentId("recorder", world.key))
            assert not [number for number in heard if last + 1 < number <= published]
        stop.set()
        await publisher
    watch = await world.watch()
    await world.runtime.publish_message(Order(0), TopicId("orders", world.key))
    await watch.next()
    heard = await world.runtime.send_message(Seen(), AgentId("recorder", world.key))
    assert len(expected) >= 50
    assert set(expected) <= set(heard)
    assert heard[:-1] == sorted(set(heard[:-1]))


async def test_a_subscription_exists_once_and_can_be_removed_once(world: World) -> None:
    """A second subscription that says the same is refused; so is removing one that is not there."""
    await world.runtime.add_subscription(TypeSubscription("twice", "recorder"))
    with pytest.raises(AlreadyRegistered, match="twice"):
        await world.runtime.add_subscription(TypeSubscription("twice", "recorder"))
    subscription = TypeSubscription("twice", "recorder")
    await world.runtime.remove_subscription(subscription.id)
    with pytest.raises(NotFound, match="no subscription"):
        await world.runtime.remove_subscription(subscription.id)


async def test_an_event_that_nobody_handles_does_not_stop_the_agent(world: World) -> None:
    """An event without a handler becomes a dead letter; the agent goes on with the next one."""
    await world.runtime.publish_message(Unheard(), TopicId("orders", world.key))
    watch = await world.watch()
    await world.runtime.publish_message(Order(5), TopicId("orders", world.key))
    assert await watch.numbers(1) == [5]
    if world.is_local:
        letters = await world.runtime.dead_letters()
        assert [(letter.reason, letter.delivery.agent) for letter in letters] == [
            ("unhandled", ("recorder", world.key))
        ]
        assert "Unheard" in letters[0].detail


async def seen_by(world: World, agent_type: str) -> list[list[str]]:
    """What one of the agents that stumble has seen: number, attempt and key of each turn."""
    attempts = await world.runtime.send_message(Seen(), AgentId(agent_type, world.key))
    return [each.split() for each in attempts]


@pytest.mark.parametrize(
    ("topic", "agent_type"), [("stumbles", "stumbler"), ("patience", "patient")]
)
async def test_an_event_that_fails_is_tried_again_before_those_behind_it(
    world: World, topic: str, agent_type: str
) -> None:
    """Under the same key, whether it waits at its worker or, for longer, at the host."""
    watch = await world.watch()
    for number in (2, 1):
        await world.runtime.publish_message(Order(number), TopicId(topic, world.key))
    assert await watch.numbers(2) == [2, 1]
    first, second, other = await seen_by(world, agent_type)
    assert [first[:2], second[:2], other[:2]] == [["2", "1"], ["2", "2"], ["1", "1"]]
    assert first[2] == second[2] != other[2]


async def test_an_event_is_given_up_when_its_attempts_are_spent_or_its_agent_rejects_it(
    world: World,
) -> None:
    """The agent goes on with the next one; the dead letter says what was tried."""
    watch = await world.watch()
    for number in (9, 0, 1):
        await world.runtime.publish_message(Order(number), TopicId("stumbles", world.key))
    assert await watch.numbers(1) == [1]
    turns = [each[:2] for each in await seen_by(world, "stumbler")]
    assert turns == [["9", "1"], ["9", "2"], ["9", "3"], ["0", "1"], ["1", "1"]]
    if world.is_local:
        letters = await world.runtime.dead_letters()
        assert [(letter.reason, letter.detail) for letter in letters] == [
            ("handler_error", "3 attempts, the last: ValueError: not at attempt 3"),
            ("rejected", "an order has a number"),
        ]
