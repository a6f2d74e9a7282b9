"""AutoGen's rules for who serves what, and what the broker is told of it."""

from __future__ import annotations

import pytest

from callboard.core.errors import AlreadyRegistered
from callboard.core.frames import SubscriptionEntry, TypeEntry
from callboard.host.autogen.directory import Directory, NoSuchSubscription, inbox_of


def by_type(number: str, agent_type: str, topic: str) -> SubscriptionEntry:
    return SubscriptionEntry(number, agent_type, "type", topic)


def by_prefix(number: str, agent_type: str, prefix: str) -> SubscriptionEntry:
    return SubscriptionEntry(number, agent_type, "prefix", prefix)


def test_a_type_has_one_worker() -> None:
    """A second one is refused in AutoGen's words, be it the same."""
    directory = Directory()
    directory.register("a", "shop")
    for client in ("a", "b"):
        with pytest.raises(
            AlreadyRegistered, match=r"^Agent type shop already registered with client a\.$"
        ):
            directory.register(client, "shop")
    assert directory.client_of("shop") == "a"


@pytest.mark.parametrize(
    "second",
    [
        by_type("1", "other", "elsewhere"),
        by_type("2", "shop", "orders"),
    ],
)
def test_a_subscription_is_there_once(second: SubscriptionEntry) -> None:
    """Neither its id nor what it says may come again, whoever adds it."""
    directory = Directory()
    directory.add("a", by_type("1", "shop", "orders"))
    with pytest.raises(AlreadyRegistered, match=r"^Subscription already exists$"):
        directory.add("b", second)


def test_an_id_may_be_there_once_of_each_kind() -> None:
    """And then its removal removes both."""
    directory = Directory()
    directory.register("a", "shop")
    directory.add("a", by_type("1", "shop", "orders"))
    directory.add("a", by_prefix("1", "shop", "orders"))
    assert len({each.id for each in directory.declared_by("a").subscriptions}) == 2
    directory.remove("1")
    assert list(directory.subscriptions()) == []
    with pytest.raises(NoSuchSubscription, match=r"^Subscription does not exist$"):
        directory.remove("1")


def test_events_go_to_the_worker_of_the_type() -> None:
    """Whoever subscribed it: the subscription leads to that worker's inbox."""
    directory = Directory()
    directory.register("a", "shop")
    directory.add("b", by_type("1", "shop", "orders"))
    declared = directory.declared_by("a")
    assert declared.types == [
        TypeEntry(inbox_of("a"), session_only=True, exclusive=True),
        TypeEntry("shop", session_only=True, exclusive=True, calls_only=True),
    ]
    assert [(each.agent_type, each.pattern) for each in declared.subscriptions] == [
        (inbox_of("a"), "orders")
    ]
    assert directory.declared_by("b").subscriptions == []


def test_a_subscription_of_a_type_of_no_autogen_worker_is_left_as_it_is() -> None:
    """The type may be a native worker's. Once an AutoGen worker serves it, it is for that one."""
    directory = Directory()
    directory.add("b", by_type("1", "shop", "orders"))
    assert [each.agent_type for each in directory.declared_by("b").subscriptions] == ["shop"]
    directory.register("a", "shop")
    assert directory.declared_by("b").subscriptions == []


def test_a_worker_that_is_gone_leaves_only_what_others_added() -> None:
    """Its types are free; others' subscriptions for them stay."""
    directory = Directory()
    directory.register("a", "shop")
    directory.add("a", by_type("1", "shop", "orders"))
    directory.add("b", by_prefix("2", "shop", "order"))
    directory.drop("a")
    assert directory.client_of("shop") is None
    assert [each.id for each in directory.subscriptions()] == ["2"]
    directory.register("c", "shop")
    assert [each.id for each in directory.declared_by("c").subscriptions] == ["prefix:2"]
