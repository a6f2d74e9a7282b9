"""Passes calls to whoever holds their agent, and answers back to whoever called.

Invariant: every call taken gets exactly one ending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.calls import MAX_CHAIN, OpenCall, OpenCalls
from callboard.core.errors import CallboardError, Code
from callboard.core.frames import Call, CallFailure, Credit, Reply, clipped
from callboard.core.identity import check_agent_type, check_key
from callboard.core.limits import too_large
from callboard.core.outbox import size_of_reply
from callboard.core.partition import partition_of
from callboard.core.session import STREAMS

if TYPE_CHECKING:
    from callboard.core.agenda import Agenda
    from callboard.core.agent_types import AgentTypes, AgentTypeState
    from callboard.core.deliveries import Deliveries
    from callboard.core.event import Address, TurnId
    from callboard.core.limits import BrokerLimits
    from callboard.core.session import Session


class Exchange:
    """The open calls, and where they are."""

    def __init__(
        self, types: AgentTypes, deliveries: Deliveries, limits: BrokerLimits, agenda: Agenda
    ) -> None:
        self._types = types
        self._deliveries = deliveries
        self._limits = limits
        self._agenda = agenda
        self._calls: OpenCalls[Session] = OpenCalls()

    @property
    def open_count(self) -> int:
        """Calls without an ending yet."""
        return len(self._calls)

    # What callers and callees say.

    def call(self, session: Session, call: Call, now: float) -> None:
        """Take a call; see `Broker.call`."""
        chain = self._chain_of(session, call.parent)
        opened = self._calls.begin(
            session,
            call.id,
            call.target,
            call.payload,
            deadline=now + (call.remaining_s or self._limits.call_timeout_s),
            chain=chain,
            sender=call.sender,
            hop=call.hop,
            credit=call.credit,
        )
        if opened is None:
            return
        self._agenda.counters.calls += 1
        failure = self._too_much_credit(opened) or self._why_not(opened)
        if failure is not None:
            self._end(opened, *failure)
            return
        state = self._types.get(call.target[0])
        if state is None:
            reason = f"no worker has registered the agent type {call.target[0]!r}"
            self._end(opened, Code.NOT_FOUND, reason)
            return
        try:
            if session.is_foreign and not state.is_exclusive:
                check_key("agent key", call.target[1])
        except CallboardError as error:
            self._end(opened, error.code, str(error))
        else:
            self._place(state, opened, now)

    def reply(self, session: Session, reply: Reply) -> None:
        """Pass an answer on; see `Broker.reply`."""
        error = reply.error
        limit = self._limits.max_event_bytes
        if error is not None:
            error = error.clipped()
        elif len(reply.payload) > limit:
            reason = too_large("reply", len(reply.payload), limit)
            error = CallFailure(Code.RESOURCE_EXHAUSTED, reason)
        is_last = reply.last or error is not None
        call = self._calls.answer(reply.call_id, session, last=is_last)
        if call is None:
            return
        if not is_last:
            if not call.credit:
                self._end(call, Code.INTERNAL, _too_many_answers(call))
                self._tell_cancelled(call)
                return
            call.credit -= 1
            call.has_begun = True
        answer = Reply(call.caller_id, reply.payload if error is None else b"", error, is_last)
        problem = self._problem_of_room(call.caller, size_of_reply(answer))
        if problem is not None:
            if not is_last:
                self._calls.end(call)
            answer = Reply(call.caller_id, b"", CallFailure(Code.RESOURCE_EXHAUSTED, problem))
        if answer.error is not None:
            self._agenda.counters.calls_failed += 1
            if not reply.last:
                self._tell_cancelled(call)
        call.caller.outbox.reply(answer)
        self._agenda.wake(call.caller)

    def cancel(self, session: Session, caller_id: int) -> None:
        """The caller gave a call up: its handler is told."""
        call = self._calls.cancel(session, caller_id)
        if call is not None:
            self._withdraw(call)

    def credit(self, session: Session, credit: Credit) -> None:
        """Let a streamed call have further answers; see `Broker.credit`."""
        call = self._calls.made(session, credit.call_id)
        if call is None or not call.is_streamed or not credit.count:
            return
        call.credit += credit.count
        failure = self._too_much_credit(call)
        if failure is not None:
            self._end(call, *failure)
            self._withdraw(call)
        elif call.callee is not None and _streams(call.callee):
            call.callee.outbox.credit(call.id, credit.count)
            self._agenda.wake(call.callee)

    # What happens to sessions, partitions and types.

    def lose(self, session: Session) -> None:
        """``session`` is gone: fail what it should have answered, withdraw what it had asked."""
        unanswered, unwanted = self._calls.lose(session)
        for call in unwanted:
            self._withdraw(call)
        for call in unanswered:
            self._fail(call, Code.UNAVAILABLE, _lost(call))

    def restart(self, session: Session) -> None:
        """See `Broker.restart`: what the session was not told yet, it will be."""
        for call in self._calls.made_and_assigned(session):
            if call.caller is session:
                self._calls.end(call)
                self._withdraw(call)
            elif not session.outbox.has_call(call.id):
                self._end(call, Code.UNAVAILABLE, _lost(call))

    def begin_grant(
        self, state: AgentTypeState, partition: int, session: Session, now: float
    ) -> None:
        """``partition`` has a holder: send what waited for one."""
        for call in state.calls.take(partition):
            self._send(state, partition, call, session, now)

    def end_grants(
        self, state: AgentTypeState, session: Session, partitions: set[int], now: float
    ) -> None:
        """``session`` has given ``partitions`` up, and answered all that it had received for them.

        What it has not answered had not reached it when it did: it drops those, unrun, and they go
        to the next holder.
        """
        for call in self._calls.assigned_to(session):
            if call.target[0] != state.name:
                continue
            if partition_of(*call.target, len(state.grants)) in partitions:
                session.outbox.recall(call.id)
                if call.has_begun:
                    self._end(call, Code.UNAVAILABLE, _lost(call))
                    continue
                self._calls.assign(call, None)
                self._place(state, call, now)

    def forget(self, state: AgentTypeState) -> None:
        """The type has ended, and with it what waited for a holder."""
        for call in state.calls.take_all():
            self._end(call, Code.UNAVAILABLE, f"the agent type {state.name!r} has ended")

    def end_all(self, reason: str) -> None:
        """See `Broker.end_calls`."""
        for call in self._calls.all():
            self._end(call, Code.UNAVAILABLE, reason)
            self._withdraw(call)

    # What time does.

    def next_deadline(self) -> float | None:
        """When `expire` next has work; None when no call is open."""
        return self._calls.next_deadline()

    def expire(self, now: float) -> None:
        """End the calls whose deadline has passed."""
        for call in self._calls.expire(now):
            if call.callee is None:
                reason = f"no worker of agent type {call.target[0]!r} came in time"
                self._fail(call, Code.UNAVAILABLE, reason)
            else:
                what = "end of the stream" if call.is_streamed else "reply"
                reason = f"no {what} from {_name(call.target)} in time"
                self._fail(call, Code.DEADLINE_EXCEEDED, reason)
            self._withdraw(call)

    # Inside.

    def _why_not(self, call: OpenCall[Session]) -> tuple[Code, str] | None:
        """Why ``call`` cannot be taken, whatever there is to take it; None when it can."""
        try:
            for agent in (call.target, call.sender):
                if agent is not None and not call.caller.is_foreign:
                    check_agent_type(agent[0])
                    check_key("agent key", agent[1])
        except CallboardError as error:
            return error.code, str(error)
        limits = self._limits
        if self._calls.made_by(call.caller) > limits.max_open_calls:
            reason = (
                f"{limits.max_open_calls} calls of this session are open already, that is the limit"
            )
            return Code.RESOURCE_EXHAUSTED, reason
        size = len(call.payload)
        if size > limits.max_event_bytes:
            return Code.RESOURCE_EXHAUSTED, too_large("call", size, limits.max_event_bytes)
        if self._calls.size > limits.max_call_bytes:
            reason = (
                f"the open calls have {self._calls.size - call.size} bytes, this one {call.size} "
                f"more; the limit is {limits.max_call_bytes}"
            )
            return Code.RESOURCE_EXHAUSTED, reason
        if len(call.chain) > MAX_CHAIN:
            reason = (
                f"more than {MAX_CHAIN} calls wait for each other on the way to "
                f"{_name(call.target)}"
            )
            return Code.RESOURCE_EXHAUSTED, reason
        return None

    def _chain_of(self, session: Session, parent: TurnId | None) -> tuple[TurnId, ...]:
        """The turns that wait for a call made in ``parent``; none when that does not run there."""
        if isinstance(parent, int):
            outer = self._calls.get(parent)
            if outer is not None and outer.callee is session:
                return (*outer.chain, parent)
        elif parent is not None:
            found = self._deliveries.find_out(parent[0])
            if found is not None:
                delivery, queue, state = found
                if delivery.turn == parent and state.grants.holder(queue.partition) is session:
                    return (parent,)
        return ()

    def _place(self, state: AgentTypeState, call: OpenCall[Session], now: float) -> None:
        partition = partition_of(*call.target, len(state.grants))
        session = state.grants.open_to(partition)
        if session is None and call.chain:
            # The agent may be waiting for this very call before it can finish its turn and let go.
            session = state.grants.holder(partition)
        limit = self._limits.max_calls_waiting
        if session is not None:
            self._send(state, partition, call, session, now)
        elif state.calls.count_for(partition, call.target) >= limit:
            reason = f"{limit} calls wait for {_name(call.target)} already"
            self._end(call, Code.RESOURCE_EXHAUSTED, reason)
        else:
            state.calls.add(partition, call)

    def _send(
        self,
        state: AgentTypeState,
        partition: int,
        call: OpenCall[Session],
        session: Session,
        now: float,
    ) -> None:
        problem = self._problem_of_room(session, call.size)
        if problem is not None:
            self._end(call, Code.RESOURCE_EXHAUSTED, problem)
            return
        if call.is_streamed and not _streams(session) and not session.is_foreign:
            reason = f"the worker that holds {_name(call.target)} does not know streamed calls"
            self._end(call, Code.UNIMPLEMENTED, reason)
            return
        self._calls.assign(call, session)
        session.outbox.call(
            Call(
                id=call.id,
                target=call.target,
                payload=call.payload,
                remaining_s=max(call.deadline - now, 0.001),
                chain=call.chain,
                sender=call.sender,
                hop=call.hop,
                grant=state.grants.grant_of(partition),
                credit=call.credit if _streams(session) else 0,
            )
        )
        self._agenda.wake(session)

    def _problem_of_room(self, session: Session, size: int) -> str | None:
        """Why there is no room for a call or an answer on the way to ``session``; None: there is.

        One alone always has room.
        """
        unread, limit = session.outbox.unread_bytes, self._limits.max_unread_bytes
        if not unread or unread + size <= limit:
            return None
        return (
            f"calls and answers of {unread} bytes wait for worker {session.client_id!r} to read "
            f"them, this one has {size} more; the limit is {limit}"
        )

    def _too_much_credit(self, call: OpenCall[Session]) -> tuple[Code, str] | None:
        limit = self._limits.max_stream_credit
        if call.credit <= limit:
            return None
        return Code.INVALID_ARGUMENT, f"credit for {call.credit} answers; the limit is {limit}"

    def _end(self, call: OpenCall[Session], code: Code, reason: str) -> None:
        self._calls.end(call)
        self._fail(call, code, reason)

    def _fail(self, call: OpenCall[Session], code: Code, reason: str) -> None:
        """Answer an ended call with an error."""
        self._agenda.counters.calls_failed += 1
        if call.caller.is_live:
            failure = CallFailure(code, clipped(reason))
            call.caller.outbox.reply(Reply(call.caller_id, b"", failure))
            self._agenda.wake(call.caller)

    def _withdraw(self, call: OpenCall[Session]) -> None:
        """An ended call is wanted no more: take it out of its line, or tell who runs it."""
        if call.callee is not None:
            self._tell_cancelled(call)
            return
        state = self._types.get(call.target[0])
        if state is not None:
            state.calls.remove(partition_of(*call.target, len(state.grants)), call)

    def _tell_cancelled(self, call: OpenCall[Session]) -> None:
        if call.callee is not None and call.callee.is_live:
            call.callee.outbox.cancel(call.id)
            self._agenda.wake(call.callee)


def _streams(session: Session) -> bool:
    return STREAMS in session.capabilities


def _lost(call: OpenCall[Session]) -> str:
    return f"the worker that ran {_name(call.target)} was lost"


def _too_many_answers(call: OpenCall[Session]) -> str:
    asked = "than it had credit for" if call.is_streamed else "to a call with one"
    return f"the worker that ran {_name(call.target)} sent more answers {asked}"


def _name(agent: Address) -> str:
    return f"{agent[0]}/{agent[1]}"
