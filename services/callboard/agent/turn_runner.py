"""The shell that runs turns: it holds the agents of one process and does what `core.turns` allows.

Deliveries and calls come in by plain methods that never wait; what came of them leaves through a
`TurnOutput`. Turns share tasks (`Servers`): an idle agent costs none, and a busy one none an event.
Each turn has a context of its own, and a task that a turn leaves cancelled serves no further one:
what a handler does to either ends with its turn.

The end of a turn is told in two steps. A turn that published has ended for its agent, whose next
turn may begin; but it is settled only when the host has all that it published, and fails if that
was refused. Settlements of one agent leave in the order in which its turns have ended. One that is
followed by another attempt of the same event is told to nobody, but in its place: all that the
attempts published is confirmed first.

An agent that is being closed is not idle: its partition is given up only when `close` has ended,
and so does another instance of it begin. Agents that are idle for too long, or too many, are closed
as well (`Deactivation`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Coroutine, Sequence
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any

from callboard.agent.activations import Activations, Place
from callboard.agent.beginnings import Beginnings
from callboard.agent.claims import claims_of
from callboard.agent.closings import DEFAULT_CLOSE_TIMEOUT_S
from callboard.agent.context import MessageContext, context_of_call, context_of_event
from callboard.agent.deactivation import DEFAULT_MAX_INSTANCES, Deactivation
from callboard.agent.endings import Endings, TurnOutput
from callboard.agent.exceptions import CantHandleException, Reject
from callboard.agent.failures import NOT_OF_THE_TURN, failure_of, raised_by_agent, rejection_of
from callboard.agent.instances import Instances
from callboard.agent.leaving import Leaving
from callboard.agent.payloads import Payloads, readable
from callboard.agent.retries import Retries, limited
from callboard.agent.servers import Servers
from callboard.agent.streaming import StreamCredit, run_through, send_nowhere
from callboard.agent.turn import CURRENT_TURN, Activation, AgentFactory, Incoming, Turn
from callboard.core.errors import (
    Code,
    InvalidIdentifier,
    RemoteAgentError,
)
from callboard.core.event import Delivery, DeliveryId, Event, Grant, TurnId
from callboard.core.frames import (
    Call,
    CallFailure,
    Claims,
    Partitions,
    Reply,
)
from callboard.core.identity import AgentId
from callboard.core.retry import DEFAULT_POLICY, Policy
from callboard.core.turns import Admission
from callboard.log import Logger

if TYPE_CHECKING:
    from callboard.agent.agent import Agent
    from callboard.agent.agent_runtime import AgentRuntime
    from callboard.agent.codec import Codec
    from callboard.agent.serialization import SerializationRegistry
    from callboard.agent.tracing import Tracer

log = Logger(__name__)


class TurnRunner:
    """Runs the turns of the agents of one process.

    Lifecycle: make it, give it factories; `deliver`, `call`, `cancel`, `surrender` while inside
    `run`. Outside of `run` what arrives is kept and no turn begins. No turn outlives `run`.

    Attributes:
        lease_until: No turn begins later, in the loop's time.
        beginnings: The turns that wait for the host to know of them.
        payloads: Reads messages and writes replies.
        tracer: Makes the spans of turns; None makes none.
    """

    def __init__(
        self,
        runtime: AgentRuntime,
        output: TurnOutput,
        serializers: SerializationRegistry,
        codec: Codec,
        *,
        on_response: Callable[[Any, AgentId, AgentId | None], Awaitable[Any]] | None = None,
        max_calls_waiting: int = 64,
        close_timeout_s: float = DEFAULT_CLOSE_TIMEOUT_S,
        idle_timeout_s: float = 0.0,
        max_instances: int = DEFAULT_MAX_INSTANCES,
    ) -> None:
        """Take in nothing yet, and run nothing before `run`.

        Args:
            runtime: What factories and handlers find as theirs.
            output: Where the runner tells what came of deliveries, calls and partitions.
            serializers: Write and read messages.
            codec: Wraps them for the wire.
            on_response: Sees each reply before it leaves, with the agents that reply and called;
                what it returns is sent.
            max_calls_waiting: Calls that may wait for one agent; more are refused with
                RESOURCE_EXHAUSTED.
            close_timeout_s: How long an agent's `close` may take; then it is cancelled.
            idle_timeout_s: How long an agent that was made here may be idle before it is closed; 0:
                for ever.
            max_instances: How many of those there may be before the one idle longest is closed.
        """
        self._output = output
        self._retries = Retries(self._go_on)
        self._endings = Endings(output, self._retries, self._policy_of)
        self._codec = codec
        self._on_response = on_response
        self._max_calls_waiting = max_calls_waiting
        self.lease_until = inf
        self.beginnings = Beginnings()
        self.payloads = Payloads(serializers, codec)
        self.tracer: Tracer | None = None
        self._activations = Activations(max_calls_waiting)
        self._instances = Instances(runtime, self._activations, self._changed, close_timeout_s)
        self._deactivation = Deactivation(
            self._instances, self._check, idle_timeout_s, max_instances
        )
        self._leaving = Leaving()
        self._turns: dict[TurnId, Turn] = {}
        self._waiting_calls: dict[int, Activation] = {}
        self._servers = Servers(self._next_turn, self._left)
        self._tasks: asyncio.TaskGroup | None = None
        self._is_paused = False
        self._no_turns = asyncio.Event()

    # Agents.

    def add_factory(self, agent_type: str, factory: AgentFactory) -> None:
        """Make agents of ``agent_type`` with ``factory``."""
        self._instances.factories[agent_type] = factory
        self._activations.limit(agent_type, factory.policy.max_concurrency)

    def remove_factory(self, agent_type: str) -> None:
        """Make no more agents of ``agent_type``, and let go of those that there are.

        A turn that runs ends with the instance that it has, which is closed then.
        """
        factory = self._instances.factories.pop(agent_type, None)
        self._activations.unlimit(agent_type)
        for activation in self._activations:
            if activation.agent_id.type == agent_type:
                if activation.mailbox.is_running and factory is not None and factory.makes_new:
                    activation.is_retired = True
                else:
                    self._instances.let_go(activation)
                self._check(activation)

    def divide(self, partitions: int) -> None:
        """The host has so many partitions; agents made before that was known find theirs."""
        self._activations.divide(partitions)

    def current_turn(self) -> Turn | None:
        """The turn of this runner that runs where this is asked; None outside, and after it."""
        turn = CURRENT_TURN.get()
        return turn if turn is not None and turn.is_open and turn.owner is self else None

    @property
    def instances(self) -> dict[AgentId, Agent]:
        """The instances that there are."""
        return {
            each.agent_id: each.instance for each in self._activations if each.instance is not None
        }

    async def instance_of(self, agent_id: AgentId) -> Agent:
        """The instance of an agent, made when there is none.

        Raises `NotFound` for a type without factory.
        """
        address = (agent_id.type, agent_id.key)
        while (closing := self._activations.of(address).closing) is not None:
            await asyncio.wait([closing])
        activation = self._activations.of(address)
        return activation.instance or await self._instances.of(activation)

    # What the host says.

    def deliver(self, event: Event, targets: list[Delivery]) -> None:
        """Take in an event for some agents of this process."""
        incoming = Incoming(event.content, self._codec.decode_event, self.payloads.read)
        for delivery in targets:
            activation = self._activations.find(delivery.agent)
            if activation is None:
                try:
                    activation = self._activations.of(delivery.agent)
                except InvalidIdentifier as error:
                    self._output.settle(delivery, rejection_of(error))
                    continue
            if self._leaving.is_too_late(activation, delivery.grant):
                self._check(activation)
                continue
            activation.grant = delivery.grant
            if activation.mailbox.deliver(delivery, incoming):
                self._go_on(activation)

    def call(self, call: Call) -> None:
        """Take in a call for an agent of this process."""
        try:
            activation = self._activations.of(call.target)
        except InvalidIdentifier as error:
            self._output.reply(Reply(call.id, b"", CallFailure.of(error)))
            return
        if self._leaving.is_given_up(activation, call.grant):
            self._check(activation)
            return
        activation.grant = call.grant
        match activation.mailbox.call(call):
            case Admission.RUNS_NOW if self._may_begin():
                activation.mailbox.begin(call.id)
                turn = self._begin_call(activation, call)
                self._start(self._run_call(turn, call), f"call {call.id}")
            case Admission.REFUSED:
                reason = f"{self._max_calls_waiting} calls wait for {activation.agent_id} already"
                self._output.reply(
                    Reply(call.id, b"", CallFailure(Code.RESOURCE_EXHAUSTED, reason))
                )
            case Admission.WAITS:
                self._waiting_calls[call.id] = activation
                self._go_on(activation)

    def cancel(self, call_id: int) -> None:
        """Nobody wants the answer to a call any more. The host has answered it already."""
        turn = self._turns.get(call_id)
        if turn is not None:
            turn.cancel()
            return
        activation = self._waiting_calls.pop(call_id, None)
        if activation is not None:
            activation.mailbox.withdraw(call_id)
            self._check(activation)

    def credit(self, call_id: int, count: int) -> None:
        """The caller of a streamed call has room for so many more answers."""
        turn = self._turns.get(call_id)
        if turn is not None and turn.credit is not None:
            turn.credit.add(count)
        elif call_id in self._waiting_calls:
            self._waiting_calls[call_id].mailbox.credit(call_id, count)

    def surrender(self, asked: Partitions) -> None:
        """Give partitions up.

        What runs ends, what waits is released, the agents are closed, then
        `TurnOutput.surrendered`.
        """
        done: list[tuple[int, Grant]] = []
        for partition, grant in asked.partitions:
            place = (asked.agent_type, partition)
            self._leaving.ask(place, grant)
            for activation in self._activations.at(place):
                self._retries.release(activation)
                self._endings.give_back(activation)
                self._endings.tell_events(activation)
            if self._give_up(place) is not None:
                done.append((partition, grant))
        if done:
            self._output.surrendered(Partitions(asked.agent_type, tuple(done)))

    def cut_off(self) -> None:
        """The session is lost, and all its grants: others may have the agents by now.

        What waits is dropped, what runs is cancelled, all agents are closed; nothing of it is told,
        neither now nor when it ends.
        """
        self._leaving.clear()
        self.drop_calls()
        self._cut_off(list(self._activations))

    def claims(self) -> Claims:
        """What there is here of the session: agents, by partition, and events."""
        return claims_of(self._activations, self._turns.values())

    def begun(self) -> list[DeliveryId]:
        """What was lost before and has begun here: see `callboard.agent.beginnings`."""
        return list(self.beginnings.begun(self._activations, self._turns.values()))

    def drop_calls(self) -> None:
        """Nobody waits for the answers to calls: forget those that wait, cancel those that run."""
        self._endings.era += 1
        for activation in self._waiting_calls.values():
            activation.mailbox.drop_calls()
        self._waiting_calls.clear()
        for turn in list(self._turns.values()):
            if turn.delivery is None:
                turn.cancel()

    def keep_only(self, kept: Sequence[Partitions], unanswered: Container[int]) -> None:
        """Another host is there: of the agents those of ``kept`` stay as they are; see `cut_off`.

        ``unanswered`` are the positions of settlements that it is still to hear of.
        """
        grants = {
            (partitions.agent_type, partition): grant
            for partitions in kept
            for partition, grant in partitions.partitions
        }
        void = []
        for activation in self._activations:
            if activation.place not in grants or activation.grant is None:
                self._leaving.withdraw(activation.place)
                void.append(activation)
            else:
                activation.lift_fence(unanswered)
                self._check(activation)
        self._cut_off(void)

    def _cut_off(self, activations: list[Activation]) -> None:
        for activation in activations:
            activation.era += 1
            activation.grant = None
            self._retries.forget(activation)
            activation.mailbox.drop()
            factory = self._instances.factories.get(activation.agent_id.type)
            if activation.mailbox.is_running and factory is not None and factory.makes_new:
                activation.is_retired = True
            else:
                self._instances.let_go(activation)
        for turn in list(self._turns.values()):
            if turn.delivery is not None and turn.era != turn.activation.era:
                turn.cancel()
        for activation in activations:
            self._check(activation)

    # Life.

    async def run(self) -> None:
        """Run turns until cancelled; then cancel those running, whose deliveries stay unsettled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._servers.start(tasks)
                try:
                    self._deactivation.start()
                    self._resume()
                    await asyncio.get_running_loop().create_future()
                finally:
                    self._tasks = None
                    self._servers.stop()
                    self._deactivation.stop()
        finally:
            for turn in list(self._turns.values()):  # cancelled before its first step
                self._drop(turn)
            for activation in self._activations.busy:
                activation.server_count = 0

    async def pause(self) -> None:
        """Begin no event's turn from here on; return when no turn runs.

        Calls are still served meanwhile. When this is cancelled, events are served again as well.
        """
        self._is_paused = True
        try:
            while self._turns:
                self._no_turns.clear()
                await self._no_turns.wait()
        except asyncio.CancelledError:
            self._resume()
            raise

    def _resume(self) -> None:
        self._is_paused = False
        for activation in self._activations.busy:
            self._go_on(activation)

    async def wait_idle(self) -> None:
        """Return when `is_idle`."""
        await self._activations.wait_idle()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, no turn runs, no agent closes and all ends of turns are told."""
        return self._activations.are_idle

    async def close_agents(self, within_s: float | None = None) -> None:
        """Call ``close`` of every instance, once, and forget them; return when all have ended.

        One that raises does not keep the others. One whose turn still runs is not closed; asked
        again after that has ended, it is. An agent that asks for it in its own `close` does not
        wait.

        Args:
            within_s: Cancel those that take longer; None: they have their whole timeout.
        """
        closed: list[Activation] = []
        for activation in self._activations:
            if activation.mailbox.is_running:
                agent = str(activation.agent_id)
                log.warning("agent is not closed: its turn still runs", agent=agent)
            else:
                self._instances.begin_close(activation)
                closed.append(activation)
        await self._instances.wait_closed(within_s)
        for activation in closed:
            self._forget(activation)

    # Inside.

    def tell(self, turn: Turn) -> None:
        """All that ``turn`` published is confirmed or refused.

        Tell how it ended, in order for events.
        """
        self._endings.tell(turn)
        self._check(turn.activation)

    def _forget(self, activation: Activation) -> None:
        self._retries.forget(activation)
        self._deactivation.forget(activation)
        self._activations.forget(activation)

    def _go_on(self, activation: Activation) -> None:
        """Serve an agent for whom something waits."""
        self._activations.set_busy(activation)
        self._servers.serve(activation)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(work, name=name, context=Context())

    def _next_turn(
        self, activation: Activation, now: float, task: asyncio.Task[Any]
    ) -> Coroutine[Any, Any, None] | None:
        """Begin what the mailbox has next, in ``task``; None when nothing may run."""
        mailbox = activation.mailbox
        if activation.is_retired:
            if mailbox.is_running:
                return None  # the end of the last of them goes on
            self._instances.begin_close(activation)
        if activation.closing is not None:
            return None  # its end goes on
        if now >= self.lease_until:
            return None  # all of it is about to be dropped
        item = mailbox.next(now, events=not self._is_paused)
        if item is None:
            self._retries.wake_when_due(activation, now)
            return None
        if mailbox.max_concurrency > 1 and mailbox.is_waiting:
            self._go_on(activation)
        if isinstance(item, Call):
            return self._run_call(self._begin_call(activation, item), item)
        delivery, incoming = item
        turn = self._begin(activation, delivery.turn, delivery)
        return self._run_event(turn, delivery, incoming, task)

    def _left(self, activation: Activation) -> None:
        """A task serves the agent no more."""
        if self._activations.is_busy(activation):  # otherwise the end of its turn was checked
            self._check(activation)

    def _begin_call(self, activation: Activation, call: Call) -> Turn:
        self._waiting_calls.pop(call.id, None)
        turn = self._begin(activation, call.id, None)
        if call.credit:
            turn.credit = StreamCredit(call.credit)
        return turn

    async def _run_event(
        self, turn: Turn, delivery: Delivery, incoming: Incoming, task: asyncio.Task[Any]
    ) -> None:
        try:
            turn.enter(task)
            if delivery.losses:
                await self._begin_known(delivery)
            if self.tracer is None:
                await self._handle_event(turn, delivery, incoming)
            else:
                envelope = readable(incoming.envelope)
                with self.tracer.process_event(delivery, envelope, turn.activation.partition):
                    await self._handle_event(turn, delivery, incoming)
        except NOT_OF_THE_TURN:
            raise
        except BaseException as error:
            if self._is_stopping(turn, error):
                raise
            policy, is_leaving = self._policy_of(turn), turn.activation.place in self._leaving
            if turn.era == turn.activation.era:
                self._retries.fail(turn, delivery, incoming, error, policy, is_leaving=is_leaving)
        self._end(turn)

    async def _begin_known(self, delivery: Delivery) -> None:
        await self.beginnings.wait(delivery)
        if not self._may_begin():
            await asyncio.get_running_loop().create_future()  # its turn is about to be cancelled

    async def _handle_event(self, turn: Turn, delivery: Delivery, incoming: Incoming) -> None:
        envelope, message = incoming.decoded()
        context = context_of_event(delivery, envelope, turn.token)
        timeout_s = self._policy_of(turn).turn_timeout_s
        if timeout_s is None:
            await self._handle(turn, message, context)
        else:
            with limited(turn, timeout_s):
                await self._handle(turn, message, context)

    def _policy_of(self, turn: Turn) -> Policy:
        factory = self._instances.factories.get(turn.activation.agent_id.type)
        return DEFAULT_POLICY if factory is None else factory.policy

    async def _run_call(self, turn: Turn, call: Call) -> None:
        try:
            turn.enter(asyncio.current_task())
            if self.tracer is None:
                turn.reply = await self._handle_call(turn, call)
            else:
                envelope = readable(lambda: self._codec.decode_payload(call.payload))
                with self.tracer.process_call(call, envelope, turn.activation.partition):
                    turn.reply = await self._handle_call(turn, call)
        except NOT_OF_THE_TURN:
            raise
        except BaseException as error:
            if self._is_stopping(turn, error):
                raise
            turn.reply = Reply(call.id, b"", failure_of(error))
        self._end(turn)

    async def _handle_call(self, turn: Turn, call: Call) -> Reply:
        envelope = self._codec.decode_payload(call.payload)
        message = self.payloads.read(envelope)
        context = context_of_call(call, envelope, turn.token)
        result = await self._handle(turn, message, context)
        if inspect.isasyncgen(result):
            return await self._stream(turn, call, result, context)
        if self._on_response is not None:
            result = await self._on_response(result, turn.activation.agent_id, context.sender)
        return Reply(call.id, self.payloads.write(result))

    async def _stream(
        self, turn: Turn, call: Call, answers: AsyncGenerator[Any, Any], context: MessageContext
    ) -> Reply:
        """Send each of ``answers`` as soon as the caller has room for it; how the stream ends."""
        agent_id = turn.activation.agent_id
        if turn.credit is None:
            msg = f"{agent_id} answers with a stream: call it by stream_message"
            raise CantHandleException(msg)

        async def send(answer: Any) -> None:
            if self._on_response is not None:
                answer = await self._on_response(answer, agent_id, context.sender)
            payload = self.payloads.write(answer)
            if turn.era == self._endings.era:
                self._output.reply(Reply(call.id, payload, last=False))

        await run_through(answers, send, turn.credit)
        return Reply(call.id)

    async def _handle(self, turn: Turn, message: Any, context: MessageContext) -> Any:
        activation = turn.activation
        agent = activation.instance or await self._instances.of(activation)
        try:
            result = await agent.on_message(message, context)
        except (CantHandleException, Reject, RemoteAgentError):
            raise
        except Exception as error:
            # Also one of Callboard's own: an agent that finds no other agent was itself found.
            raise raised_by_agent(error) from error
        if result is not None and not context.is_rpc and inspect.isasyncgen(result):
            await run_through(result, send_nowhere, None)
        return result

    def _begin(self, activation: Activation, turn_id: TurnId, delivery: Delivery | None) -> Turn:
        turn = Turn(activation, turn_id, delivery, self)
        turn.era = self._endings.era if delivery is None else activation.era
        self._activations.set_busy(activation)
        activation.untold_count += 1
        self._turns[turn_id] = turn
        return turn

    def _may_begin(self) -> bool:
        return asyncio.get_running_loop().time() < self.lease_until

    def _is_stopping(self, turn: Turn, error: BaseException) -> bool:
        """Whether the runner's end, rather than the turn's, has ended it. If so it is dropped."""
        if self._tasks is not None or not isinstance(error, asyncio.CancelledError):
            return False
        self._drop(turn)
        return True

    def _drop(self, turn: Turn) -> None:
        """The runner stops, and the turn with it: nothing is told of it."""
        self._close_turn(turn)
        turn.is_dropped = True
        turn.activation.untold_count -= 1

    def _end(self, turn: Turn) -> None:
        """The handler has returned: the agent is free.

        The end is told now or when all is confirmed.
        """
        activation = turn.activation
        self._close_turn(turn)
        if turn.delivery is not None:
            activation.ended.append(turn)
            if activation.mailbox.released:
                self._endings.give_back(activation)
        if not turn.unconfirmed:
            self.tell(turn)
        mailbox = activation.mailbox
        if mailbox.is_waiting and activation.server_count < mailbox.max_concurrency:
            self._go_on(activation)

    def _close_turn(self, turn: Turn) -> None:
        turn.is_open = False
        self._turns.pop(turn.id, None)
        if not self._turns:
            self._no_turns.set()
        turn.activation.mailbox.finish(turn.id)

    def _check(self, activation: Activation) -> None:
        """An activation may have become idle: see who waits for that.

        Outside of `run` nothing is surrendered: turns that were cancelled have told no end.
        """
        if activation.is_retired and activation.is_idle:
            self._instances.begin_close(activation)
        if not activation.is_idle:
            return
        place = activation.place
        if place in self._leaving and self._tasks is not None:
            grant = self._give_up(place)
            if grant is not None:
                self._output.surrendered(Partitions(place[0], ((place[1], grant),)))
            elif not activation.is_idle:
                return  # it is being closed
        elif activation.instance is None:
            if not activation.mailbox.is_fenced:
                self._forget(activation)
        elif activation.is_made:
            self._deactivation.rest(activation)
            if activation.closing is not None:
                return  # there are too many
        self._activations.set_idle(activation)

    def _give_up(self, place: Place) -> Grant | None:
        """Let go of a partition that is asked for, if nothing of it runs; the grant it had then.

        First its agents are closed; the end of the last asks again.
        """
        activations = self._activations.at(place)
        if not all(activation.is_idle for activation in activations):
            return None
        for activation in activations:
            self._instances.let_go(activation)
        if not all(activation.is_idle for activation in activations):
            return None
        for activation in activations:
            self._forget(activation)
            self._activations.set_idle(activation)
        return self._leaving.give_up(place)

    def _changed(self, activation: Activation) -> None:
        """Its instance has been made or closed: see what may go on."""
        if activation.mailbox.is_idle:
            self._check(activation)
        else:
            self._go_on(activation)
