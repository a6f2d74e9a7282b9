"""What an engine is to keep as one step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from callboard.core.errors import Code
from callboard.core.event import Address, Delivery, Event
from callboard.core.frames import Refusal, RegistrationError
from callboard.core.kept import KeptType
from callboard.core.queues import AgentQueue, Lane
from callboard.core.session import Session


@dataclass(slots=True, eq=False)
class Append:
    """A publish that waits to be kept, and then to be acknowledged.

    Attributes:
        targets: For whom it is; one position each. Empty when nobody is subscribed, or it was
            refused.
        refusal: Why it is not taken; it stands in line so that numbers are answered in order.
        full: Those of the targets for whom there was no room, with why: what the engine keeps for
            them is not queued, and becomes a dead letter with the next commit.
        is_told: It was refused and its publisher told so when the engine could keep nothing: the
            engine is to know of it, and nobody is to be told again.
        waited_s: How long it waited for room before.
        behind: Those of the targets whose deliveries stay in the engine, behind these queues, as
            long as they are deliveries.
    """

    session: Session
    number: int
    event: Event
    targets: tuple[Address, ...]
    refusal: Refusal | None = None
    full: Mapping[Address, str] | None = None
    is_told: bool = False
    waited_s: float = 0.0
    behind: Mapping[Address, AgentQueue] | None = None

    @property
    def known_through(self) -> int:
        """All publishes up to this one are known to an engine that has it, if not this one too.

        Below those that wait for room, which are lost with the host, and said again.
        """
        held = self.session.origin.held
        return min(self.number, next(iter(held)) - 1) if held else self.number


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


class NotReplayed(NamedTuple):
    """A dead letter that is kept as it is, though it was to be replayed, and why."""

    position: int
    agent: Address
    code: Code
    reason: str


@dataclass(slots=True, eq=False)
class Errand:
    """What an operator asked for, and what became of it.

    Attributes:
        replayed: By the position of a dead letter that of the delivery that has taken its place.
        dropped: Positions of the dead letters that are gone by it.
        missing: Positions at which there was no dead letter any more.
        refused: Dead letters that cannot be replayed now.
        is_kept: Whether the engine has all of it; the rest is known only then, but for what was
            refused.
    """

    replayed: dict[int, int] = field(default_factory=dict)
    dropped: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    refused: list[NotReplayed] = field(default_factory=list)
    is_kept: bool = False


@dataclass(slots=True, eq=False)
class Replay:
    """A dead letter that is to wait for its agent once more, as a new delivery.

    Attributes:
        behind: The queue that it goes behind, to stay in the engine; None: it is at hand.
    """

    letter: DeadLetter
    errand: Errand
    behind: AgentQueue | None = None


@dataclass(slots=True, eq=False)
class Settled:
    """Settlements of a session that are to be confirmed.

    Attributes:
        through: All up to this number.
        refused: Those of them that are refused.
    """

    through: int = 0
    refused: list[Refusal] = field(default_factory=list)


class Declared(NamedTuple):
    """What a worker has registered since the last commit, to be answered.

    Attributes:
        revision: The newest; see `Registered`.
        lanes: Of the types that it serves from here on, by name.
    """

    revision: int
    errors: tuple[RegistrationError, ...]
    lanes: Mapping[str, Lane]


class Drop(NamedTuple):
    """A dead letter, by position, that is to be forgotten."""

    position: int
    errand: Errand


@dataclass(slots=True, eq=False)
class Commit:
    """What an engine is to keep as one step, and who is to be told when it has.

    Attributes:
        appends: Events to keep, in order.
        replays: Dead letters to remove, and to keep as events again, in order.
        drops: Dead letters to remove.
        removed: Positions whose deliveries were accepted.
        at_hand: Positions of what was behind, and is at hand from here on.
        pages: The same, as far as it is to be queued when the engine knows, by queue.
        changed: Deliveries that are kept, of which more turns have failed or sessions were lost.
        dead: Deliveries that become dead letters; their positions are removed as well.
        settled: Settlements to confirm, by session.
        errands: What operators asked for, of which this is the last.
        declared: What sessions have registered, of which ``types`` has what the engine is to know.
        types: Durable types that are new, or subscribe to something else than before.
        types_gone: Names of durable types to forget.
        sessions: Those that have begun of workers that outlive their host.
        sessions_gone: Tokens of those that are over.
        origins_gone: Incarnations whose publishes need not be known any more.
    """

    appends: list[Append] = field(default_factory=list)
    replays: list[Replay] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    settled: dict[Session, Settled] = field(default_factory=dict)
    errands: list[Errand] = field(default_factory=list)
    declared: dict[Session, Declared] = field(default_factory=dict)
    changed: list[Delivery] = field(default_factory=list)
    at_hand: list[int] = field(default_factory=list)
    pages: list[tuple[AgentQueue, Sequence[Delivery]]] = field(default_factory=list)
    types: list[KeptType] = field(default_factory=list)
    types_gone: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    sessions_gone: list[bytes] = field(default_factory=list)
    origins_gone: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep and nobody to tell."""
        return not (
            self.appends
            or self.removed
            or self.dead
            or self.settled
            or self.errands
            or self.declared
            or self.changed
            or self.at_hand
            or self.has_presence
        )

    def part_with(self, session: Session) -> None:
        """``session`` is over, of which the engine knows, unless it is to hear of it here."""
        if session in self.sessions:
            self.sessions.remove(session)
        else:
            self.sessions_gone.append(session.token)
        self.declared.pop(session, None)
        self.settled.pop(session, None)

    def declare(self, types: Iterable[KeptType], gone: Collection[str]) -> None:
        """Bring what is new of types, which counts for more than what was said before."""
        by_name = {each.name: each for each in self.types if each.name not in gone}
        by_name.update((each.name, each) for each in types)
        self.types = list(by_name.values())
        self.types_gone = [*(each for each in self.types_gone if each not in by_name), *gone]

    def add(self, later: Commit) -> None:
        """Bring what ``later`` brings as well, after it. This one was not kept."""
        self.declare(later.types, later.types_gone)
        for session, declared in later.declared.items():
            earlier = self.declared.get(session)
            lanes = {} if earlier is None else earlier.lanes
            self.declared[session] = declared._replace(lanes={**lanes, **declared.lanes})
        for session, settled in later.settled.items():
            answer = self.settled.setdefault(session, Settled())
            answer.through = settled.through
            answer.refused += settled.refused
        for each in fields(self):
            if each.name not in ("declared", "settled", "types", "types_gone"):
                getattr(self, each.name).extend(getattr(later, each.name))

    @property
    def has_presence(self) -> bool:
        """Whether anything is to be kept of types, sessions and publishers."""
        return bool(
            self.types
            or self.types_gone
            or self.sessions
            or self.sessions_gone
            or self.origins_gone
        )
