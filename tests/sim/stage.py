"""A broker to write scenarios with.

An engine that keeps at once, and sessions that say things in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf

from callboard.core.backlogs import PageRequest
from callboard.core.broker import Broker, BrokerLimits
from callboard.core.commit import Commit, DeadLetter
from callboard.core.event import Address, Delivery, DeliveryId, Event, TurnId
from callboard.core.frames import (
    ACCEPTED,
    Call,
    CallFailure,
    Credit,
    HostFrame,
    Outcome,
    Partitions,
    Publish,
    Registration,
    RegistrationError,
    Reply,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
)
from callboard.core.session import Session
from callboard.engine.memory import MemoryEngine

PARTITIONS = 8


class Stage:
    """A broker, its engine and the time.

    Attributes:
        now: The broker's time, in seconds.
        engine: Keeps commits.
        dead: What became dead letters, in order.
        removed: The positions that were accepted, in order.
        behind: What the engine alone has, by position.
    """

    def __init__(
        self,
        limits: BrokerLimits | None = None,
        *,
        ahead_s: float = inf,
        has_pages: bool = False,
    ) -> None:
        """With a broker that hands out as much to an agent as it may, however long turns take.

        Else what is out would depend on what has ended before.
        """
        limits = limits or BrokerLimits(partitions=PARTITIONS)
        self.broker = Broker(1, replace(limits, ahead_s=ahead_s), has_pages=has_pages)
        self.behind: dict[int, Delivery] = {}
        self.now = 0.0
        self.dead: list[DeadLetter] = []
        self.removed: list[int] = []
        self.engine = MemoryEngine()

    def worker(
        self,
        name: str,
        *types: str | TypeEntry,
        subscriptions: Iterable[SubscriptionEntry] | None = None,
        capabilities: Iterable[str] = ("streams",),
    ) -> Actor:
        """A worker that serves ``types``, each subscribed to the topic of its name by default."""
        actor = Actor(self, Session(name, name, capabilities=frozenset(capabilities)))
        self.broker.join(actor.session, self.now)
        actor.register(*types, subscriptions=subscriptions)
        return actor

    def keep(self) -> None:
        """Let the engine keep all that waits for it."""
        while (commit := self.broker.take_commit()) is not None:
            self.keep_only(commit)

    def keep_only(self, commit: Commit) -> None:
        """Let the engine keep that."""
        numbers = self.engine.commit_now(commit)
        self.dead += commit.dead
        self.removed += commit.removed
        self._keep_behind(commit, numbers)
        for letter in commit.dead:
            self.behind.pop(letter.delivery.position, None)
        self.broker.committed(commit, numbers, self.now)

    def read(self) -> None:
        """Let the engine read what is wanted of what is behind."""
        while requests := self.broker.take_page_requests(self.now):
            self.broker.read(requests, self.pages(requests))
            self.keep()

    def pages(self, requests: Iterable[PageRequest]) -> list[list[Delivery]]:
        """What the engine has of that."""
        pages = []
        for queue, beyond, limit in requests:
            found = [
                each
                for position, each in sorted(self.behind.items())
                if position > beyond and each.agent == queue.agent
            ]
            pages.append(found[:limit])
        return pages

    def _keep_behind(self, commit: Commit, numbers: Sequence[int]) -> None:
        given = iter(numbers)
        for append in commit.appends:
            for agent in append.targets:
                position = next(given)
                if agent in (append.behind or ()):
                    self.behind[position] = Delivery(position, agent, append.event)
        for replay in commit.replays:
            position, former = next(given), replay.letter.delivery
            if replay.behind is not None and position:
                self.behind[position] = Delivery(position, former.agent, former.event)
        for position in commit.at_hand:
            del self.behind[position]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.broker.tick(self.now)


class Actor:
    """One session, and what it says.

    Attributes:
        frames: What it was sent.
        refused: What of its last registration was.
    """

    def __init__(self, stage: Stage, session: Session) -> None:
        self.stage = stage
        self.session = session
        self.frames: list[HostFrame] = []
        self.refused: tuple[RegistrationError, ...] = ()
        self._revision = 0
        self._publishes = 0
        self._settlements = 0
        self._calls = 0

    # What it says.

    def register(
        self,
        *types: str | TypeEntry,
        subscriptions: Iterable[SubscriptionEntry] | None = None,
        kept: bool = True,
    ) -> None:
        """Declare ``types`` and nothing else. Unless not ``kept``, the engine knows at once."""
        entries = tuple(each if isinstance(each, TypeEntry) else TypeEntry(each) for each in types)
        if subscriptions is None:
            subscriptions = [subscribed(entry.name, entry.name) for entry in entries]
        self._revision += 1
        registration = Registration(self._revision, entries, tuple(subscriptions))
        self.refused = self.stage.broker.register(self.session, registration, self.stage.now)
        if kept:
            self.stage.keep()

    def publish(
        self,
        *sources: str,
        topic: str = "a",
        sender: Address | None = None,
        content: bytes = b"event",
        kept: bool = True,
        seconds: float = 0.0,
    ) -> None:
        """Publish an event for each source, which may wait for room for so many seconds.

        Unless not ``kept``, the engine has them at once.
        """
        publishes = []
        for source in sources:
            self._publishes += 1
            event = Event(content, topic, source, sender)
            publishes.append(Publish(self._publishes, event, seconds))
        self.stage.broker.publish(self.session, publishes, self.stage.now)
        if kept:
            self.stage.keep()

    def begin(self, *deliveries: Delivery) -> None:
        """Be about to begin the turns of these."""
        self.stage.broker.begin(self.session, [each.turn for each in deliveries])

    def settle(
        self,
        deliveries: Delivery | Sequence[Delivery],
        outcome: Outcome = ACCEPTED,
        *,
        kept: bool = True,
    ) -> None:
        """End deliveries in one frame. Unless not ``kept``, the engine knows at once."""
        settlements = []
        for each in [deliveries] if isinstance(deliveries, Delivery) else deliveries:
            assert each.grant is not None
            self._settlements += 1
            settlements.append(
                Settlement(self._settlements, each.position, each.attempt, each.grant, outcome)
            )
        self.stage.broker.settle(self.session, settlements, self.stage.now)
        if kept:
            self.stage.keep()

    def call(
        self,
        target: Address,
        *,
        parent: TurnId | None = None,
        seconds: float = 60,
        payload: bytes = b"request",
        sender: Address | None = None,
        credit: int = 0,
    ) -> int:
        """Call an agent; the id of the call."""
        self._calls += 1
        call = Call(self._calls, target, payload, seconds, parent, sender=sender, credit=credit)
        self.stage.broker.call(self.session, call, self.stage.now)
        return call.id

    def reply(
        self,
        call: Call,
        payload: bytes = b"reply",
        error: CallFailure | None = None,
        *,
        last: bool = True,
    ) -> None:
        """Answer a call."""
        self.stage.broker.reply(self.session, Reply(call.id, payload, error, last))

    def cancel(self, call_id: int) -> None:
        """Give a call up."""
        self.stage.broker.cancel(self.session, call_id)

    def credit(self, call_id: int, count: int) -> None:
        """Have room for further answers."""
        self.stage.broker.credit(self.session, Credit(call_id, count))

    def surrender(self, partitions: Partitions) -> None:
        """Give partitions up."""
        self.stage.broker.surrendered(self.session, partitions, self.stage.now)

    def surrender_all_asked(self) -> None:
        """Give up what was asked for, with nothing in hand."""
        for asked in [each for frame in self.heard() for each in frame.surrenders]:
            self.surrender(asked)

    def drain(self) -> None:
        """Ask to leave."""
        self.stage.broker.drain(self.session, self.stage.now)

    def leave(self) -> None:
        """Be lost."""
        self.stage.broker.leave(self.session, self.stage.now)

    # What it hears.

    def heard(self) -> list[HostFrame]:
        """The frames since the last time."""
        frames = []
        while (frame := self.session.outbox.take()) is not None:
            frames.append(frame)
        self.frames += frames
        return frames

    def deliveries(self) -> list[Delivery]:
        """What was handed out since the last time; what else was said goes to ``frames``."""
        return [
            target
            for frame in self.heard()
            for _, targets in frame.deliveries
            for target in targets
        ]

    def begun(self) -> list[DeliveryId]:
        """What may begin, as was said since the last time."""
        return [each for frame in self.heard() for each in frame.begun]

    def calls(self) -> list[Call]:
        """The calls since the last time."""
        return [call for frame in self.heard() for call in frame.calls]

    def credits(self) -> list[tuple[int, int]]:
        """For which calls it may send how many more answers, since the last time."""
        return [(each.call_id, each.count) for frame in self.heard() for each in frame.credits]

    def cancels(self) -> list[int]:
        """The calls that are wanted no more, since the last time."""
        return [call_id for frame in self.heard() for call_id in frame.cancels]

    def replies(self) -> list[Reply]:
        """The replies since the last time."""
        return [reply for frame in self.heard() for reply in frame.replies]


def subscribed(topic: str, agent_type: str, *, prefix: bool = False) -> SubscriptionEntry:
    """A subscription, its id made of what it says."""
    return SubscriptionEntry(
        f"{topic}>{agent_type}", agent_type, "prefix" if prefix else "type", topic
    )


def told(deliveries: Iterable[Delivery]) -> list[str]:
    """Deliveries in short: ``type/key #position.attempt``."""
    return [
        f"{each.agent[0]}/{each.agent[1]} #{each.position}.{each.attempt}" for each in deliveries
    ]
