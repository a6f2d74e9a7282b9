"""The deliveries of a broker: what waits, what is out, and what becomes of it.

::

    enqueue --> waiting --hand out--> out --settle: accepted, rejected--> gone
                   ^                   |
                   +-- settle: released, or the grant ended --lost too often--> gone

Invariants:

* A delivery is out at the session that holds the grant of its partition, or it waits; never both.
* What is out for one agent is contiguous, in order, at one session, and before all that waits for
  it.
* A settlement that does not name the present attempt under the present grant changes nothing.
* Agents that wait for room at a session get it in turn.
* A delivery that was lost with a session is out alone: when the next one is lost, and its turn had
  begun, it was that.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from callboard.core.backlogs import PAGE, READ_AT_ONCE, PageRequest
from callboard.core.commit import DeadLetter, Errand, Settled
from callboard.core.errors import CallboardError, Code
from callboard.core.event import Delivery
from callboard.core.frames import Accepted, Refusal, Rejected, Released, Settlement
from callboard.core.identity import check_key
from callboard.core.load import RECORD_BYTES, bytes_of
from callboard.core.queues import Queues

if TYPE_CHECKING:
    from callboard.core.agenda import Agenda
    from callboard.core.agent_types import AgentTypes, AgentTypeState
    from callboard.core.backlogs import Backlog, Backlogs
    from callboard.core.commit import Append
    from callboard.core.event import Address, DeliveryId, Event, Grant
    from callboard.core.intake import Intake
    from callboard.core.limits import BrokerLimits
    from callboard.core.outbox import HostOutbox
    from callboard.core.queues import AgentQueue, Lane
    from callboard.core.session import Session

_position = attrgetter("position")

BURIED_AT_ONCE = 1024
"""Of what waits for a type that ends, how much becomes dead letters in one step: some ms."""


@dataclass(slots=True, eq=False)
class Burial:
    """What waited for a type that has ended, on its way to the dead letters.

    Attributes:
        queues: What is left.
        at: When the type ended, in the broker's time.
        errand: Done with the last of it; None: nobody asked for it.
    """

    queues: deque[AgentQueue]
    reason: str
    detail: str
    at: float
    errand: Errand | None

    @property
    def is_being_read(self) -> bool:
        """Whether it goes on when more of it has been read."""
        return bool(self.queues) and self.queues[0].is_wanted and not self.queues[0].waiting


class Deliveries:
    """What waits and what is out.

    Attributes:
        waiting_count: Deliveries that wait to be handed out.
    """

    def __init__(
        self,
        types: AgentTypes,
        intake: Intake,
        backlogs: Backlogs,
        limits: BrokerLimits,
        agenda: Agenda,
    ) -> None:
        self._types = types
        self._backlogs = backlogs
        self._loads = types.loads
        self._intake = intake
        self._agent_share = limits.agent_share
        self._ahead_s = limits.ahead_s
        self._max_exclusive_bytes = limits.max_exclusive_bytes
        self._max_losses = limits.max_losses
        self._agenda = agenda
        self._counters = agenda.counters
        self._out: dict[int, tuple[Delivery, AgentQueue, AgentTypeState]] = {}
        self._held_back: list[tuple[float, str, str]] = []
        self._burials: deque[Burial] = deque()
        self._burial_room = BURIED_AT_ONCE
        self._new: dict[AgentQueue, AgentTypeState] = {}
        self._handed: dict[HostOutbox, list[Delivery]] = {}
        self.waiting_count = 0

    @property
    def out_count(self) -> int:
        """Deliveries handed out and not settled."""
        return len(self._out)

    def find_out(self, position: int) -> tuple[Delivery, AgentQueue, AgentTypeState] | None:
        """What is out under ``position``."""
        return self._out.get(position)

    # In and out.

    def take_in(self, append: Append, positions: Iterator[int], now: float) -> None:
        """The engine has ``append``: hand it out, let it wait, or bury it, for each target."""
        event, full, behind = append.event, append.full, append.behind
        for agent in append.targets:
            position = next(positions)
            if full is not None and agent in full:
                self.overflow(Delivery(position, agent, event, 0, None, now), full[agent], now)
                if behind is not None and agent in behind:
                    self._backlogs.doom(position)
                continue
            if (
                behind is not None
                and agent in behind
                and self.keep_behind(behind[agent], position, agent, event, now)
            ):
                continue
            delivery = Delivery(position, agent, event, 0, None, now)
            if append.session.is_foreign:
                self.enqueue_checked(delivery, now)
            else:
                self.enqueue(delivery, now)

    def enqueue_checked(self, delivery: Delivery, now: float) -> None:
        """`enqueue` for what was judged by looser rules, or before others served its type.

        Agents of our own protocol have no key that breaks its rules: it becomes a dead letter.
        """
        agent_type, key = delivery.agent
        state = self._types.get(agent_type)
        try:
            if state is not None and not state.is_exclusive:
                check_key("agent key", key)
        except CallboardError as error:
            self.kill(delivery, "invalid_key", str(error), now)
        else:
            self.enqueue(delivery, now)

    def enqueue(self, delivery: Delivery, now: float) -> None:
        """The engine has ``delivery``: it waits. `hand_out_new` follows."""
        state = self._types.get(delivery.agent[0])
        if state is None or not state.takes_events:
            detail = "its agent type ended before it was handed out"
            self.kill(delivery, "no_such_type", detail, now)
            return
        size = bytes_of(delivery.event)
        queues = state.queues
        if state.is_exclusive and queues.bytes + size > self._max_exclusive_bytes:
            limit = self._max_exclusive_bytes
            detail = f"{queues.bytes} bytes wait for its worker already, the limit is {limit}"
            self.kill(delivery, "queue_full", detail, now)
            return
        queue = queues.of(delivery.agent)
        queue.wake()
        queue.waiting.append(delivery)
        queues.bytes += size
        queues.waiting_count += 1
        self.waiting_count += 1
        self._new[queue] = state

    def hand_out_new(self, now: float) -> None:
        """Hand out what was enqueued: one step by agent, however many events it got."""
        new, self._new = self._new, {}
        for queue, state in new.items():
            self.hand_out(state, queue, now)
        self._deliver()

    def restore(self, delivery: Delivery, now: float) -> None:
        """``delivery`` waited when the former host ended."""
        size = bytes_of(delivery.event)
        self._loads.of(delivery.agent[0]).take(size)
        self._loads.bytes += size
        self.enqueue(delivery, now)

    def restore_backlog(self, backlog: Backlog, now: float) -> None:
        """The former host has left ``backlog`` behind: after what is restored for its agent."""
        agent_type = backlog.agent[0]
        state = self._types.get(agent_type)
        queues = Queues(agent_type, 1) if state is None else state.queues
        queue = queues.of(backlog.agent)
        size = backlog.bytes + RECORD_BYTES * backlog.count
        self._loads.of(agent_type).take_many(backlog.count, size)
        self._loads.bytes += size
        self._backlogs.restore(queue, backlog, size)
        queues.behind_bytes += size
        queues.bytes += size
        queues.waiting_count += backlog.count
        self.waiting_count += backlog.count
        if state is None:
            if not self._burials:
                detail = "its agent type ended before it was handed out"
                self._burials.append(Burial(deque(), "no_such_type", detail, now, None))
            self._burials[0].queues.append(queue)

    def kill(self, delivery: Delivery, reason: str, detail: str, now: float) -> None:
        """``delivery``, which neither waits nor is out, becomes a dead letter."""
        self._bury(delivery, reason, detail, now)
        self.free(delivery.agent, delivery.event, now)

    def overflow(self, delivery: Delivery, detail: str, now: float) -> None:
        """There was no room for ``delivery``, and it took none: it becomes a dead letter."""
        self._bury(delivery, "queue_full", detail, now)
        self._loads.bytes -= bytes_of(delivery.event)

    def free(self, agent: Address, event: Event, now: float) -> None:
        """What took room for ``event``, for one agent, is gone."""
        size = bytes_of(event)
        load = self._loads.by_type[agent[0]]
        load.free(size)
        self._loads.bytes -= size
        self._intake.serve(load, now)

    def keep_behind(
        self, queue: AgentQueue, position: int, agent: Address, event: Event, now: float
    ) -> bool:
        """The engine has one more event for ``agent``, behind ``queue``.

        False, and it is at hand, when the type has ended since that was decided.
        """
        kept = self._backlogs.keep(queue, position, event, now)
        if kept is None:
            return False
        state = self._types.get(agent[0])
        assert state is not None  # noqa: S101 (for the type checker: `keep` has looked)
        state.queues.bytes += bytes_of(event)
        state.queues.waiting_count += 1
        self.waiting_count += 1
        self.hand_out(state, kept, now)
        return True

    def spare(self, queue: AgentQueue, event: Event) -> None:
        """``event``, that was to go behind ``queue``, does not: there is nothing to be kept."""
        self._backlogs.spare(queue, event)
        state = self._state_of(queue)
        if state is not None and queue.is_empty:
            state.queues.rest(queue)

    def next_pages(self, now: float) -> list[PageRequest]:
        """What the engine is to be asked for now: a part of what is wanted, as there is room.

        Nothing while it reads: what that brings takes room as well.
        """
        backlogs = self._backlogs
        requests: list[PageRequest] = []
        unread: list[AgentQueue] = []
        taken: Counter[Lane] = Counter()
        count = 0
        while backlogs.are_wanted and count < READ_AT_ONCE:
            queue = backlogs.take_wanted()
            limit = min(self._page_limit(queue, taken, now), queue.behind)
            if limit > 0:
                requests.append(PageRequest(queue, queue.loaded, limit))
                count += limit
            else:
                queue.is_wanted = False
                unread.append(queue)
        # Not before: what waits for room that others take in this go would be wanted for ever.
        for queue in unread:
            self._keep_no_room(queue)
        for queue in unread:
            self._serve_others(queue, now)
        self._deliver()
        if requests:
            backlogs.begin()
        return requests

    def take_pages(
        self, pages: Sequence[tuple[AgentQueue, Sequence[Delivery]]], now: float
    ) -> None:
        """The engine knows that ``pages``, the next of what is behind, are at hand."""
        for queue, page in pages:
            self._backlogs.take(queue, page)
            state = self._state_of(queue)
            if state is not None:
                self.hand_out(state, queue, now)
        for queue, _ in pages:
            self._keep_no_room(queue)
        for queue, _ in pages:
            self._serve_others(queue, now)
        self._backlogs.end()
        self._deliver()

    def hand_out(self, state: AgentTypeState, queue: AgentQueue, now: float) -> None:
        """Hand out what waits in ``queue``, as far as its agent and its session have room.

        `_deliver` follows, after all that is handed out in one step.
        """
        waiting, behind = queue.waiting, queue.behind
        if not (waiting or behind) or queue.is_listed or queue.not_before:
            return
        session = state.grants.open_to(queue.partition)
        if session is None:
            return
        out = queue.out
        lane = session.lanes[state.name]
        if session.is_parted:
            lane.ready.append(queue)
            queue.is_listed = True
            return
        share = queue.share(self._agent_share, lane.turns_at_once, self._ahead_s, now)
        count = min(len(waiting), share - len(out), lane.room)
        if count > 0:
            grant = state.grants.grant_of(queue.partition)
            if not out:
                queue.since = now
            handed = self._handed.setdefault(session.outbox, [])
            for _ in range(count):
                delivery = waiting.popleft()
                delivery.attempt += 1
                delivery.grant = grant
                out.append(delivery)
                self._out[delivery.position] = (delivery, queue, state)
                handed.append(delivery)
            lane.room -= count
            state.queues.waiting_count -= count
            self.waiting_count -= count
            self._counters.delivered += count
            self._agenda.wake(session)
        has_room = len(out) < share
        if has_room and lane.room <= 0 and (waiting or behind):
            lane.ready.append(queue)
            queue.is_listed = True
        elif behind and len(waiting) < PAGE // 2:
            is_needed = has_room and not waiting
            if is_needed or self._backlogs.has_room(state):
                self._backlogs.want(queue)

    def _deliver(self) -> None:
        """Say what was handed out.

        A session gets it in the order of positions: an event for several of its agents leaves once.
        """
        handed, self._handed = self._handed, {}
        for outbox, deliveries in handed.items():
            deliveries.sort(key=_position)
            for delivery in deliveries:
                outbox.deliver(delivery)

    def begin(self, session: Session, deliveries: Iterable[DeliveryId]) -> None:
        """The turns of ``deliveries`` are about to begin. What is not out at ``session`` is not."""
        for position, attempt in deliveries:
            found = self._out.get(position)
            if found is None:
                continue
            delivery, queue, state = found
            is_there = state.grants.holder(queue.partition) is session
            if delivery.attempt == attempt and is_there:
                delivery.has_begun = True

    def settle(self, session: Session, settlements: Iterable[Settlement], now: float) -> None:
        """End deliveries, or give them back; see `Broker.settle`.

        What becomes free is handed out after all of them, so that a frame's worth costs one step by
        agent.
        """
        commit, counters, out = self._agenda.commit, self._counters, self._out
        lanes, loads, last = session.lanes, self._loads, session.last_settlement
        refused: list[Refusal] = []
        touched: dict[AgentQueue, AgentTypeState] = {}
        for settlement in settlements:
            number = settlement.number
            if number <= last:
                continue
            last = number
            found = out.get(settlement.position)
            if (
                found is None
                or found[0].attempt != settlement.attempt
                or not found[2].grants.is_valid(found[1].partition, settlement.grant, session)
            ):
                refused.append(_not_out(settlement))
                continue
            delivery, queue, state = found
            touched[queue] = state
            match settlement.outcome:
                case Accepted():
                    commit.removed.append(delivery.position)
                    counters.accepted += 1
                case Rejected(reason, detail):
                    commit.dead.append(DeadLetter(delivery, reason, detail, now))
                    counters.rejected += 1
                case released:
                    lanes[state.name].room += self._release(state, queue, delivery, released, now)
                    continue
            del out[delivery.position]
            size = len(delivery.event.content) + RECORD_BYTES
            load = state.load
            load.count -= 1
            load.bytes -= size
            loads.bytes -= size
            state.queues.bytes -= size
            queue.settle(delivery)
            queue.ended += 1
            lanes[state.name].room += 1
        self._confirm(session, last, refused)
        for queue, state in touched.items():
            if queue.ended:
                state.queues.learn(queue, now)
            self._go_on(state, lanes[state.name], queue, now)
        self._deliver()
        if self._intake.waiting_count:
            for state in touched.values():
                self._intake.serve(state.load, now)

    # What time does.

    def next_due(self) -> float | None:
        """When `release_due` or `bury` next has work; None when nothing waits for a time."""
        if self._burials and not self._burials[0].is_being_read:
            return self._burials[0].at
        return self._held_back[0][0] if self._held_back else None

    def release_due(self, now: float) -> None:
        """Hand out what was to wait until now."""
        while self._held_back and self._held_back[0][0] <= now:
            _, type_name, key = heapq.heappop(self._held_back)
            state = self._types.get(type_name)
            queue = state.queues.find(key) if state else None
            if state and queue and 0 < queue.not_before <= now:
                queue.not_before = 0.0
                self.hand_out(state, queue, now)
        self._deliver()

    # What becomes of grants.

    def adopt(
        self,
        state: AgentTypeState,
        partition: int,
        lane: Lane,
        grant: Grant,
        held: Mapping[int, int],
        *,
        now: float,
    ) -> bool:
        """What waits of ``partition`` and is ``held`` (attempts by position) is out in ``lane``.

        It was when the former host ended. False, and nothing is done, when that cannot be: it is no
        run from the front of each agent's queue.
        """
        runs = []
        for queue in state.queues.in_partition(partition):
            positions = [each.position for each in queue.waiting]
            count = next(
                (n for n, each in enumerate(positions) if each not in held), len(positions)
            )
            if not held.keys().isdisjoint(positions[count:]):
                return False
            runs.append((queue, count))
        for queue, count in runs:
            queue.since = now
            for _ in range(count):
                delivery = queue.waiting.popleft()
                delivery.attempt = held[delivery.position]
                delivery.grant = grant
                queue.out.append(delivery)
                self._out[delivery.position] = (delivery, queue, state)
            lane.room -= count
            state.queues.waiting_count -= count
            self.waiting_count -= count
        return True

    def begin_grant(self, state: AgentTypeState, partition: int, now: float) -> None:
        """``partition`` has a new holder, who gets all that waited."""
        for queue in state.queues.in_partition(partition):
            self.hand_out(state, queue, now)
        self._deliver()

    def resume(self, session: Session, now: float) -> None:
        """``session`` has a stream again: hand out what waited for that."""
        for name, lane in session.lanes.items():
            state = self._types.get(name)
            if state is not None:
                self._serve(state, lane, now)
        self._deliver()

    def end_grant(self, state: AgentTypeState, partition: int, lane: Lane, now: float) -> None:
        """Nobody holds ``partition`` any more: take back what is out.

        ``lane`` is the former holder's. The room that becomes free is for what else waits for room
        in the lane.
        """
        for queue in state.queues.in_partition(partition):
            if queue.is_listed:
                queue.is_listed = False
                lane.ready.remove(queue)
            if queue.out:
                lane.room += self._take_back(state, queue)
            lane.reading.discard(queue)
        self._serve(state, lane, now)
        self._deliver()

    def close_lane(
        self,
        state: AgentTypeState,
        lane: Lane,
        partitions: Iterable[int],
        *,
        lost_at: float | None = None,
    ) -> None:
        """The session of ``lane`` serves the type no more, and held ``partitions``.

        Take all back. With ``lost_at`` it was lost then, and what may have been running with it.
        """
        for queue in lane.ready:
            queue.is_listed = False
        lane.ready.clear()
        for partition in partitions:
            for queue in state.queues.in_partition(partition):
                if queue.out:
                    is_blamed = _may_have_run(queue.out[0], lane.session)
                    self._take_back(state, queue)
                    if lost_at is not None and is_blamed:
                        self._count_loss(state, queue, lost_at)

    def forget(
        self,
        state: AgentTypeState,
        reason: str,
        detail: str,
        now: float,
        errand: Errand | None = None,
    ) -> None:
        """The type has ended, nothing of it being out: what waits becomes dead letters.

        So many at once, the others by `bury`.
        """
        self._backlogs.end_type(state)
        self._burials.append(Burial(deque(state.queues.busy()), reason, detail, now, errand))
        self._bury_some(now)
        if any(entry[1] == state.name for entry in self._held_back):
            self._held_back = [entry for entry in self._held_back if entry[1] != state.name]
            heapq.heapify(self._held_back)

    def bury(self, now: float) -> None:
        """Go on with what waited for types that have ended."""
        self._burial_room = BURIED_AT_ONCE
        self._bury_some(now)

    def _bury_some(self, now: float) -> None:
        """As much as there is room for until `bury`: many types may end together."""
        while self._burials:
            burial = self._burials[0]
            while burial.queues:
                waiting = burial.queues[0].waiting
                while waiting:
                    if not self._burial_room:
                        return
                    self._burial_room -= 1
                    self.waiting_count -= 1
                    self.kill(waiting.popleft(), burial.reason, burial.detail, now)
                if burial.queues[0].behind:
                    for queue in islice(burial.queues, BURIED_AT_ONCE):
                        if queue.behind and not queue.waiting:
                            self._backlogs.want(queue)
                    return
                burial.queues.popleft()
            if burial.errand is not None:
                self._agenda.commit.errands.append(burial.errand)
            self._burials.popleft()

    # Inside.

    def _go_on(self, state: AgentTypeState, lane: Lane, queue: AgentQueue, now: float) -> None:
        """Something of ``queue`` was settled: hand out what waited for that, in turn."""
        if lane.ready:
            # Others wait for this room: an agent with a long queue must not keep it to itself.
            if (queue.waiting or queue.behind) and not queue.is_listed:
                lane.ready.append(queue)
                queue.is_listed = True
            self._serve(state, lane, now)
        elif queue.waiting or queue.behind:
            self.hand_out(state, queue, now)
        if queue.is_empty:
            state.queues.rest(queue)

    def _serve(self, state: AgentTypeState, lane: Lane, now: float) -> None:
        while lane.room > len(lane.reading) and lane.ready and not lane.session.is_parted:
            queue = lane.ready.popleft()
            queue.is_listed = False
            self.hand_out(state, queue, now)
            if queue.is_wanted:
                lane.reading.add(queue)

    def _keep_no_room(self, queue: AgentQueue) -> None:
        """Nothing of ``queue`` is being read any more."""
        if not queue.is_wanted and (found := self._lane_of(queue)) is not None:
            found[1].reading.discard(queue)

    def _serve_others(self, queue: AgentQueue, now: float) -> None:
        """Others may have the room that was kept for ``queue``."""
        if (found := self._lane_of(queue)) is not None:
            self._serve(*found, now)

    def _lane_of(self, queue: AgentQueue) -> tuple[AgentTypeState, Lane] | None:
        """Where ``queue`` is handed out; None: nowhere at the moment."""
        state = self._state_of(queue)
        session = None if state is None else state.grants.holder(queue.partition)
        return None if state is None or session is None else (state, session.lanes[state.name])

    def _take_back(
        self, state: AgentTypeState, queue: AgentQueue, first: Delivery | None = None
    ) -> int:
        """Return what is out of ``queue``, from ``first`` on, to its front; how many that were."""
        returned = queue.take_back(first)
        for delivery in returned:
            del self._out[delivery.position]
        count = len(returned)
        state.queues.waiting_count += count
        self.waiting_count += count
        self._counters.released += count
        return count

    def _confirm(self, session: Session, last: int, refused: list[Refusal]) -> None:
        """All settlements up to ``last`` are to be confirmed, but for those that are refused."""
        if last > session.last_settlement:
            session.last_settlement = last
            settled = self._agenda.commit.settled.setdefault(session, Settled())
            settled.through = last
            settled.refused += refused

    def _release(
        self,
        state: AgentTypeState,
        queue: AgentQueue,
        delivery: Delivery,
        released: Released,
        now: float,
    ) -> int:
        count = self._take_back(state, queue, delivery)
        first = queue.waiting[0]
        if released.failed_turns > first.failed_turns:
            first.failed_turns = released.failed_turns
            self._agenda.commit.changed.append(first)
        if released.not_before_s > 0:
            self._hold_back(queue, now + released.not_before_s)
        return count

    def _count_loss(self, state: AgentTypeState, queue: AgentQueue, now: float) -> None:
        """Of what was taken back only the first can have been running: count it, or end it."""
        first = queue.waiting[0]
        first.losses += 1
        if first.losses < self._max_losses:
            self._agenda.commit.changed.append(first)
            return
        del queue.waiting[0]
        state.queues.waiting_count -= 1
        state.queues.bytes -= bytes_of(first.event)
        self.waiting_count -= 1
        detail = f"{first.losses} workers were lost while they may have been handling it"
        self.kill(first, "worker_lost", detail, now)
        if queue.is_empty:
            state.queues.rest(queue)

    def _page_limit(self, queue: AgentQueue, taken: Counter[Lane], now: float) -> int:
        """How many of those behind ``queue`` are to be read now.

        0: none, and it is wanted again when what is in the way has changed.

        Args:
            queue: Of which more is wanted.
            taken: Of the room in each lane, what is read in this go for others.
            now: The time.
        """
        state = self._state_of(queue)
        if state is None:
            return PAGE  # on their way to the dead letters
        session = state.grants.open_to(queue.partition)
        if session is None or queue.not_before or queue.is_listed:
            return 0
        if self._backlogs.has_room(state):
            return PAGE
        lane = session.lanes[state.name]
        lane.reading.discard(queue)
        room = lane.room - taken[lane]
        if room <= 0 or session.is_parted:
            lane.ready.append(queue)
            queue.is_listed = True
            return 0
        share = queue.share(self._agent_share, lane.turns_at_once, self._ahead_s, now)
        needed = min(share - len(queue.out), PAGE)
        if needed <= 0 or queue.waiting:
            return 0
        lane.reading.add(queue)
        limit = min(needed, queue.behind, room)
        taken[lane] += limit
        return limit

    def _state_of(self, queue: AgentQueue) -> AgentTypeState | None:
        """The type of which ``queue`` is; None when that has ended."""
        state = self._types.get(queue.agent[0])
        return state if state is not None and state.queues.find(queue.agent[1]) is queue else None

    def _bury(self, delivery: Delivery, reason: str, detail: str, now: float) -> None:
        self._agenda.commit.dead.append(DeadLetter(delivery, reason, detail, now))
        self._counters.rejected += 1

    def _hold_back(self, queue: AgentQueue, until: float) -> None:
        if until <= queue.not_before:
            return  # held back longer already, for the sake of a later event
        queue.not_before = until
        heapq.heappush(self._held_back, (until, *queue.agent))


def _may_have_run(first: Delivery, session: Session) -> bool:
    """Whether ``first``, of what an agent had out at ``session``, can have been running there.

    Whether that is so of one that was not lost before nobody knows: it is made known from then on.
    """
    return not first.losses or first.has_begun or not session.tells_beginnings


def _not_out(settlement: Settlement) -> Refusal:
    reason = (
        f"delivery {settlement.position}, attempt {settlement.attempt}, is not out under this grant"
    )
    return Refusal(settlement.number, Code.ABORTED, reason)
