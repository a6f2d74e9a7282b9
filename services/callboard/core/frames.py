"""What workers and hosts say to each other, as values: the protocol without its encoding.

``protos/callboard/v1/agent_host.proto`` is the authority on what each item means; `callboard.wire`
converts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from callboard.core.errors import CallboardError, Code, RemoteAgentError, error_of
from callboard.core.event import (
    Address,
    Delivery,
    DeliveryId,
    Event,
    Grant,
    TraceContext,
    TurnId,
    size_of_pairs,
)

MAX_FRAME_ITEMS = 256
"""Items in one frame. Measured: 64 cost 12 % of throughput, 512 stall against a window of 1,024."""

MAX_FRAME_BYTES = 1 << 20
"""Payload bytes in one frame; a larger item travels alone. Measured: 128 KiB slows large events."""

MAX_ERROR_CHARS = 16_384
"""The longest text of a failed call, in characters; what is longer is cut."""

MAX_DETAIL_CHARS = 2_048
"""The longest reason that anything else travels with.

A frame may hold `MAX_FRAME_ITEMS` of them.
"""


def clipped(text: str, limit: int = MAX_DETAIL_CHARS) -> str:
    """``text`` in a form that can travel: cut to ``limit`` characters, and writable as UTF-8.

    What an exception says may hold anything, for example a file name of undecodable bytes.
    """
    if len(text) > limit:
        text = f"{text[: limit - 3]}..."
    return text if text.isascii() else text.encode(errors="replace").decode()


class Accepted(NamedTuple):
    """The turn is done."""


class Rejected(NamedTuple):
    """The event cannot be handled: it becomes a dead letter.

    Attributes:
        reason: A short word for counting, as ``handler_error``.
        detail: What happened, for people, without the event's data.
    """

    reason: str
    detail: str = ""


class Released(NamedTuple):
    """Hand the delivery out again, and what is out after it for the same agent.

    Attributes:
        not_before_s: Seconds to wait first; 0 for none.
        failed_turns: How many turns of it have failed so far, at former workers included.
    """

    not_before_s: float = 0.0
    failed_turns: int = 0


Outcome: TypeAlias = Accepted | Rejected | Released

ACCEPTED = Accepted()


@dataclass(slots=True)
class Publish:
    """One event on its way to the host.

    Attributes:
        number: Rises by one with each of an incarnation, from 1.
        remaining_s: How long it may wait at the host for room, in seconds; 0: not at all, a turn
            would wait with it.
        deadline: At its worker: the time, by the clock there, until which it may wait; None: not at
            all.
    """

    number: int
    event: Event
    remaining_s: float = 0.0
    deadline: float | None = None


@dataclass(slots=True)
class Settlement:
    """The end of one delivery; ``number`` rises by one with each of a session, from 1."""

    number: int
    position: int
    attempt: int
    grant: Grant
    outcome: Outcome


class CallFailure(NamedTuple):
    """Why a call failed.

    Attributes:
        code: A number of `Code`.
        message: For people; may be empty.
        type: The class of what the agent's own code raised; otherwise empty.
    """

    code: int
    message: str
    type: str = ""

    @classmethod
    def of(cls, error: BaseException) -> CallFailure:
        """What to tell the caller about ``error``, raised by an agent's code or by the runtime."""
        if isinstance(error, RemoteAgentError):
            return cls(error.code, error.error_message, error.error_type).clipped()
        if isinstance(error, CallboardError):
            return cls(error.code, str(error)).clipped()
        return cls(Code.UNKNOWN, str(error), type(error).__name__).clipped()

    def clipped(self) -> CallFailure:
        """The same in a form that can travel: see `clipped`."""
        return CallFailure(self.code, clipped(self.message, MAX_ERROR_CHARS), clipped(self.type))

    def as_error(self) -> CallboardError:
        """The error to raise in the caller."""
        return error_of(self.code, self.message, self.type)


@dataclass(slots=True)
class Call:
    """A call on one hop; see ``Call`` in the proto for which fields each direction sets.

    Attributes:
        payload: An encoded ``Payload``.
        remaining_s: Seconds until its deadline; 0 from a worker asks for the host's default.
        credit: Replies that may be sent before more credit comes, the last not counted; 0: a call
            with one reply.
    """

    id: int
    target: Address
    payload: bytes
    remaining_s: float = 0.0
    parent: TurnId | None = None
    chain: tuple[TurnId, ...] = ()
    sender: Address | None = None
    hop: TraceContext | None = None
    grant: Grant | None = None
    credit: int = 0

    @property
    def size(self) -> int:
        """What it takes, in bytes, texts included."""
        return len(self.payload) + size_of_pairs(self.target, self.sender, self.hop)


