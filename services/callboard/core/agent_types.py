"""The agent types of a broker: who serves them, what they subscribe to, what waits for them.

A type is durable unless all its workers declare it for their sessions only: it outlives them. While
workers of the type are live, its subscriptions are the union of what the live sessions declare;
when the last worker leaves, what it declared stays, so that events published meanwhile wait for the
next worker. It stays for `RETURN_S` after that worker has come: a worker names its types first, and
then, one after the other, what they subscribe to. What a live session takes back ends at once.

A durable type that no worker has served for `BrokerLimits.type_retention_s` is to end. A host that
starts gives each that long anew: it does not know for how long there was no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from callboard.core.calls import WaitingCalls
from callboard.core.frames import SubscriptionEntry
from callboard.core.grants import Grants, Serials, nobody
from callboard.core.kept import KeptType
from callboard.core.load import Load, Loads
from callboard.core.placement import weights_of
from callboard.core.queues import Queues
from callboard.core.routing import Kind, Routes
from callboard.core.session import Session

if TYPE_CHECKING:
    from callboard.core.commit import Commit

RETURN_S = 10.0
"""How long a worker has, once it serves a type that had none, to declare what that subscribes to.

Until then the type is also subscribed to what its last worker had declared. Too short loses events;
too long gives a new version of an agent some that it subscribes to no more.
"""

RETURNS = 3
"""How many workers may come back and be lost again before what stayed from before them goes."""

Pattern: TypeAlias = tuple[Kind, str]


class AgentTypeState:
    """One agent type.

    Attributes:
        session_only: Whether it ends with its last worker. Once it does not it never will: no
            worker can take from others what waits for them.
        is_exclusive: Whether the one worker that serves it lets no other.
        takes_events: Whether events go to it.
        workers: The live sessions that serve it, and what each wants of the partitions.
        plan: Who should hold each partition; a partition goes there as soon as it is free.
        calls: The calls that wait for a holder of their agent's partition.
        load: What of it takes room.
    """

    __slots__ = (
        "calls",
        "grants",
        "is_exclusive",
        "load",
        "name",
        "plan",
        "queues",
        "session_only",
        "takes_events",
        "workers",
    )

    def __init__(
        self, name: str, partitions: int, serials: Serials, load: Load, *, session_only: bool
    ) -> None:
        self.name = name
        self.load = load
        self.session_only = session_only
        self.is_exclusive = False
        self.takes_events = True
        self.queues = Queues(name, partitions)
        self.grants: Grants[Session] = Grants(partitions, serials)
        self.plan: list[Session | None] = nobody(partitions)
        self.workers: dict[Session, Sequence[int]] = {}
        self.calls: WaitingCalls[Session] = WaitingCalls()

    def add_worker(self, session: Session) -> None:
        """``session`` serves the type from here on."""
        self.workers[session] = weights_of(session.client_id, self.name, len(self.grants))


class AgentTypes:
    """All agent types by name, with the index of their subscriptions.

    Attributes:
        subscription_count: What all sessions declare, and what stays that nobody declares. It
            rises by what is declared, never by what leaves.
        loads: What of each type takes room.
    """

    def __init__(self, partitions: int, serials: Serials, retention_s: float) -> None:
        self._partitions = partitions
        self._retention_s = retention_s
        self._unserved_since: dict[str, float] = {}  # in the order of time
        self._serials = serials
        self.loads = Loads()
        self._routes = Routes()
        self._states: dict[str, AgentTypeState] = {}
        self._declared: dict[str, dict[Pattern, set[Session | None]]] = {}
        self._returned_at: dict[str, float] = {}  # in the order of time
        self._returns: dict[str, int] = {}
        self.subscription_count = 0
        self._changed: dict[str, None] = {}
        self._gone: dict[str, None] = {}

    # What is kept.

    def restore(self, kept: Iterable[KeptType], now: float) -> None:
        """These types were durable when the former host ended; nobody serves them yet."""
        for name, patterns in kept:
            self.ensure(name, session_only=False)
            self._unserved_since[name] = now
            for pattern in patterns:
                self._assert(name, pattern, None)
        self._changed.clear()

    @property
    def has_news(self) -> bool:
        """Whether `put_news` has something."""
        return bool(self._changed or self._gone)

    def put_news(self, commit: Commit) -> None:
        """Have ``commit`` keep what is new of durable types."""
        types = []
        for name in self._changed:
            state = self._states.get(name)
            if state is not None and not state.session_only:
                types.append(KeptType(name, tuple(self.patterns(name))))
        commit.declare(types, self._gone)
        self._changed.clear()
        self._gone.clear()

    def get(self, name: str) -> AgentTypeState | None:
        """The type of that name."""
        return self._states.get(name)

    def __iter__(self) -> Iterator[AgentTypeState]:
        return iter(list(self._states.values()))

    def __len__(self) -> int:
        return len(self._states)

    def ensure(self, name: str, *, session_only: bool) -> AgentTypeState:
        """The type of that name, made when there is none."""
        state = self._states.get(name)
        if state is None:
            load = self.loads.begin(name)
            state = AgentTypeState(
                name, self._partitions, self._serials, load, session_only=session_only
            )
            self._states[name] = state
        elif not session_only:
            state.session_only = False
        if not session_only:
            self._changed[name] = None
            self._gone.pop(name, None)
        return state

    def forget(self, name: str) -> None:
        """Drop the type and what stayed behind of its subscriptions."""
        if not self._states[name].session_only:
            self._gone[name] = None
        del self._states[name]
        self._unserved_since.pop(name, None)
        self.loads.end(name)
        self.drop_kept(name)

    def subscribers(self, topic_type: str, *, any_text: bool = False) -> tuple[str, ...]:
        """The names of the types subscribed to ``topic_type``, known or not: see `Routes.match`."""
        return self._routes.match(topic_type, any_text=any_text)

    def patterns(self, name: str) -> list[Pattern]:
        """What the type subscribes to, in order."""
        return sorted(self._declared.get(name, {}))

    def declare(
        self,
        session: Session,
        old: Iterable[SubscriptionEntry],
        new: Iterable[SubscriptionEntry],
    ) -> None:
        """``session`` declares ``new`` where it had declared ``old``."""
        before, after = set(old), set(new)
        self.subscription_count += len(after) - len(before)
        for entry in sorted(after - before):
            self._assert(entry.agent_type, (entry.kind, entry.pattern), session)
        gone = before - after
        if gone:
            # Two subscriptions with different ids may say the same.
            stay = {(entry.agent_type, entry.kind, entry.pattern) for entry in after}
            for entry in sorted(gone):
                if (entry.agent_type, entry.kind, entry.pattern) not in stay:
                    self._withdraw(entry.agent_type, (entry.kind, entry.pattern), session)

    def keep_after(self, name: str, declared: Iterable[SubscriptionEntry]) -> None:
        """The last worker of ``name`` is gone: what it had ``declared`` for the type stays.

        What its predecessor had declared, and it not, stays too if it was not there for `RETURN_S`,
        but not for more than `RETURNS` such workers.
        """
        if self._returned_at.pop(name, None) is not None:
            self._returns[name] = self._returns.get(name, 0) + 1
        if self._returns.get(name, 0) >= RETURNS:
            self.drop_kept(name)
        for entry in declared:
            if entry.agent_type == name:
                self._assert(name, (entry.kind, entry.pattern), None)

    def unserved(self, name: str, now: float) -> None:
        """The last worker of ``name`` is gone."""
        self._unserved_since[name] = now

    def served(self, name: str) -> None:
        """``name`` has a worker."""
        self._unserved_since.pop(name, None)

    def forsaken(self, now: float) -> list[AgentTypeState]:
        """The durable types that have been without a worker for as long as they are kept so."""
        until = now - self._retention_s
        return [self._states[name] for name, at in self._unserved_since.items() if at <= until]

    def returned(self, name: str, now: float) -> None:
        """``name`` has a worker again: what stayed stays for `RETURN_S`."""
        if any(None in sessions for sessions in self._declared.get(name, {}).values()):
            self._returned_at.setdefault(name, now)

    def take_back(self, entries: Iterable[SubscriptionEntry]) -> None:
        """A live session declares these no more: they do not stay either."""
        for entry in entries:
            self._withdraw(entry.agent_type, (entry.kind, entry.pattern), None)

    def next_deadline(self) -> float | None:
        """When `expire` or `forsaken` next has work; None when nothing stays for a time."""
        dues = [at + RETURN_S for at in islice(self._returned_at.values(), 1)]
        dues += [at + self._retention_s for at in islice(self._unserved_since.values(), 1)]
        return min(dues, default=None)

    def expire(self, now: float) -> None:
        """Drop what stayed of types whose workers have been back long enough."""
        for name in [each for each, at in self._returned_at.items() if at + RETURN_S <= now]:
            self.drop_kept(name)

    def drop_kept(self, name: str) -> None:
        """Only what live sessions declare of ``name`` counts from here on."""
        self._returned_at.pop(name, None)
        self._returns.pop(name, None)
        for pattern in list(self._declared.get(name, {})):
            self._withdraw(name, pattern, None)

    def _assert(self, name: str, pattern: Pattern, session: Session | None) -> None:
        sessions = self._declared.setdefault(name, {}).setdefault(pattern, set())
        if not sessions:
            self._routes.add(*pattern, name)
            self._changed[name] = None
        self.subscription_count -= _is_kept(sessions)
        sessions.add(session)
        self.subscription_count += _is_kept(sessions)

    def _withdraw(self, name: str, pattern: Pattern, session: Session | None) -> None:
        patterns = self._declared.get(name, {})
        sessions = patterns.get(pattern)
        if sessions is None or session not in sessions:
            return
        self.subscription_count -= _is_kept(sessions)
        sessions.discard(session)
        self.subscription_count += _is_kept(sessions)
        if not sessions:
            self._routes.remove(*pattern, name)
            self._changed[name] = None
            del patterns[pattern]
            if not patterns:
                del self._declared[name]


def _is_kept(sessions: set[Session | None]) -> bool:
    """Whether a subscription stays that no live session declares."""
    return len(sessions) == 1 and None in sessions
