"""Routing: the index against a scan over all subscriptions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core import routing
from callboard.core.errors import InvalidIdentifier
from callboard.core.routing import Kind, Routes

names = st.text("ab.", min_size=1, max_size=4)
routes = st.tuples(
    st.sampled_from(("type", "prefix")), st.text("ab.", max_size=4), st.sampled_from("XYZ")
).filter(lambda route: route[0] == "prefix" or route[1] != "")
steps = st.lists(st.tuples(st.sampled_from(("add", "remove", "ask")), routes, names), max_size=60)


@given(steps)
def test_the_index_answers_as_a_scan_does(
    story: list[tuple[str, tuple[Kind, str, str], str]],
) -> None:
    """After any adding and removing, for any topic type, asked before or not."""
    index = Routes()
    all_routes: list[tuple[Kind, str, str]] = []
    for step, route, topic in story:
        if step == "add":
            index.add(*route)
            all_routes.append(route)
        elif step == "remove" and route in all_routes:
            index.remove(*route)
            all_routes.remove(route)
        found = {
            agent_type
            for kind, pattern, agent_type in all_routes
            if (topic == pattern if kind == "type" else topic.startswith(pattern))
        }
        assert index.match(topic) == tuple(sorted(found))


def test_a_route_stands_until_it_was_removed_as_often_as_added() -> None:
    """Two workers may declare the same."""
    index = Routes()
    index.add("type", "t", "a")
    index.add("type", "t", "a")
    index.remove("type", "t", "a")
    assert index.match("t") == ("a",)
    index.remove("type", "t", "a")
    assert index.match("t") == ()


def test_removing_what_is_not_there_is_an_error() -> None:
    """And changes nothing."""
    index = Routes()
    index.add("type", "t", "a")
    for route in (("type", "t", "b"), ("type", "u", "a"), ("prefix", "t", "a")):
        with pytest.raises(KeyError):
            index.remove(*route)
    assert index.match("t") == ("a",)


def test_removing_all_leaves_nothing() -> None:
    """No empty tables stay behind."""
    index = Routes()
    for kind, pattern in (("type", "t"), ("prefix", "t."), ("prefix", "")):
        index.add(kind, pattern, "a")  # type: ignore[arg-type]
        index.remove(kind, pattern, "a")  # type: ignore[arg-type]

    assert (index._exact, index._prefix, dict(index._prefix_lengths)) == ({}, {}, {})


@pytest.mark.parametrize("topic", ["", "a b", "a/b", "t" * 257])
def test_what_is_no_topic_type_is_neither_answered_nor_remembered(topic: str) -> None:
    """Even when a prefix would match it."""
    index = Routes()
    index.add("prefix", "", "a")
    with pytest.raises(InvalidIdentifier):
        index.match(topic)
    assert index._answers == {}


def test_answers_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all are forgotten, and found again."""
    monkeypatch.setattr(routing, "MAX_REMEMBERED", 3)
    index = Routes()
    index.add("prefix", "t", "a")
    for number in range(10):
        assert index.match(f"t{number}") == ("a",)
        assert len(index._answers) <= 3
    assert index.match("t0") == ("a",)
