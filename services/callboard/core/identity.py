"""The addresses of agents and topics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from callboard.core.errors import InvalidIdentifier

MAX_NAME_BYTES = 256
"""The longest agent type, agent key, topic type or topic source, in bytes of UTF-8."""

_SHOWN_CHARS = 80
"""How much of a wrong value an error shows: it travels back to whoever sent the value."""

_AGENT_TYPE = re.compile(r"[A-Za-z0-9_.\-]+\Z")
_TOPIC_TYPE = re.compile(r"[A-Za-z0-9_.:=\-]+\Z")


def check_agent_type(value: str) -> None:
    """Raise `InvalidIdentifier` unless ``value`` is ``[A-Za-z0-9_.-]+``, at most 256 bytes."""
    if not isinstance(value, str) or not _AGENT_TYPE.match(value):
        msg = f"invalid agent type {_shown(value)}: it must be one or more of A-Z a-z 0-9 _ . -"
        raise InvalidIdentifier(msg)
    _check_length("agent type", value)


def check_topic_type(value: str) -> None:
    """Raise `InvalidIdentifier` unless ``value`` is ``[A-Za-z0-9_.:=-]+``, at most 256 bytes."""
    if not isinstance(value, str) or not _TOPIC_TYPE.match(value):
        msg = f"invalid topic type {_shown(value)}: it must be one or more of A-Z a-z 0-9 _ . : = -"
        raise InvalidIdentifier(msg)
    _check_length("topic type", value)


def check_key(kind: str, value: str) -> None:
    """Raise `InvalidIdentifier` unless ``value`` is text of 1 to 256 bytes of UTF-8.

    Args:
        kind: What the value is, for the error.
        value: What to check.
    """
    if not isinstance(value, str) or not value:
        msg = f"invalid {kind} {_shown(value)}: it must be text of 1 to {MAX_NAME_BYTES} bytes"
        raise InvalidIdentifier(msg)
    _check_length(kind, value)


def _check_length(kind: str, value: str) -> None:
    if len(value) <= MAX_NAME_BYTES and value.isascii():
        return
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        msg = f"invalid {kind} {_shown(value)}: it cannot be written as UTF-8"
        raise InvalidIdentifier(msg) from error
    if size > MAX_NAME_BYTES:
        msg = f"invalid {kind} {_shown(value)}: it has {size} bytes, the limit is {MAX_NAME_BYTES}"
        raise InvalidIdentifier(msg)


def _shown(value: object) -> str:
    if isinstance(value, str) and len(value) > _SHOWN_CHARS:
        return f"{value[:_SHOWN_CHARS]!r}..."
    text = repr(value)
    return text if len(text) <= 4 * _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _split(kind: str, text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        msg = f"invalid {kind} {_shown(text)}: it is written with a slash, as first/second"
        raise InvalidIdentifier(msg)
    return first, rest


@dataclass(frozen=True, slots=True, order=True)
class AgentType:
    """The name of an agent's code, as `AgentRuntime.register_factory` returns it.

    Attributes:
        type: ``[A-Za-z0-9_.-]+``, at most 256 bytes.
    """

    type: str

    def __post_init__(self) -> None:
        check_agent_type(self.type)

    def __str__(self) -> str:
        return self.type


@dataclass(frozen=True, slots=True, order=True, init=False)
class AgentId:
    """The address of one agent instance, written ``type/key``.

    Attributes:
        type: Names the code. ``[A-Za-z0-9_.-]+``, at most 256 bytes.
        key: Names the instance. 1 to 256 bytes of UTF-8; may hold ``/``.

    Raises:
        InvalidIdentifier: If either part breaks its rule.
    """

    type: str
    key: str

    def __init__(self, type: str | AgentType, key: str) -> None:
        name = type.type if isinstance(type, AgentType) else type
        check_agent_type(name)
        check_key("agent key", key)
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "key", key)

    def __str__(self) -> str:
        return f"{self.type}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``type/key``. The first slash divides; ``parse(str(x)) == x`` for every id."""
        return cls(*_split("agent id", text))

    @classmethod
    def from_str(cls, agent_id: str) -> Self:
        """Read ``type/key``: AutoGen's name for `parse`."""
        return cls.parse(agent_id)


@dataclass(frozen=True, slots=True, order=True)
class TopicId:
    """Where an event is published, written ``type/source``.

    Attributes:
        type: What kind of event it is; subscriptions match it. ``[A-Za-z0-9_.:=-]+``, at most 256
            bytes.
        source: What the event is about; it becomes the key of the agents that get the event. 1 to
            256 bytes of UTF-8; may hold ``/``.

    Raises:
        InvalidIdentifier: If either part breaks its rule.
    """

    type: str
    source: str

    def __post_init__(self) -> None:
        check_topic_type(self.type)
        check_key("topic source", self.source)

    def __str__(self) -> str:
        return f"{self.type}/{self.source}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``type/source``. The first slash divides; ``parse(str(x)) == x`` for every topic."""
        return cls(*_split("topic id", text))

    @classmethod
    def from_str(cls, topic_id: str) -> Self:
        """Read ``type/source``: AutoGen's name for `parse`."""
        return cls.parse(topic_id)
