"""A broker, its engine, lines and model workers, and what must hold of them at every moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from typing import TypeVar

from callboard.core.backlogs import PageRequest
from callboard.core.broker import Broker, BrokerLimits
from callboard.core.commit import Commit, DeadLetter, Errand
from callboard.core.errors import NotAllowedNow, NotFound
from callboard.core.event import Address, Delivery, Event
from callboard.core.frames import (
    ACCEPTED,
    Call,
    CallFailure,
    HostFrame,
    Outcome,
    Rejected,
    Released,
    SubscriptionEntry,
    TypeEntry,
    WorkerFrame,
)
from callboard.core.session import Session
from callboard.engine.memory import MemoryEngine
from sim.inspector import Inspector
from sim.model_worker import ModelTurn, ModelWorker
from sim.network import Line

T = TypeVar("T")
Pick = Callable[[Sequence[T]], T]

TYPES = ("a", "b", "tool")
SESSION_ONLY = {"tool"}
TOPICS = ("orders", "orders.paid", "news")
KEYS = ("x", "y", "z")
SUBSCRIPTIONS = (
    SubscriptionEntry("1", "a", "type", "orders"),
    SubscriptionEntry("2", "a", "prefix", "orders."),
    SubscriptionEntry("3", "b", "prefix", ""),
    SubscriptionEntry("4", "tool", "type", "news"),
    SubscriptionEntry("5", "tool", "type", "orders"),
)
LIMITS = BrokerLimits(
    partitions=4,
    delivery_window=4,
    agent_share=3,
    ahead_s=inf,  # the rule says what is out, whatever the time
    publish_window=8,
    max_type_events=8,
    max_queued_bytes=40_000,
    memory_bytes=3_000,
    max_calls_waiting=3,
)

WAIT_S = 4.0
"""How long a publish outside of a turn may wait for room."""


@dataclass(eq=False)
class Node:
    """A worker, its session, and the lines between."""

    worker: ModelWorker
    session: Session
    to_host: Line[WorkerFrame] = field(default_factory=Line)
    to_worker: Line[HostFrame] = field(default_factory=Line)


@dataclass(eq=False)
class Record:
    """What became of one delivery.

    Attributes:
        sequence: The place of its event among those of its publisher on its topic.
        begun: How many turns began for it.
        failed: How many of them have failed, of which the host has been told.
        losses: How many sessions were lost while it was at the head of what its agent had out.
    """

    agent: Address
    publisher: str
    topic: str
    sequence: int
    begun: int = 0
    failed: int = 0
    losses: int = 0
    endings: list[str] = field(default_factory=list)


class World:
    """Everything there is, and a ledger of what was seen from the outside.

    Operations do nothing when there is nothing to do, so that any order of them is a story.
    """

    def __init__(self, limits: BrokerLimits = LIMITS) -> None:
        self.broker = Broker(1, limits, has_pages=True)
        self._behind: dict[int, Delivery] = {}
        self._doomed: dict[int, Delivery] = {}  # behind, and about to be dead letters
        self._requests: list[PageRequest] = []
        self._inspector = Inspector(self.broker, self._behind)
        self.now = 0.0
        self.nodes: list[Node] = []
        self.lost: list[Node] = []
        self.records: dict[int, Record] = {}
        self.letters: list[DeadLetter] = []
        self._engine = MemoryEngine()
        self._commit: Commit | None = None
        self.read_count = 0
        self._errands: list[Errand] = []
        self._names = 0
        self._sequences: Counter[tuple[str, str]] = Counter()
        self._event_of: dict[Event, tuple[str, str, int]] = {}
        self._taken: Counter[Event] = Counter()
        self._expected: dict[Event, tuple[Address, ...]] = {}
        self._begun_last: dict[tuple[Address, str, str], int] = {}
        self._calls_begun: Counter[int] = Counter()

    # Workers come and go.

    def join(self, types: Sequence[str]) -> Node:
        """A worker that serves ``types`` connects."""
        self._names += 1
        name = f"w{self._names}"
        limits = self.broker.limits
        worker = ModelWorker(name, limits.partitions, limits.publish_window)
        node = Node(worker, Session(name, name))
        self.broker.join(node.session, self.now)
        self.nodes.append(node)
        self.register(node, types)
        return node

    def register(self, node: Node, types: Sequence[str]) -> None:
        """A worker serves ``types`` from now on, and those that it runs turns of."""
        wanted = {*types, *(turn.agent[0] for turn in node.worker.turns)}
        names = sorted(name for name in wanted if node.worker.may_serve(name))
        entries = [TypeEntry(name, name in SESSION_ONLY) for name in names]
        node.worker.register(entries, [each for each in SUBSCRIPTIONS if each.agent_type in names])

    def drain(self, node: Node) -> None:
        """A worker asks to leave."""
        node.worker.drain()

    def crash(self, node: Node) -> None:
        """A worker's process ends; the host will find out."""
        node.worker.is_alive = False
        node.worker.turns.clear()
        node.to_host.cut()
        node.to_worker.cut()
        self.nodes.remove(node)
        self.lost.append(node)

    def notice_loss(self) -> None:
        """The host finds out that a worker is gone."""
        if self.lost:
            session = self.lost.pop(0).session
            if session.is_live and not session.draining:
                self._note_losses(session)
            self.broker.leave(session, self.now)

    # What workers do.

    def publish(self, node: Node, topic: str, source: str, turn: ModelTurn | None = None) -> None:
        """A worker publishes, for an agent of its own or for none."""
        sender = None if turn is None else turn.agent
        publisher = node.worker.name if sender is None else "/".join((node.worker.name, *sender))
        event = Event(b"event", topic, source, sender)
        key = publisher, topic
        self._sequences[key] += 1
        self._event_of[event] = (publisher, topic, self._sequences[key])
        node.worker.publish(event, 0.0 if turn is not None else WAIT_S)

    def call(self, node: Node, target: Address, turn: ModelTurn | None = None) -> None:
        """A worker calls an agent."""
        node.worker.call(target, 20.0, turn)

    def cancel(self, node: Node, pick: Pick[int]) -> None:
        """A worker gives a call up that has no answer."""
        worker = node.worker
        open_calls = [
            each for each, got in worker.endings.items() if not got and each not in worker.cancelled
        ]
        if open_calls:
            worker.cancel(pick(open_calls))

    def begin(self, node: Node, pick: Pick[Address]) -> None:
        """A turn begins."""
        ready = node.worker.ready(self.now)
        if ready:
            self._note_begun(node, node.worker.begin(pick(ready), self.now))

    def end(
        self,
        node: Node,
        turn: ModelTurn,
        outcome: Outcome = ACCEPTED,
        error: CallFailure | None = None,
    ) -> None:
        """A turn ends."""
        node.worker.end(turn, outcome, error)

    def fail(self, node: Node, turn: ModelTurn, wait_s: float) -> None:
        """The turn of an event fails, and is to be tried again."""
        if isinstance(turn.item, Delivery):
            node.worker.fail(turn, wait_s, self.now)

    # What lines and engine do.

    def worker_writes(self, node: Node) -> None:
        """A worker puts a frame on its way."""
        frame = node.worker.outbox.take()
        if frame is not None:
            node.to_host.send(frame)

    def host_writes(self, node: Node) -> None:
        """The host puts a frame on its way."""
        frame = node.session.outbox.take()
        if frame is not None:
            node.to_worker.send(frame)

    def host_reads(self, node: Node) -> None:
        """A worker's frame arrives, and is done in the order that the host keeps."""
        frame = node.to_host.receive()
        if frame is None:
            return
        self._note_settlements(node.session, frame)
        self.broker.take(node.session, frame, self.now)
        for publish in frame.publishes:
            self._expected[publish.event] = self._route(publish.event)

    def worker_reads(self, node: Node) -> None:
        """A host's frame arrives. A worker that is told that nothing is left with it leaves."""
        frame = node.to_worker.receive()
        if frame is None:
            return
        for turn in node.worker.hear(frame):
            self._note_begun(node, turn)
        assert node.worker.refused_settlements == []
        if node.worker.is_drained:
            assert self.broker.held_count(node.session) == 0
            self.crash(node)

    def commit_begins(self) -> None:
        """The engine is given what waits."""
        if self._commit is None:
            self._commit = self.broker.take_commit()
            if self._commit is not None:
                for append in self._commit.appends:
                    if append.is_told:
                        assert append.refusal is not None
                    elif append.refusal is None:
                        assert append.targets == self._expected.pop(append.event)
                    else:
                        assert append.targets == ()

    def commit_ends(self) -> None:
        """The engine has kept it."""
        commit, self._commit = self._commit, None
        if commit is None:
            return
        numbers = self._engine.commit_now(commit)
        self._note_new(commit, iter(numbers))
        for position in commit.at_hand:
            del self._behind[position]
        for position in commit.removed:
            self.records[position].endings.append("accepted")
        for letter in commit.dead:
            record = self.records[letter.delivery.position]
            record.endings.append(letter.reason)
            self._doomed.pop(letter.delivery.position, None)
            worn_out = record.losses == self.broker.limits.max_losses
            assert worn_out == (letter.reason == "worker_lost")
        self.letters += commit.dead
        self.broker.committed(commit, numbers, self.now)

    def commit_fails(self) -> None:
        """The engine could not keep it."""
        commit, self._commit = self._commit, None
        if commit is not None:
            self.broker.not_kept(commit, "the disk is full")

    def engine_heals(self) -> None:
        """It can keep events again."""
        self.broker.reopen()

    def reading_fails(self) -> None:
        """The engine could not read."""
        requests, self._requests = self._requests, []
        if requests:
            self.broker.not_read(requests)

    def reading_begins(self) -> None:
        """The engine is asked for what is wanted of its backlogs."""
        if not self._requests:
            self._requests = self.broker.take_page_requests(self.now)

    def reading_ends(self) -> None:
        """The engine has read it, but for the last of large pages."""
        requests, self._requests = self._requests, []
        if not requests:
            return
        pages = []
        behind = self._behind | self._doomed
        for queue, beyond, limit in requests:
            found = (
                behind[each]
                for each in sorted(behind)
                if each > beyond and behind[each].agent == queue.agent
            )
            page = [replace(each) for each in islice(found, limit)]
            pages.append(page[: max(1, len(page) - 1)])
            self.read_count += len(pages[-1])
        self.broker.read(requests, pages)

    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.broker.tick(self.now)

    # What operators do.

    def replay(self, letters: Sequence[DeadLetter]) -> None:
        """Dead letters are replayed; some are there no more."""
        self._errands.append(self.broker.replay(letters))

    def drop(self, letters: Sequence[DeadLetter]) -> None:
        """Dead letters are dropped; some are there no more."""
        self._errands.append(self.broker.drop([each.delivery.position for each in letters]))

    def remove_type(self, name: str) -> None:
        """A type is removed, if nobody serves it."""
        with suppress(NotFound, NotAllowedNow):
            self._errands.append(self.broker.remove_type(name, self.now))

    # What is noted.

    def _note_new(self, commit: Commit, given: Iterator[int]) -> None:
        for append in commit.appends:
            if append.is_told:
                continue
            publisher, topic, sequence = self._event_of[append.event]
            self._taken[append.event] += 1
            for agent in append.targets:
                position = next(given)
                self.records[position] = Record(agent, publisher, topic, sequence)
                if agent in (append.behind or ()):
                    there = self._doomed if agent in (append.full or ()) else self._behind
                    there[position] = Delivery(position, agent, append.event)
        for replay in commit.replays:
            if position := next(given):
                agent = replay.letter.delivery.agent
                self.records[position] = Record(agent, f"replay {position}", "", 1)
                if replay.behind is not None:
                    event = replay.letter.delivery.event
                    self._behind[position] = Delivery(position, agent, event)

    def _note_begun(self, node: Node, turn: ModelTurn) -> None:
        for other in self.nodes:
            if other is not node:
                assert all(each.agent != turn.agent for each in other.worker.turns), (
                    f"{turn.agent} runs in two places"
                )
        if isinstance(turn.item, Call):
            self._calls_begun[turn.item.id] += 1
            assert self._calls_begun[turn.item.id] == 1
            return
        delivery = turn.item
        record = self.records[delivery.position]
        retried = node.worker.retried.pop(turn.agent, None)
        assert retried in {None, delivery.position}, "an event overtook one that is tried again"
        assert delivery.failed_turns >= record.failed, "a failed turn is forgotten"
        assert record.agent == turn.agent
        assert record.endings == []
        record.begun += 1
        if record.begun == 1:
            key = (record.agent, record.publisher, record.topic)
            assert record.sequence > self._begun_last.get(key, 0), "out of order"
            self._begun_last[key] = record.sequence

    def _note_settlements(self, session: Session, frame: WorkerFrame) -> None:
        for settlement in frame.settlements:
            found = self.broker._deliveries.find_out(settlement.position)
            assert found is not None
            assert found[2].grants.holder(found[1].partition) is session
            if isinstance(settlement.outcome, Released):
                record = self.records[settlement.position]
                assert settlement.outcome.failed_turns >= record.failed
                record.failed = settlement.outcome.failed_turns

    def _note_losses(self, session: Session) -> None:
        """A session is lost: of each run that is out there its head may have been running."""
        for state in self.broker.types:
            for queue in state.queues:
                if queue.out and state.grants.holder(queue.partition) is session:
                    self.records[queue.out[0].position].losses += 1

    def _route(self, event: Event) -> tuple[Address, ...]:
        """For whom ``event`` is: a scan over all subscriptions of all types."""
        targets = []
        for state in self.broker.types:
            for kind, pattern in self.broker.types.patterns(state.name):
                is_match = (
                    event.topic_type == pattern
                    if kind == "type"
                    else event.topic_type.startswith(pattern)
                )
                agent = (state.name, event.topic_source)
                if is_match and agent != event.sender and agent not in targets:
                    targets.append(agent)
        return tuple(sorted(targets))

    def check(self) -> None:
        """Look inside the broker; see `Inspector`."""
        self._inspector.check(self._commit)

    # The end.

    def settle_down(self) -> None:
        """Let all arrive, all turns end, all time pass; then nothing may be left."""
        self.engine_heals()
        while self.lost:
            self.notice_loss()
        for node in list(self.nodes):
            if not node.worker.is_draining:
                self.register(node, [])
        self.join(TYPES)
        quiet = 0
        while quiet < 5:  # a reply takes so many rounds through outboxes and lines
            before = self._progress()
            self.reading_begins()
            self.reading_ends()
            self.commit_begins()
            self.commit_ends()
            for node in list(self.nodes):
                self.worker_writes(node)
                self.host_reads(node)
                self.host_writes(node)
                self.worker_reads(node)
                for turn in list(node.worker.turns):
                    self.end(node, turn)
                self.begin(node, lambda ready: ready[0])
            while self.lost:
                self.notice_loss()
            self.check()
            quiet = quiet + 1 if before == self._progress() else 0
            is_waiting = any(node.worker.retried for node in self.nodes)
            if quiet == 4 and (is_waiting or self.broker.next_deadline() is not None):
                self.pass_time(60)
                quiet = 0
        self._check_end()

    def _progress(self) -> object:
        broker = self.broker
        return (
            tuple((n.worker.name, len(n.to_host), len(n.to_worker)) for n in self.nodes),
            sum(len(node.worker.turns) for node in self.nodes),
            repr(broker.counters),
            broker.waiting_count,
            broker.in_flight_count,
            len(self.records),
            broker.has_commit,
            sum(len(got) for node in self.nodes for got in node.worker.endings.values()),
        )

    def _check_end(self) -> None:
        broker, counters = self.broker, self.broker.counters
        assert broker.is_idle
        assert broker.queued_bytes == 0
        assert not self._behind
        for position, record in self.records.items():
            assert len(record.endings) == 1, f"{position}: {record}"
        assert all(count == 1 for count in self._taken.values())
        endings = Counter(record.endings[0] for record in self.records.values())
        assert counters.accepted == endings["accepted"]
        assert counters.rejected == sum(endings.values()) - endings["accepted"]
        never_ran = ("no_such_type", "type_removed", "worker_lost", "queue_full")
        killed = sum(endings[reason] for reason in never_ran)
        assert counters.delivered == counters.released + len(self.records) - killed
        self._check_errands()
        for node in self.nodes:
            worker = node.worker
            assert worker.answered == set(worker.published)
            for call_id, replies in worker.endings.items():
                assert len(replies) <= 1
                assert replies or call_id in worker.cancelled
                assert all(reply.last for reply in replies)
            for number, event in worker.published.items():
                was_kept = self._taken[event] == 1  # also that it was refused, if it was
                assert was_kept or number in worker.refused_publishes, number

    def _check_errands(self) -> None:
        """Each dead letter is there, or was replayed once, or dropped once."""
        assert all(errand.is_kept for errand in self._errands)
        replayed = [each for errand in self._errands for each in errand.replayed.items()]
        dropped = [each for errand in self._errands for each in errand.dropped]
        kept = [letter.delivery.position for letter in self._engine._dead.values()]
        dead = Counter(letter.delivery.position for letter in self.letters)
        assert Counter([*kept, *dropped, *(former for former, _ in replayed)]) == dead
        agents = {each.delivery.position: each.delivery.agent for each in self.letters}
        assert all(self.records[new].agent == agents[former] for former, new in replayed)
        counters = self.broker.counters
        assert (counters.replayed, counters.dropped) == (len(replayed), len(dropped))


def outcome_of(kind: int) -> Outcome:
    """One of the ways in which a turn ends."""
    return (
        ACCEPTED,
        ACCEPTED,
        Rejected("handler_error", "no"),
        Released(),
        Released(5.0),
    )[kind % 5]
