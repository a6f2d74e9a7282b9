"""A worker that says anything, in frames that can be read, and some that cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from callboard.core.session import Session
from callboard.wire.v1 import agent_host_pb2 as pb

T = TypeVar("T")

TYPES = ("a", "b", "c", "not a type")
KEYS = ("1", "2", "/", "é")
TOPICS = ("t", "t", "u", "u", "not a topic")
RECENT = 12


@dataclass
class Overheard:
    """What the host told anybody: true names, to be misused by others and out of their time."""

    targets: list[pb.DeliveryTarget] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    grants: list[pb.Grant] = field(default_factory=list)

    def listen(self, message: pb.ConnectResponse) -> None:
        """Note what a frame names."""
        for delivery in message.deliveries:
            self.targets += delivery.targets
            self.grants += [target.grant for target in delivery.targets]
        for call in message.calls:
            self.calls.append(call.id)
            self.grants.append(call.grant)
        for surrender in message.surrenders:
            self.grants += [each.grant for each in surrender.partitions]


class Vandal:
    """One session, and what it says.

    Its numbers rise most of the time, so that what it says is not just passed over.
    """

    def __init__(self, session: Session, chance: Random, overheard: Overheard) -> None:
        self.session = session
        self._chance = chance
        self._overheard = overheard
        self._revision = 0
        self._publishes = 0
        self._settlements = 0
        self._calls = 0
        self._streams = "streams" in session.capabilities
        self._begins = "beginnings" in session.capabilities
        self._runs = "runs" in session.capabilities

    def frame(self) -> pb.ConnectRequest:
        """What it says next."""
        frame = pb.ConnectRequest()
        if self._revision == 0 or self._happens(0.15):
            self._register(frame.register)
        self._publish_and_settle(frame)
        while self._begins and self._overheard.targets and self._happens(0.3):
            frame.begins.append(self._delivery())
        for _ in range(self._chance.randrange(3)):
            self._call(frame.calls.add())
        for _ in range(self._chance.randrange(3)):
            self._reply(frame.replies.add())
        self._give_up_or_go_on(frame)
        if self._happens(0.3):
            self._surrender(frame.surrendered.add())
        if self._happens(0.03):
            frame.drain.SetInParent()
        if self._happens(0.01):
            frame.beat.SetInParent()
        return frame

    def spoil(self, data: bytes) -> bytes:
        """``data`` with bits flipped, or a piece cut out, said twice or put in."""
        spoilt = bytearray(data)
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            start = self._chance.randrange(len(spoilt) + 1)
            end = min(len(spoilt), start + self._chance.choice((1, 1, 3, 1000)))
            match self._chance.randrange(5):
                case 0:
                    del spoilt[start:end]
                case 1:
                    spoilt[start:start] = spoilt[start:end]
                case 2:
                    spoilt[start:start] = self._chance.randbytes(self._chance.randrange(1, 6))
                case _ if start < len(spoilt):
                    spoilt[start] ^= 1 << self._chance.randrange(8)
                case _:
                    pass
        return bytes(spoilt)

    def _give_up_or_go_on(self, frame: pb.ConnectRequest) -> None:
        if self._happens(0.5):
            frame.cancels.add(call_id=self._chance.randrange(self._calls + 2))
        while self._streams and self._happens(0.3):
            call_id = self._chance.randrange(self._calls + 2)
            frame.credits.add(call_id=call_id, count=self._one_of((0, 1, 2, 2, 2**32 - 1)))

    # Items.

    def _register(self, message: pb.Register) -> None:
        self._revision = self._next(self._revision)
        message.revision = self._revision
        for _ in range(self._chance.randrange(1, 4)):
            message.types.add(name=self._one_of(TYPES), session_only=self._happens(0.4))
        for _ in range(self._chance.randrange(1, 4)):
            item = message.subscriptions.add(
                id=self._one_of("12345"), agent_type=self._one_of(TYPES)
            )
            if self._happens(0.6):
                item.topic_type = self._one_of(TOPICS)
            else:
                item.topic_type_prefix = self._one_of(("", "t"))

    def _publish(self, message: pb.Publish) -> None:
        self._publishes = self._next(self._publishes)
        message.number = self._publishes
        message.event = b"x" * self._chance.randrange(90)
        message.topic_type = self._one_of(TOPICS)
        message.topic_source = self._one_of((*KEYS, ""))
        if self._happens(0.3):
            message.sender.CopyFrom(self._agent())

    def _publish_and_settle(self, frame: pb.ConnectRequest) -> None:
        for _ in range(self._chance.randrange(4)):
            self._publish(frame.publishes.add())
        for _ in range(self._chance.randrange(4) if self._overheard.targets else 0):
            self._settle(frame.settlements.add())
        if self._runs and self._happens(0.5):
            self._by_runs(frame)

    def _by_runs(self, frame: pb.ConnectRequest) -> None:
        """Say publishes and settlements by columns, as a rule such as fit each other."""
        publishes, settlements = frame.publishes, frame.settlements
        if publishes:
            frame.publish_runs.add(
                first_number=publishes[0].number,
                forms=publishes,
                events=[each.event for each in publishes],
                form_of=self._indexes(len(publishes)),
                remaining_ms=[each.remaining_ms for each in publishes],
            )
        if settlements:
            frame.settlement_runs.add(
                first_number=settlements[0].number,
                forms=settlements,
                positions=[each.delivery.position for each in settlements],
                form_of=self._indexes(len(settlements)),
            )
        frame.ClearField("publishes")
        frame.ClearField("settlements")

    def _indexes(self, count: int) -> list[int]:
        if self._happens(0.03):
            count += 1
        return [self._chance.randrange(count) for _ in range(count)]

    def _settle(self, message: pb.Settlement) -> None:
        target = self._one_of(self._overheard.targets[-RECENT:])
        self._settlements = self._next(self._settlements)
        message.number = self._settlements
        message.delivery.position = target.position
        message.delivery.attempt = target.attempt + self._happens(0.2)
        message.grant.CopyFrom(target.grant if self._happens(0.9) else self._grant())
        match self._chance.randrange(10):
            case 0 | 1:
                message.rejected.reason = "no"
            case 2 | 3 | 4:
                message.released.not_before_ms = self._one_of((0, 0, 100, 9000))
                message.released.failed_turns = self._one_of((0, 1, 2**32 - 1))
            case _:
                message.accepted.SetInParent()

    def _call(self, message: pb.Call) -> None:
        self._calls = self._next(self._calls)
        message.id = self._calls
        message.target.CopyFrom(self._agent())
        message.payload = b"x" * self._chance.randrange(9)
        message.remaining_ms = self._one_of((0, 1, 100, 5000))
        if self._streams and self._happens(0.4):
            message.credit = self._one_of((1, 2, 2, 3, 2**32 - 1))
        if self._happens(0.5):
            message.parent.CopyFrom(self._turn())
        if self._happens(0.3):
            message.sender.CopyFrom(self._agent())

    def _reply(self, message: pb.Reply) -> None:
        message.call_id = self._call_id()
        message.last = self._happens(0.5 if self._streams else 0.98)
        if self._happens(0.5):
            message.payload = b"x"
        else:
            message.error.code = self._chance.randrange(20)

    def _surrender(self, message: pb.Surrendered) -> None:
        message.agent_type = self._one_of(TYPES)
        for _ in range(self._chance.randrange(5)):
            item = message.partitions.add(partition=self._chance.randrange(6), grant=self._grant())
            if self._happens(0.3):
                message.partitions.add().CopyFrom(item)

    # Names.

    def _agent(self) -> pb.AgentRef:
        return pb.AgentRef(type=self._one_of(("a", "b", "c", "")), key=self._one_of(KEYS))

    def _grant(self) -> pb.Grant:
        if self._overheard.grants and self._happens(0.9):
            return self._one_of(self._overheard.grants[-8 * RECENT :])
        return pb.Grant(epoch=self._chance.randrange(3), serial=self._chance.randrange(20))

    def _turn(self) -> pb.TurnRef:
        if self._overheard.targets and self._happens(0.5):
            return pb.TurnRef(delivery=self._delivery())
        return pb.TurnRef(call=self._call_id())

    def _delivery(self) -> pb.DeliveryRef:
        target = self._one_of(self._overheard.targets[-RECENT:])
        return pb.DeliveryRef(position=target.position, attempt=target.attempt)

    def _call_id(self) -> int:
        if self._overheard.calls and self._happens(0.9):
            return self._one_of(self._overheard.calls[-RECENT:])
        return self._chance.randrange(9)

    # Chance.

    def _next(self, number: int) -> int:
        return max(1, number + self._one_of((0, 1, 1, 1)))

    def _happens(self, probability: float) -> bool:
        return self._chance.random() < probability

    def _one_of(self, values: Sequence[T]) -> T:
        return self._chance.choice(values)
