"""What a host finds in its engine when it starts: what hosts before it have left there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from callboard.core.routing import Kind


class KeptType(NamedTuple):
    """A durable agent type.

    Attributes:
        patterns: What it subscribes to.
    """

    name: str
    patterns: tuple[tuple[Kind, str], ...]


class KeptSession(NamedTuple):
    """A session that outlives its stream, and its host; see `Session` for the fields.

    Its worker may run turns for as long as its lease lasts.
    """

    token: bytes
    client_id: str
    incarnation: str


class KeptOrigin(NamedTuple):
    """A publisher; see `Origin`.

    Attributes:
        answered: The `Append.known_through` of the latest of its publishes that the engine has.
        refused: The numbers of the refused ones among the latest.
        beyond: The latest numbers above ``answered`` that the engine has, refused ones among them,
            in the order in which it got them.
    """

    incarnation: str
    answered: int
    refused: tuple[int, ...] = ()
    beyond: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """All of it but events, which `Engine.waiting` has, and dead letters.

    Attributes:
        epoch: Of the host that starts; above that of every host before it.
    """

    epoch: int
    types: tuple[KeptType, ...] = ()
    sessions: tuple[KeptSession, ...] = ()
    origins: tuple[KeptOrigin, ...] = ()
