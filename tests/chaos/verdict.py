"""What must hold after a chaos run, whatever happened in it. Reads no clock and no files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

from chaos.journal import Turn

EventName: TypeAlias = tuple[str, str, int]
"""(publisher, agent, number)."""

ABOUT_TO_BEGIN_NS = 100_000_000
"""How long after it goes on a process writes down at the latest what it was about to begin."""


@dataclass(frozen=True, slots=True)
class Life:
    """What was done to a process.

    Attributes:
        killed_ns: When it was gone; None: nobody killed it.
        stops: From when to when it was stopped by SIGSTOP, each.
    """

    killed_ns: int | None = None
    stops: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    Attributes:
        acknowledged: Events that the host said it had.
        unknown: Events of which nobody can say whether it had them.
        dead: Events that are dead letters, given up because their workers were lost.
        turns: All turns of all processes; those of one process in order.
        lives: What was done to processes, by name.
    """

    acknowledged: frozenset[EventName]
    turns: Sequence[Turn]
    unknown: frozenset[EventName] = frozenset()
    dead: frozenset[EventName] = frozenset()
    lives: Mapping[str, Life] = field(default_factory=dict)

    def life(self, turn: Turn) -> Life:
        """What was done to the process of ``turn``."""
        return self.lives.get(turn.process, Life())

    def ended_ns(self, turn: Turn) -> float:
        """When ``turn`` was over, at the end of its process at the latest."""
        if turn.ended_ns is not None:
            return turn.ended_ns
        killed_ns = self.life(turn).killed_ns
        return inf if killed_ns is None else killed_ns

    def was_stopped(self, turn: Turn, before: Turn | None) -> bool:
        """Whether SIGSTOP came while ``turn`` was under way.

        Args:
            before: The turn that began before it in the same process. A process may have been
                stopped as it was about to begin a turn, the first after that, and no other.
        """
        return any(
            turn.began_ns <= continued_ns and stopped_ns <= self.ended_ns(turn)
            for stopped_ns, continued_ns in self.life(turn).stops
        ) or self.was_beginning(turn, before)

    def was_beginning(self, turn: Turn, before: Turn | None) -> bool:
        """Whether its process was stopped, at most, as it was about to begin ``turn``."""
        return any(
            stopped_ns < turn.began_ns <= continued_ns + ABOUT_TO_BEGIN_NS
            and (before is None or before.began_ns <= stopped_ns)
            for stopped_ns, continued_ns in self.life(turn).stops
        )


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        complaints: What must not have happened, in words; empty: all holds.
        counts: Figures of the run.
    """

    complaints: list[str]
    counts: Counter[str]


def judge(evidence: Evidence) -> Verdict:
    """Look at everything."""
    begun = Counter(turn.event for turn in evidence.turns)
    counts: Counter[str] = Counter(
        acknowledged=len(evidence.acknowledged),
        unknown=len(evidence.unknown),
        dead=len(evidence.dead),
        turns=len(evidence.turns),
        redeliveries=len(evidence.turns) - len(begun),
        cancelled=sum(turn.ended_ns is not None and not turn.is_handled for turn in evidence.turns),
    )
    complaints = [
        *_lost(evidence),
        *_invented(evidence),
        *_disordered(evidence),
        *_overlapping(evidence, counts),
        *_without_redelivery(evidence, counts),
        *_never_begun(evidence, begun),
    ]
    counts["dead and begun once"] = sum(begun[event] == 1 for event in evidence.dead)
    return Verdict(complaints, counts)


def _lost(evidence: Evidence) -> Iterator[str]:
    handled = {turn.event for turn in evidence.turns if turn.is_handled}
    for event in sorted(evidence.acknowledged - handled - evidence.dead):
        yield f"lost: {event} was acknowledged, and neither handled nor a dead letter"


def _invented(evidence: Evidence) -> Iterator[str]:
    known = evidence.acknowledged | evidence.unknown
    for event in sorted({turn.event for turn in evidence.turns} - known):
        yield f"invented: {event} was handled, and refused to its publisher or never published"


def _disordered(evidence: Evidence) -> Iterator[str]:
    """First deliveries come in order without a hole; a redelivery goes on from where it begins."""
    optional = evidence.unknown | evidence.dead
    by_line: dict[tuple[str, str], list[tuple[Turn, bool]]] = defaultdict(list)
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for publisher, agent, number in sorted(evidence.acknowledged | evidence.unknown):
        numbers[publisher, agent].append(number)
    for turn, before in _with_before(evidence.turns):
        was_beginning = evidence.was_beginning(turn, before)
        by_line[turn.publisher, turn.agent].append((turn, was_beginning))
    for (publisher, agent), turns in by_line.items():
        last, highest = 0, 0
        for turn, was_beginning in sorted(turns, key=lambda each: each[0].began_ns):
            skipped = [
                number
                for number in numbers[publisher, agent]
                if last < number < turn.number and (publisher, agent, number) not in optional
            ]
            if was_beginning and (skipped or turn.number <= last):
                continue  # others have gone on from there already, or it begins a repetition
            if skipped:
                what = "a first delivery" if turn.number > highest else "a redelivery"
                yield f"disorder: {what} of {turn.event} after number {last} skips {skipped}"
            last, highest = turn.number, max(highest, turn.number)


def _overlapping(evidence: Evidence, counts: Counter[str]) -> Iterator[str]:
    """Turns of one agent never overlap, unless the process of one was stopped meanwhile."""
    by_agent: dict[str, list[tuple[Turn, bool]]] = defaultdict(list)
    for turn, before in _with_before(evidence.turns):
        by_agent[turn.agent].append((turn, evidence.was_stopped(turn, before)))
    for agent, turns in by_agent.items():
        under_way: list[tuple[Turn, bool]] = []
        for turn, was_stopped in sorted(turns, key=lambda each: each[0].began_ns):
            under_way = [each for each in under_way if evidence.ended_ns(each[0]) > turn.began_ns]
            for other, other_was_stopped in under_way:
                if was_stopped or other_was_stopped:
                    counts["overlaps after SIGSTOP"] += 1
                else:
                    yield f"overlap: two turns of {agent}: {other} and {turn}"
            under_way.append((turn, was_stopped))


def _without_redelivery(evidence: Evidence, counts: Counter[str]) -> Iterator[str]:
    """Every kill leaves turns that had begun, whose events begin again elsewhere later."""
    for process, life in evidence.lives.items():
        if life.killed_ns is None:
            continue
        counts["kills"] += 1
        left = {
            turn.event
            for turn in evidence.turns
            if turn.process == process and turn.ended_ns is None
        }
        again = {
            turn.event
            for turn in evidence.turns
            if turn.process != process and turn.began_ns > life.killed_ns and turn.event in left
        }
        counts["unsettled at kills"] += len(left)
        counts["begun again after kills"] += len(again)
        if not left:
            yield f"idle kill: {process} had no turn under way when it was killed"
        elif not again:
            yield f"no redelivery: of {sorted(left)}, left by {process}, none has begun again"


def _never_begun(evidence: Evidence, begun: Counter[EventName]) -> Iterator[str]:
    """What was given up has begun with two of its workers, and been with a third.

    One of the two may have been lost between the host's word and the handler's first step.
    """
    for event in sorted(evidence.dead - begun.keys()):
        yield f"blamed: {event} is a dead letter, and no turn of it has begun"


def _with_before(turns: Sequence[Turn]) -> Iterator[tuple[Turn, Turn | None]]:
    """Each turn with the one that began before it in its process."""
    last: dict[str, Turn] = {}
    for turn in turns:
        yield turn, last.get(turn.process)
        last[turn.process] = turn
