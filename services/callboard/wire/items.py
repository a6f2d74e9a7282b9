"""The items of frames as protobuf, and back: ``put_`` writes into a message, ``get_`` reads one.

Free text, such as the reasons of errors, is cut on the way out and on the way in: it may be
anything, and must break neither the frame that it travels in nor the memory of who gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from callboard.core.errors import ProtocolViolation
from callboard.core.event import Address, DeliveryId, Grant, TraceContext, TurnId
from callboard.core.frames import (
    ACCEPTED,
    Accepted,
    Call,
    CallFailure,
    Claims,
    Credit,
    Outcome,
    Partitions,
    Refusal,
    Registered,
    Registration,
    RegistrationError,
    Rejected,
    Released,
    Reply,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
    clipped,
)
from callboard.wire.v1 import agent_host_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_COUNT = MAX_REMAINING_MS = 2**32 - 1

MAX_TRACEPARENT_CHARS = 512
MAX_TRACESTATE_CHARS = 4096
"""Longer trace contexts are passed over, as if there were none. W3C Trace Context: a traceparent of
version 00 has 55 characters, and at least 512 of a tracestate should be propagated."""

MAX_REASON_CHARS = 64
"""The longest word for counting rejections."""


class DeliveryRefs(Protocol):
    """A repeated field of `pb.DeliveryRef`."""

    def add(self, *, position: int, attempt: int) -> pb.DeliveryRef:
        """Append one."""
        ...


class Refusals(Protocol):
    """A repeated field of `pb.Refusal`."""

    def add(self, *, number: int, code: int, reason: str) -> pb.Refusal:
        """Append one."""
        ...


class Settlements(Protocol):
    """A repeated field of `pb.Settlement`."""

    def append(self, message: pb.Settlement, /) -> None:
        """Append a copy of one."""
        ...


def put_registration(message: pb.Register, registration: Registration) -> None:
    """Write a registration."""
    message.revision = registration.revision
    for entry in registration.types:
        item = message.types.add(name=entry.name, session_only=entry.session_only)
        if entry.max_concurrency > 1:
            item.policy.max_concurrency = entry.max_concurrency
    for subscription in registration.subscriptions:
        said = message.subscriptions.add(id=subscription.id, agent_type=subscription.agent_type)
        if subscription.kind == "type":
            said.topic_type = subscription.pattern
        else:
            said.topic_type_prefix = subscription.pattern


def get_registration(message: pb.Register) -> Registration:
    """Read a registration. Raises `ProtocolViolation` when it lacks what it must have."""
    if not message.revision:
        msg = "a register without a revision: revisions count from 1"
        raise ProtocolViolation(msg)
    types = tuple(
        TypeEntry(item.name, item.session_only, max_concurrency=max(1, item.policy.max_concurrency))
        for item in message.types
    )
    subscriptions = []
    for item in message.subscriptions:
        match item.WhichOneof("match"):
            case "topic_type":
                entry = SubscriptionEntry(item.id, item.agent_type, "type", item.topic_type)
            case "topic_type_prefix":
                entry = SubscriptionEntry(
                    item.id, item.agent_type, "prefix", item.topic_type_prefix
                )
            case _:
                msg = f"subscription {item.id!r} says neither topic_type nor topic_type_prefix"
                raise ProtocolViolation(msg)
        subscriptions.append(entry)
    return Registration(message.revision, types, tuple(subscriptions))


def put_settlements(messages: Settlements, settlements: Iterable[Settlement]) -> None:
    """Write settlements."""
    # One message, copied for each: most have the grant and the outcome of the one before.
    message = pb.Settlement()
    grant: Grant | None = None
    outcome: Outcome | None = None
    for settlement in settlements:
        message.number = settlement.number
        delivery = message.delivery
        delivery.position, delivery.attempt = settlement.position, settlement.attempt
        if settlement.grant != grant:
            grant = settlement.grant
            put_grant(message, grant)
        if settlement.outcome is not outcome:
            outcome = settlement.outcome
            put_outcome(message, outcome)
        messages.append(message)


def put_outcome(message: pb.Settlement, outcome: Outcome) -> None:
    """Write how a delivery has ended."""
    match outcome:
        case Accepted():
            message.accepted.SetInParent()
        case Rejected(reason, detail):
            message.rejected.reason = clipped(reason, MAX_REASON_CHARS)
            message.rejected.detail = clipped(detail)
        case Released(not_before_s, failed_turns):
            message.released.not_before_ms = milliseconds(not_before_s)
            message.released.failed_turns = min(failed_turns, MAX_COUNT)


def get_settlement(message: pb.Settlement) -> Settlement:
    """Read a settlement. Raises `ProtocolViolation` when it lacks what it must have."""
    if not message.number:
        msg = "a settlement without a number: they count from 1"
        raise ProtocolViolation(msg)
    delivery, grant = message.delivery, message.grant
    return Settlement(
        message.number,
        delivery.position,
        delivery.attempt,
        Grant(grant.epoch, grant.serial),
        get_outcome(message, message.number),
    )


def get_outcome(message: pb.Settlement, number: int) -> Outcome:
    """Read how a delivery has ended. Raises `ProtocolViolation` for none, with ``number``."""
    match message.WhichOneof("outcome"):
        case "accepted":
            return ACCEPTED
        case "rejected":
            reason = clipped(message.rejected.reason, MAX_REASON_CHARS)
            return Rejected(reason, clipped(message.rejected.detail))
        case "released":
            released = message.released
            return Released(released.not_before_ms / 1000, released.failed_turns)
        case _:
            msg = f"settlement {number} says no outcome"
            raise ProtocolViolation(msg)


def put_call(message: pb.Call, call: Call) -> None:
    """Write a call."""
    message.id = call.id
    target = message.target
    target.type, target.key = call.target
    message.payload = call.payload
    message.remaining_ms = milliseconds(call.remaining_s)
    if call.parent is not None:
        put_turn(message.parent, call.parent)
    for turn in call.chain:
        put_turn(message.chain.add(), turn)
    if call.sender is not None:
        message.sender.type, message.sender.key = call.sender
    if call.hop is not None:
        put_hop(message, call.hop)
    if call.grant is not None:
        put_grant(message, call.grant)
    if call.credit:
        message.credit = min(call.credit, MAX_COUNT)


def get_call(message: pb.Call) -> Call:
    """Read a call. Raises `ProtocolViolation` when it lacks what it must have."""
    # Asking each field costs more than the few that most calls have.
    call = Call(0, _NOBODY, b"")
    for field, value in message.ListFields():
        name, read = _FIELDS_OF_CALLS[field.name]
        setattr(call, name, value if read is None else read(value))
    if not call.id or call.target is _NOBODY:
        msg = "a call without an id or a target"
        raise ProtocolViolation(msg)
    return call


def put_reply(message: pb.Reply, reply: Reply) -> None:
    """Write a reply."""
    message.call_id = reply.call_id
    message.last = reply.last
    if reply.error is None:
        message.payload = reply.payload
    else:
        error = reply.error.clipped()
        message.error.code = error.code
        message.error.type = error.type
        message.error.message = error.message


def get_reply(message: pb.Reply) -> Reply:
    """Read a reply. Raises `ProtocolViolation` when it lacks what it must have."""
    match message.WhichOneof("answer"):
        case "payload":
            return Reply(message.call_id, message.payload, None, message.last)
        case "error":
            error = CallFailure(message.error.code, message.error.message, message.error.type)
            return Reply(message.call_id, b"", error.clipped(), last=True)
        case _:
            msg = f"the reply to call {message.call_id} holds neither payload nor error"
            raise ProtocolViolation(msg)


def put_credit(message: pb.Credit, credit: Credit) -> None:
    """Write room for further replies."""
    message.call_id = credit.call_id
    message.count = min(credit.count, MAX_COUNT)


def get_credit(message: pb.Credit) -> Credit:
    """Read room for further replies."""
    return Credit(message.call_id, message.count)


def put_delivery_ids(message: DeliveryRefs, ids: Iterable[DeliveryId]) -> None:
    """Write deliveries."""
    for position, attempt in ids:
        message.add(position=position, attempt=attempt)


def get_delivery_ids(message: Iterable[pb.DeliveryRef]) -> list[DeliveryId]:
    """Read deliveries."""
    return [(item.position, item.attempt) for item in message]


def put_turn(message: pb.TurnRef, turn: TurnId) -> None:
    """Write a turn."""
    if isinstance(turn, int):
        message.call = turn
    else:
        message.delivery.position, message.delivery.attempt = turn


def get_turn(message: pb.TurnRef) -> TurnId:
    """Read a turn. Raises `ProtocolViolation` when it lacks what it must have."""
    match message.WhichOneof("turn"):
        case "call":
            return message.call
        case "delivery":
            return (message.delivery.position, message.delivery.attempt)
        case _:
            msg = "a turn that is neither a call nor a delivery"
            raise ProtocolViolation(msg)


def put_partitions(
    message: pb.Surrender | pb.Surrendered | pb.Claim, partitions: Partitions
) -> None:
    """Write partitions."""
    message.agent_type = partitions.agent_type
    for partition, grant in partitions.partitions:
        put_grant(message.partitions.add(partition=partition), grant)


def get_partitions(message: pb.Surrender | pb.Surrendered | pb.Claim) -> Partitions:
    """Read partitions."""
    pairs = tuple(
        (item.partition, Grant(item.grant.epoch, item.grant.serial)) for item in message.partitions
    )
    return Partitions(message.agent_type, pairs)


def put_refusals(message: Refusals, refusals: Iterable[Refusal]) -> None:
    """Write refusals."""
    for refusal in refusals:
        message.add(number=refusal.number, code=refusal.code, reason=clipped(refusal.reason))


def get_refusals(message: Iterable[pb.Refusal]) -> list[Refusal]:
    """Read refusals."""
    return [Refusal(item.number, item.code, item.reason) for item in message]


def put_grant(
    message: pb.DeliveryTarget | pb.Settlement | pb.Call | pb.PartitionGrant, grant: Grant | None
) -> None:
    """Write a grant into what has one; None leaves the field out."""
    if grant is None:
        message.ClearField("grant")
    else:
        written = message.grant
        written.epoch, written.serial = grant


def put_hop(message: pb.Publish | pb.Delivery | pb.Call, hop: TraceContext | None) -> None:
    """Write a trace context; None leaves the field out."""
    if hop is not None:
        message.hop.traceparent, message.hop.tracestate = hop


def get_hop(message: pb.Publish | pb.Delivery | pb.Call) -> TraceContext | None:
    """Read a trace context; None when there is none, or one too long to pass on."""
    return hop_of(message.hop) if message.HasField("hop") else None


def hop_of(hop: pb.TraceContext) -> TraceContext | None:
    """A trace context; None for one too long to pass on."""
    if len(hop.traceparent) > MAX_TRACEPARENT_CHARS or len(hop.tracestate) > MAX_TRACESTATE_CHARS:
        return None
    return TraceContext(hop.traceparent, hop.tracestate)


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one for any time at all, at most what the field holds."""
    return min(max(round(seconds * 1000), 1), MAX_REMAINING_MS) if seconds > 0 else 0


