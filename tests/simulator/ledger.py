"""What is seen of a run from the outside, and what must hold of it.

The ledger knows what publishers were told, which turns began and ended in which process, and what
the engine was given as dead letters. It knows nothing of brokers, queues or grants.

Promises that it holds a run to (docs/guarantees.md):

* What was acknowledged is handled, or a dead letter, for each agent that it was for.
* What nobody acknowledged is so for all agents that it was for, or for none.
* Nothing is handled twice without a reason: its handler raised, its process was lost, or the host
  was when it might have heard how it ended. No event's turn is cancelled without one.
* What was refused, because there was no room or the engine could not keep it, reached nobody, and a
  turn that published it was not done: it is tried again.
* What is given up because its workers were lost had begun with two of them at least, or was about
  to where its worker had said so; what ends its workers ends few.
* What a handler raises for is tried as often as the policy of its type says, and no less.
* An agent sees the events of one publisher on one topic in the order published, first deliveries.
* One turn at a time for each agent, or as many as its type says, but for calls that come back along
  their own chain.
* One instance at a time for each agent, but for one that closes as its process has lost its
  session; none is closed while a turn of it runs; at rest a process holds no more than it may.
* A call has one ending: its own answer, or an error for which there is a reason.
* The answers of a streamed call come in order, none is left out, and all of them come unless there
  is an error; its handler is never further ahead than the window.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callboard.agent.stream_made import STREAM_WINDOW
from simulator.story import MAX_INSTANCES, POLICIES, SUBSCRIBED

if TYPE_CHECKING:
    from simulator.network import Line
    from simulator.process import Process

Agent = tuple[str, str]


LOSSES_KNOWN = 2
"""With how many lost workers an event must have begun to be given up: who lost the first, and what
it was doing, nobody need know."""

DEATHS = 12
"""How many workers an event may end: three, and one more for each that is blamed in its place, what
was out before it and had not been told to be done; see also `DEATHS_BY_HOST`."""

DEATHS_BY_HOST = 2
"""How many more it may end with each host that is lost, which may have counted one, and have heard
of the beginning of another."""

ROOM_IN_TIME_S = 8.0
"""After how long at the latest a handler goes on for whom there is room."""


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(eq=False)
class Published:
    """An event.

    Attributes:
        sequence: Its place among those of its publisher on its topic.
        turn: The turn that published it; None for one of a client.
        fate: What the publisher was told: None while it was told nothing.
    """

    id: str
    publisher: str
    topic: str
    source: str
    sequence: int
    turn: Turn | None = None
    fate: str | None = None

    @property
    def targets(self) -> set[Agent]:
        """For whom it is."""
        return {
            (agent_type, self.source)
            for agent_type, subscriptions in SUBSCRIBED.items()
            for kind, pattern in subscriptions
            if (self.topic == pattern if kind == "type" else self.topic.startswith(pattern))
            if self.turn is None or (agent_type, self.source) != self.turn.agent
        }


@dataclass(eq=False)
class Turn:
    """A run of a handler.

    Attributes:
        is_told: The host was told how it ended.
    """

    process: Process
    agent: Agent
    id: str
    chain: tuple[str, ...]
    is_event: bool
    ending: str | None = None
    ended_at: float = 0.0
    is_told: bool = False


@dataclass(eq=False)
class Called:
    """A call of a client or in a turn.

    Attributes:
        count: How many answers a streamed one has.
        taken: How many of them have come.
        held_at_s: When its handler last had an answer that it was not let go on from; None while it
            goes on.
        lines: What led to the host when it had it, from the caller and from the handler.
    """

    id: str
    process: Process
    ending: str | None = None
    count: int = 0
    taken: int = 0
    taken_at_s: float = 0.0
    held_at_s: float | None = None
    lines: list[tuple[Process, Line | None]] = field(default_factory=list)


@dataclass
class Ledger:
    """Notes what happens; `check_end` says whether it may have."""

    published: dict[str, Published] = field(default_factory=dict)
    calls: dict[str, Called] = field(default_factory=dict)
    dead: dict[tuple[str, Agent], list[str]] = field(default_factory=lambda: defaultdict(list))
    turns: dict[tuple[str, Agent], list[Turn]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    about_to_begin: dict[tuple[str, Agent], list[Process]] = field(
        default_factory=lambda: defaultdict(list)
    )
    notes: list[str] = field(default_factory=list)
    without_host: list[tuple[float, float]] = field(default_factory=list)
    disk_was_full: bool = False
    _instances: dict[Agent, list[Process]] = field(default_factory=lambda: defaultdict(list))
    _running: dict[Agent, list[Turn]] = field(default_factory=lambda: defaultdict(list))
    _sequences: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: dict[tuple[Agent, str, str], int] = field(default_factory=dict)

    def _note(self, what: str) -> None:
        self.notes.append(f"{asyncio.get_running_loop().time():8.3f}  {what}")

    # Events.

    def publishes(
        self, event_id: str, publisher: str, topic: str, source: str, turn: Turn | None = None
    ) -> Published:
        """A client publishes, or an agent in a turn."""
        self._sequences[publisher, topic] += 1
        sequence = self._sequences[publisher, topic]
        event = Published(event_id, publisher, topic, source, sequence, turn)
        self.published[event_id] = event
        self.counts["published"] += 1
        self._note(f"{publisher} publishes {event_id} on {topic}/{source}")
        return event

    def answers(self, event_id: str, *, is_refused: bool) -> None:
        """A publisher, or the runtime in which an agent publishes, is told what the host says."""
        event, fate = self.published[event_id], "refused" if is_refused else "acknowledged"
        if event.fate is None:
            if is_refused:
                self._note(f"{event_id} is refused")
            self.counts[fate if event.turn is None else f"{fate} in turns"] += 1
        elif event.fate != fate:
            msg = f"{event_id} was {event.fate} and then {fate}"
            raise Broken(msg)
        event.fate = fate

    def dies(self, event_id: str, agent: Agent, reason: str) -> None:
        """The engine is given a dead letter."""
        self.dead[event_id, agent].append(reason)
        self._note(f"{event_id} is a dead letter of {agent}: {reason}")
        self.counts[f"dead: {reason}"] += 1

    # Turns.

    def begins(self, turn: Turn) -> None:
        """A handler begins."""
        agent, process = turn.agent, turn.process
        others = [each for each in self._running[agent] if not each.process.is_lost]
        self._running[agent].append(turn)
        # A turn that left a stream of its own agent may call that again before it has ended.
        strangers = [
            other
            for other in others
            if other.id not in turn.chain
            and not any(outer.id in turn.chain and outer.id in other.chain for outer in others)
        ]
        limit = POLICIES[agent[0]].max_concurrency
        comes_back = len(strangers) < len(others)
        if len(strangers) >= limit and (limit == 1 or not comes_back):
            beside = ", ".join(f"{other.id} in {other.process}" for other in strangers)
            msg = f"{agent} runs {turn.id} in {process} and {beside}"
            raise Broken(msg)
        self._note(f"{agent} begins {turn.id} in {process}")
        if turn.is_event:
            self._check_order(turn)
            self.turns[turn.id, agent].append(turn)
            about_to = self.about_to_begin[turn.id, agent]
            if process in about_to:
                about_to.remove(process)

    def ends(self, turn: Turn, ending: str) -> None:
        """A handler has ended: "done", "raised" or "cancelled"."""
        turn.ending, turn.ended_at = ending, asyncio.get_running_loop().time()
        if ending == "cancelled" and turn.is_event and not turn.process.was_troubled:
            msg = f"{turn.agent} is cancelled in {turn.id}, and nothing was wrong"
            raise Broken(msg)
        self._note(f"{turn.agent} has {ending} {turn.id} in {turn.process}")
        self._running[turn.agent].remove(turn)
        self.counts[f"turns {ending}"] += 1

    def is_about_to(self, process: Process, event_id: str, agent: Agent) -> None:
        """A process says that a turn begins as soon as the host knows."""
        self.about_to_begin[event_id, agent].append(process)
        self.counts["turns that wait for the host to know"] += 1

    def ends_its_process(self, turn: Turn) -> None:
        """A handler ends the process that it runs in."""
        turn.ending = "died"
        self._note(f"{turn.agent} ends {turn.process} with {turn.id}")
        self.counts["processes ended by turns"] += 1
        turns = self.turns[turn.id, turn.agent]
        deaths = sum(each.ending == "died" and not each.process.is_leaving for each in turns)
        if deaths > DEATHS + DEATHS_BY_HOST * len(self.without_host):
            msg = f"{turn.id} has ended {deaths} processes"
            raise Broken(msg)

    # Instances.

    def opens(self, agent: Agent, process: Process) -> None:
        """An instance is made."""
        for other in self._instances[agent]:
            if other is process or not (process.was_troubled or other.was_troubled):
                msg = f"{agent} has an instance in {process} and one in {other}"
                raise Broken(msg)
        self._instances[agent].append(process)
        self._note(f"{agent} is made in {process}")
        self.counts["instances made"] += 1

    def begins_to_close(self, agent: Agent, process: Process) -> None:
        """The instance is asked to close."""
        running = [turn.id for turn in self._running[agent] if turn.process is process]
        if running:
            msg = f"{agent} is closed in {process} while it runs {running}"
            raise Broken(msg)

    def closes(self, agent: Agent, process: Process) -> None:
        """The instance is closed."""
        self.begins_to_close(agent, process)
        self._instances[agent].remove(process)
        self._note(f"{agent} is closed in {process}")

    def tells(self, process: Process, event_id: str, agent: Agent, *, is_done: bool) -> None:
        """A process tells the host of the end of an event's turn."""
        for turn in self.turns[event_id, agent]:
            if turn.process is process and not turn.is_told:
                turn.is_told = True
                if not is_done:
                    self._refuse(turn)

    def _refuse(self, turn: Turn) -> None:
        """A turn has failed; if its handler had not, the host has refused what it published."""
        if turn.ending == "done":
            turn.ending = "refused"
            self.counts["turns refused"] += 1

    def _check_order(self, turn: Turn) -> None:
        event = self.published[turn.id]
        if turn.agent not in event.targets:
            msg = f"{turn.agent} gets {turn.id}, which is not for it"
            raise Broken(msg)
        if self.turns[turn.id, turn.agent]:
            return
        key = (turn.agent, event.publisher, event.topic)
        if event.sequence <= self._seen.get(key, 0):
            msg = f"{turn.agent} gets {turn.id} of {event.publisher} out of order"
            raise Broken(msg)
        self._seen[key] = event.sequence

    # Calls.

    def call_begins(self, call_id: str, process: Process, count: int = 0) -> Called:
        """Somebody calls."""
        call = self.calls[call_id] = Called(call_id, process, count=count)
        self.counts["calls"] += 1
        return call

    def yields(self, call_id: str, number: int, now: float, process: Process) -> None:
        """A handler has come as far as answer ``number`` of a stream, from 0."""
        call = self.calls[call_id]
        ahead = number + 1 - call.taken
        if ahead > STREAM_WINDOW:
            msg = f"the handler of {call_id} is {ahead} answers ahead"
            raise Broken(msg)
        call.held_at_s = now
        call.lines = [(each, each.line) for each in (call.process, process)]

    def goes_on(self, call_id: str) -> None:
        """There is room for a further answer."""
        self.calls[call_id].held_at_s = None

    def takes(self, call: Called, answer: object, now: float) -> None:
        """An answer of a stream has come."""
        expected = f"{call.id}/{call.taken}"
        if answer != expected or call.ending is not None:
            msg = f"stream {call.id} gets {answer} where {expected} is next"
            raise Broken(msg)
        call.taken += 1
        call.taken_at_s = now
        self.counts["answers of streams"] += 1

    def stream_ends(self, call: Called, ending: str, now: float) -> None:
        """A stream has its ending."""
        if ending == "DeadlineExceeded" and call.held_at_s is not None:
            stood_still_s = now - max(call.held_at_s, call.taken_at_s)
            had_lines = all(
                line is process.line and line is not None and line.is_whole
                for process, line in call.lines
            )
            if stood_still_s > ROOM_IN_TIME_S and had_lines:
                msg = f"stream {call.id} stood still for {stood_still_s:.1f} s"
                raise Broken(msg)
        if ending == "answered" and call.taken != call.count:
            msg = f"stream {call.id} ends after {call.taken} of {call.count} answers"
            raise Broken(msg)
        self.call_ends(call, f"{ending} (stream)")

    def call_ends(self, call: Called, ending: str) -> None:
        """A call has its ending."""
        call.ending = ending
        self._note(f"{call.id} of {call.process} ends: {ending}")
        self.counts[f"calls {ending}"] += 1

    # The end.

    def check_end(self) -> None:
        """All has come to rest."""
        for event in self.published.values():
            self._check_event(event)
        for call in self.calls.values():
            if call.ending is None and not call.process.is_lost:
                msg = f"call {call.id} of {call.process} has no ending"
                raise Broken(msg)
        held = Counter(each for there in self._instances.values() for each in there)
        for process, count in held.items():
            if count > MAX_INSTANCES and not process.is_cut_off:
                msg = f"{process} holds {count} instances, and may hold {MAX_INSTANCES}"
                raise Broken(msg)
        for agent, turns in self._running.items():
            left = [turn.id for turn in turns if not turn.process.is_lost]
            if left:
                msg = f"{agent} still runs {left}"
                raise Broken(msg)

    def _check_event(self, event: Published) -> None:
        endings = {agent: self._endings(event, agent) for agent in event.targets}
        reached = {agent for agent, count in endings.items() if count}
        must = event.fate == "acknowledged" or (
            event.turn is not None and self._is_settled(event.turn)
        )
        if must and reached != event.targets:
            msg = f"{event.id} was acknowledged and is lost for {event.targets - reached}"
            raise Broken(msg)
        if reached and reached != event.targets:
            msg = f"{event.id} was for {event.targets} and reached {reached} alone"
            raise Broken(msg)
        if event.fate == "refused" and reached:
            msg = f"{event.id} was refused and reached {reached}"
            raise Broken(msg)

    def _endings(self, event: Published, agent: Agent) -> int:
        turns = self.turns[event.id, agent]
        done = [turn for turn in turns if turn.ending == "done"]
        dead = self.dead[event.id, agent]
        if len(dead) > 1:
            msg = f"{event.id} is {len(dead)} dead letters of {agent}"
            raise Broken(msg)
        if "publish_refused" in dead:
            msg = f"{event.id} is given up for {agent}, for what the host could not keep"
            raise Broken(msg)
        if "worker_lost" in dead:
            about_to = self.about_to_begin[event.id, agent]
            processes = (*(turn.process for turn in turns), *about_to)
            begun = sum(each.was_troubled for each in processes)
            if begun < LOSSES_KNOWN:
                msg = f"{event.id} is given up for {agent}, and has begun {begun} times"
                raise Broken(msg)
        failed = [turn for turn in turns if turn.ending in ("raised", "cancelled", "refused")]
        for turn in turns[:-1]:
            if turn not in failed and not self._is_troubled(turn):
                msg = f"{agent} gets {event.id} again, and nothing was wrong with {turn.process}"
                raise Broken(msg)
        attempts = POLICIES[agent[0]].max_attempts
        is_early = turns and len(failed) < attempts
        if is_early and dead in (["handler_error"], ["queue_full"]):
            msg = f"{event.id} is dead for {agent} after {len(failed)} of {attempts} attempts"
            raise Broken(msg)
        # What the host could not keep of what a turn published is no failed attempt.
        is_excused = self.disk_was_full or any(self._is_troubled(turn) for turn in turns)
        if len(failed) > attempts and not is_excused:
            msg = f"{agent} has tried {event.id} {len(failed)} times, its policy is {attempts}"
            raise Broken(msg)
        return len(done) + len(dead)

    def _is_troubled(self, turn: Turn) -> bool:
        """Whether the host may not have heard how it ended.

        One that is gone may have had it on its way, with the partition to another worker behind it;
        or so had a line that was cut, and the host was lost before there was another.
        """
        ended_at = turn.ended_at
        return (
            turn.process.was_troubled
            or any(begin - 3.0 < ended_at < end + 5.0 for begin, end in self.without_host)
            or any(
                cut - 3.0 < ended_at < whole + 3.0 and cut < begin < whole + 3.0
                for cut, whole in turn.process.cuts
                for begin, _ in self.without_host
            )
        )

    def _is_settled(self, turn: Turn) -> bool:
        """Whether a turn was done in a process that nothing was wrong with."""
        return turn.ending == "done" and not turn.process.was_troubled and turn.is_event
