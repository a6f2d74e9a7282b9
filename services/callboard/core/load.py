"""How much of the host's room each agent type takes, and the publishes that wait for room.

An event takes room for each agent that it is for from the moment that it is taken until its
delivery has ended: while the engine is given it, while it waits, while it is out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from callboard.core.event import Address, Event
    from callboard.core.origins import Origin
    from callboard.core.session import Session

RECORD_BYTES = 256
"""What the broker keeps beside an event's content for each agent that it is for, about."""

Publisher: TypeAlias = "tuple[Origin, Address | None, str, str]"
"""Whose events agents see in order: a process, the agent in it, and the topic."""


def bytes_of(event: Event) -> int:
    """What ``event`` counts for in the queues, for each agent that it is for."""
    return len(event.content) + RECORD_BYTES


class Bound(NamedTuple):
    """How much of one agent type there is room for: both hold."""

    events: int
    bytes: int


class Load:
    """What of one agent type takes room.

    Attributes:
        count: Deliveries that wait, are out, are being kept, or have room kept for them.
        bytes: What they count for: see `bytes_of`.
        line: The publishes that wait for room here, in the order in which they get it.
        is_of_known_type: Whether the type has not ended.
    """

    __slots__ = ("bytes", "count", "is_of_known_type", "line", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.bytes = 0
        self.line: OrderedDict[Waiter, None] = OrderedDict()
        self.is_of_known_type = True

    def has_room(self, size: int, bound: Bound) -> bool:
        """Whether there is room within ``bound``. One alone always has room."""
        return not self.count or (self.count < bound.events and self.bytes + size <= bound.bytes)

    def why_full(self, bound: Bound) -> str:
        """What to say where there is no room within ``bound``."""
        return (
            f"{self.count} events of {self.bytes} bytes are queued for agents of type "
            f"{self.name!r}, the limit is {bound.events} events and {bound.bytes} bytes"
        )

    def take(self, size: int) -> None:
        """One more delivery takes room."""
        self.count += 1
        self.bytes += size

    def take_many(self, count: int, size: int) -> None:
        """So many more deliveries take room, all together ``size``."""
        self.count += count
        self.bytes += size

    def free(self, size: int) -> None:
        """One takes room no more: `Intake.serve` is to be told."""
        self.count -= 1
        self.bytes -= size


@dataclass(slots=True, eq=False)
class Waiter:
    """A publish that waits for room.

    Attributes:
        session: The one that has said it.
        targets: For whom it is.
        loads: Where it takes room, in the same order; it has it where it is not ``lacking``.
        size: What it counts for, for each of them.
        lacking: Where there was no room for it yet, with the agent.
        earlier: The publish of the same publisher before which it must not be taken.
        later: The one that must not be taken before it.
        since: When it came, in the broker's time.
        is_over: Whether it waits no more.
    """

    session: Session
    publisher: Publisher
    number: int
    event: Event
    targets: tuple[Address, ...]
    loads: list[Load]
    size: int
    since: float
    lacking: dict[Load, Address] = field(default_factory=dict)
    earlier: Waiter | None = None
    later: Waiter | None = None
    is_over: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it may be taken: it lacks no room, and none before it waits."""
        return not self.lacking and self.earlier is None


class Loads:
    """The loads of all agent types.

    That of a type that has ended stays until nothing of it takes room any more: a type of its name
    that begins meanwhile goes on with it.

    Attributes:
        bytes: All that takes room, and the publishes that wait for it.
        by_type: The loads, by the name of the type.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.by_type: dict[str, Load] = {}

    def begin(self, name: str) -> Load:
        """The load of a type that begins."""
        load = self.by_type.setdefault(name, Load(name))
        load.is_of_known_type = True
        return load

    def of(self, name: str) -> Load:
        """The load of a type that may have ended."""
        load = self.by_type.get(name)
        if load is None:
            load = self.by_type[name] = Load(name)
            load.is_of_known_type = False
        return load

    def end(self, name: str) -> None:
        """A type has ended."""
        load = self.by_type[name]
        load.is_of_known_type = False
        self.tidy(load)

    def tidy(self, load: Load) -> None:
        """Forget ``load`` if it is of a type that has ended, and nothing of that is left."""
        if not (load.is_of_known_type or load.count or load.line):
            self.by_type.pop(load.name, None)
