"""A worker as the protocol wants it; somebody else decides when its turns begin and end."""

from __future__ import annotations

from dataclasses import dataclass, field

from callboard.core.errors import Code
from callboard.core.event import Address, Delivery, Event, Grant, TurnId
from callboard.core.frames import (
    ACCEPTED,
    Call,
    CallFailure,
    HostFrame,
    Outcome,
    Partitions,
    Publish,
    Registration,
    Released,
    Reply,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
)
from callboard.core.partition import partition_of
from callboard.core.retry import MAX_HELD_S
from callboard.core.turns import Admission, Mailbox
from callboard.core.worker_outbox import WorkerOutbox


@dataclass(eq=False)
class ModelTurn:
    """A turn that runs: of an event or of a call."""

    agent: Address
    item: Delivery | Call

    @property
    def id(self) -> TurnId:
        return self.item.id if isinstance(self.item, Call) else self.item.turn


@dataclass(eq=False)
class ModelWorker:
    """One process with one session.

    Attributes:
        turns: Those that run.
        endings: By id of a call made here, what it got: at most one last reply.
        cancelled: Calls made here that were given up.
        answered: The numbers of publishes that the host has answered.
        refused_settlements: What the host refused, which it never should.
        retried: By agent, the position of the event that is tried again before all its others.
    """

    name: str
    partitions: int
    publish_window: int = 2048
    types: dict[str, TypeEntry] = field(default_factory=dict)
    outbox: WorkerOutbox = field(init=False)
    is_alive: bool = True
    is_draining: bool = False
    is_drained: bool = False
    turns: list[ModelTurn] = field(default_factory=list)
    endings: dict[int, list[Reply]] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    published: dict[int, Event] = field(default_factory=dict)
    refused_publishes: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    _answered_through: int = 0
    refused_settlements: list[int] = field(default_factory=list)
    retried: dict[Address, int] = field(default_factory=dict)
    _mailboxes: dict[Address, Mailbox[Event]] = field(default_factory=dict)
    _leaving: dict[tuple[str, int], Grant] = field(default_factory=dict)
    _given_up: dict[tuple[str, int], Grant] = field(default_factory=dict)
    _left_out: dict[str, int] = field(default_factory=dict)
    _registered: int = 0
    _revision: int = 0
    _last_publish: int = 0
    _last_settlement: int = 0
    _last_call: int = 0

    def __post_init__(self) -> None:
        self.outbox = WorkerOutbox(self.publish_window)

    # What it decides.

    def register(self, types: list[TypeEntry], subscriptions: list[SubscriptionEntry]) -> None:
        """Serve ``types`` from here on; none may be left out of which a turn runs."""
        names = {entry.name for entry in types}
        assert all(self.may_serve(name) for name in names)
        assert not any(turn.agent[0] not in names for turn in self.turns)
        self._revision += 1
        for name in set(self.types) - names:
            self._forget(name)
            self._left_out[name] = self._revision
        self.types = {entry.name: entry for entry in types}
        self.outbox.register = Registration(self._revision, tuple(types), tuple(subscriptions))

    def may_serve(self, name: str) -> bool:
        """Whether what comes of ``name`` is not of before it was left out."""
        return self._left_out.get(name, 0) <= self._registered

    def publish(self, event: Event, remaining_s: float = 0.0) -> int:
        """Publish; the number."""
        self._last_publish += 1
        self.published[self._last_publish] = event
        self.outbox.publishes.append(Publish(self._last_publish, event, remaining_s))
        return self._last_publish

    def call(self, target: Address, timeout_s: float, turn: ModelTurn | None = None) -> int:
        """Call an agent; the id."""
        self._last_call += 1
        parent = None if turn is None else turn.id
        sender = None if turn is None else turn.agent
        self.endings[self._last_call] = []
        self.outbox.calls.append(
            Call(self._last_call, target, b"request", timeout_s, parent, sender=sender)
        )
        return self._last_call

    def cancel(self, call_id: int) -> None:
        """Give a call up."""
        if not self.endings[call_id] and call_id not in self.cancelled:
            self.cancelled.add(call_id)
            self.outbox.cancels.append(call_id)

    def drain(self) -> None:
        """Ask to leave."""
        if not self.is_draining:
            self.is_draining = True
            self.outbox.drain = True

    def ready(self, now: float) -> list[Address]:
        """The agents of which a turn may begin."""
        running = {turn.agent for turn in self.turns}
        return [
            agent
            for agent, mailbox in self._mailboxes.items()
            if agent not in running
            and not mailbox.is_idle
            and (mailbox.due is None or mailbox.due <= now or mailbox._calls)
        ]

    def begin(self, agent: Address, now: float) -> ModelTurn:
        """Begin the next turn of an agent that is `ready`."""
        item = self._mailboxes[agent].next(now)
        assert item is not None
        turn = ModelTurn(agent, item if isinstance(item, Call) else item[0])
        self.turns.append(turn)
        return turn

    def end(
        self, turn: ModelTurn, outcome: Outcome = ACCEPTED, error: CallFailure | None = None
    ) -> None:
        """End a turn: an event with ``outcome``, a call with ``error`` or a reply."""
        self.turns.remove(turn)
        mailbox = self._mailboxes[turn.agent]
        if isinstance(outcome, Released) and isinstance(turn.item, Delivery):
            mailbox.release(turn.item)
        mailbox.finish(turn.id)
        if isinstance(turn.item, Call):
            self.outbox.replies.append(Reply(turn.item.id, b"" if error else b"reply", error))
        else:
            if isinstance(outcome, Released):
                mailbox.take_released()
                failed_turns = max(outcome.failed_turns, turn.item.failed_turns)
                outcome = outcome._replace(failed_turns=failed_turns)
            self._settle(turn.item, outcome)
        self._check_leaving()

    def fail(self, turn: ModelTurn, wait_s: float, now: float) -> None:
        """The turn of an event has failed: try it again here, or where it is handed out next."""
        assert isinstance(turn.item, Delivery)
        failed = turn.item.to_be_tried_again()
        if wait_s > MAX_HELD_S or self._is_leaving(turn.agent, failed.grant):
            turn.item = failed
            self.end(turn, Released(wait_s, failed.failed_turns))
            return
        self.turns.remove(turn)
        mailbox = self._mailboxes[turn.agent]
        mailbox.try_again(failed, failed.event, now + wait_s)
        mailbox.finish(turn.id)
        self.retried[turn.agent] = failed.position

    # What it hears.

    def hear(self, frame: HostFrame) -> list[ModelTurn]:
        """Take a frame in; the turns that begin at once, inside turns that wait for them."""
        begun: list[ModelTurn] = []
        for registered in frame.registered:
            self._registered = registered.revision
            assert registered.errors == ()
        self._take_answers(frame)
        self.refused_settlements += [each.number for each in frame.settlements_refused]
        for event, targets in frame.deliveries:
            for delivery in targets:
                self._take_delivery(delivery, event)
        for call in frame.calls:
            begun += self._take_call(call)
        for reply in frame.replies:
            self.endings[reply.call_id].append(reply)
        for call_id in frame.cancels:
            self._withdraw(call_id)
        for surrender in frame.surrenders:
            self._surrender(surrender)
        if frame.drain:
            assert not self.turns
            assert not self._leaving
            self.is_drained = True
        return begun

    # Inside.

    def _take_answers(self, frame: HostFrame) -> None:
        through = max(self._answered_through, frame.published_through)
        new = set(range(self._answered_through + 1, through + 1)) - self.answered
        assert new.isdisjoint(frame.published_beyond)
        assert self.answered.isdisjoint(frame.published_beyond)
        new.update(frame.published_beyond)
        refused = {each.number for each in frame.publishes_refused}
        assert refused <= new, "a refusal comes with the answer"
        self._answered_through = through
        self.answered |= new
        self.refused_publishes |= refused
        self.outbox.confirmed = len(self.answered)

    def _take_delivery(self, delivery: Delivery, event: Event) -> None:
        agent, grant = delivery.agent, delivery.grant
        if self._is_served(agent, grant) and not self._is_leaving(agent, grant):
            self._mailbox(agent).deliver(delivery, event)

    def _take_call(self, call: Call) -> list[ModelTurn]:
        agent, grant = call.target, call.grant
        if not self._is_served(agent, grant):
            return []
        if self._is_leaving(agent, grant) and self._mailbox(agent).is_idle:
            return []  # while a turn runs, it may be the turn that waits for this very call
        mailbox = self._mailbox(call.target)
        match mailbox.call(call):
            case Admission.RUNS_NOW:
                mailbox.begin(call.id)
                turn = ModelTurn(call.target, call)
                self.turns.append(turn)
                return [turn]
            case Admission.REFUSED:
                error = CallFailure(Code.RESOURCE_EXHAUSTED, "too many calls wait")
                self.outbox.replies.append(Reply(call.id, b"", error))
            case Admission.WAITS:
                pass
        return []

    def _withdraw(self, call_id: int) -> None:
        for mailbox in self._mailboxes.values():
            if mailbox.withdraw(call_id):
                break
        for turn in [each for each in self.turns if each.id == call_id]:
            self.end(turn, error=CallFailure(Code.CANCELLED, ""))
        self._check_leaving()

    def _surrender(self, asked: Partitions) -> None:
        for partition, grant in asked.partitions:
            if asked.agent_type not in self.types:
                continue  # left out meanwhile: the host has taken it back
            self._leaving[asked.agent_type, partition] = grant
            for agent, mailbox in self._mailboxes.items():
                if self._place_of(agent) == (asked.agent_type, partition):
                    mailbox.release()
                    for _, first, _ in mailbox.take_released():
                        self.retried.pop(agent, None)
                        self._settle(first, Released(0.0, first.failed_turns))
        self._check_leaving()

    def _check_leaving(self) -> None:
        for place, grant in list(self._leaving.items()):
            there = [agent for agent in self._mailboxes if self._place_of(agent) == place]
            if all(self._mailboxes[agent].is_idle for agent in there):
                del self._leaving[place]
                self._given_up[place] = grant
                for agent in there:
                    del self._mailboxes[agent]
                self.outbox.surrendered.append(Partitions(place[0], ((place[1], grant),)))

    def _is_served(self, agent: Address, grant: Grant | None) -> bool:
        """Whether what came under ``grant`` is for this worker, or from before it gave that up."""
        if agent[0] not in self.types:
            return False
        assert grant is not None
        return grant > self._given_up.get(self._place_of(agent), Grant(0, 0))

    def _is_leaving(self, agent: Address, grant: Grant | None) -> bool:
        """Whether what came under ``grant`` is handed out anew, because it was asked back."""
        return self._leaving.get(self._place_of(agent)) == grant

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        assert delivery.grant is not None
        self._last_settlement += 1
        self.outbox.settlements.append(
            Settlement(
                self._last_settlement,
                delivery.position,
                delivery.attempt,
                delivery.grant,
                outcome,
            )
        )

    def _mailbox(self, agent: Address) -> Mailbox[Event]:
        return self._mailboxes.setdefault(agent, Mailbox())

    def _place_of(self, agent: Address) -> tuple[str, int]:
        return agent[0], partition_of(*agent, self.partitions)

    def _forget(self, name: str) -> None:
        self.retried = {a: p for a, p in self.retried.items() if a[0] != name}
        self._mailboxes = {a: m for a, m in self._mailboxes.items() if a[0] != name}
        self._leaving = {p: g for p, g in self._leaving.items() if p[0] != name}
