"""The host's rules: routing, queues, grants, hand-out, settlement, calls.

Decides and does nothing else. Every method takes what happened and the time, changes the state, and leaves
what is to be said in the outboxes of the sessions (`take_awake` names those that have something to say) and
what is to be kept in the next commit (`take_commit`). The shell writes frames, lets the engine keep commits
and reports back by `committed`, and calls `tick` at `next_deadline`.

The life of an event here::

    publish ---> commit ---> committed: queued, acknowledged ---> handed out ---> settle ---> commit
                                ^                                     |
                                +------- released, or worker lost ----+

Invariants:

* A publish is acknowledged only after the engine has it; acknowledgements of a session are in order.
* A delivery is out at the session that holds the grant of its partition, or it waits; never both.
* What is out for one agent is contiguous, in order, at one session, and before all that waits for it.
* A settlement that does not name the present attempt under the present grant changes nothing.
* Every call taken gets exactly one ending.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from callboard.core.agent_types import AgentTypes, AgentTypeState
from callboard.core.calls import MAX_CHAIN, OpenCall, OpenCalls
from callboard.core.commit import Append, Commit, DeadLetter
from callboard.core.errors import CallboardError, Code
from callboard.core.event import Address, Delivery, Event, Grant, TurnId
from callboard.core.frames import (
    Accepted,
    Call,
    CallFailure,
    Partitions,
    Publish,
    Refusal,
    Registered,
    Registration,
    RegistrationError,
    Rejected,
    Reply,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
)
from callboard.core.grants import Serials
from callboard.core.identity import check_agent_type, check_key, check_topic_type
from callboard.core.partition import DEFAULT_PARTITIONS, partition_of
from callboard.core.placement import place
from callboard.core.queues import AgentQueue, Lane
from callboard.core.session import Session


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The bounds that a broker keeps.

    Attributes:
        partitions: Into how many partitions each agent type is divided; fixed for the life of the engine.
        delivery_window: Deliveries out by agent type and session. Eight frames, so that the pipe stays full.
        agent_share: Deliveries out for one agent; at most ``delivery_window``. 64 costs 28 % of throughput.
        publish_window: Publishes that a session may have unacknowledged.
        max_event_bytes: The largest encoded event, call payload or reply payload.
        max_queued_bytes: All events queued and out, together; beyond it publishes are refused.
        max_calls_waiting: Calls that may wait at the host for one agent whose partition has no holder.
        call_timeout_s: The deadline of a call that names none.
    """

    partitions: int = DEFAULT_PARTITIONS
    delivery_window: int = 2048
    agent_share: int = 256
    publish_window: int = 2048
    max_event_bytes: int = 8 << 20
    max_queued_bytes: int = 1 << 30
    max_calls_waiting: int = 64
    call_timeout_s: float = 300.0


@dataclass(slots=True)
class Counters:
    """What has happened since the broker started; fields as in ``Counters`` of ``operations.proto``."""

    published: int = 0
    unmatched: int = 0
    delivered: int = 0
    accepted: int = 0
    rejected: int = 0
    released: int = 0
    calls: int = 0
    calls_failed: int = 0


