"""The dead letters of a broker: what of them is published anew, and what is forgotten.

Which there are, the engine alone knows. What is asked of them here is judged, joins the next commit
and is decided by the engine: a dead letter that two operators replay, or one replays and another
drops, is there for the first of them, and missing for the second.

Invariant: a replay has room in the queues before the engine is given it, like a publish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callboard.core.commit import Drop, Errand, NotReplayed, Replay
from callboard.core.errors import CallboardError, Code
from callboard.core.event import Delivery
from callboard.core.identity import check_key
from callboard.core.load import Bound, bytes_of

if TYPE_CHECKING:
    from callboard.core.agenda import Agenda
    from callboard.core.agent_types import AgentTypes, AgentTypeState
    from callboard.core.commit import Commit, DeadLetter
    from callboard.core.deliveries import Deliveries
    from callboard.core.limits import BrokerLimits


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: those to which all applies that is said.

    Attributes:
        agent_type: The type of the agent that it was for; empty says nothing.
        reason: Its reason; empty says nothing.
    """

    agent_type: str = ""
    reason: str = ""

    def has(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is meant."""
        return self.agent_type in ("", letter.delivery.agent[0]) and self.reason in (
            "",
            letter.reason,
        )


EVERY = Selection()
"""All dead letters."""


class DeadLetters:
    """Takes dead letters back into the queues, or lets them go. See the module."""

    def __init__(
        self, types: AgentTypes, deliveries: Deliveries, limits: BrokerLimits, agenda: Agenda
    ) -> None:
        self._types = types
        self._loads = types.loads
        self._deliveries = deliveries
        self._limits = limits
        self._bound = Bound(limits.max_type_events, limits.max_type_bytes)
        self._agenda = agenda

    def replay(self, letters: Iterable[DeadLetter]) -> Errand:
        """See `Broker.replay`."""
        commit, errand = self._agenda.commit, Errand()
        taken: Counter[str] = Counter()
        for letter in letters:
            delivery = letter.delivery
            problem = self._why_not(letter, taken[delivery.agent[0]])
            if problem is not None:
                errand.refused.append(NotReplayed(delivery.position, delivery.agent, *problem))
                continue
            size = bytes_of(delivery.event)
            self._loads.by_type[delivery.agent[0]].take(size)
            self._loads.bytes += size
            taken[delivery.agent[0]] += size
            commit.replays.append(Replay(letter, errand))
        commit.errands.append(errand)
        return errand

    def drop(self, positions: Iterable[int]) -> Errand:
        """See `Broker.drop`."""
        commit, errand = self._agenda.commit, Errand()
        commit.drops += [Drop(position, errand) for position in positions]
        commit.errands.append(errand)
        return errand

    def committed(self, commit: Commit, numbers: Iterator[int], now: float) -> None:
        """The engine has ``commit``; ``numbers`` are those of its replays and drops."""
        counters = self._agenda.counters
        for replay in commit.replays:
            errand, behind = replay.errand, replay.behind
            former, number = replay.letter.delivery, next(numbers)
            if not number:
                self._deliveries.free(former.agent, former.event, now)
                errand.missing.append(former.position)
                if behind is not None:
                    self._deliveries.spare(behind, former.event)
                continue
            counters.replayed += 1
            errand.replayed[former.position] = number
            if behind is not None and self._deliveries.keep_behind(
                behind, number, former.agent, former.event, now
            ):
                continue
            delivery = Delivery(number, former.agent, former.event, 0, None, now)
            self._deliveries.enqueue_checked(delivery, now)
        for position, errand in commit.drops:
            was_there = next(numbers) != 0
            counters.dropped += was_there
            (errand.dropped if was_there else errand.missing).append(position)
        for errand in commit.errands:
            errand.is_kept = True

    def _why_not(self, letter: DeadLetter, taken: int) -> tuple[Code, str] | None:
        """Why ``letter`` cannot be replayed now; None when it can.

        ``taken`` are the bytes of others for agents of its type that are replayed with it.
        """
        agent_type, key = letter.delivery.agent
        state = self._types.get(agent_type)
        if state is None:
            reason = f"there is no agent type {agent_type!r} now: start a worker that registers it"
            return Code.NOT_FOUND, reason
        if not state.takes_events:
            reason = f"{agent_type!r} is now a type of an AutoGen worker, which takes calls alone"
            return Code.FAILED_PRECONDITION, reason
        try:
            if not state.is_exclusive:
                check_key("agent key", key)
        except CallboardError as error:
            return error.code, str(error)
        problem = self._why_no_room(state, taken, bytes_of(letter.delivery.event))
        return None if problem is None else (Code.RESOURCE_EXHAUSTED, problem)

    def _why_no_room(self, state: AgentTypeState, taken: int, size: int) -> str | None:
        queued, limit = self._loads.bytes, self._limits.max_queued_bytes
        if queued + size > limit:
            return (
                f"the host's queues are full: they hold {queued} bytes, this event is {size} more, "
                f"the limit is {limit}"
            )
        queued, limit = state.queues.bytes + taken, self._limits.max_exclusive_bytes
        if state.is_exclusive and queued + size > limit:
            return (
                f"{queued} bytes wait for its worker already, this event is {size} more, the limit "
                f"is {limit}"
            )
        load = state.load
        if not state.is_exclusive and (load.line or not load.has_room(size, self._bound)):
            return load.why_full(self._bound)
        return None
