"""The host's rules: routing, queues, grants, hand-out, settlement, calls.

Decides and does nothing else. Every method takes what happened and the time, changes the state, and
leaves what is to be said in the outboxes of the sessions (`take_awake` names those that have
something to say) and what is to be kept in the next commit (`take_commit`). The shell writes
frames, lets the engine keep commits and reports back by `committed`, and calls `tick` at
`next_deadline`.

The life of an event here::

    publish ---> commit ---> committed: queued, acknowledged ---> handed out ---> settle ---> commit
     |  ^                       ^                                     |
    waits                       +------- released, or worker lost ----+

Who owns what: `Intake` the publishes that wait for room, `Deliveries` what waits and what is out,
`Exchange` the open calls, `Placer` who holds which partition, `AgentTypes` types and subscriptions,
`DeadLetters` their way back, `Agenda` what the shell is to do.

Invariants, beside those that the owners name:

* A publish is acknowledged only after the engine has it; acknowledgements of a session are in
  order, but for those of publishes that have waited for room.
* What a session says after `leave` changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Sequence

from callboard.core.agenda import Agenda
from callboard.core.agent_types import AgentTypes, AgentTypeState
from callboard.core.backlogs import Backlog, Backlogs, PageRequest
from callboard.core.commit import Commit, DeadLetter, Declared, Errand
from callboard.core.dead_letters import DeadLetters
from callboard.core.deliveries import Deliveries
from callboard.core.errors import NotAllowedNow, NotFound, ProtocolViolation
from callboard.core.event import Delivery, DeliveryId
from callboard.core.exchange import Exchange
from callboard.core.frames import (
    NO_CLAIMS,
    Call,
    Claims,
    Credit,
    Partitions,
    Publish,
    Registered,
    Registration,
    RegistrationError,
    Reply,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
    WorkerFrame,
)
from callboard.core.grants import Serials
from callboard.core.intake import Intake
from callboard.core.kept import Kept
from callboard.core.leases import Leases
from callboard.core.limits import BrokerLimits, Counters
from callboard.core.origins import Origins
from callboard.core.placer import Placer
from callboard.core.queues import Lane
from callboard.core.registrations import checked, fitting, uncontested
from callboard.core.reservations import Reservations
from callboard.core.session import Session

__all__ = ["Broker", "BrokerLimits", "Counters"]


class Broker:
    """The host's rules. See the module.

    Attributes:
        epoch: The number under which this broker grants; above that of every broker before it.
        limits: The bounds that it keeps.
        types: The agent types that it knows.
        sessions: Those that have joined and not left, by id.
    """

    def __init__(
        self, epoch: int, limits: BrokerLimits | None = None, *, has_pages: bool = False
    ) -> None:
        """Begin with nothing.

        Args:
            epoch: Above that of every broker before it.
            limits: The bounds to keep.
            has_pages: Whether the engine can hold what is not at hand: see `Engine.pages`.
        """
        self.epoch = epoch
        self.limits = limits or BrokerLimits()
        self.types = AgentTypes(
            self.limits.partitions, Serials(epoch), self.limits.type_retention_s
        )
        self.sessions: dict[str, Session] = {}
        self._agenda = Agenda()
        self._intake = Intake(self.types, self.limits, self._agenda)
        memory_bytes = self.limits.memory_bytes if has_pages else 0
        self._backlogs = Backlogs(self.types, memory_bytes, self._agenda)
        self._deliveries = Deliveries(
            self.types, self._intake, self._backlogs, self.limits, self._agenda
        )
        self._exchange = Exchange(self.types, self._deliveries, self.limits, self._agenda)
        self._reservations = Reservations()
        self._placer = Placer(
            self.types, self._deliveries, self._exchange, self._reservations, self._agenda
        )
        self._leases = Leases(self.limits)
        self._origins = Origins()
        self._dead_letters = DeadLetters(self.types, self._deliveries, self.limits, self._agenda)

    # What the shell asks for.

    def take_awake(self) -> KeysView[Session]:
        """The sessions whose outbox got something since the last time, in that order."""
        return self._agenda.take_awake()

    def take_lapsed(self) -> list[Session]:
        """The sessions that have ended since the last time because their lease ran out."""
        lapsed, self._agenda.lapsed = self._agenda.lapsed, []
        return lapsed

    def take_commit(self) -> Commit | None:
        """What the engine is to keep next; None when there is nothing. `committed` is to follow."""
        if self.types.has_news:
            self.types.put_news(self._agenda.commit)
        commit = self._agenda.take_commit()
        if commit is not None:
            self._backlogs.assign(commit)
        return commit

    @property
    def has_commit(self) -> bool:
        """Whether `take_commit` has something."""
        return self.types.has_news or not self._agenda.commit.is_empty

    @property
    def wants_pages(self) -> bool:
        """Whether `take_page_requests` may have something."""
        return self._backlogs.are_wanted

    def take_page_requests(self, now: float) -> list[PageRequest]:
        """What the engine is to be asked for next; `read` is to follow."""
        return self._deliveries.next_pages(now)

    def read(self, requests: Sequence[PageRequest], pages: Sequence[Sequence[Delivery]]) -> None:
        """The engine has answered: what it has read is queued with the next commit."""
        self._backlogs.read(requests, pages)

    def next_deadline(self) -> float | None:
        """When `tick` next has work; None when nothing is timed."""
        times = (
            self._exchange.next_deadline(),
            self._intake.next_deadline(),
            self._deliveries.next_due(),
            self.types.next_deadline(),
            self._leases.next_deadline(),
            self._origins.next_deadline(),
            self._reservations.until,
        )
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> None:
        """Let time have its effects.

        Leases run out, calls expire, publishes that wait for room are judged, released deliveries
        become due, what stayed of returned types goes, types end that nobody serves any more, and
        more of what waited for types that have ended becomes dead letters.
        """
        for session in self._leases.expired(now):
            self.leave(session, now)
            self._agenda.lapsed.append(session)
        commit = self._agenda.commit
        commit.origins_gone += self._origins.expire(now)
        lapsed = self._reservations.expire(now)
        if lapsed:
            commit.sessions_gone += lapsed
            self._placer.release_reserved(now)
        self.types.expire(now)
        for state in self.types.forsaken(now):
            days = self.limits.type_retention_s / 86_400
            detail = f"no worker has served its agent type for {days:g} days"
            self._end_type(state, "type_removed", detail, now)
        self._exchange.expire(now)
        self._deliveries.release_due(now)
        self._deliveries.bury(now)
        self._intake.expire(now)

    @property
    def lease_ms(self) -> int:
        """How long sessions live that nothing is heard of, as workers are told."""
        return self._leases.length_ms

    @property
    def is_idle(self) -> bool:
        """Whether no event waits or is out, no call is open and nothing is being kept."""
        return not (
            self._intake.waiting_count
            or self._deliveries.waiting_count
            or self._deliveries.out_count
            or self._exchange.open_count
            or not self._agenda.is_empty
        )

    @property
    def counters(self) -> Counters:
        """What has happened so far."""
        return self._agenda.counters

    @property
    def waiting_count(self) -> int:
        """Deliveries that wait to be handed out."""
        return self._deliveries.waiting_count

    @property
    def in_flight_count(self) -> int:
        """Deliveries handed out and not settled."""
        return self._deliveries.out_count

    @property
    def publishes_waiting_count(self) -> int:
        """Publishes that wait for room in the queues."""
        return self._intake.waiting_count

    @property
    def queued_bytes(self) -> int:
        """What waits, also for room, is out, or is being kept, in bytes: see `bytes_of`."""
        return self.types.loads.bytes

    def held_count(self, session: Session) -> int:
        """The partitions that ``session`` holds, all types together."""
        return self._placer.held_count(session)

    # Sessions.

    def restore(self, kept: Kept, now: float) -> None:
        """Begin where the former host has ended, before any worker joins.

        `restore_events` follows.
        """
        self.types.restore(kept.types, now)
        self._origins.restore(kept.origins, now)
        self._reservations.restore(kept.sessions, now + self._leases.length_s)

    def restore_events(self, deliveries: Iterable[Delivery], now: float) -> None:
        """These waited or were out when the former host ended; in the order of their positions."""
        for delivery in deliveries:
            self._deliveries.restore(delivery, now)
        self._deliveries.hand_out_new(now)

    def restore_backlogs(self, backlogs: Iterable[Backlog], now: float) -> None:
        """These waited, too, and stay in the engine until they are wanted."""
        for backlog in backlogs:
            self._deliveries.restore_backlog(backlog, now)

    def knows(self, token: bytes, incarnation: str) -> bool:
        """Whether that is the token of a session that the former host had, and that may live."""
        return self._reservations.knows(token, incarnation)

    def join(
        self,
        session: Session,
        now: float,
        confirmed: int = 0,
        token: bytes = b"",
        claims: Claims = NO_CLAIMS,
    ) -> None:
        """A worker is there.

        What its incarnation has published in earlier sessions is known, and answered again beyond
        ``confirmed``, the number up to which it has heard the answers.

        With the ``token`` of a session that the former host had, it goes on with what it ``claims``
        of that, as soon as it serves the types again.
        """
        self.sessions[session.id] = session
        origin = session.origin = self._origins.join(session.incarnation, session, confirmed)
        outbox = session.outbox
        outbox.published_through = origin.answered
        outbox.publishes_refused.extend(origin.refused_beyond(confirmed))
        outbox.published_beyond.extend(each for each in origin.beyond if each[0] > origin.answered)
        if origin.answered or origin.beyond:
            self._agenda.wake(session)
        if not session.has_lease:
            return
        self._leases.renew(session, now)
        commit = self._agenda.commit
        commit.sessions.append(session)
        if self.knows(token, session.incarnation):
            session.is_known, session.claims = True, claims
            commit.sessions_gone += self._reservations.claim(session, token, claims.partitions)
            ended = True
        else:
            gone = self._reservations.replaced(session, token)
            commit.sessions_gone += gone
            ended = bool(gone)
        if ended:
            self._placer.release_reserved(now)

    def replace(self, former: Session, session: Session, now: float) -> None:
        """``session`` has taken the name of ``former``, which is over.

        Another process does so for good: the former one does not take it back (`is_replaced`).
        """
        former.origin.is_replaced = former.incarnation != session.incarnation
        self.leave(former, now)

    def is_replaced(self, incarnation: str) -> bool:
        """Whether another process has taken the name of this one, which is to have no session."""
        return self._origins.is_replaced(incarnation)

    def part(self, session: Session) -> None:
        """The stream of a session that outlives it is lost."""
        session.is_parted = True

    def resume(self, session: Session, received: int, now: float) -> None:
        """A session that is not over has another stream; its worker has had so many frames.

        Raises `ProtocolViolation`: it cannot have.
        """
        session.outbox.resume(received)
        session.is_parted = False
        self._leases.renew(session, now)
        self._deliveries.resume(session, now)
        self._agenda.wake(session)

    def take(self, session: Session, frame: WorkerFrame, now: float) -> None:
        """``session`` has said a frame: turns first, then what may end their grants.

        Raises:
            ProtocolViolation: It has more publishes unanswered than twice its window, does not read
                what it is answered, or acknowledges what it was never sent. Its stream is to end;
                what it said counts.
        """
        if session.outbox.took_in(frame.received):
            self._agenda.wake(session)
        if frame.beat and session.is_live:
            self._leases.renew(session, now)
            session.outbox.lease_ms = self._leases.length_ms
            self._agenda.wake(session)
        if frame.begins:
            self.begin(session, frame.begins)
        if frame.settlements:
            self.settle(session, frame.settlements, now)
        for reply in frame.replies:
            self.reply(session, reply)
        if frame.register is not None:
            self.register(session, frame.register, now)
        if frame.publishes:
            self.publish(session, frame.publishes, now)
        if frame.calls or frame.cancels or frame.credits:
            self._take_calls(session, frame, now)
        for given_up in frame.surrendered:
            self.surrendered(session, given_up, now)
        self._take_leave(session, frame, now)
        self._check_pace(session)

    def _take_calls(self, session: Session, frame: WorkerFrame, now: float) -> None:
        for call in frame.calls:
            self.call(session, call, now)
        for call_id in frame.cancels:
            self.cancel(session, call_id)
        for credit in frame.credits:
            self.credit(session, credit)

    def _take_leave(self, session: Session, frame: WorkerFrame, now: float) -> None:
        if frame.drain:
            self.drain(session, now)
        if frame.leave:
            session.draining = True
            self._settle_claims(session, now)  # it says that nothing of it runs
            self.leave(session, now)

    def register(
        self, session: Session, registration: Registration, now: float
    ) -> tuple[RegistrationError, ...]:
        """``session`` says all that it serves: what is invalid is refused by entry, the rest holds.

        It is answered, and gets partitions of what is new, when the engine knows: what it was told
        to be subscribed to stays so whatever becomes of the host. A type that it leaves out goes to
        others at once: a worker leaves one out when no turn of it runs there.

        Returns the errors, of which its answer will tell as well.
        """
        old = session.registration
        if not session.is_live or registration.revision <= old.revision:
            return ()
        new, errors = checked(registration, old, any_names=session.is_foreign)
        types, contested = uncontested(new.types, lambda each: self._claimant(session, each))
        new = new._replace(types=types)
        if old.types:
            served = {entry.name for entry in new.types}
            for name in [entry.name for entry in old.types if entry.name not in served]:
                self._stop_serving(session, name, old.subscriptions, now, is_lost=False)
        new, without_room = self._with_room(session, new, old, now)
        session.registration = new
        errors += contested + without_room
        lanes = self._begin_serving(session, new, old)
        declared = self._agenda.commit.declared
        if session in declared:
            lanes = {**declared[session].lanes, **lanes}
        declared[session] = Declared(new.revision, errors, lanes)
        return errors

    def _begin_serving(
        self, session: Session, new: Registration, old: Registration
    ) -> dict[str, Lane]:
        """``session`` serves the types that are ``new``; the lanes that are not open yet."""
        begun: dict[str, Lane] = {}
        known = set(old.types)
        for entry in new.types:
            if entry in known:
                continue
            state = self.types.ensure(entry.name, session_only=entry.session_only)
            if session in state.workers:
                session.lanes[entry.name].turns_at_once = entry.max_concurrency
            else:
                state.is_exclusive = entry.exclusive
                state.takes_events = not entry.calls_only
                state.add_worker(session)
                self.types.served(entry.name)
                begun[entry.name] = session.lanes[entry.name] = Lane(
                    session, self.limits.delivery_window, entry.max_concurrency
                )
        return begun

    def _open_lanes(self, session: Session, declared: Declared, now: float) -> None:
        """The engine knows what ``session`` serves: it is answered, and gets its partitions."""
        if not session.is_live:
            return
        begun: list[AgentTypeState] = []
        for name, lane in declared.lanes.items():
            state = self.types.get(name)
            if state is not None and session.lanes.get(name) is lane:
                lane.is_open = True
                begun.append(state)
        claims = session.claims
        had = [self._placer.adopt(session, state, claims, now) for state in begun]
        adopted = tuple(each for each in had if each is not None)
        if not session.is_foreign:
            answer = Registered(declared.revision, declared.errors, adopted)
            session.outbox.registered.append(answer)
            self._agenda.wake(session)
        for state in begun:
            self._placer.rebalance(state, now)
        for partitions in adopted:
            self._placer.begin_adopted(session, partitions, now)
        self._settle_claims(session, now)
        self._placer.tell_drained(session)

    def drain(self, session: Session, now: float) -> None:
        """``session`` wants to leave.

        It is asked for all it holds, and told when it holds nothing.
        """
        if not session.is_live or session.draining:
            return
        session.draining = True
        for name in list(session.lanes):
            state = self.types.get(name)
            if state is not None:
                self._placer.rebalance(state, now)
        self._placer.tell_drained(session)

    def leave(self, session: Session, now: float) -> None:
        """The session is over.

        What was out there is handed out again, unless too many sessions were lost with it; its
        calls end. One that wanted to leave was not lost by what it was doing. Idempotent.
        """
        if not session.is_live:
            return
        session.is_live = False
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]
        lease_until = self._leases.until(session)
        self._leases.end(session)
        self._origins.leave(session, now)
        if session.has_lease:
            self._agenda.commit.part_with(session)
        was_claiming = self._reservations.leave(session, lease_until)
        self._exchange.lose(session)
        if not session.incarnation:  # else it may come back, and ask what became of them
            self._intake.leave(session, now)
        declared = session.registration.subscriptions
        for name in list(session.lanes):
            self._stop_serving(session, name, declared, now, is_lost=not session.draining)
        self.types.declare(session, declared, ())
        self._placer.forget(session)
        self._agenda.forget(session)
        if was_claiming:
            self._placer.release_reserved(now)

    def surrendered(self, session: Session, given_up: Partitions, now: float) -> None:
        """``session`` has given partitions up. Stale ones are passed over."""
        if session.is_live:
            self._placer.surrendered(session, given_up, now)

    # Events.

    def publish(self, session: Session, publishes: Iterable[Publish], now: float) -> None:
        """Route events and put them in line for the engine, or let them wait for room.

        A number seen before is passed over.
        """
        if not session.is_live:
            return
        if self._intake.is_open:
            self._intake.publish(session, publishes, now)
        else:
            self._intake.turn_away(session, publishes)

    def committed(self, commit: Commit, positions: Sequence[int], now: float) -> None:
        """The engine has ``commit``.

        ``positions`` are what `Engine.commit` has returned.
        """
        agenda, deliveries = self._agenda, self._deliveries
        agenda.committing_count -= 1
        given = iter(positions)
        told: Session | None = None
        window = self.limits.publish_window
        for append in commit.appends:
            if append.is_told:
                continue
            # Before what it brings to others: somebody waits for the answer.
            publisher = append.session.origin.answer(append.number, append.refusal, window)
            if publisher is not None and publisher is not told:
                told = publisher
                agenda.wake(publisher)
            deliveries.take_in(append, given, now)
        for each in commit.sessions:
            each.is_kept = True
            agenda.wake(each)
        self._backlogs.bury(commit.dead)
        if commit.errands:
            self._dead_letters.committed(commit, given, now)
        deliveries.hand_out_new(now)
        if commit.pages:
            deliveries.take_pages(commit.pages, now)
        self._answer_settlements(commit)
        for session, declared in commit.declared.items():
            self._open_lanes(session, declared, now)

    def not_kept(self, commit: Commit, reason: str) -> None:
        """The engine could not keep ``commit``, and has nothing of it.

        Its publishes are refused, and all others until `reopen`. The rest, of which nobody was
        told, the engine is to be given once more.
        """
        agenda, deliveries = self._agenda, self._deliveries
        agenda.committing_count -= 1
        for append in commit.appends:
            full = append.full or ()
            for agent, queue in (append.behind or {}).items():
                if agent not in full:
                    deliveries.spare(queue, append.event)
        for replay in commit.replays:
            if replay.behind is not None:
                deliveries.spare(replay.behind, replay.letter.delivery.event)
                replay.behind = None
        appends = commit.appends + agenda.commit.appends
        commit.appends, agenda.commit.appends = [], []
        commit.add(agenda.commit)
        agenda.commit = commit
        self._intake.close(appends, reason)

    def not_read(self, requests: Sequence[PageRequest]) -> None:
        """The engine could not read what it was asked for: it is to be asked again."""
        self._backlogs.not_read(requests)

    @property
    def can_publish(self) -> bool:
        """Whether publishes are taken, as far as there is room: the engine keeps events."""
        return self._intake.is_open

    def reopen(self) -> None:
        """The engine can keep events again: publishes are taken. Idempotent."""
        self._intake.open()

    def restart(self, session: Session) -> None:
        """Another process goes on with ``session``, and serves what the former one did.

        What the former had called ends without an answer, and what it was asked fails.
        """
        self._exchange.restart(session)

    def begin(self, session: Session, deliveries: Sequence[DeliveryId]) -> None:
        """The turns of ``deliveries`` are about to begin: note it, then let them.

        Also of those that are not out there any more, so that nobody waits for ever; how they end
        is refused.
        """
        if session.is_live:
            self._deliveries.begin(session, deliveries)
            session.outbox.begun(deliveries)
            self._agenda.wake(session)

    def settle(self, session: Session, settlements: Iterable[Settlement], now: float) -> None:
        """End deliveries.

        One that is not the present attempt under the present grant is refused.
        """
        if session.is_live:
            self._deliveries.settle(session, settlements, now)

    # Calls.

    def call(self, session: Session, call: Call, now: float) -> None:
        """Take a call and pass it to the holder of the agent's partition, now or when there is one.

        An id that the session has open is a repeated frame, and passed over.
        """
        if session.is_live:
            self._exchange.call(session, call, now)

    def reply(self, session: Session, reply: Reply) -> None:
        """Pass an answer on. A late, repeated or forged one changes nothing."""
        self._exchange.reply(session, reply)

    def cancel(self, session: Session, caller_id: int) -> None:
        """The caller gave a call up: its handler is told."""
        self._exchange.cancel(session, caller_id)

    def end_calls(self, reason: str) -> None:
        """Nobody will answer the calls that are open: the host is going."""
        self._exchange.end_all(reason)

    def credit(self, session: Session, credit: Credit) -> None:
        """The caller of a streamed call has room for further answers: its callee is told.

        For a call that has ended, or has one answer, it is passed over.
        """
        self._exchange.credit(session, credit)

    # What operators ask for.

    def replay(self, letters: Iterable[DeadLetter]) -> Errand:
        """Publish dead letters anew, each to the agent that it was for and to nobody else.

        Each becomes a new delivery, behind all that waits for that agent, its attempts counted from
        the beginning. One whose agent type is not known, or for which there is no room, is refused
        and stays what it is.
        """
        return self._dead_letters.replay(letters)

    def drop(self, positions: Iterable[int]) -> Errand:
        """Forget dead letters."""
        return self._dead_letters.drop(positions)

    def remove_type(self, name: str, now: float) -> Errand:
        """Forget a durable type that has no worker, and what it subscribes to.

        What waits for it becomes dead letters, many of them step by step; calls that wait end. A
        worker that registers it later begins it anew.

        Raises:
            NotFound: There is no such type.
            NotAllowedNow: It has workers.
        """
        state = self.types.get(name)
        if state is None:
            msg = f"there is no agent type {name!r}"
            raise NotFound(msg)
        if state.workers:
            count = len(state.workers)
            workers = "1 worker" if count == 1 else f"{count} workers"
            names = ", ".join(sorted(each.client_id for each in state.workers)[:3])
            msg = f"agent type {name!r} is served by {workers} ({names}): stop them first"
            raise NotAllowedNow(msg)
        errand = Errand()
        self._end_type(state, "type_removed", "its agent type was removed", now, errand)
        return errand

    # Inside.

    def _claimant(self, session: Session, entry: TypeEntry) -> str | None:
        """The worker that keeps ``session`` from serving a type; None when none does."""
        state = self.types.get(entry.name)
        if state is None or not (entry.exclusive or state.is_exclusive):
            return None
        others = (each.client_id for each in state.workers if each is not session)
        # What waits for a durable type is for those who can be trusted to handle it.
        absent = None if state.session_only else "none, it outlives its workers"
        return next(others, absent if entry.exclusive else None)

    def _settle_claims(self, session: Session, now: float) -> None:
        """``session`` claims nothing more of what it had with the former host."""
        gone, had_claims = self._reservations.settle(session)
        self._agenda.commit.sessions_gone += gone
        if had_claims:
            self._placer.release_reserved(now)

    def _answer_settlements(self, commit: Commit) -> None:
        for session, settled in commit.settled.items():
            session.outbox.settled_through = settled.through
            session.outbox.settlements_refused += settled.refused
            if session.is_live:
                self._agenda.wake(session)

    def _check_pace(self, session: Session) -> None:
        """Raise `ProtocolViolation` when ``session`` says more than it may before it hears."""
        outbox, limits = session.outbox, self.limits
        origin, window = session.origin, limits.publish_window
        unanswered = origin.unanswered_count
        if unanswered > 2 * window:
            msg = f"{unanswered} publishes are unanswered, the window is {window}"
            raise ProtocolViolation(msg)
        waiting, limit = outbox.answer_count, limits.max_answers_waiting
        if waiting > limit:
            msg = f"{waiting} answers wait for a worker that does not read, the limit is {limit}"
            raise ProtocolViolation(msg)
        continuity = outbox.continuity
        if continuity is not None and continuity.kept_count > limits.max_unread_frames:
            msg = f"{continuity.kept_count} frames are not acknowledged"
            raise ProtocolViolation(msg)
        # What is settled is acknowledged by then, so what is kept of the others waits or is out.
        if outbox.kept_event_bytes > limits.max_queued_bytes:
            msg = f"events of {outbox.kept_event_bytes} bytes are not acknowledged"
            raise ProtocolViolation(msg)

    def _with_room(
        self, session: Session, new: Registration, old: Registration, now: float
    ) -> tuple[Registration, tuple[RegistrationError, ...]]:
        """What of ``new`` there is room for, and the errors of the rest.

        What ``session`` declares no more makes room first; where that is not enough, what stayed of
        the types that it serves does.
        """
        types, limits = self.types, self.limits
        entries, errors = fitting(
            new.types, lambda each: types.get(each.name) is not None, len(types), limits.max_types
        )
        known = set(old.types)
        for entry in entries:
            if entry not in known:
                types.returned(entry.name, now)
        declared = set(old.subscriptions)
        staying = [each for each in new.subscriptions if each in declared]
        if len(staying) < len(declared):
            types.declare(session, declared, staying)
            served = {entry.name for entry in entries}
            said = {each[1:] for each in new.subscriptions}
            types.take_back(
                each
                for each in declared.difference(staying)
                if each.agent_type in served and each[1:] not in said
            )
        fresh = len(new.subscriptions) - len(staying)
        if types.subscription_count + fresh > limits.max_subscriptions:
            for entry in entries:
                types.drop_kept(entry.name)
        subscriptions, more_errors = fitting(
            new.subscriptions,
            declared.__contains__,
            types.subscription_count,
            limits.max_subscriptions,
        )
        types.declare(session, staying, subscriptions)
        return Registration(new.revision, entries, subscriptions), errors + more_errors

    def _stop_serving(
        self,
        session: Session,
        name: str,
        declared: Iterable[SubscriptionEntry],
        now: float,
        *,
        is_lost: bool,
    ) -> None:
        state = self.types.get(name)
        if state is None or session not in state.workers:
            return
        self._placer.stop_serving(session, state, now, is_lost=is_lost)
        if state.workers:
            return
        if state.session_only:
            self._end_type(state, "no_such_type", "its agent type ended with its session", now)
        else:
            self.types.keep_after(name, declared)
            self.types.unserved(name, now)

    def _end_type(
        self,
        state: AgentTypeState,
        reason: str,
        detail: str,
        now: float,
        errand: Errand | None = None,
    ) -> None:
        self.types.forget(state.name)
        self._exchange.forget(state)
        self._deliveries.forget(state, reason, detail, now, errand)
