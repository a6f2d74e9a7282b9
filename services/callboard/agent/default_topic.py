"""The topic for programs that need one only."""

from __future__ import annotations

from callboard.agent.instantiation import MessageHandlerContext
from callboard.core.errors import NotAllowedNow
from callboard.core.identity import TopicId


class DefaultTopicId(TopicId):
    """A topic whose source is the key of the agent whose handler runs, else ``default``.

    So agents that were all reached by one source go on talking about it. Equal to a plain
    `TopicId` of the same type and source.

    Args:
        type: The topic type.
        source: Another source than the running agent's key.
    """

    __slots__ = ()

    def __init__(self, type: str = "default", source: str | None = None) -> None:
        if source is None:
            try:
                source = MessageHandlerContext.agent_id().key
            except NotAllowedNow:
                source = "default"
        super().__init__(type, source)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TopicId):
            return NotImplemented
        return (self.type, self.source) == (other.type, other.source)

    __hash__ = TopicId.__hash__

    def __reduce__(self) -> tuple[type[TopicId], tuple[str, str]]:
        """Pickled, it is a plain topic: elsewhere another handler runs."""
        return TopicId, (self.type, self.source)