def put_registered(message: pb.Registered, registered: Registered) -> None:
    """Write the outcome of a registration."""
    message.revision = registered.revision
    for error in registered.errors:
        item = message.errors.add(code=error.code, reason=clipped(error.reason))
        if error.entry == "type":
            item.type_name = error.name
        else:
            item.subscription_id = error.name
    for partitions in registered.adopted:
        put_partitions(message.adopted.add(), partitions)


def get_registered(message: pb.Registered) -> Registered:
    """Read the outcome of a registration.

    Raises `ProtocolViolation` when it lacks what it must have.
    """
    errors = []
    for item in message.errors:
        match item.WhichOneof("entry"):
            case "type_name":
                error = RegistrationError("type", item.type_name, item.code, item.reason)
            case "subscription_id":
                name = item.subscription_id
                error = RegistrationError("subscription", name, item.code, item.reason)
            case _:
                msg = f"a registration error names neither type nor subscription: {item.reason}"
                raise ProtocolViolation(msg)
        errors.append(error)
    adopted = tuple(get_partitions(item) for item in message.adopted)
    return Registered(message.revision, tuple(errors), adopted)


def put_claims(message: pb.Hello, claims: Claims) -> None:
    """Write what a worker has of a former session."""
    put_delivery_ids(message.held, claims.held.items())
    for partitions in claims.partitions:
        put_partitions(message.claims.add(), partitions)


def get_claims(message: pb.Hello) -> Claims:
    """Read what a worker has of a former session."""
    return Claims(
        tuple(get_partitions(item) for item in message.claims),
        dict(get_delivery_ids(message.held)),
    )


_NOBODY: Address = ("", "")

_FIELDS_OF_CALLS: dict[str, tuple[str, Callable[[Any], Any] | None]] = {
    "id": ("id", None),
    "target": ("target", lambda agent: (agent.type, agent.key)),
    "payload": ("payload", None),
    "remaining_ms": ("remaining_s", lambda ms: ms / 1000),
    "parent": ("parent", get_turn),
    "chain": ("chain", lambda turns: tuple(map(get_turn, turns))),
    "sender": ("sender", lambda agent: (agent.type, agent.key)),
    "hop": ("hop", hop_of),
    "grant": ("grant", lambda grant: Grant(grant.epoch, grant.serial)),
    "credit": ("credit", None),
}
"""The fields of a call's message: where they go, and how they are read."""
