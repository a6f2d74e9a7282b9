"""What waits in the engine alone: decided when it is kept, read back when its turn comes near.

The broker holds what is near the heads of its queues, as much as `BrokerLimits.memory_bytes` allow;
what is published beyond stays behind, in the engine::

    publish --> commit --> at hand -------------------------------> handed out
                   |                                    ^
                   +-----> behind --wanted--> read --commit

Whether a delivery is at hand or behind the engine is told with it, and told again when it is read.
It is queued when the engine knows: so the next host finds at hand whatever a worker may have.

Invariants:

* What is behind for an agent comes after all that is at hand for it: as long as anything of it is
  behind, what is published for it goes behind as well. So it does as long as anything is left of a
  type of its name that has ended.
* An agent type has at hand what is free, at most (dynamic thresholds of shared buffers): one type
  takes half of the memory, ten a tenth each, and there is always some for one more. What its
  workers have room for comes on top of that, or it would never come.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from callboard.core.errors import CallboardError
from callboard.core.identity import check_key
from callboard.core.load import bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from callboard.core.agenda import Agenda
    from callboard.core.agent_types import AgentTypes, AgentTypeState
    from callboard.core.commit import Append, Commit, DeadLetter
    from callboard.core.event import Address, Delivery, Event
    from callboard.core.queues import AgentQueue

PAGE = 256
"""How many events are read for an agent at once; and it is time for more when half are left."""

READ_AT_ONCE = 2048
"""How many events are read in one go, of all agents. The next go begins when they are queued."""


class PageRequest(NamedTuple):
    """What is to be read for one agent: the next that are behind.

    Attributes:
        beyond: Those that come after this position.
        limit: How many at most.
    """

    queue: AgentQueue
    beyond: int
    limit: int

    @property
    def agent(self) -> Address:
        """Whose they are."""
        return self.queue.agent


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is behind for one agent, as the next host finds it.

    Attributes:
        count: How many deliveries.
        bytes: What their events have, together.
        first_position: Of the first of them.
        since: When the engine had that, in the broker's time.
    """

    agent: Address
    count: int
    bytes: int
    first_position: int
    since: float


