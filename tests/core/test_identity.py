"""Addresses: their rules, and their text form."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.errors import Code, InvalidIdentifier
from callboard.core.identity import AgentId, AgentType, TopicId

agent_types = st.from_regex(r"[A-Za-z0-9_.\-]{1,20}", fullmatch=True)
topic_types = st.from_regex(r"[A-Za-z0-9_.:=\-]{1,20}", fullmatch=True)
keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(
    lambda key: len(key.encode()) <= 256
)


@given(agent_types, keys)
def test_an_agent_id_is_read_as_it_is_written(agent_type: str, key: str) -> None:
    """Whatever the key holds, slashes included."""
    agent_id = AgentId(agent_type, key)

    assert AgentId.parse(str(agent_id)) == agent_id
    assert AgentId.from_str(f"{agent_type}/{key}") == agent_id


@given(topic_types, keys)
def test_a_topic_is_read_as_it_is_written(topic_type: str, source: str) -> None:
    """Whatever the source holds, slashes included."""
    topic = TopicId(topic_type, source)

    assert TopicId.parse(str(topic)) == topic
    assert TopicId.from_str(f"{topic_type}/{source}") == topic


def test_the_first_slash_divides() -> None:
    """Keys may look like paths."""
    assert AgentId.parse("files/docs/a.md") == AgentId("files", "docs/a.md")


def test_an_agent_type_may_stand_for_its_name() -> None:
    """What registration returns can be used to address."""
    assert AgentId(AgentType("shop"), "main") == AgentId("shop", "main")
    assert str(AgentType("shop")) == "shop"


def test_ids_are_values() -> None:
    """Equal, hashable, ordered, frozen, and the same after a copy."""
    one, other = AgentId("a", "1"), AgentId("a", "2")

    assert sorted({other, one, AgentId("a", "1")}) == [one, other]
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    with pytest.raises(AttributeError):
        one.key = "2"  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "ä", "a\n", "a:b", "a=b", "a" * 257, None, 7]
)
def test_what_is_no_agent_type(name: object) -> None:
    """The error names the value and the rule."""
    with pytest.raises(InvalidIdentifier, match="invalid agent type"):
        AgentType(name)  # type: ignore[arg-type]
    with pytest.raises(InvalidIdentifier, match="invalid agent type"):
        AgentId(name, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "ä", "a\n", "a" * 257, None])
def test_what_is_no_topic_type(name: object) -> None:
    """Colons and equals signs are allowed, as in AutoGen."""
    assert TopicId("a:b=c", "x").type == "a:b=c"
    with pytest.raises(InvalidIdentifier, match="invalid topic type"):
        TopicId(name, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "k" * 257, "ä" * 129, "\ud800", None, 7])
def test_what_is_no_key(key: object) -> None:
    """1 to 256 bytes of UTF-8."""
    with pytest.raises(InvalidIdentifier, match="invalid agent key"):
        AgentId("a", key)  # type: ignore[arg-type]
    with pytest.raises(InvalidIdentifier, match="invalid topic source"):
        TopicId("a", key)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "a", "/x", "a/", "a b/x"])
def test_what_is_no_text_form(text: str) -> None:
    """Both parts and the slash are needed."""
    with pytest.raises(InvalidIdentifier):
        AgentId.parse(text)
    with pytest.raises(InvalidIdentifier):
        TopicId.parse(text)


def test_errors_show_the_start_of_a_long_value() -> None:
    """And carry INVALID_ARGUMENT over the wire."""
    with pytest.raises(InvalidIdentifier) as caught:
        AgentId("a " * 10_000, "x")

    assert caught.value.code is Code.INVALID_ARGUMENT
    assert len(str(caught.value)) < 200