@dataclass(slots=True)
class Broker:
    """The host's rules. See the module.

    Attributes:
        epoch: The number under which this broker grants; above that of every broker before it.
    """

    epoch: int
    limits: BrokerLimits = field(default_factory=BrokerLimits)
    counters: Counters = field(default_factory=Counters)
    types: AgentTypes = field(init=False)
    sessions: dict[str, Session] = field(default_factory=dict)
    queued_bytes: int = 0
    _calls: OpenCalls[Session] = field(default_factory=OpenCalls)
    _out: dict[int, tuple[Delivery, AgentQueue, AgentTypeState]] = field(default_factory=dict)
    _waiting: int = 0
    _commit: Commit = field(default_factory=Commit)
    _committing: int = 0
    _awake: set[Session] = field(default_factory=set)
    _held_back: list[tuple[float, str, str]] = field(default_factory=list)
    _held: dict[Session, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.types = AgentTypes(self.limits.partitions, Serials(self.epoch))

    # What the shell asks for.

    def take_awake(self) -> set[Session]:
        """The sessions whose outbox got something since the last time."""
        awake, self._awake = self._awake, set()
        return awake

    def take_commit(self) -> Commit | None:
        """What the engine is to keep next; None when there is nothing. `committed` is to follow."""
        if self._commit.is_empty:
            return None
        commit, self._commit = self._commit, Commit()
        self._committing += 1
        return commit

    @property
    def has_commit(self) -> bool:
        """Whether `take_commit` has something."""
        return not self._commit.is_empty

    def next_deadline(self) -> float | None:
        """When `tick` next has work; None when nothing is timed."""
        times = [self._calls.next_deadline(), self._held_back[0][0] if self._held_back else None]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> None:
        """Let time have its effects: calls expire, released deliveries become due."""
        for call in self._calls.expire(now):
            if call.callee is None:
                self._drop_waiting(call)
                self._fail(call, Code.UNAVAILABLE, f"no worker of agent type {call.target[0]!r} came in time")
            else:
                self._fail(call, Code.DEADLINE_EXCEEDED, f"no reply from {_name(call.target)} in time")
                self._tell_cancelled(call)
        while self._held_back and self._held_back[0][0] <= now:
            _, type_name, key = heapq.heappop(self._held_back)
            state = self.types.get(type_name)
            queue = state.queues.find(key) if state else None
            if state and queue and 0 < queue.not_before <= now:
                queue.not_before = 0.0
                self._hand_out(state, queue)

    @property
    def is_idle(self) -> bool:
        """Whether no event waits or is out, no call is open and nothing is being kept."""
        return not (
            self._waiting or self._out or len(self._calls) or self._committing or not self._commit.is_empty
        )

    @property
    def waiting_count(self) -> int:
        """Deliveries that wait to be handed out."""
        return self._waiting

    @property
    def in_flight_count(self) -> int:
        """Deliveries handed out and not settled."""
        return len(self._out)

    def held_count(self, session: Session) -> int:
        """The partitions that ``session`` holds, all types together."""
        return self._held.get(session, 0)

    # Sessions.

    def join(self, session: Session) -> None:
        """A worker is there."""
        self.sessions[session.id] = session
        self._held[session] = 0

    def register(self, session: Session, registration: Registration, now: float) -> None:
        """``session`` says all that it serves. What is invalid is refused by entry; the rest is in force."""
        if not session.is_live or registration.revision <= session.registration.revision:
            return
        errors: list[RegistrationError] = []
        types = tuple(entry for entry in registration.types if _type_is_valid(entry, errors))
        subscriptions = tuple(entry for entry in registration.subscriptions if _subscription_is_valid(entry, errors))
        old = session.registration
        session.registration = Registration(registration.revision, types, subscriptions)
        for entry in types:
            state = self.types.ensure(entry.name, session_only=entry.session_only)
            if session not in state.workers:
                state.add_worker(session)
                session.lanes[entry.name] = Lane(session, self.limits.delivery_window)
        self.types.declare(session, old.subscriptions, subscriptions)
        for entry in types:
            self.types.drop_kept(entry.name)
        gone = {entry.name for entry in old.types} - {entry.name for entry in types}
        for name in sorted(gone):
            self._stop_serving(session, name, old.subscriptions, now)
        for entry in types:
            state = self.types.get(entry.name)
            if state is not None and entry.name not in {e.name for e in old.types}:
                self._rebalance(state, now)
        session.outbox.registered.append(Registered(registration.revision, tuple(errors)))
        self._awake.add(session)

    def drain(self, session: Session, now: float) -> None:
        """``session`` wants to leave: it is asked for all it holds, and told when it holds nothing."""
        if not session.is_live or session.draining:
            return
        session.draining = True
        for name in list(session.lanes):
            state = self.types.get(name)
            if state is not None:
                self._rebalance(state, now)
        self._tell_drained(session)

    def leave(self, session: Session, now: float) -> None:
        """The session is over. What was out there is handed out again; its calls end. Idempotent."""
        if not session.is_live:
            return
        session.is_live = False
        self.sessions.pop(session.id, None)
        unanswered, unwanted = self._calls.lose(session)
        for call in unwanted:
            self._drop_waiting(call)
            self._tell_cancelled(call)
        for call in unanswered:
            self._fail(call, Code.UNAVAILABLE, f"the worker that ran {_name(call.target)} was lost")
        declared = session.registration.subscriptions
        for entry in session.registration.types:
            self._stop_serving(session, entry.name, declared, now)
        self.types.declare(session, declared, ())
        self._held.pop(session, None)
        self._awake.discard(session)

    def surrendered(self, session: Session, given_up: Partitions, now: float) -> None:
        """``session`` has given partitions up. Stale ones are passed over."""
        state = self.types.get(given_up.agent_type)
        if state is None:
            return
        for partition, grant in given_up.partitions:
            if 0 <= partition < len(state.grants) and state.grants.is_valid(partition, grant, session):
                self._free(state, partition, session)
                # Calls that it had not received when it gave the partition up: it drops those, unrun.
                for call in self._calls.assigned_to(session):
                    if call.target[0] == state.name and partition_of(*call.target, len(state.grants)) == partition:
                        self._calls.assign(call, None)
                        self._place_call(state, call, now)
                self._grant(state, partition, now)
        self._tell_drained(session)

    # Events.

    def publish(self, session: Session, publishes: Iterable[Publish]) -> None:
        """Route events and put them in line for the engine. A number seen before is passed over."""
        appends = self._commit.appends
        for publish in publishes:
            number = publish.number
            if number <= session.last_publish:
                continue
            session.last_publish = number
            event = publish.event
            try:
                targets = self._route(event)
            except CallboardError as error:
                refusal = Refusal(number, error.code, str(error))
                appends.append(Append(session, number, event, (), refusal))
                continue
            refusal = self._why_not(event, number, len(targets))
            if refusal is not None:
                appends.append(Append(session, number, event, (), refusal))
                continue
            self.counters.published += 1
            if targets:
                self.queued_bytes += len(event.content) * len(targets)
            else:
                self.counters.unmatched += 1
            appends.append(Append(session, number, event, targets))

    def committed(self, commit: Commit, positions: Sequence[int], now: float) -> None:
        """The engine has ``commit``; ``positions`` names one for each target of its appends, in order."""
        self._committing -= 1
        given = iter(positions)
        for append in commit.appends:
            for agent in append.targets:
                self._enqueue(Delivery(next(given), agent, append.event, 0, None, now), now)
            session = append.session
            if session.is_live:
                session.outbox.published_through = append.number
                if append.refusal is not None:
                    session.outbox.publishes_refused.append(append.refusal)
                self._awake.add(session)
        for session, number, refusal in commit.settled:
            if session.is_live:
                session.outbox.settled_through = number
                if refusal is not None:
                    session.outbox.settlements_refused.append(refusal)
                self._awake.add(session)

    def settle(self, session: Session, settlements: Iterable[Settlement], now: float) -> None:
        """End deliveries. One that is not the present attempt under the present grant is refused."""
        settled = self._commit.settled
        for settlement in settlements:
            if settlement.number <= session.last_settlement:
                continue
            session.last_settlement = settlement.number
            found = self._out.get(settlement.position)
            if (
                found is None
                or found[0].attempt != settlement.attempt
                or not found[2].grants.is_valid(found[1].partition, settlement.grant, session)
            ):
                reason = f"delivery {settlement.position}, attempt {settlement.attempt}, is not out under this grant"
                settled.append((session, settlement.number, Refusal(settlement.number, Code.ABORTED, reason)))
                continue
            settled.append((session, settlement.number, None))
            delivery, queue, state = found
            match settlement.outcome:
                case Accepted():
                    self._commit.removed.append(delivery.position)
                    self.counters.accepted += 1
                    self._end(session, delivery, queue, state)
                case Rejected(reason, detail):
                    self._commit.dead.append(DeadLetter(delivery, reason, detail, now))
                    self.counters.rejected += 1
                    self._end(session, delivery, queue, state)
                case released:
                    if released.not_before_s > 0:
                        queue.not_before = now + released.not_before_s
                        heapq.heappush(self._held_back, (queue.not_before, *queue.agent))
                    self._take_back(state, queue, session, delivery)
                    self._hand_out(state, queue)

    # Calls.

    def call(self, session: Session, call: Call, now: float) -> None:
        """Take a call and pass it to the worker that holds the agent's partition, now or when there is one."""
        if not session.is_live:
            return
        self.counters.calls += 1
        chain = self._chain_of(session, call.parent)
        timeout_s = call.remaining_s or self.limits.call_timeout_s
        opened = self._calls.begin(
            session,
            call.id,
            call.target,
            call.payload,
            deadline=now + timeout_s,
            chain=chain,
            sender=call.sender,
            hop=call.hop,
        )
        if opened is None:
            return
        try:
            check_agent_type(call.target[0])
            check_key("agent key", call.target[1])
        except CallboardError as error:
            self._end_call(opened, error.code, str(error))
            return
        state = self.types.get(call.target[0])
        if state is None:
            self._end_call(opened, Code.NOT_FOUND, f"no worker has registered the agent type {call.target[0]!r}")
        elif len(call.payload) > self.limits.max_event_bytes:
            reason = _too_large("call", len(call.payload), self.limits.max_event_bytes)
            self._end_call(opened, Code.RESOURCE_EXHAUSTED, reason)
        elif len(chain) > MAX_CHAIN:
            reason = f"more than {MAX_CHAIN} calls wait for each other on the way to {_name(call.target)}"
            self._end_call(opened, Code.RESOURCE_EXHAUSTED, reason)
        else:
            self._place_call(state, opened, now)

    def reply(self, session: Session, reply: Reply) -> None:
        """Pass an answer on. A late, repeated or forged one changes nothing."""
        call = self._calls.answer(reply.call_id, session, last=reply.last)
        if call is None:
            return
        error = reply.error
        if error is None and len(reply.payload) > self.limits.max_event_bytes:
            reason = _too_large("reply", len(reply.payload), self.limits.max_event_bytes)
            error = CallFailure(Code.RESOURCE_EXHAUSTED, reason)
        if error is not None:
            self.counters.calls_failed += 1
        call.caller.outbox.replies.append(Reply(call.caller_id, reply.payload, error, reply.last))
        self._awake.add(call.caller)

    def cancel(self, session: Session, caller_id: int) -> None:
        """The caller gave a call up: its handler is told."""
        call = self._calls.cancel(session, caller_id)
        if call is not None:
            self._drop_waiting(call)
            self._tell_cancelled(call)

    # Inside.

    def _route(self, event: Event) -> tuple[Address, ...]:
        names = self.types.subscribers(event.topic_type)
        if not names:
            check_topic_type(event.topic_type)
            check_key("topic source", event.topic_source)
            return ()
        source = event.topic_source
        check_key("topic source", source)
        sender = event.sender
        known = self.types.get
        return tuple(
            agent for name in names if (agent := (name, source)) != sender and known(name) is not None
        )

    def _why_not(self, event: Event, number: int, targets: int) -> Refusal | None:
        size = len(event.content)
        if size > self.limits.max_event_bytes:
            reason = _too_large("event", size, self.limits.max_event_bytes)
        elif self.queued_bytes + size * targets > self.limits.max_queued_bytes:
            reason = (
                f"the host's queues are full: {self.queued_bytes} bytes wait, the limit is "
                f"{self.limits.max_queued_bytes}"
            )
        else:
            return None
        return Refusal(number, Code.RESOURCE_EXHAUSTED, reason)

    def _enqueue(self, delivery: Delivery, now: float) -> None:
        state = self.types.get(delivery.agent[0])
        if state is None:
            self._kill(delivery, "no_such_type", "its agent type ended before it was handed out", now)
            return
        queue = state.queues.of(delivery.agent)
        queue.waiting.append(delivery)
        state.queues.waiting_count += 1
        self._waiting += 1
        self._hand_out(state, queue)

    def _hand_out(self, state: AgentTypeState, queue: AgentQueue) -> None:
        """Hand out what waits in ``queue`` as far as its agent's share and its session's lane have room."""
        waiting = queue.waiting
        if not waiting or queue.is_listed or queue.not_before:
            return
        session = state.grants.open_to(queue.partition)
        if session is None:
            return
        out = queue.out
        lane = session.lanes[state.name]
        count = min(len(waiting), self.limits.agent_share - len(out), lane.room)
        if count > 0:
            grant = state.grants.grant_of(queue.partition)
            deliver = session.outbox.deliver
            for _ in range(count):
                delivery = waiting.popleft()
                delivery.attempt += 1
                delivery.grant = grant
                out.append(delivery)
                self._out[delivery.position] = (delivery, queue, state)
                deliver(delivery)
            lane.room -= count
            state.queues.waiting_count -= count
            self._waiting -= count
            self.counters.delivered += count
            self._awake.add(session)
        if waiting and not lane.room and len(out) < self.limits.agent_share:
            lane.ready.append(queue)
            queue.is_listed = True

    def _end(self, session: Session, delivery: Delivery, queue: AgentQueue, state: AgentTypeState) -> None:
        """``delivery`` was settled for good: make room and hand out what waited for it."""
        del self._out[delivery.position]
        self.queued_bytes -= len(delivery.event.content)
        queue.settle(delivery)
        lane = session.lanes[state.name]
        lane.room += 1
        if queue.waiting:
            self._hand_out(state, queue)
        elif not queue.out:
            state.queues.rest(queue)
        self._serve_lane(state, lane)

    def _serve_lane(self, state: AgentTypeState, lane: Lane) -> None:
        while lane.room > 0 and lane.ready:
            queue = lane.ready.popleft()
            queue.is_listed = False
            self._hand_out(state, queue)

    def _take_back(
        self, state: AgentTypeState, queue: AgentQueue, session: Session, first: Delivery | None = None
    ) -> None:
        """Return what is out of ``queue``, from ``first`` on, to its front."""
        returned = queue.take_back(first)
        for delivery in returned:
            del self._out[delivery.position]
        lane = session.lanes[state.name]
        lane.room += len(returned)
        state.queues.waiting_count += len(returned)
        self._waiting += len(returned)
        self.counters.released += len(returned)
        self._serve_lane(state, lane)

    def _kill(self, delivery: Delivery, reason: str, detail: str, now: float) -> None:
        """``delivery``, which neither waits nor is out, becomes a dead letter."""
        self._commit.dead.append(DeadLetter(delivery, reason, detail, now))
        self.counters.rejected += 1
        self.queued_bytes -= len(delivery.event.content)

    def _rebalance(self, state: AgentTypeState, now: float) -> None:
        """Plan anew who holds what; grant what is free, ask for what should move."""
        candidates = [session for session in state.workers if not session.draining]
        index = {session: number for number, session in enumerate(candidates)}
        grants = state.grants
        held = [
            None if (holder := grants.open_to(partition)) is None else index.get(holder)
            for partition in range(len(grants))
        ]
        plan = place(held, [state.workers[session] for session in candidates])
        state.plan = [None if worker is None else candidates[worker] for worker in plan]
        asked: dict[Session, list[tuple[int, Grant]]] = {}
        for partition, planned in enumerate(state.plan):
            holder = grants.holder(partition)
            if holder is None:
                self._grant(state, partition, now)
            elif holder is not planned:
                grant = grants.ask(partition)
                if grant is not None:
                    asked.setdefault(holder, []).append((partition, grant))
        for session, partitions in asked.items():
            session.outbox.surrenders.append(Partitions(state.name, tuple(partitions)))
            self._awake.add(session)

    def _grant(self, state: AgentTypeState, partition: int, now: float) -> None:
        """Give a free partition to whom it is planned for, with all that waited."""
        session = state.plan[partition]
        if session is None:
            return
        state.grants.grant(partition, session)
        self._held[session] += 1
        for call in state.calls.pop(partition, ()):
            self._send_call(state, call, session, now)
        for queue in state.queues.in_partition(partition):
            self._hand_out(state, queue)

    def _free(self, state: AgentTypeState, partition: int, session: Session) -> None:
        """End the grant of ``partition``, taking back what is out under it."""
        for queue in state.queues.in_partition(partition):
            if queue.is_listed:
                queue.is_listed = False
                session.lanes[state.name].ready.remove(queue)
        state.grants.end(partition)
        self._held[session] -= 1
        for queue in state.queues.in_partition(partition):
            if queue.out:
                self._take_back(state, queue, session)

    def _stop_serving(
        self, session: Session, name: str, declared: Iterable[SubscriptionEntry], now: float
    ) -> None:
        state = self.types.get(name)
        if state is None or session not in state.workers:
            return
        del state.workers[session]
        for partition in list(state.grants.held_by(session)):
            self._free(state, partition, session)
        del session.lanes[name]
        if state.workers:
            self._rebalance(state, now)
        elif state.session_only:
            self._forget(state, now)
        else:
            self.types.keep_after(session, name, declared)
            state.plan = [None] * len(state.grants)

    def _forget(self, state: AgentTypeState, now: float) -> None:
        self.types.forget(state.name)
        for calls in state.calls.values():
            for call in calls:
                self._end_call(call, Code.UNAVAILABLE, f"the agent type {state.name!r} has ended")
        for queue in state.queues.busy():
            for delivery in queue.waiting:
                self._waiting -= 1
                self._kill(delivery, "no_such_type", "its agent type ended with its session", now)

    def _tell_drained(self, session: Session) -> None:
        if session.draining and not self._held.get(session, 0):
            session.outbox.drain = True
            self._awake.add(session)

    def _chain_of(self, session: Session, parent: TurnId | None) -> tuple[TurnId, ...]:
        """The turns that wait for a call made in ``parent``; none when that turn is not running there."""
        if isinstance(parent, int):
            outer = self._calls.get(parent)
            return (*outer.chain, parent) if outer is not None and outer.callee is session else ()
        if parent is not None:
            found = self._out.get(parent[0])
            if found is not None and found[0].turn == parent and found[2].grants.holder(found[1].partition) is session:
                return (parent,)
        return ()

    def _place_call(self, state: AgentTypeState, call: OpenCall[Session], now: float) -> None:
        partition = partition_of(*call.target, len(state.grants))
        session = state.grants.open_to(partition)
        if session is None and call.chain:
            # The agent may be waiting for this very call before it can finish its turn and let go.
            session = state.grants.holder(partition)
        if session is not None:
            self._send_call(state, call, session, now)
            return
        waiting = state.calls.setdefault(partition, deque())
        if sum(other.target == call.target for other in waiting) >= self.limits.max_calls_waiting:
            reason = f"{self.limits.max_calls_waiting} calls wait for {_name(call.target)} already"
            self._end_call(call, Code.RESOURCE_EXHAUSTED, reason)
            return
        waiting.append(call)

    def _send_call(self, state: AgentTypeState, call: OpenCall[Session], session: Session, now: float) -> None:
        self._calls.assign(call, session)
        grant = state.grants.grant_of(partition_of(*call.target, len(state.grants)))
        session.outbox.calls.append(
            Call(
                id=call.id,
                target=call.target,
                payload=call.payload,
                remaining_s=max(call.deadline - now, 0.001),
                chain=call.chain,
                sender=call.sender,
                hop=call.hop,
                grant=grant,
            )
        )
        self._awake.add(session)

    def _end_call(self, call: OpenCall[Session], code: Code, reason: str) -> None:
        self._calls.end(call)
        self._fail(call, code, reason)

    def _fail(self, call: OpenCall[Session], code: Code, reason: str) -> None:
        """Answer an ended call with an error."""
        self.counters.calls_failed += 1
        if call.caller.is_live:
            call.caller.outbox.replies.append(Reply(call.caller_id, b"", CallFailure(code, reason)))
            self._awake.add(call.caller)

    def _tell_cancelled(self, call: OpenCall[Session]) -> None:
        if call.callee is not None and call.callee.is_live:
            call.callee.outbox.cancels.append(call.id)
            self._awake.add(call.callee)

    def _drop_waiting(self, call: OpenCall[Session]) -> None:
        """Take an ended call out of the line of those that wait for a holder."""
        state = self.types.get(call.target[0])
        if state is None or call.callee is not None:
            return
        partition = partition_of(*call.target, len(state.grants))
        waiting = state.calls.get(partition)
        if waiting and call in waiting:
            waiting.remove(call)
            if not waiting:
                del state.calls[partition]


def _type_is_valid(entry: TypeEntry, errors: list[RegistrationError]) -> bool:
    try:
        check_agent_type(entry.name)
    except CallboardError as error:
        errors.append(RegistrationError("type", entry.name, error.code, str(error)))
        return False
    return True


def _subscription_is_valid(entry: SubscriptionEntry, errors: list[RegistrationError]) -> bool:
    try:
        check_agent_type(entry.agent_type)
        if entry.kind == "type" or entry.pattern:
            check_topic_type(entry.pattern)
    except CallboardError as error:
        errors.append(RegistrationError("subscription", entry.id, error.code, str(error)))
        return False
    return True


def _name(agent: Address) -> str:
    return f"{agent[0]}/{agent[1]}"


def _too_large(what: str, size: int, limit: int) -> str:
    return f"the {what} has {size} bytes, the host takes at most {limit}"
