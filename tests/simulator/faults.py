"""Deliberate faults: each breaks one rule of the system, and the simulator has to notice.

A check that has never failed proves nothing. Each fault here is one that somebody could make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from callboard.agent.activations import Activations
from callboard.agent.beginnings import Beginnings
from callboard.agent.calls_made import CallsMade
from callboard.agent.deactivation import Deactivation
from callboard.agent.instances import Instances
from callboard.agent.publishes import Done, UnconfirmedPublishes
from callboard.agent.retries import Retries
from callboard.agent.stream_made import StreamMade
from callboard.agent.streaming import StreamCredit
from callboard.agent.turn import Turn
from callboard.agent.turn_runner import TurnRunner
from callboard.core.agent_types import AgentTypes
from callboard.core.backlogs import Backlogs
from callboard.core.broker import Broker
from callboard.core.commit import Append, Commit
from callboard.core.continuity import Continuity
from callboard.core.deliveries import Deliveries
from callboard.core.event import Address, Delivery, Event, Grant
from callboard.core.frames import ACCEPTED, Publish, Released, Reply, Settlement
from callboard.core.intake import Intake
from callboard.core.kept import KeptOrigin
from callboard.core.lease import Lease
from callboard.core.load import Waiter, bytes_of
from callboard.core.origins import Origin, Origins
from callboard.core.outbox import HostOutbox
from callboard.core.queues import AgentQueue
from callboard.core.reservations import Reservations
from callboard.core.retry import Policy
from callboard.core.session import Session
from callboard.core.turns import Admission, GivenBack, Mailbox
from simulator.engine import DISK_IS_FULL, ModelEngine

Patch = pytest.MonkeyPatch
Fault = Callable[[Patch], None]
FAULTS: list[Fault] = []


def fault(break_it: Fault) -> Fault:
    """Put a fault on the list."""
    FAULTS.append(break_it)
    return break_it


@fault
def what_was_out_is_lost_with_its_worker(patch: Patch) -> None:
    """Deliveries taken back do not return to the queue."""
    original = AgentQueue.take_back

    def take_back(self: AgentQueue, first: Delivery | None = None) -> list[Delivery]:
        returned = original(self, first)
        if len(returned) > 1:
            del self.waiting[1]
        return returned

    patch.setattr(AgentQueue, "take_back", take_back)


@fault
def what_was_out_stays_out(patch: Patch) -> None:
    """When a worker is lost, nobody takes back what it had."""
    patch.setattr(Deliveries, "close_lane", lambda *_, **__: None)


@fault
def what_is_taken_back_goes_to_the_end(patch: Patch) -> None:
    """It comes again behind what waits."""
    original = AgentQueue.take_back

    def take_back(self: AgentQueue, first: Delivery | None = None) -> list[Delivery]:
        returned = original(self, first)
        self.waiting.rotate(-len(returned))
        return returned

    patch.setattr(AgentQueue, "take_back", take_back)


@fault
def a_release_is_taken_for_the_end(patch: Patch) -> None:
    """What a worker gives back counts as handled."""
    original = Deliveries.settle

    def settle(self: Any, session: Any, settlements: list[Settlement], now: float) -> None:
        changed = [
            replace(each, outcome=ACCEPTED) if isinstance(each.outcome, Released) else each
            for each in settlements
        ]
        original(self, session, changed, now)

    patch.setattr(Deliveries, "settle", settle)


@fault
def nothing_is_fenced_off(patch: Patch) -> None:
    """After a release a worker takes in what was on its way."""
    original = Mailbox.deliver

    def deliver(self: Any, delivery: Delivery, body: Any) -> bool:
        self._fence = None
        return original(self, delivery, body)

    patch.setattr(Mailbox, "deliver", deliver)


@fault
def failed_turns_are_forgotten(patch: Patch) -> None:
    """What goes back to the host to be tried later is tried as often as one that is new."""
    original = Mailbox.take_released

    def take_released(self: Any) -> Any:
        return [
            each._replace(delivery=replace(each.delivery, failed_turns=0))
            for each in original(self)
        ]

    patch.setattr(Mailbox, "take_released", take_released)
    patch.setattr(Delivery, "to_be_handed_out_again", _as_new)


def _as_new(self: Delivery) -> Delivery:
    return Delivery(self.position, self.agent, self.event, self.attempt, None, self.enqueued_at)


@fault
def an_event_is_given_up_too_early(patch: Patch) -> None:
    """The last attempt is not made."""
    original = Policy.wait_s

    def wait_s(self: Policy, failed_turns: int, jitter: float) -> float | None:
        return original(self, failed_turns + 1, jitter)

    patch.setattr(Policy, "wait_s", wait_s)


@fault
def an_event_waits_behind_others_for_its_next_attempt(patch: Patch) -> None:
    """It goes to the end of its mailbox."""

    def try_again(self: Any, delivery: Delivery, body: Any, due: float) -> None:
        self._events.append((self._running[delivery.turn], delivery, body, due))

    patch.setattr(Mailbox, "try_again", try_again)


@fault
def turns_do_not_wait_for_each_other(patch: Patch) -> None:
    """An agent runs two at a time."""
    original = Mailbox.call

    def call(self: Any, call: Any) -> Admission:
        admission = original(self, call)
        if admission is Admission.WAITS:
            self._calls.pop()
            return Admission.RUNS_NOW
        return admission

    patch.setattr(Mailbox, "call", call)


@fault
def an_agent_has_more_turns_than_its_type_says(patch: Patch) -> None:
    """One more at a time, where there may be several."""
    original = Activations.limit

    def limit(self: Any, agent_type: str, max_concurrency: int) -> None:
        more = max_concurrency + 1 if max_concurrency > 1 else 1
        original(self, agent_type, more)

    patch.setattr(Activations, "limit", limit)


@fault
def a_release_does_not_wait_for_the_turns_behind_it(patch: Patch) -> None:
    """What they did is done again."""

    def take_released(self: Any) -> list[GivenBack]:
        released, self.released = sorted(self.released, reverse=True), []
        return released

    patch.setattr(Mailbox, "take_released", take_released)


@fault
def of_several_that_failed_the_first_is_released_for_all(patch: Patch) -> None:
    """How often the others have failed is told to nobody."""
    original = Mailbox.take_released

    def take_released(self: Any) -> list[GivenBack]:
        return original(self)[-1:]

    patch.setattr(Mailbox, "take_released", take_released)


@fault
def another_host_finds_no_fence(patch: Patch) -> None:
    """Even when it has not heard of the release."""

    def lift_fence(self: Any, unheard: Any) -> None:
        self._fence = None

    patch.setattr(Mailbox, "lift_fence", lift_fence)


@fault
def a_fence_outlives_its_host(patch: Patch) -> None:
    """What another one hands out it counts anew, and nobody takes it in."""
    patch.setattr(Mailbox, "lift_fence", lambda *_: None)


@fault
def agents_are_closed_while_they_work(patch: Patch) -> None:
    """Nobody looks whether one has become busy since it was idle."""

    def close(self: Any, activation: Any) -> None:
        self._instances.begin_close(activation)

    patch.setattr(Deactivation, "_close", close)


@fault
def an_agent_is_made_anew_while_it_closes(patch: Patch) -> None:
    """Nobody waits for its end."""
    original = Instances.begin_close

    def begin_close(self: Any, activation: Any) -> None:
        original(self, activation)
        activation.closing = None

    patch.setattr(Instances, "begin_close", begin_close)


@fault
def agents_are_never_let_go(patch: Patch) -> None:
    """However many there are."""
    patch.setattr(Deactivation, "rest", lambda *_: None)


@fault
def what_was_released_is_forgotten_with_its_agent(patch: Patch) -> None:
    """What was under way then is handled before it."""
    patch.setattr(Mailbox, "is_fenced", False)


@fault
def a_partition_moves_while_its_turns_run(patch: Patch) -> None:
    """A worker surrenders at once."""
    patch.setattr(TurnRunner, "_give_up", _give_up_at_once)


def _give_up_at_once(self: Any, place: tuple[str, int]) -> Grant:
    grant: Grant = self._leaving.give_up(place)
    return grant


@fault
def events_overtake_each_other(patch: Patch) -> None:
    """What was handed out last is said first."""

    def deliver(self: HostOutbox, delivery: Delivery) -> None:
        self.deliveries.appendleft((delivery.event, [delivery]))

    patch.setattr(HostOutbox, "deliver", deliver)


@fault
def answers_cross(patch: Patch) -> None:
    """An answer goes to the call of a worker that has waited longest."""

    def take(self: CallsMade, reply: Reply) -> None:
        for made in self._open.values():
            if isinstance(made, StreamMade):
                made.take(reply)
                return
            if not made.done():
                made.set_result(reply)
                return

    patch.setattr(CallsMade, "take", take)


@fault
def turns_outlive_their_lease(patch: Patch) -> None:
    """A worker that hears nothing of its host goes on all the same."""
    patch.setattr(TurnRunner, "cut_off", lambda _: None)


@fault
def a_lease_counts_from_its_answer(patch: Patch) -> None:
    """However long the answer took, and the host has heard nothing since."""

    def renew(self: Lease, length_s: float, now: float) -> None:
        self._asked_at = None
        self._renewed_at = now + length_s / 2
        self.until = now + 1.5 * length_s

    patch.setattr(Lease, "renew", renew)


@fault
def the_host_waits_for_no_lease(patch: Patch) -> None:
    """Who has lost its stream is over at once."""
    patch.setattr(Session, "has_lease", False)


@fault
def what_a_cut_line_swallowed_is_not_said_again(patch: Patch) -> None:
    """A session goes on without it."""
    patch.setattr(Continuity, "say_again", lambda _: None)


@fault
def what_was_heard_is_said_again(patch: Patch) -> None:
    """A session goes on with all that nobody has acknowledged, heard or not."""
    original = Continuity.resume

    def resume(self: Continuity[Any], count: int) -> Any:
        return original(self, self._said - len(self._kept))

    patch.setattr(Continuity, "resume", resume)


@fault
def a_publisher_is_not_known_again(patch: Patch) -> None:
    """What it says again in another session is taken for new."""

    def join(self: Origins, incarnation: str, session: Session, confirmed: int) -> Origin:
        origin = Origin(incarnation)
        origin.session = session
        origin.last = origin.answered = confirmed
        return origin

    patch.setattr(Origins, "join", join)


@fault
def what_a_lost_session_had_not_confirmed_is_forgotten(patch: Patch) -> None:
    """The next one does not say it again."""
    patch.setattr(UnconfirmedPublishes, "unanswered", [])


@fault
def publishes_are_acknowledged_before_they_are_kept(patch: Patch) -> None:
    """By a host, to whom it makes no difference while it lives."""
    original = Broker.publish

    def publish(self: Broker, session: Session, publishes: Any, now: float) -> None:
        original(self, session, publishes, now)
        session.outbox.published_through = session.origin.last
        self._agenda.wake(session)

    patch.setattr(Broker, "publish", publish)


@fault
def a_new_host_waits_for_nobody(patch: Patch) -> None:
    """Whoever comes first gets what others run."""
    patch.setattr(Reservations, "is_reserved", lambda *_: False)


@fault
def a_new_host_takes_nothing_over(patch: Patch) -> None:
    """What workers have of the former one is void."""
    patch.setattr(Deliveries, "adopt", lambda *_: False)


@fault
def a_new_host_has_forgotten_the_publishers(patch: Patch) -> None:
    """What they say again it takes for new."""
    patch.setattr(Origins, "restore", lambda *_: None)


@fault
def a_new_host_has_forgotten_what_was_answered_out_of_turn(patch: Patch) -> None:
    """What was taken while an earlier publish waited for room it takes once more."""
    original = Origins.restore

    def restore(self: Origins, kept: Iterable[KeptOrigin], now: float) -> None:
        original(self, (each._replace(beyond=()) for each in kept), now)

    patch.setattr(Origins, "restore", restore)


@fault
def a_new_host_has_forgotten_the_types(patch: Patch) -> None:
    """Until their workers are back nobody subscribes to anything."""
    patch.setattr(AgentTypes, "restore", lambda *_: None)


@fault
def a_new_host_begins_with_the_second_page(patch: Patch) -> None:
    """What comes first of what waits is not read."""
    original = ModelEngine.waiting

    async def waiting(self: ModelEngine, *, beyond: int = 0, **more: Any) -> Any:
        return (await original(self, beyond=beyond, **more))[0 if beyond else 1 :]

    patch.setattr(ModelEngine, "waiting", waiting)


@fault
def a_new_host_has_forgotten_what_is_behind(patch: Patch) -> None:
    """It knows what was at hand, and no more."""
    patch.setattr(Broker, "restore_backlogs", lambda *_: None)


@fault
def the_engine_is_not_told_what_is_at_hand(patch: Patch) -> None:
    """What was read of a backlog is behind for the next host."""
    original = ModelEngine._keep

    def keep(self: ModelEngine, commit: Commit) -> Any:
        commit.at_hand.clear()
        disk = self._disk
        disk.behind.difference_update(commit.removed)
        return original(self, commit)

    patch.setattr(ModelEngine, "_keep", keep)


@fault
def what_is_behind_is_overtaken(patch: Patch) -> None:
    """As soon as there is memory again, what is published is at hand."""
    original = Backlogs._goes_behind

    def goes_behind(self: Backlogs, agent: Address, size: int) -> Any:
        state = self._types.get(agent[0])
        if state is not None and self.has_room(state):
            return None
        return original(self, agent, size)

    patch.setattr(Backlogs, "_goes_behind", goes_behind)


@fault
def only_one_page_is_read(patch: Patch) -> None:
    """What else is behind stays there."""
    original = Backlogs.take

    def take(self: Backlogs, queue: AgentQueue, deliveries: Any) -> None:
        original(self, queue, deliveries)
        queue.is_wanted = True

    patch.setattr(Backlogs, "take", take)


@fault
def what_is_settled_is_not_removed(patch: Patch) -> None:
    """The engine keeps what was accepted."""
    original = ModelEngine._keep

    def keep(self: ModelEngine, commit: Commit) -> Any:
        commit.removed.clear()
        return original(self, commit)

    patch.setattr(ModelEngine, "_keep", keep)


@fault
def one_subscriber_is_forgotten(patch: Patch) -> None:
    """An event for several types goes to all but the last."""
    original = Intake._route

    def route(self: Intake, event: Any, *, any_text: bool) -> Any:
        targets = original(self, event, any_text=any_text)
        return targets[:-1] if len(targets) > 1 else targets

    patch.setattr(Intake, "_route", route)


@fault
def an_agent_gets_its_own_events(patch: Patch) -> None:
    """Nobody looks at the sender."""
    original = Intake._route

    def route(self: Intake, event: Any, *, any_text: bool) -> Any:
        return original(self, replace(event, sender=None), any_text=any_text)

    patch.setattr(Intake, "_route", route)


@fault
def each_subscription_brings_the_event(patch: Patch) -> None:
    """Two subscriptions of a type that match: its agent gets the event twice."""
    original = Intake._route

    def route(self: Intake, event: Any, *, any_text: bool) -> Any:
        targets = original(self, event, any_text=any_text)
        return (*targets, *targets[:1])

    patch.setattr(Intake, "_route", route)


@fault
def those_who_wait_for_room_overtake_each_other(patch: Patch) -> None:
    """Room goes to who came last, and nobody waits for what the same publisher said before."""
    original = Intake._wait

    def wait(self: Intake, waiter: Waiter, deadline: float) -> None:
        waiter.earlier = None
        original(self, waiter, deadline)
        for load in waiter.lacking:
            load.line.move_to_end(waiter, last=False)

    patch.setattr(Intake, "_wait", wait)


@fault
def a_refused_event_reaches_one_of_its_agents(patch: Patch) -> None:
    """Of a publish whose time is up something is queued all the same."""
    original = Intake._give_up

    def give_up(self: Intake, waiter: Waiter, now: float) -> None:
        before = len(self._agenda.commit.appends)
        original(self, waiter, now)
        append = self._agenda.commit.appends[before]
        if append.refusal is not None:
            append.targets = waiter.targets[:1]
            waiter.loads[0].take(waiter.size)
            self._loads.bytes += waiter.size

    patch.setattr(Intake, "_give_up", give_up)


@fault
def an_agent_without_room_is_passed_over(patch: Patch) -> None:
    """An event goes to those who have room for it, and nobody hears of the others."""

    def overflow(self: Deliveries, delivery: Delivery, detail: str, now: float) -> None:
        self._loads.bytes -= bytes_of(delivery.event)

    patch.setattr(Deliveries, "overflow", overflow)


@fault
def the_room_of_who_waits_is_lost_with_its_publisher(patch: Patch) -> None:
    """What was kept for a publish is not given back when its session ends."""
    patch.setattr(Intake, "_free", lambda *_: None)


@fault
def a_turn_is_done_though_what_it_published_was_refused(patch: Patch) -> None:
    """Its event is not tried again."""
    patch.setattr(Retries, "refuse", lambda *_: None)


@fault
def a_refused_turn_is_forgotten(patch: Patch) -> None:
    """Its event is neither done nor given back."""
    original = Retries.refuse

    def refuse(self: Retries, turn: Turn, *args: Any) -> None:
        patch.setattr(Mailbox, "release", lambda *_: None)
        original(self, turn, *args)
        patch.setattr(Mailbox, "release", release)

    release = Mailbox.release
    patch.setattr(Retries, "refuse", refuse)


@fault
def publishes_are_confirmed_too_early(patch: Patch) -> None:
    """A publisher is told that the host has an event when it is on its way."""
    original = UnconfirmedPublishes.add

    def add(self: UnconfirmedPublishes, event: Event, done: Done) -> Publish:
        done(None)
        return original(self, event, lambda _: None)

    patch.setattr(UnconfirmedPublishes, "add", add)


@fault
def the_end_of_a_call_is_not_told(patch: Patch) -> None:
    """The calls of a lost worker, and those too late, end without a word to the caller."""
    patch.setattr("callboard.core.exchange.Exchange._fail", lambda *_: None)
    patch.setattr("callboard.agent.calls_made.HOST_GRACE_S", 1e9)


@fault
def answers_of_a_stream_overtake_each_other(patch: Patch) -> None:
    """What has come last is taken first."""

    def take(self: StreamMade, reply: Reply) -> None:
        self._come.appendleft(reply)
        self._news.set()

    patch.setattr(StreamMade, "take", take)


@fault
def a_stream_ends_before_its_last_answer(patch: Patch) -> None:
    """An end that overtakes one answer."""
    original = StreamMade.take

    def take(self: StreamMade, reply: Reply) -> None:
        if reply.last and self._come:
            self._come.pop()
        original(self, reply)

    patch.setattr(StreamMade, "take", take)


@fault
def an_answer_of_a_stream_comes_twice(patch: Patch) -> None:
    """A frame that is read again."""
    original = StreamMade.take

    def take(self: StreamMade, reply: Reply) -> None:
        original(self, reply)
        original(self, reply)

    patch.setattr(StreamMade, "take", take)


@fault
def a_stream_does_not_wait_for_room(patch: Patch) -> None:
    """A handler goes on whether there is credit or not."""

    async def take(_: StreamCredit) -> None:
        pass

    patch.setattr(StreamCredit, "take", take)


@fault
def room_is_not_told_of(patch: Patch) -> None:
    """Credit gets lost at the host: a long stream stands still until its deadline."""
    patch.setattr(HostOutbox, "credit", lambda *_: None)


@fault
def what_never_began_counts_as_lost(patch: Patch) -> None:
    """Of each agent the first event that was on its way to a lost worker."""
    patch.setattr("callboard.core.deliveries._may_have_run", lambda *_: True)


@fault
def a_host_forgets_what_has_begun(patch: Patch) -> None:
    """An event that ends its workers ends all of them."""
    patch.setattr(Deliveries, "begin", lambda *_: None)


@fault
def a_turn_does_not_wait_for_the_host_to_know(patch: Patch) -> None:
    """It ends its process before the word has left."""

    async def wait(self: Beginnings, delivery: Delivery) -> None:
        self.tell(delivery)

    patch.setattr(Beginnings, "wait", wait)


@fault
def what_has_begun_once_has_begun_for_ever(patch: Patch) -> None:
    """Also when it is on its way to another worker."""

    def to_be_handed_out_again(self: Delivery) -> Delivery:
        return replace(self, grant=None)

    patch.setattr(Delivery, "to_be_handed_out_again", to_be_handed_out_again)


@fault
def what_could_not_be_kept_is_forgotten(patch: Patch) -> None:
    """Of the rest of a commit the engine never hears, and nobody is answered."""
    original = Broker.not_kept

    def not_kept(self: Broker, commit: Commit, reason: str) -> None:
        original(self, commit, reason)
        self._agenda.commit = Commit()

    patch.setattr(Broker, "not_kept", not_kept)


@fault
def what_could_not_be_kept_is_acknowledged(patch: Patch) -> None:
    """As if the engine had it."""
    original = Origin.answer

    def answer(self: Origin, number: int, refusal: Any, window: int) -> Any:
        is_of_the_disk = refusal is not None and DISK_IS_FULL in refusal.reason
        return original(self, number, None if is_of_the_disk else refusal, window)

    patch.setattr(Origin, "answer", answer)


@fault
def what_could_not_be_kept_takes_room(patch: Patch) -> None:
    """For ever."""
    original = Intake.close

    def close(self: Intake, appends: Iterable[Append], reason: str) -> None:
        original(self, [replace(each, targets=()) for each in appends], reason)

    patch.setattr(Intake, "close", close)


@fault
def a_full_disk_ends_events(patch: Patch) -> None:
    """Whose turns have published: they are not tried again."""
    patch.setattr("callboard.agent.retries.is_of_the_host", lambda _: False)


@fault
def publishes_are_refused_for_ever(patch: Patch) -> None:
    """Nobody says that there is room on the disk again."""
    patch.setattr(Broker, "reopen", lambda _: None)


@fault
def what_could_not_be_read_is_not_wanted(patch: Patch) -> None:
    """Nobody asks for it again."""
    patch.setattr(Backlogs, "not_read", lambda self, _: self.end())