class Backlogs:
    """What is behind, of all agents. See the module.

    Attributes:
        bytes: What it takes room for: see `bytes_of`.
    """

    def __init__(self, types: AgentTypes, memory_bytes: int, agenda: Agenda) -> None:
        """Begin with nothing behind.

        Args:
            types: Whose agents they are.
            memory_bytes: How much is at hand; 0: all.
            agenda: What is to be kept.
        """
        self._types = types
        self._loads = types.loads
        self._limit = memory_bytes
        self._agenda = agenda
        self._wanted: deque[AgentQueue] = deque()  # each once, by `AgentQueue.is_wanted`
        self._undecided: Counter[str] = Counter()  # bytes by type, of the commit that is given
        self._undecided_bytes = 0
        self._left: Counter[str] = Counter()  # bytes behind of types that have ended, by name
        self._is_reading = False
        self._doomed: set[int] = set()
        self._buried: set[int] = set()
        self._behind_doomed: list[AgentQueue] = []  # wanted, when that is buried
        self.bytes = 0

    def has_room(self, state: AgentTypeState) -> bool:
        """Whether more of the type may be at hand, beyond what is about to be handed out."""
        at_hand = self._loads.bytes - self.bytes - self._undecided_bytes
        behind = state.queues.behind_bytes + self._left[state.name]
        of_type = state.load.bytes - behind - self._undecided[state.name]
        return of_type < self._limit - at_hand

    # What goes behind.

    def assign(self, commit: Commit) -> None:
        """Decide what of ``commit``, which the engine is about to be given, goes behind."""
        at_hand = self._loads.bytes - self.bytes
        # Without a limit there may still be what a former host, that had one, has left behind.
        if not self.bytes and (not self._limit or 2 * at_hand <= self._limit):
            return
        for agent, size in _given(commit):
            self._undecided[agent[0]] += size
            self._undecided_bytes += size
        for append in commit.appends:
            self._assign(append)
        for replay in commit.replays:
            delivery = replay.letter.delivery
            replay.behind = self._decide(delivery.agent, delivery.event)
        self._undecided.clear()

    def _assign(self, append: Append) -> None:
        is_foreign, full = append.session.is_foreign, append.full or ()
        behind = {}
        for agent in append.targets:
            if agent in full:
                # A dead letter with the next commit. Should that not come, it is an event again,
                # for the next host, and comes after those that were before it.
                queue = self._queue_behind(agent)
            else:
                is_odd = is_foreign and not _is_key(agent[1])
                queue = self._decide(agent, append.event, is_odd=is_odd)
            if queue is not None:
                behind[agent] = queue
        if behind:
            append.behind = behind

    def _decide(self, agent: Address, event: Event, *, is_odd: bool = False) -> AgentQueue | None:
        """The queue behind which an event for ``agent`` goes; None: it does not."""
        size = bytes_of(event)
        queue = None if is_odd else self._goes_behind(agent, size)
        self._undecided[agent[0]] -= size
        self._undecided_bytes -= size
        return queue

    def _goes_behind(self, agent: Address, size: int) -> AgentQueue | None:
        state = self._types.get(agent[0])
        if state is None or state.is_exclusive or not state.takes_events:
            return None
        # After what is left of a former type of its name as well: the next host may find both.
        is_last = self._left[agent[0]] or self._queue_behind(agent) is not None
        if not is_last and self.has_room(state):
            return None
        queues = state.queues
        queue = queues.of(agent)
        queue.coming += 1
        queues.behind_bytes += size
        self.bytes += size
        return queue

    def _queue_behind(self, agent: Address) -> AgentQueue | None:
        """The queue of ``agent``, if something is behind, or will be."""
        state = self._types.get(agent[0])
        queue = None if state is None else state.queues.find(agent[1])
        return queue if queue is not None and (queue.behind or queue.coming) else None

    def keep(self, queue: AgentQueue, position: int, event: Event, now: float) -> AgentQueue | None:
        """The engine has one more of ``queue``, behind; the queue that it is behind.

        That is another one when a type of that name has begun anew meanwhile. None, and it is at
        hand, as the engine is to know, when the type has ended.
        """
        queue.coming -= 1
        if not self._is_of_type(queue):
            size = bytes_of(event)
            self._forget(queue, size)
            state = self._types.get(queue.agent[0])
            if state is None or state.is_exclusive or not state.takes_events:
                self._agenda.commit.at_hand.append(position)
                return None
            queue = state.queues.of(queue.agent)
            state.queues.behind_bytes += size
            self.bytes += size
        if not queue.behind:
            queue.loaded, queue.behind_since = position - 1, now
        queue.behind += 1
        return queue

    def not_read(self, requests: Sequence[PageRequest]) -> None:
        """The engine could not read: all of it is asked for again."""
        self._wanted.extend(request.queue for request in requests)
        self.end()

    def spare(self, queue: AgentQueue, event: Event) -> None:
        """One that was assigned is not to be kept after all."""
        queue.coming -= 1
        self._forget(queue, bytes_of(event))

    def doom(self, position: int) -> None:
        """The engine has an event behind for which there was no room: see `_assign`.

        It is not counted, and not to come back when what is around it is read.
        """
        self._doomed.add(position)

    def bury(self, letters: Iterable[DeadLetter]) -> None:
        """The engine has these as dead letters."""
        if self._doomed:
            # What is being read was maybe looked up before.
            positions = (each.delivery.position for each in letters)
            self._buried |= self._doomed.intersection(positions)
            self._forget_buried()

    def _forget_buried(self) -> None:
        if not self._is_reading:
            self._doomed -= self._buried
            if self._buried:
                self._wanted.extend(self._behind_doomed)
                self._behind_doomed.clear()
            self._buried.clear()

    def restore(self, queue: AgentQueue, backlog: Backlog, size: int) -> None:
        """The former host has left ``backlog``, which takes room for ``size``."""
        queue.behind, queue.behind_since = backlog.count, backlog.since
        queue.loaded = backlog.first_position - 1
        self.bytes += size
        if not self._is_of_type(queue):
            self._left[queue.agent[0]] += size

    def end_type(self, state: AgentTypeState) -> None:
        """The type has ended: what is behind is left of it."""
        self._left[state.name] += state.queues.behind_bytes

    # What comes back.

    def want(self, queue: AgentQueue) -> None:
        """Have more of ``queue`` read. Idempotent until it is there."""
        if not queue.is_wanted:
            queue.is_wanted = True
            self._wanted.append(queue)

    @property
    def are_wanted(self) -> bool:
        """Whether the engine is to read something, and reads nothing yet."""
        return bool(self._wanted) and not self._is_reading

    def take_wanted(self) -> AgentQueue:
        """The next of which more is wanted; there is one."""
        return self._wanted.popleft()

    def begin(self) -> None:
        """The engine is asked for what was taken."""
        self._is_reading = True

    def read(self, requests: Sequence[PageRequest], pages: Sequence[Sequence[Delivery]]) -> None:
        """The engine has answered: what it has read is queued when it knows.

        Those for which there was no room in the answer are asked for again; those of which there is
        nothing but what is doomed when that is buried.
        """
        if not pages[0]:
            queue = requests[0].queue
            msg = f"the engine has lost {queue.behind} events for {queue.agent}"
            raise RuntimeError(msg)
        commit = self._agenda.commit
        for request, found in zip(requests, pages, strict=True):
            page = found
            if self._doomed:
                page = [each for each in found if each.position not in self._doomed]
            if page:
                commit.pages.append((request.queue, page))
                commit.at_hand += [each.position for each in page]
            elif found:
                self._behind_doomed.append(request.queue)
            else:
                self._wanted.append(request.queue)
        if not commit.pages:
            self.end()

    def take(self, queue: AgentQueue, deliveries: Sequence[Delivery]) -> None:
        """The engine knows that ``deliveries`` are at hand."""
        size = sum(bytes_of(each.event) for each in deliveries)
        queue.wake()
        queue.is_wanted = False
        queue.behind -= len(deliveries)
        queue.loaded, queue.behind_since = deliveries[-1].position, deliveries[-1].enqueued_at
        queue.waiting.extend(deliveries)
        self._forget(queue, size)

    def end(self) -> None:
        """All that was read in one go is queued: the next may begin."""
        self._is_reading = False
        self._forget_buried()

    def _forget(self, queue: AgentQueue, size: int) -> None:
        """Of what is behind ``queue``, so much is not any more."""
        self.bytes -= size
        name = queue.agent[0]
        state = self._types.get(name)
        if state is not None and self._is_of_type(queue):
            state.queues.behind_bytes -= size
            return
        self._left[name] -= size
        if not self._left[name]:
            del self._left[name]

    def _is_of_type(self, queue: AgentQueue) -> bool:
        """Whether the type is still the one of which ``queue`` is."""
        state = self._types.get(queue.agent[0])
        return state is not None and state.queues.find(queue.agent[1]) is queue


def _given(commit: Commit) -> Iterator[tuple[Address, int]]:
    """What takes room of all that ``commit`` brings: for whom, and how much."""
    for append in commit.appends:
        full = append.full or ()
        for agent in append.targets:
            if agent not in full:
                yield agent, bytes_of(append.event)
    for replay in commit.replays:
        yield replay.letter.delivery.agent, bytes_of(replay.letter.delivery.event)


def _is_key(key: str) -> bool:
    try:
        check_key("agent key", key)
    except CallboardError:
        return False
    return True
