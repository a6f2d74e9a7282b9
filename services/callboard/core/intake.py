"""Takes publishes in: routes them, and makes those wait for which there is no room.

How much may be queued is bounded by agent type. A publish that may wait is taken within the bound,
the soft one; else it waits until there is room for all agents that it is for, or its time is up.
One that may not, because a turn would wait with it, is taken within twice as much, the hard bound.
At the end of its time, at once for one without, it is judged by target: a delivery for which there
is no room becomes a dead letter (`queue_full`) and the others go on; a publish for which there is
room nowhere is refused.

Invariants:

* A publish has one ending: it is taken, and answered when the engine has it; it is refused, and
  reaches nobody; or its session ends, of which no other can ask for it, and it is neither. What
  waits for a publisher that may come back waits on.
* Room in a type is given in the order in which it was asked for. Room that a publish was given is
  kept for it while it waits for more elsewhere.
* What waits is overtaken by others, but not by later events of its publisher on its topic.
* Publishes that wait take no type beyond its soft bound, and those of turns none beyond the hard
  one, but for a single event that is larger.
* All that waits counts for the host's last bound, at which nothing waits.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

from callboard.core.commit import Append
from callboard.core.errors import CallboardError, Code
from callboard.core.event import Event
from callboard.core.frames import Refusal
from callboard.core.identity import check_key
from callboard.core.limits import too_large
from callboard.core.load import RECORD_BYTES, Bound, Load, Waiter, bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.core.agenda import Agenda
    from callboard.core.agent_types import AgentTypes
    from callboard.core.event import Address
    from callboard.core.frames import Publish
    from callboard.core.limits import BrokerLimits
    from callboard.core.load import Publisher
    from callboard.core.origins import Origin
    from callboard.core.session import Session

NOTHING = Event(b"", "", "")
"""In the place of an event that was refused, and that nobody needs any more."""

HARD = 2
"""How many times the soft bound the hard one is."""


class Intake:
    """What publishers have said, until it is to be kept. See the module.

    Attributes:
        waiting_count: Publishes that wait for room.
    """

    def __init__(self, types: AgentTypes, limits: BrokerLimits, agenda: Agenda) -> None:
        self._types = types
        self._loads = types.loads
        self._limits = limits
        self._agenda = agenda
        self._soft = Bound(limits.max_type_events, limits.max_type_bytes)
        self._hard = Bound(HARD * self._soft.events, HARD * self._soft.bytes)
        self._waiters: dict[Session, dict[int, Waiter]] = {}
        self._last: dict[Publisher, Waiter] = {}
        self._deadlines: list[tuple[float, int, Waiter]] = []
        self._serial = 0
        self._why_closed: str | None = None
        self._turned_away: dict[Origin, deque[Append]] = {}
        self.waiting_count = 0

    def publish(self, session: Session, publishes: Iterable[Publish], now: float) -> None:
        """Take publishes in; see `Broker.publish`."""
        appends, counters = self._agenda.commit.appends, self._agenda.counters
        loads, by_type, origin = self._loads, self._loads.by_type, session.origin
        largest = self._limits.max_event_bytes + RECORD_BYTES
        max_queued = self._limits.max_queued_bytes
        routes: dict[tuple[str, str, Address | None], tuple[Address, ...]] = {}
        for publish in publishes:
            number = publish.number
            if number <= origin.last or number in origin.kept:
                continue
            origin.last = number
            origin.unanswered_count += 1
            event = publish.event
            route = event.topic_type, event.topic_source, event.sender
            targets = routes.get(route)
            if targets is None:
                try:
                    targets = routes[route] = self._route(event, any_text=session.is_foreign)
                except CallboardError as error:
                    self._refuse(session, number, event, error.code, str(error))
                    continue
            size = len(event.content) + RECORD_BYTES
            if size > largest or loads.bytes + size * len(targets) > max_queued:
                reason = self._why_never(event, len(targets))
                self._refuse(session, number, event, Code.RESOURCE_EXHAUSTED, reason)
                continue
            events, room = self._soft if publish.remaining_s > 0 else self._hard
            is_easy = not self._last or _publisher(session, event) not in self._last
            for agent in targets:
                load = by_type[agent[0]]
                load.count += 1
                load.bytes += size
                if load.count > events or load.bytes > room or load.line:
                    is_easy = False
            if targets and not is_easy:
                for agent in targets:
                    by_type[agent[0]].free(size)
                self._judge(session, publish, targets, size, now)
                continue
            loads.bytes += size * len(targets)
            counters.published += 1
            counters.unmatched += not targets
            appends.append(Append(session, number, event, targets))

    def close(self, appends: Iterable[Append], reason: str) -> None:
        """The engine keeps nothing now: refuse all publishes until `open`.

        Those in line, which ``appends`` are, those that wait for room, and what comes. Idempotent.

        The engine is told of what was refused when it can be: later publishes are kept then, and
        who has not heard of the refusal must not take theirs for it. A host that comes before that
        takes what is said again.
        """
        self._why_closed = reason
        for append in appends:
            if append.is_told:
                self._note_told(append)
                continue
            full = append.full or ()
            size = bytes_of(append.event)
            self._loads.bytes -= size * len(append.targets)
            for agent in append.targets:
                if agent not in full:
                    load = self._loads.by_type[agent[0]]
                    load.free(size)
                    self._loads.tidy(load)
            refusal = append.refusal or Refusal(append.number, Code.UNAVAILABLE, reason)
            self._tell(append.session, refusal)
        # After those, which are not held: see `Origin.answer`.
        for waiter in [each for waiters in self._waiters.values() for each in waiters.values()]:
            self._leave_lines(waiter)
            self._remove(waiter)
            self._free(waiter)
            for load in waiter.loads:
                self._loads.tidy(load)
            self._tell(waiter.session, Refusal(waiter.number, Code.UNAVAILABLE, reason))

    def open(self) -> None:
        """The engine keeps events again. Idempotent."""
        self._why_closed = None
        told, self._turned_away = self._turned_away, {}
        for appends in told.values():
            self._agenda.commit.appends += sorted(appends, key=lambda each: each.number)

    def serve(self, load: Load, now: float) -> None:
        """There may be room in ``load``: give it to those who wait, in turn."""
        line = load.line
        while line:
            waiter = next(iter(line))
            if not load.has_room(waiter.size, self._soft):
                return
            del line[waiter], waiter.lacking[load]
            load.take(waiter.size)
            self._admit(waiter, now)
        self._loads.tidy(load)

    def next_deadline(self) -> float | None:
        """When `expire` next has work; None when nothing waits."""
        while self._deadlines and self._deadlines[0][2].is_over:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now: float) -> None:
        """Judge what has waited as long as it may."""
        while self._deadlines and self._deadlines[0][0] <= now:
            waiter = heapq.heappop(self._deadlines)[2]
            if not waiter.is_over:
                self._give_up(waiter, now)

    def leave(self, session: Session, now: float) -> None:
        """``session`` is over for good, and what of it waits: nobody was told that it was taken."""
        waiters = self._waiters.get(session)
        if waiters is None:
            return
        freed: dict[Load, None] = {}
        for waiter in list(waiters.values()):
            self._leave_lines(waiter)
            self._remove(waiter)
            self._free(waiter)
            freed.update(dict.fromkeys(waiter.loads))
        for load in freed:
            self.serve(load, now)

    @property
    def is_open(self) -> bool:
        """Whether the engine keeps events: else what comes is to be turned away."""
        return self._why_closed is None

    def turn_away(self, session: Session, publishes: Iterable[Publish]) -> None:
        """Refuse publishes without the engine: none that came before them is in line or waits."""
        reason, origin = self._why_closed or "", session.origin
        for publish in publishes:
            number = publish.number
            if number > origin.last and number not in origin.kept:
                origin.last = number
                origin.unanswered_count += 1
                self._tell(session, Refusal(number, Code.UNAVAILABLE, reason))

    # Inside.

    def _tell(self, session: Session, refusal: Refusal) -> None:
        """Refuse a publish that is in no line; the engine is told later."""
        number = refusal.number
        publisher = session.origin.answer(number, refusal, self._limits.publish_window)
        if publisher is not None:
            self._agenda.wake(publisher)
        self._note_told(Append(session, number, NOTHING, (), refusal, is_told=True))

    def _note_told(self, append: Append) -> None:
        origin = append.session.origin
        if not origin.incarnation:
            return  # it cannot ask
        appends = self._turned_away.get(origin)
        if appends is None:
            # As many as it may ask for: see `Origin.answer`.
            appends = self._turned_away[origin] = deque(maxlen=2 * self._limits.publish_window)
        appends.append(append)

    def _route(self, event: Event, *, any_text: bool) -> tuple[Address, ...]:
        names = self._types.subscribers(event.topic_type, any_text=any_text)
        source = event.topic_source
        if not any_text:
            check_key("topic source", source)
        sender = event.sender
        known = self._types.get
        targets = []
        for name in names:
            agent = (name, source)
            if agent != sender and (state := known(name)) is not None and state.takes_events:
                targets.append(agent)
        return tuple(targets)

    def _why_never(self, event: Event, targets: int) -> str:
        """Why an event for so many agents is refused, whatever time it has."""
        limits = self._limits
        if len(event.content) > limits.max_event_bytes:
            return too_large("event", len(event.content), limits.max_event_bytes)
        return (
            f"the host's queues are full: they hold {self._loads.bytes} bytes, this event for "
            f"{targets} agents is {bytes_of(event) * targets} more, the limit is "
            f"{limits.max_queued_bytes}"
        )

    def _judge(
        self,
        session: Session,
        publish: Publish,
        targets: tuple[Address, ...],
        size: int,
        now: float,
    ) -> None:
        """Where there may be no room: take ``publish``, let it wait, or refuse it."""
        number, event = publish.number, publish.event
        publisher = _publisher(session, event)
        earlier = self._last.get(publisher)
        loads = [self._loads.by_type[agent_type] for agent_type, _ in targets]
        if publish.remaining_s > 0:
            waiter = Waiter(session, publisher, number, event, targets, loads, size, now)
            waiter.earlier = earlier
            self._wait(waiter, now + publish.remaining_s)
            self._admit(waiter, now)
        elif earlier is not None:
            reason = "an earlier event of the same publisher on this topic waits for room"
            self._refuse(session, number, event, Code.RESOURCE_EXHAUSTED, reason)
        else:
            lacking = {
                load: agent
                for load, agent in zip(loads, targets, strict=True)
                if not self._has_room(load, size, self._hard)
            }
            full = _why_full(lacking, self._hard)
            if len(full) == len(targets):
                reason = next(iter(full.values()))
                self._refuse(session, number, event, Code.RESOURCE_EXHAUSTED, reason)
                return
            for load in loads:
                if load not in lacking:
                    load.take(size)
            self._loads.bytes += size * len(targets)
            self._append(Append(session, number, event, targets, full=full or None))

    def _wait(self, waiter: Waiter, deadline: float) -> None:
        for load, agent in zip(waiter.loads, waiter.targets, strict=True):
            if not load.line and self._has_room(load, waiter.size, self._soft):
                load.take(waiter.size)
            else:
                waiter.lacking[load] = agent
                load.line[waiter] = None
        self._loads.bytes += waiter.size * len(waiter.targets)
        if waiter.earlier is not None:
            waiter.earlier.later = waiter
        self._last[waiter.publisher] = waiter
        self._waiters.setdefault(waiter.session, {})[waiter.number] = waiter
        waiter.session.origin.hold(waiter.number)
        self._serial += 1
        heapq.heappush(self._deadlines, (deadline, self._serial, waiter))
        self.waiting_count += 1

    def _admit(self, waiter: Waiter | None, now: float) -> None:
        """Take ``waiter`` if it is ready, and those that come after it for the same reason."""
        while waiter is not None and waiter.is_ready:
            later = waiter.later
            self._remove(waiter)
            self._append(_append_of(waiter, now))
            waiter = later

    def _give_up(self, waiter: Waiter, now: float) -> None:
        """The time of ``waiter`` is up."""
        lacking, is_behind, later = dict(waiter.lacking), waiter.earlier is not None, waiter.later
        full = _why_full(lacking, self._soft)
        self._leave_lines(waiter)
        self._remove(waiter)
        if is_behind or len(full) == len(waiter.targets):
            self._free(waiter)
            waited_s = now - waiter.since
            why = next(iter(full.values()), "an earlier event of the same publisher still waits")
            reason = f"{why}; it has waited for {waited_s:.1f} s"
            refusal = Refusal(waiter.number, Code.RESOURCE_EXHAUSTED, reason)
            append = _append_of(waiter, now)
            append.targets, append.refusal = (), refusal
            self._agenda.commit.appends.append(append)
        else:
            append = _append_of(waiter, now)
            append.full = full
            self._append(append)
        for load in waiter.loads:
            self.serve(load, now)
        self._admit(later, now)

    def _leave_lines(self, waiter: Waiter) -> None:
        for load in waiter.lacking:
            del load.line[waiter]

    def _remove(self, waiter: Waiter) -> None:
        """``waiter`` waits no more. Its deadline stays until it is due or outweighs the others."""
        waiter.is_over = True
        earlier, later, publisher = waiter.earlier, waiter.later, waiter.publisher
        if earlier is not None:
            earlier.later = later
        if later is not None:
            later.earlier = earlier
        elif earlier is not None:
            self._last[publisher] = earlier
        else:
            del self._last[publisher]
        waiters = self._waiters[waiter.session]
        del waiters[waiter.number]
        if not waiters:
            del self._waiters[waiter.session]
        self.waiting_count -= 1
        if len(self._deadlines) > 2 * self.waiting_count + 1024:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].is_over]
            heapq.heapify(self._deadlines)

    def _free(self, waiter: Waiter) -> None:
        """Nothing of ``waiter`` takes room any more."""
        for load in waiter.loads:
            if load not in waiter.lacking:
                load.free(waiter.size)
        self._loads.bytes -= waiter.size * len(waiter.targets)

    def _has_room(self, load: Load, size: int, bound: Bound) -> bool:
        """Whether there is room; always for the one worker of a type that it has to itself.

        What is too much for that becomes dead letters: it must not make publishers wait.
        """
        state = self._types.get(load.name)
        return load.has_room(size, bound) or (state is not None and state.is_exclusive)

    def _append(self, append: Append) -> None:
        self._agenda.counters.published += 1
        self._agenda.commit.appends.append(append)

    def _refuse(self, session: Session, number: int, event: Event, code: Code, reason: str) -> None:
        """Refuse a publish; that stands in line, so that numbers are answered in order."""
        refusal = Refusal(number, code, reason)
        self._agenda.commit.appends.append(Append(session, number, event, (), refusal))


def _publisher(session: Session, event: Event) -> Publisher:
    return (session.origin, event.sender, event.topic_type, event.topic_source)


def _append_of(waiter: Waiter, now: float) -> Append:
    return Append(
        waiter.session,
        waiter.number,
        waiter.event,
        waiter.targets,
        waited_s=now - waiter.since,
    )


def _why_full(lacking: dict[Load, Address], bound: Bound) -> dict[Address, str]:
    """By agent for which there is no room, why not."""
    return {agent: load.why_full(bound) for load, agent in lacking.items()}
