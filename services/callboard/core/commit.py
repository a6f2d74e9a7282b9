"""What an engine is to keep as one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from callboard.core.event import Address, Delivery, Event
from callboard.core.frames import Refusal
from callboard.core.session import Session


@dataclass(slots=True, eq=False)
class Append:
    """A publish that waits to be kept, and then to be acknowledged.

    Attributes:
        targets: For whom it is; one position each. Empty when nobody is subscribed, or it was
            refused.
        refusal: Why it is not taken; it stands in line so that numbers are answered in order.
    """

    session: Session
    number: int
    event: Event
    targets: tuple[Address, ...]
    refusal: Refusal | None = None


class DeadLetter(NamedTuple):
    """An event that will not be handled, with the reason.

    Attributes:
        reason: A short word for counting.
        detail: What happened, for people.
        at: When, in the broker's time, in seconds.
    """

    delivery: Delivery
    reason: str
    detail: str
    at: float


@dataclass(slots=True, eq=False)
class Commit:
    """What an engine is to keep as one step, and who is to be told when it has.

    Attributes:
        appends: Events to keep, in order.
        removed: Positions whose deliveries were accepted.
        dead: Deliveries that become dead letters; their positions are removed as well.
        settled: Settlements to confirm: the session, the number, why it was refused (None: it was
            not).
    """

    appends: list[Append] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    settled: list[tuple[Session, int, Refusal | None]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep and nobody to tell."""
        return not (self.appends or self.removed or self.dead or self.settled)
