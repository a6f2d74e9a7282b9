"""The index from topic types to agent types.

The cost of a lookup depends on the length of the topic type, not on how many subscriptions there
are: one probe for the exact type and one for each prefix length in use, and most lookups end in a
table of those already answered.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, TypeAlias

from callboard.core.errors import InvalidIdentifier
from callboard.core.identity import check_topic_type

Kind: TypeAlias = Literal["type", "prefix"]

MAX_REMEMBERED = 16_384
"""Topic types whose answer is kept; beyond it all are forgotten, and found again when asked for."""


class Routes:
    """Which agent types are subscribed to a topic type.

    A route may be added several times (by several workers); it stands until it was removed as
    often.
    """

    def __init__(self) -> None:
        self._exact: dict[str, Counter[str]] = {}
        self._prefix: dict[str, Counter[str]] = {}
        self._prefix_lengths: Counter[int] = Counter()
        self._answers: dict[str, tuple[str, ...]] = {}

    def add(self, kind: Kind, pattern: str, agent_type: str) -> None:
        """Send the topics that match ``pattern`` to ``agent_type``."""
        table = self._exact if kind == "type" else self._prefix
        targets = table.get(pattern)
        if targets is None:
            targets = table[pattern] = Counter()
            if kind == "prefix":
                self._prefix_lengths[len(pattern)] += 1
        targets[agent_type] += 1
        if targets[agent_type] == 1:
            self._answers.clear()

    def remove(self, kind: Kind, pattern: str, agent_type: str) -> None:
        """Take back one `add`. Raises KeyError when there is none."""
        table = self._exact if kind == "type" else self._prefix
        targets = table[pattern]
        if not targets[agent_type]:
            raise KeyError(agent_type)
        targets[agent_type] -= 1
        if targets[agent_type]:
            return
        del targets[agent_type]
        self._answers.clear()
        if not targets:
            del table[pattern]
            if kind == "prefix":
                self._prefix_lengths[len(pattern)] -= 1
                if not self._prefix_lengths[len(pattern)]:
                    del self._prefix_lengths[len(pattern)]

    def match(self, topic_type: str, *, any_text: bool = False) -> tuple[str, ...]:
        """The agent types subscribed to ``topic_type``, each once, in the order of their names.

        Args:
            topic_type: The topic's type.
            any_text: It need not be one.

        Raises:
            InvalidIdentifier: That is no topic type. Checked here, where it costs nothing for those
                asked for before, and where what is no topic type would otherwise be remembered.
        """
        answer = self._answers.get(topic_type)
        if answer is None:
            try:
                check_topic_type(topic_type)
            except InvalidIdentifier:
                if any_text:
                    return self._find(topic_type)
                raise
            answer = self._find(topic_type)
            if len(self._answers) >= MAX_REMEMBERED:
                self._answers.clear()
            self._answers[topic_type] = answer
        return answer

    def _find(self, topic_type: str) -> tuple[str, ...]:
        found = set(self._exact.get(topic_type, ()))
        for length in self._prefix_lengths:
            if length <= len(topic_type):
                found.update(self._prefix.get(topic_type[:length], ()))
        return tuple(sorted(found))
