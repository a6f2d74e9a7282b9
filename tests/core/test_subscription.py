"""Subscriptions: what they match, and when two are one."""

from __future__ import annotations

import pytest

from callboard.core.errors import InvalidIdentifier
from callboard.core.identity import AgentId, AgentType, TopicId
from callboard.core.subscription import Subscription, TypePrefixSubscription, TypeSubscription

EXACT = TypeSubscription("orders", "shop")
PREFIX = TypePrefixSubscription("orders", "shop")
ALL = TypePrefixSubscription("", "shop")


@pytest.mark.parametrize(
    ("subscription", "topic_type", "matches"),
    [
        (EXACT, "orders", True),
        (EXACT, "orders.paid", False),
        (EXACT, "order", False),
        (PREFIX, "orders", True),
        (PREFIX, "orders.paid", True),
        (PREFIX, "order", False),
        (ALL, "anything", True),
    ],
)
def test_what_is_matched(subscription: Subscription, topic_type: str, matches: bool) -> None:  # noqa: FBT001 (a column)
    """A type entire, or its beginning; the topic's source becomes the agent's key."""
    topic = TopicId(topic_type, "customer/7")

    assert subscription.is_match(topic) is matches
    if matches:
        assert subscription.map_to_agent(topic) == AgentId("shop", "customer/7")
    else:
        with pytest.raises(InvalidIdentifier, match="does not match"):
            subscription.map_to_agent(topic)


def test_two_are_one_by_id_or_by_what_they_say() -> None:
    """Within one kind."""
    assert TypeSubscription("t", "a") == TypeSubscription("t", AgentType("a"), id="other")
    assert TypeSubscription("t", "a", id="1") == TypeSubscription("u", "b", id="1")
    assert TypeSubscription("t", "a") != TypeSubscription("t", "b")
    assert TypeSubscription("t", "a") != TypePrefixSubscription("t", "a")
    assert TypeSubscription("t", "a").id != TypePrefixSubscription("t", "a").id
    assert TypeSubscription("t", "a").id == TypeSubscription("t", "a").id


@pytest.mark.parametrize(
    ("kind", "topic_type", "agent_type"),
    [
        (TypeSubscription, "", "a"),
        (TypeSubscription, "t t", "a"),
        (TypePrefixSubscription, "t t", "a"),
        (TypePrefixSubscription, None, "a"),
        (TypePrefixSubscription, "t", "a a"),
    ],
)
def test_names_keep_their_rules(
    kind: type[TypeSubscription | TypePrefixSubscription], topic_type: str, agent_type: str
) -> None:
    """At construction."""
    with pytest.raises(InvalidIdentifier):
        kind(topic_type, agent_type)
