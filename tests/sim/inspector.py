"""What must hold inside a broker at every moment, whatever workers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from callboard.core.agent_types import AgentTypeState
from callboard.core.broker import Broker
from callboard.core.commit import Commit
from callboard.core.event import Address, Delivery, Event, Grant, TurnId
from callboard.core.load import bytes_of
from callboard.core.partition import partition_of
from callboard.core.queues import AgentQueue
from callboard.core.session import Session


@dataclass
class Tally:
    """What is found when all of a broker is looked at."""

    waiting: int = 0
    queued_bytes: int = 0
    out: Counter[tuple[Session, str]] = field(default_factory=Counter)
    held: Counter[Session] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    behind_bytes: int = 0

    def count(self, agent: Address, event: Event) -> None:
        """Something takes room."""
        size = bytes_of(event)
        self.queued_bytes += size
        self.counts[agent[0]] += 1
        self.sizes[agent[0]] += size


class Inspector:
    """Looks inside a broker."""

    def __init__(self, broker: Broker, behind: Mapping[int, Delivery] | None = None) -> None:
        """Of a broker, and what its engine has ``behind``, by position."""
        self.broker = broker
        self._behind = {} if behind is None else behind
        self._out_when_asked: dict[Grant, set[TurnId]] = {}

    def check(self, committing: Commit | None) -> None:
        """What is counted is there, and nobody waits for nothing.

        Args:
            committing: What the engine was given and has not kept yet.
        """
        broker = self.broker
        tally = Tally()
        coming = self._coming(committing)
        for state in broker.types:
            self._check_grants(state, tally)
            before, bytes_before = tally.waiting, tally.queued_bytes
            behind_before = tally.behind_bytes
            for queue in state.queues:
                self._check_queue(state, queue, tally)
                assert queue.is_empty == (queue.agent[1] in state.queues._idle)
            assert state.queues.waiting_count == tally.waiting - before
            assert state.queues.bytes == tally.queued_bytes - bytes_before
            behind_bytes = tally.behind_bytes - behind_before
            behind_bytes += sum(coming.pop(queue, 0) for queue in state.queues)
            assert state.queues.behind_bytes == behind_bytes
            tally.behind_bytes = behind_before + behind_bytes
        for burial in broker._deliveries._burials:
            for queue in burial.queues:
                tally.waiting += len(queue.waiting)
                for each in queue.waiting:
                    tally.count(each.agent, each.event)
                self._count_behind(queue, tally)
        assert not broker._deliveries._handed
        assert not broker._deliveries._new
        assert broker._backlogs.bytes == tally.behind_bytes + sum(coming.values())
        of_types = sum(state.queues.behind_bytes for state in broker.types)
        assert sum(broker._backlogs._left.values()) == broker._backlogs.bytes - of_types
        self._check_lanes(tally)
        assert broker.waiting_count == tally.waiting
        assert broker.in_flight_count == sum(tally.out.values())
        for commit in (committing, broker._agenda.commit):
            if commit is not None:
                self._count_commit(commit, tally)
        self._check_waiters(tally)
        assert broker.queued_bytes == tally.queued_bytes <= broker.limits.max_queued_bytes
        self._check_loads(tally)
        self._check_calls()
        self._check_registrations()

    def _coming(self, committing: Commit | None) -> Counter[AgentQueue]:
        """What the engine is being given, in bytes, by the queue that it goes behind."""
        coming: Counter[AgentQueue] = Counter()
        counts: Counter[AgentQueue] = Counter()
        if committing is not None:
            given = [
                (queue, append.event)
                for append in committing.appends
                for agent, queue in (append.behind or {}).items()
                if agent not in (append.full or ())
            ]
            given += [
                (each.behind, each.letter.delivery.event)
                for each in committing.replays
                if each.behind is not None
            ]
            for queue, event in given:
                coming[queue] += bytes_of(event)
                counts[queue] += 1
        for state in self.broker.types:
            for queue in state.queues:
                assert queue.coming == counts[queue]
        return coming

    def _count_behind(self, queue: AgentQueue, tally: Tally) -> None:
        """It is what the engine has after what was read; none of it was read before."""
        found = [
            delivery
            for position, delivery in sorted(self._behind.items())
            if position > queue.loaded and delivery.agent == queue.agent
        ][: queue.behind]
        assert len(found) == queue.behind
        assert not found or not queue.waiting or queue.waiting[-1].position < found[0].position
        tally.waiting += queue.behind
        for each in found:
            tally.count(each.agent, each.event)
            tally.behind_bytes += bytes_of(each.event)

    def _check_lanes(self, tally: Tally) -> None:
        for session in self.broker.sessions.values():
            assert self.broker.held_count(session) == tally.held[session]
            for name, lane in session.lanes.items():
                assert 0 <= lane.room <= lane.window
                assert all(each.is_wanted for each in lane.reading), "keeps room for nothing"
                assert lane.in_flight == tally.out[session, name]
                for queue in lane.reading:
                    state = self.broker.types.get(name)
                    assert state is not None
                    assert queue.is_wanted
                    assert state.grants.holder(queue.partition) is session

    def _count_commit(self, commit: Commit, tally: Tally) -> None:
        for append in commit.appends:
            for agent in append.targets:
                if agent in (append.full or ()):
                    tally.queued_bytes += bytes_of(append.event)
                else:
                    tally.count(agent, append.event)
        for replay in commit.replays:
            tally.count(replay.letter.delivery.agent, replay.letter.delivery.event)

    def _check_waiters(self, tally: Tally) -> None:
        """Each waits for room, or behind an earlier event; room that it was given is kept."""
        intake, soft = self.broker._intake, self.broker._intake._soft
        waiters = [each for some in intake._waiters.values() for each in some.values()]
        assert len(waiters) == intake.waiting_count
        for waiter in waiters:
            assert waiter.session.is_live or waiter.session.incarnation
            assert not waiter.is_ready
            assert not waiter.is_over
            assert waiter.number in waiter.session.origin.held
            for load, agent in zip(waiter.loads, waiter.targets, strict=True):
                assert (load in waiter.lacking) == (waiter in load.line)
                if load in waiter.lacking:
                    tally.queued_bytes += bytes_of(waiter.event)
                else:
                    tally.count(agent, waiter.event)
        for waiter in waiters:
            if waiter.earlier is not None:
                assert waiter.earlier.later is waiter
                assert waiter.earlier.number < waiter.number
            assert (intake._last[waiter.publisher] is waiter) == (waiter.later is None)
        for load in self.broker.types.loads.by_type.values():
            line = list(load.line)
            assert [each.since for each in line] == sorted(each.since for each in line)
            assert not line or not load.has_room(line[0].size, soft), "waits for nothing"

    def _check_loads(self, tally: Tally) -> None:
        """What takes room is what there is, and no more than there is room for."""
        hard = self.broker._intake._hard
        for name, load in self.broker.types.loads.by_type.items():
            assert (load.count, load.bytes) == (tally.counts[name], tally.sizes.pop(name, 0)), name
            assert load.count <= 1 or (load.count <= hard.events and load.bytes <= hard.bytes)
            assert load.is_of_known_type == (self.broker.types.get(name) is not None)
            assert load.is_of_known_type or load.count, "is of nothing"
        assert not tally.sizes

    def _check_grants(self, state: AgentTypeState, tally: Tally) -> None:
        """Partitions are where they are planned to be, or on their way there."""
        for partition in range(len(state.grants)):
            holder = state.grants.holder(partition)
            if holder is not None:
                tally.held[holder] += 1
                assert holder.is_live
                assert holder in state.workers
            if state.grants.is_leaving(partition):
                self._check_leaving(state, partition)
            else:
                assert holder is state.plan[partition]

    def _check_queue(self, state: AgentTypeState, queue: AgentQueue, tally: Tally) -> None:
        """What is out of one agent is a run at one session; what waits, waits for something."""
        share = self.broker.limits.agent_share
        positions = [each.position for each in (*queue.out, *queue.waiting)]
        assert positions == sorted(positions)
        assert len({each.grant for each in queue.out}) <= 1
        assert not queue.out or queue.out[0].position not in queue.settled
        assert len(queue.out) <= share
        run = (*queue.out, *queue.waiting)
        assert all(each.losses == 0 for each in run[1:]), "only what was first can have run"
        if run and run[0].losses:
            assert run[0].losses < self.broker.limits.max_losses
            share = 1
        out = [each for each in queue.out if each.position not in queue.settled]
        tally.waiting += len(queue.waiting)
        for each in (*queue.waiting, *out):
            tally.count(each.agent, each.event)
        self._count_behind(queue, tally)
        session = state.grants.holder(queue.partition)
        if session is None:
            assert not out
            assert not queue.is_listed
            return
        tally.out[session, state.name] += len(out)
        lane = session.lanes[state.name]
        assert list(lane.ready).count(queue) == queue.is_listed
        is_open = state.grants.open_to(queue.partition) is not None
        if not queue.not_before and is_open and len(queue.out) < share:
            if queue.waiting:
                assert queue.is_listed, "waits for nothing"
                assert not lane.room or lane.reading, "waits for nothing"
            elif queue.behind:
                assert queue.is_listed or queue.is_wanted, "waits for nothing"
                if queue.is_listed:
                    assert not lane.room or lane.reading, "waits for nothing"

    def _check_leaving(self, state: AgentTypeState, partition: int) -> None:
        """Since it was asked back, nothing new was handed out."""
        grant = state.grants.grant_of(partition)
        assert grant is not None
        queues = state.queues.in_partition(partition)
        out: set[TurnId] = {each.turn for queue in queues for each in queue.out}
        assert out <= self._out_when_asked.setdefault(grant, out)

    def _check_registrations(self) -> None:
        """What is counted is what is declared, and what stays that nobody declares."""
        types, limits = self.broker.types, self.broker.limits
        sessions = self.broker.sessions.values()
        kept = sum(
            declared == {None}
            for patterns in types._declared.values()
            for declared in patterns.values()
        )
        count = sum(len(each.registration.subscriptions) for each in sessions) + kept
        assert types.subscription_count == count <= limits.max_subscriptions
        assert len(types) <= limits.max_types
        for session in sessions:
            assert set(session.lanes) == {each.name for each in session.registration.types}

    def _check_calls(self) -> None:
        """Each open call is at the holder of its agent's partition, or waits until there is one."""
        exchange = self.broker._exchange
        waiting = 0
        for call in exchange._calls._by_id.values():
            assert 0 <= call.credit <= self.broker.limits.max_stream_credit
            if call.is_streamed and call.callee is not None:
                assert call.callee.is_foreign or "streams" in call.callee.capabilities
            state = self.broker.types.get(call.target[0])
            assert state is not None
            partition = partition_of(*call.target, len(state.grants))
            if call.callee is not None:
                assert state.grants.holder(partition) is call.callee
            else:
                waiting += 1
                assert state.grants.open_to(partition) is None
        assert waiting == sum(len(state.calls) for state in self.broker.types)
