"""Which agents get the events of a topic.

The agent's key is the topic's source, so each source has its own instance of the agent.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from callboard.core.errors import InvalidIdentifier
from callboard.core.identity import (
    AgentId,
    AgentType,
    TopicId,
    check_agent_type,
    check_topic_type,
)


@runtime_checkable
class Subscription(Protocol):
    """What `AgentRuntime.add_subscription` takes.

    `TypeSubscription` or `TypePrefixSubscription`.
    """

    @property
    def id(self) -> str:
        """Unique among the subscriptions of a runtime."""
        ...

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether events of ``topic_id`` are for the agent."""
        ...

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        """The agent that gets the events of ``topic_id``.

        `InvalidIdentifier` when it does not match.
        """
        ...


class _TypedSubscription:
    """The parts that both kinds of subscription have: an id, an agent type, equality."""

    __slots__ = ("_agent_type", "_id", "_pattern")

    _mark: ClassVar[str] = ""

    def __init__(self, pattern: str, agent_type: str | AgentType, id: str | None) -> None:
        self._pattern = pattern
        self._agent_type = agent_type.type if isinstance(agent_type, AgentType) else agent_type
        check_agent_type(self._agent_type)
        # Made of what it says: two subscriptions that say the same are equal, whoever made them.
        self._id = id or f"{pattern}{self._mark}>{self._agent_type}"

    @property
    def id(self) -> str:
        """The id given, or one made of what the subscription says."""
        return self._id

    @property
    def agent_type(self) -> str:
        """The type of the agents that get the events."""
        return self._agent_type

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether events of ``topic_id`` are for the agent."""
        raise NotImplementedError

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        """The agent that gets the events of ``topic_id``.

        `InvalidIdentifier` when it does not match.
        """
        if not self.is_match(topic_id):
            msg = f"topic {topic_id} does not match {self!r}"
            raise InvalidIdentifier(msg)
        return AgentId(self._agent_type, topic_id.source)

    def __eq__(self, other: object) -> bool:
        """Two of one kind are equal when their ids are, or what they say is (AutoGen's rule)."""
        if not isinstance(other, _TypedSubscription) or self._kind() is not other._kind():
            return False
        return self._id == other._id or (self._pattern, self._agent_type) == (
            other._pattern,
            other._agent_type,
        )

    __hash__ = None  # type: ignore[assignment]  # equality by id or by content cannot agree with a hash

    def _kind(self) -> type:
        return next(
            base for base in (TypeSubscription, TypePrefixSubscription) if isinstance(self, base)
        )

    def __repr__(self) -> str:
        return f"{self._kind().__name__}({self._pattern!r}, {self._agent_type!r})"


class TypeSubscription(_TypedSubscription):
    """Events of one topic type go to the agent ``agent_type/<topic source>``.

    Raises:
        InvalidIdentifier: If either name breaks its rule.
    """

    __slots__ = ()

    def __init__(
        self,
        topic_type: str,
        agent_type: str | AgentType,
        id: str | None = None,
    ) -> None:
        check_topic_type(topic_type)
        super().__init__(topic_type, agent_type, id)

    @property
    def topic_type(self) -> str:
        """The topic type to match."""
        return self._pattern

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether the topic's type is this one."""
        return topic_id.type == self._pattern


class TypePrefixSubscription(_TypedSubscription):
    """Events of topic types with one prefix go to the agent ``agent_type/<topic source>``.

    The empty prefix matches every topic.

    Raises:
        InvalidIdentifier: If either name breaks its rule.
    """

    __slots__ = ()

    _mark = "*"

    def __init__(
        self,
        topic_type_prefix: str,
        agent_type: str | AgentType,
        id: str | None = None,
    ) -> None:
        if topic_type_prefix:
            check_topic_type(topic_type_prefix)
        elif not isinstance(topic_type_prefix, str):
            msg = f"invalid topic type prefix {topic_type_prefix!r}: it must be text"
            raise InvalidIdentifier(msg)
        super().__init__(topic_type_prefix, agent_type, id)

    @property
    def topic_type_prefix(self) -> str:
        """What the topic type has to start with; empty matches all."""
        return self._pattern

    def is_match(self, topic_id: TopicId) -> bool:
        """Whether the topic's type starts with the prefix."""
        return topic_id.type.startswith(self._pattern)
