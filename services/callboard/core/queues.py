"""The events that wait for the agents of one type, and the runs that are out.

For each agent with events there is a queue: a FIFO of what waits, and one contiguous run of what is
out, all of it at one session under one grant. Settlements make a prefix of the run; a release
returns that delivery and all after it to the front. Agents without events have no queue, but for a
few kept for their next one.

A lane is one session's side of it: how much may still be handed out there, and which queues wait
for room.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, cast

from callboard.core.event import Delivery
from callboard.core.identity import MAX_NAME_BYTES
from callboard.core.partition import partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from callboard.core.session import Session

WEIGHT = 0.25
"""Of what the latest settlements tell, in the estimate of how long an agent's turns are."""

MAX_IDLE_QUEUES = 1024
"""Empty queues kept by type, for making one costs more than an event; beyond it the oldest goes."""


_ASLEEP = cast("deque[Delivery]", ())
_NONE_SETTLED = cast("set[int]", ())


class AgentQueue:
    """What waits for one agent, and what is out.

    One that has only ever had something behind is asleep, and takes a quarter of the memory: there
    may be a million of them. It is woken before anything is added to it.

    Attributes:
        waiting: Not handed out, at hand, in order.
        out: Handed out and not settled: contiguous, in order, before all of ``waiting``.
        settled: Positions within ``out``, after its head, that were settled before their turn.
        not_before: The broker's time before which nothing is handed out; 0 when there is no such
            time.
        is_listed: Whether it waits for room in a lane.
        turn_s: How long it takes from the end of one turn to that of the next, about, as far as the
            host sees; infinite as long as nobody knows.
        since: When the run began, or last lost its head, in the broker's time.
        ended: Turns that have ended since then.
        behind: How many more wait, after all of ``waiting``, in the engine alone: see
            `callboard.core.backlogs`.
        coming: How many the engine is being given to be behind.
        behind_since: When the engine had the first of those behind, about, in the broker's time.
        loaded: Those behind come after this position.
        is_wanted: Whether some of them are being read.
    """

    __slots__ = (
        "agent",
        "behind",
        "behind_since",
        "coming",
        "ended",
        "is_listed",
        "is_wanted",
        "loaded",
        "not_before",
        "out",
        "partition",
        "settled",
        "since",
        "turn_s",
        "waiting",
    )

    def __init__(self, agent: tuple[str, str], partition: int, turn_s: float = inf) -> None:
        self.agent = agent
        self.turn_s = turn_s
        self.since = 0.0
        self.ended = 0
        self.partition = partition
        self.waiting = _ASLEEP
        self.out = _ASLEEP
        self.settled = _NONE_SETTLED
        self.not_before = 0.0
        self.is_listed = False
        self.behind = 0
        self.coming = 0
        self.behind_since = 0.0
        self.loaded = 0
        self.is_wanted = False

    def wake(self) -> None:
        """Have room for what is at hand. Idempotent."""
        if self.waiting is _ASLEEP:
            self.waiting, self.out, self.settled = deque(), deque(), set()

    def settle(self, delivery: Delivery) -> None:
        """Remove ``delivery`` from the run; out of order it leaves with those before it."""
        if self.out[0] is delivery:
            self.out.popleft()
            while self.settled and self.out and self.out[0].position in self.settled:
                self.settled.discard(self.out.popleft().position)
        else:
            self.settled.add(delivery.position)

    def take_back(self, first: Delivery | None = None) -> list[Delivery]:
        """Return the run from ``first`` on (None: all of it) to the front of what waits.

        What it was.
        """
        returned: list[Delivery] = []
        while self.out:
            delivery = self.out.pop()
            if delivery.position in self.settled:
                self.settled.discard(delivery.position)
            else:
                self.waiting.appendleft(delivery.to_be_handed_out_again())
                returned.append(delivery)
            if delivery is first:
                break
        returned.reverse()
        return returned

    def share(self, most: int, turns_at_once: int, ahead_s: float, now: float) -> int:
        """How many deliveries may be out: as many as end within ``ahead_s``, at most ``most``.

        One that was lost with a session is out alone. An agent of which nothing has ended for that
        long is slow, whatever it was.
        """
        out = self.out
        run = out or self.waiting
        if run and run[0].losses:
            return 1
        turn_s = self.turn_s
        if out and now - self.since > ahead_s:
            return min(most, turns_at_once)
        if turn_s * most <= ahead_s:
            return most
        return min(most, max(turns_at_once, int(ahead_s / turn_s)))

    def learn(self, now: float) -> None:
        """Turns have ended, until now: see how long they took."""
        turn_s = (now - self.since) / self.ended
        known = self.turn_s
        self.turn_s = turn_s if known == inf else known + WEIGHT * (turn_s - known)
        self.since, self.ended = now, 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, nothing will, and nothing is out."""
        return not (self.waiting or self.out or self.behind or self.coming)


class Lane:
    """What is out of one agent type at one session, and the queues that wait for room there.

    Attributes:
        is_open: The engine knows that its session serves the type: it may get partitions.
        room: How many more deliveries may be out.
        turns_at_once: How many turns each of its agents has at once there.
        ready: Queues with something to hand out when there is room, each once, in turn.
        reading: Those of which it was the turn, and of which something is being read first: room is
            kept for one delivery of each, or of thousands that are ready all would be read at once.
    """

    __slots__ = ("is_open", "reading", "ready", "room", "session", "turns_at_once", "window")

    def __init__(self, session: Session, window: int, turns_at_once: int = 1) -> None:
        self.session = session
        self.is_open = False
        self.turns_at_once = turns_at_once
        self.window = window
        self.room = window
        self.ready: deque[AgentQueue] = deque()
        self.reading: set[AgentQueue] = set()

    @property
    def in_flight(self) -> int:
        """Deliveries out."""
        return self.window - self.room


class Queues:
    """The queues of one agent type, by key and by partition.

    Attributes:
        waiting_count: Deliveries that wait to be handed out, those behind among them.
        behind_bytes: What is behind, and what is coming there: see `bytes_of`.
        turn_s: As of its agents; what is assumed of one that is new.
        bytes: What waits and what is out: see `bytes_of`.
    """

    def __init__(self, agent_type: str, partitions: int) -> None:
        self._agent_type = agent_type
        self._partitions = partitions
        self._by_key: dict[str, AgentQueue] = {}
        self._busy: dict[int, dict[str, AgentQueue]] = {}
        self._idle: dict[str, AgentQueue] = {}
        self.waiting_count = 0
        self.behind_bytes = 0
        self.turn_s = inf
        self.bytes = 0

    def __iter__(self) -> Iterator[AgentQueue]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, agent: tuple[str, str]) -> AgentQueue:
        """The queue of an agent of this type, made when there is none, to be added to.

        A new one is asleep.
        """
        key = agent[1]
        queue = self._by_key.get(key)
        if queue is None:
            partition = partition_of(self._agent_type, key, self._partitions)
            queue = AgentQueue(agent, partition, self.turn_s)
            self._by_key[key] = queue
            self._busy.setdefault(queue.partition, {})[key] = queue
        elif self._idle.pop(key, None) is not None:
            self._busy.setdefault(queue.partition, {})[key] = queue
        return queue

    def find(self, key: str) -> AgentQueue | None:
        """The queue of an agent of this type, if there is one."""
        return self._by_key.get(key)

    def learn(self, queue: AgentQueue, now: float) -> None:
        """Turns of ``queue`` have ended, until now."""
        queue.learn(now)
        known, turn_s = self.turn_s, queue.turn_s
        self.turn_s = turn_s if known == inf else known + WEIGHT * (turn_s - known)

    def rest(self, queue: AgentQueue) -> None:
        """Let an empty queue go; the newest `MAX_IDLE_QUEUES` are kept for their next event.

        One with a key longer than ours, of another protocol, is not kept.
        """
        key = queue.agent[1]
        if key in self._idle:
            return
        busy = self._busy[queue.partition]
        del busy[key]
        if not busy:
            del self._busy[queue.partition]
        if len(key) > MAX_NAME_BYTES:
            del self._by_key[key]
            return
        self._idle[key] = queue
        if len(self._idle) > MAX_IDLE_QUEUES:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            del self._by_key[oldest]

    def in_partition(self, partition: int) -> list[AgentQueue]:
        """The queues with events of one partition."""
        return list(self._busy.get(partition, {}).values())

    def oldest_at(self) -> float | None:
        """When the engine had the event that waits longest, in the broker's time; None for none.

        Looks at every agent with events: for people who ask, not for the hot path.
        """
        heads = (
            queue.waiting[0].enqueued_at if queue.waiting else queue.behind_since
            for queue in self.busy()
            if queue.waiting or queue.behind
        )
        return min(heads, default=None)

    def busy(self) -> Iterator[AgentQueue]:
        """The queues with events."""
        for queues in list(self._busy.values()):
            yield from list(queues.values())