@dataclass(slots=True)
class Reply:
    """An answer to a call: ``error``, or an encoded ``Payload``.

    The last of a streamed call may have a payload of no bytes: it ends the stream and is no answer.
    """

    call_id: int
    payload: bytes = b""
    error: CallFailure | None = None
    last: bool = True


@dataclass(slots=True)
class Credit:
    """Room for ``count`` further replies of a streamed call."""

    call_id: int
    count: int


class TypeEntry(NamedTuple):
    """An agent type as a worker declares it.

    Attributes:
        session_only: It ends with its last worker.
        exclusive: No other worker may serve it meanwhile. Our own workers cannot ask for it.
        calls_only: It gets no events, whoever subscribes it: its worker gets them by another type.
        max_concurrency: How many turns of one agent its worker runs at once.
    """

    name: str
    session_only: bool = False
    exclusive: bool = False
    calls_only: bool = False
    max_concurrency: int = 1


class SubscriptionEntry(NamedTuple):
    """A subscription as a worker declares it.

    ``pattern`` is a topic type, or a prefix of topic types.
    """

    id: str
    agent_type: str
    kind: Literal["type", "prefix"]
    pattern: str


class Registration(NamedTuple):
    """The whole of what a worker serves."""

    revision: int
    types: tuple[TypeEntry, ...]
    subscriptions: tuple[SubscriptionEntry, ...]


class Partitions(NamedTuple):
    """Partitions of a type with the grants under which they are held."""

    agent_type: str
    partitions: tuple[tuple[int, Grant], ...]


class Claims(NamedTuple):
    """What a worker still has of a session whose host is gone.

    Attributes:
        partitions: Those of which it has agents.
        held: Deliveries that it has not ended, or not heard to be ended: attempts by position.
    """

    partitions: tuple[Partitions, ...] = ()
    held: Mapping[int, int] = MappingProxyType({})


NO_CLAIMS = Claims()


class RegistrationError(NamedTuple):
    """One refused entry: the name of a type or the id of a subscription."""

    entry: Literal["type", "subscription"]
    name: str
    code: int
    reason: str


class Registered(NamedTuple):
    """The outcome of a registration.

    Attributes:
        adopted: Of what the worker has claimed as its own under a former host, what it has still.
    """

    revision: int
    errors: tuple[RegistrationError, ...] = ()
    adopted: tuple[Partitions, ...] = ()


class Refusal(NamedTuple):
    """A publish or settlement that was not taken."""

    number: int
    code: int
    reason: str


@dataclass(slots=True)
class WorkerFrame:
    """What a worker has to say at one moment, after its ``hello``.

    Attributes:
        received: Frames of the host that were taken in, over all streams of the session.
        beat: Asks for the lease to be renewed.
        leave: The session is over: nothing of it runs or will run.
        begins: Deliveries whose turns begin when the host has answered.
    """

    register: Registration | None = None
    publishes: list[Publish] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)
    surrendered: list[Partitions] = field(default_factory=list)
    drain: bool = False
    received: int = 0
    beat: bool = False
    leave: bool = False
    begins: list[DeliveryId] = field(default_factory=list)


@dataclass(slots=True)
class HostFrame:
    """What a host has to say at one moment, after its ``welcome``.

    Attributes:
        received: Frames of the worker that were taken in, over all streams of the session.
        lease_ms: How long the session lives from the sending of the beat that this answers; 0
            answers none.
        published_through: All publishes up to this number are answered; 0 says nothing.
        published_beyond: Publishes beyond that number that are answered as well.
        settled_through: All settlements up to this number are answered; 0 says nothing.
        deliveries: Events, each with those of the worker's agents that it is for.
        begun: Deliveries whose turns may begin, as they were said to.
    """

    registered: list[Registered] = field(default_factory=list)
    published_through: int = 0
    published_beyond: list[int] = field(default_factory=list)
    publishes_refused: list[Refusal] = field(default_factory=list)
    settled_through: int = 0
    settlements_refused: list[Refusal] = field(default_factory=list)
    deliveries: list[tuple[Event, list[Delivery]]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)
    surrenders: list[Partitions] = field(default_factory=list)
    drain: bool = False
    received: int = 0
    lease_ms: int = 0
    begun: list[DeliveryId] = field(default_factory=list)
