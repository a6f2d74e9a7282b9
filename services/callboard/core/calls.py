"""The calls that are open: each gets exactly one ending."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from callboard.core.event import Address, TraceContext, TurnId, size_of_pairs

MAX_CHAIN = 32
"""Turns that may wait for one call: A calls B calls C ... A longer chain is a loop in practice."""

W = TypeVar("W", bound=Hashable)


@dataclass(slots=True, eq=False)
class OpenCall(Generic[W]):
    """A call between its beginning and its ending.

    Attributes:
        id: The host's id, never reused in an epoch.
        caller: The session that called.
        caller_id: The id that the caller chose.
        callee: The session that runs it; None while it waits for one.
        deadline: When it ends with DEADLINE_EXCEEDED, in the broker's time, in seconds.
        chain: The turns that wait for it, outermost first.
        is_streamed: It may have many answers. They come one after the other, the last of them ends
            it.
        credit: How many answers its callee may send, the last not counted.
        has_begun: Some of its answers were passed on: nobody else can give the others.
        size: What it takes, in bytes: with its texts, for other protocols have any length of them.
    """

    id: int
    caller: W
    caller_id: int
    target: Address
    payload: bytes
    deadline: float
    chain: tuple[TurnId, ...] = ()
    sender: Address | None = None
    hop: TraceContext | None = None
    callee: W | None = None
    credit: int = 0
    has_begun: bool = False
    is_streamed: bool = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.is_streamed = self.credit > 0
        self.size = len(self.payload) + size_of_pairs(self.target, self.sender, self.hop)


class OpenCalls(Generic[W]):
    """The table of open calls.

    Reads no clock and performs no I/O: each method takes what happened, updates the table and
    returns the calls that are to be told about it.

    Attributes:
        size: What the open calls take, together, in bytes.
    """

    def __init__(self) -> None:
        self._by_id: dict[int, OpenCall[W]] = {}
        self._by_caller: dict[tuple[W, int], OpenCall[W]] = {}
        self._by_session: dict[W, dict[int, OpenCall[W]]] = {}
        self._made: Counter[W] = Counter()
        self._deadlines: list[tuple[float, int]] = []
        self._last_id = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def made_by(self, caller: W) -> int:
        """How many of the open calls ``caller`` made."""
        return self._made[caller]

    def get(self, call_id: int) -> OpenCall[W] | None:
        """The open call of that id."""
        return self._by_id.get(call_id)

    def begin(
        self,
        caller: W,
        caller_id: int,
        target: Address,
        payload: bytes,
        *,
        deadline: float,
        chain: tuple[TurnId, ...] = (),
        sender: Address | None = None,
        hop: TraceContext | None = None,
        credit: int = 0,
    ) -> OpenCall[W] | None:
        """Open a call; None when the caller has one of that id open (a repeated frame)."""
        if (caller, caller_id) in self._by_caller:
            return None
        self._last_id += 1
        call = OpenCall(
            self._last_id,
            caller,
            caller_id,
            target,
            payload,
            deadline,
            chain,
            sender,
            hop,
            credit=credit,
        )
        self._by_id[call.id] = call
        self._by_caller[caller, caller_id] = call
        self._by_session.setdefault(caller, {})[call.id] = call
        heapq.heappush(self._deadlines, (deadline, call.id))
        self._made[caller] += 1
        self.size += call.size
        return call

    def assign(self, call: OpenCall[W], callee: W | None) -> None:
        """``callee`` runs ``call`` from here on; None: it waits for somebody who will."""
        if call.callee is not None and call.callee is not call.caller:
            self._unlink(call.callee, call)
        call.callee = callee
        if callee is not None:
            self._by_session.setdefault(callee, {})[call.id] = call

    def made(self, caller: W, caller_id: int) -> OpenCall[W] | None:
        """The open call that ``caller`` has given that id."""
        return self._by_caller.get((caller, caller_id))

    def answer(self, call_id: int, callee: W, *, last: bool) -> OpenCall[W] | None:
        """The call to pass an answer of ``callee`` on to.

        None for a late, repeated or forged one.
        """
        call = self._by_id.get(call_id)
        if call is None or call.callee is not callee:
            return None
        if last:
            self.end(call)
        return call

    def cancel(self, caller: W, caller_id: int) -> OpenCall[W] | None:
        """The caller gave up: the call that ended by it, whose callee is to be told.

        None when it had ended before.
        """
        call = self._by_caller.get((caller, caller_id))
        if call is not None:
            self.end(call)
        return call

    def lose(self, session: W) -> tuple[list[OpenCall[W]], list[OpenCall[W]]]:
        """``session`` is gone: end all its calls.

        Returns:
            The calls that it should have answered for others, and those whose answer it wanted.
        """
        unanswered: list[OpenCall[W]] = []
        unwanted: list[OpenCall[W]] = []
        for call in self.made_and_assigned(session):
            (unwanted if call.caller is session else unanswered).append(call)
            self.end(call)
        self._by_session.pop(session, None)
        return unanswered, unwanted

    def expire(self, now: float) -> list[OpenCall[W]]:
        """The calls whose deadline has passed, all ended; caller and callee are to be told."""
        expired = []
        while self._deadlines and self._deadlines[0][0] <= now:
            call = self._by_id.get(heapq.heappop(self._deadlines)[1])
            if call is not None:
                self.end(call)
                expired.append(call)
        return expired

    def next_deadline(self) -> float | None:
        """When `expire` next has work; None when nothing is open."""
        while self._deadlines and self._deadlines[0][1] not in self._by_id:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def end(self, call: OpenCall[W]) -> None:
        """Forget ``call``.

        Its deadline stays behind until it is due or outweighs the open calls.
        """
        del self._by_id[call.id]
        del self._by_caller[call.caller, call.caller_id]
        self._made[call.caller] -= 1
        if not self._made[call.caller]:
            del self._made[call.caller]
        self.size -= call.size
        self._unlink(call.caller, call)
        if call.callee is not None:
            self._unlink(call.callee, call)
        if len(self._deadlines) > 2 * len(self._by_id) + 1024:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._by_id]
            heapq.heapify(self._deadlines)

    def all(self) -> list[OpenCall[W]]:
        """Those that are open, oldest first."""
        return list(self._by_id.values())

    def made_and_assigned(self, session: W) -> list[OpenCall[W]]:
        """The calls that ``session`` has made, and those that it is to answer, oldest first."""
        return list(self._by_session.get(session, {}).values())

    def assigned_to(self, session: W) -> list[OpenCall[W]]:
        """The calls that ``session`` is to answer, oldest first."""
        return [call for call in self.made_and_assigned(session) if call.callee is session]

    def _unlink(self, session: W, call: OpenCall[W]) -> None:
        open_there = self._by_session.get(session)
        if open_there is not None:
            open_there.pop(call.id, None)
            if not open_there:
                del self._by_session[session]


class WaitingCalls(Generic[W]):
    """The calls that wait until the partition of their agent has a holder, by agent."""

    def __init__(self) -> None:
        self._by_partition: dict[int, dict[Address, deque[OpenCall[W]]]] = {}

    def count_for(self, partition: int, agent: Address) -> int:
        """How many calls wait for one agent."""
        return len(self._by_partition.get(partition, {}).get(agent, ()))

    def add(self, partition: int, call: OpenCall[W]) -> None:
        """Let ``call`` wait behind those for the same agent."""
        self._by_partition.setdefault(partition, {}).setdefault(call.target, deque()).append(call)

    def remove(self, partition: int, call: OpenCall[W]) -> None:
        """``call`` waits no more. Nothing happens when it did not."""
        agents = self._by_partition.get(partition, {})
        waiting = agents.get(call.target)
        if waiting is None or call not in waiting:
            return
        waiting.remove(call)
        if not waiting:
            del agents[call.target]
            if not agents:
                del self._by_partition[partition]

    def take(self, partition: int) -> list[OpenCall[W]]:
        """The calls that waited for ``partition``, which has a holder now."""
        agents = self._by_partition.pop(partition, {})
        return [call for waiting in agents.values() for call in waiting]

    def take_all(self) -> list[OpenCall[W]]:
        """All calls; none waits any more."""
        return [call for partition in list(self._by_partition) for call in self.take(partition)]

    def __len__(self) -> int:
        return sum(
            len(waiting) for agents in self._by_partition.values() for waiting in agents.values()
        )
