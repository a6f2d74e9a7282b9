"""The runtime without a host: the same broker, turns and encoding, in one process.

What works here works distributed: messages are written and read again, events queue by agent,
handlers run one turn at a time, calls end by the same rules. Only the wire, and what a lost
connection does, is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self

from callboard.agent.base_runtime import DEFAULT_CALL_TIMEOUT_S, BaseRuntime
from callboard.agent.deactivation import DEFAULT_MAX_INSTANCES
from callboard.agent.intervention import InterventionHandler
from callboard.agent.publishes import Done, UnconfirmedPublishes
from callboard.core.broker import Broker, BrokerLimits
from callboard.core.commit import DeadLetter
from callboard.core.errors import NotAllowedNow, Unavailable
from callboard.core.event import Delivery, Event
from callboard.core.frames import (
    Call,
    Credit,
    HostFrame,
    Outcome,
    Partitions,
    Registration,
    RegistrationError,
    Reply,
    Settlement,
)
from callboard.core.session import STREAMS, Session
from callboard.core.worker_outbox import SHORTEST_WAIT_S
from callboard.engine.memory import MemoryEngine
from callboard.telemetry.active import agent_spans, route_spans
from callboard.wire.codec import CloudEventCodec

if TYPE_CHECKING:
    from callboard.telemetry.route_spans import RouteSpans


class LocalRuntime(BaseRuntime):
    """Agents in one process.

    Used as ``async with LocalRuntime() as runtime``, or with AutoGen's `start`, `stop_when_idle`
    and `close`. Before `start` events and calls are taken and wait. All methods belong to one event
    loop.
    """

    def __init__(
        self,
        *,
        intervention_handlers: Sequence[InterventionHandler] | None = None,
        call_timeout_s: float = DEFAULT_CALL_TIMEOUT_S,
        limits: BrokerLimits | None = None,
        idle_timeout_s: float = 0.0,
        max_instances: int = DEFAULT_MAX_INSTANCES,
    ) -> None:
        """Describe it; nothing is opened before `start`.

        Args:
            intervention_handlers: See messages before they are taken, in this order.
            call_timeout_s: How long a call may take that names no time.
            limits: The bounds of the broker; None for a host's defaults.
            idle_timeout_s: How long an agent may be idle before it is closed and forgotten, with
                the state that it has in itself. 0, the default: for ever, as in a notebook an hour
                may lie between two cells.
            max_instances: How many agents there may be before those idle longest are closed; those
                that are busy are not.
        """
        codec = CloudEventCodec()
        super().__init__(
            codec,
            intervention_handlers=intervention_handlers,
            call_timeout_s=call_timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_instances=max_instances,
        )
        self._broker = Broker(1, limits or BrokerLimits())
        self._engine = MemoryEngine()
        self._session = Session("local", "local", capabilities=frozenset({STREAMS}))
        self._broker.join(self._session, 0.0)
        self._bind(self._broker.limits.max_event_bytes, self._broker.limits.partitions)
        self._trace_of = codec.trace_of
        self._spans: RouteSpans | None = None
        self._look_for_tracer()  # events are taken before `start` as well
        self._publishes = UnconfirmedPublishes()
        self._last_settlement = 0
        self._running: asyncio.Task[None] | None = None
        self._pump_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    # Life.

    def start(self) -> None:
        """Begin to run turns. Raises `NotAllowedNow` when that was done."""
        if self._running is not None:
            msg = "the runtime has been started already"
            raise NotAllowedNow(msg)
        if self._spans is None:
            self._look_for_tracer()
        self._running = asyncio.get_running_loop().create_task(
            self._runner.run(), name="callboard.local", context=Context()
        )

    async def stop(self) -> None:
        """Begin no further event's turn; return when those that run have ended. What waits stays.

        Calls that running turns make are still served. `start` goes on from here.

        Raises:
            NotAllowedNow: It does not run; or a handler asks, which would wait for itself.
        """
        running = self._require_running()
        self._refuse_in_turn("stopped")
        await self._runner.pause()
        self._running = None
        running.cancel()
        await asyncio.wait([running])

    async def stop_when_idle(self) -> None:
        """Stop when no event waits, no turn runs and no call is open."""
        await self.stop_when(lambda: self._broker.is_idle and self._runner.is_idle)

    async def stop_when(self, condition: Callable[[], bool]) -> None:
        """Stop as soon as ``condition`` holds; it is asked whenever something has changed."""
        running = self._require_running()
        self._refuse_in_turn("stopped")
        while not condition():
            self._changed.clear()
            waiters: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._changed.wait())]
            if not self._runner.is_idle:  # the last agent to close changes nothing else
                waiters.append(asyncio.ensure_future(self._runner.wait_idle()))
            try:
                await asyncio.wait([*waiters, running], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiter in waiters:
                    waiter.cancel()
            if running.done():
                break
        if self._running is running:
            await self.stop()
        if not running.cancelled():
            await running  # raises what broke it

    async def close(self) -> None:
        """Stop if it runs, then close every agent. Idempotent.

        Calls that are still open end with `Unavailable`.
        """
        if self._running is not None:
            await self.stop()
        self._calls.fail(Unavailable("the runtime has been closed"))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._runner.close_agents()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def unprocessed_messages_count(self) -> int:
        """Events that wait or are being handled, one for each agent that each is for."""
        return self._broker.waiting_count + self._broker.in_flight_count

    async def dead_letters(self) -> Sequence[DeadLetter]:
        """The events that were rejected, oldest first, with the reasons."""
        return await self._engine.dead_letters()

    # How things travel: by reference, through the broker.

    def _declare(self, registration: Registration) -> asyncio.Future[Sequence[RegistrationError]]:
        errors = self._broker.register(self._session, registration, self._now())
        self._schedule_pump()
        declared: asyncio.Future[Sequence[RegistrationError]]
        declared = asyncio.get_running_loop().create_future()
        declared.set_result(errors)
        return declared

    def _send_publish(self, event: Event, done: Done, deadline: float | None) -> None:
        now = self._now()
        publish = self._publishes.add(event, done)
        if deadline is not None:
            publish.remaining_s = max(deadline - now, SHORTEST_WAIT_S)
        publishes = [publish]
        if self._spans is not None:
            self._spans.arrive(publishes)
        self._broker.publish(self._session, publishes, now)
        self._schedule_pump()

    def _send_call(self, call: Call) -> None:
        if self._spans is not None:
            self._spans.call(self._session.id, call)
        self._broker.call(self._session, call, self._now())
        self._schedule_pump()

    def _send_cancel(self, call_id: int) -> None:
        if self._spans is not None:
            self._spans.cancel(self._session.id, call_id)
        self._broker.cancel(self._session, call_id)
        self._schedule_pump()

    def _send_credit(self, call_id: int, count: int) -> None:
        self._broker.credit(self._session, Credit(call_id, count))
        self._schedule_pump()

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery has ended."""
        assert delivery.grant is not None  # noqa: S101 (it was handed out)
        self._last_settlement += 1
        settlement = Settlement(
            self._last_settlement, delivery.position, delivery.attempt, delivery.grant, outcome
        )
        self._broker.settle(self._session, [settlement], self._now())
        self._schedule_pump()

    def reply(self, reply: Reply) -> None:
        """A call is answered."""
        self._broker.reply(self._session, reply)
        self._schedule_pump()

    def surrendered(self, partitions: Partitions) -> None:
        """Never asked for: there is one session."""
        self._broker.surrendered(self._session, partitions, self._now())

    # The pump: does what the broker left to be done, once for all that happened in one step of the
    # loop.

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _schedule_pump(self) -> None:
        if not self._pump_is_due:
            self._pump_is_due = True
            # A context of its own: turns must not inherit that of whoever published.
            asyncio.get_running_loop().call_soon(self._pump, context=Context())

    def _pump(self) -> None:
        self._pump_is_due = False
        broker, outbox = self._broker, self._session.outbox
        now = self._now()
        while True:
            commit = broker.take_commit()
            if commit is not None:
                spans = () if self._spans is None else self._spans.begin(commit)
                broker.committed(commit, self._engine.commit_now(commit), now)
                if self._spans is not None:
                    self._spans.end(spans)
            frame = outbox.take()
            if commit is None and frame is None:
                break
            if frame is not None:
                self._take(frame)
        broker.take_awake()
        self._set_timer()
        self._changed.set()

    def _take(self, frame: HostFrame) -> None:
        self._publishes.confirm(frame)
        for event, targets in frame.deliveries:
            self._runner.deliver(event, targets)
        if self._spans is not None:
            self._spans.answer(self._session.id, frame.replies)
        self._take_calls(frame)

    def _look_for_tracer(self) -> None:
        self._trace_by(agent_spans())
        self._spans = route_spans(
            engine=self._engine.name,
            partitions=self._broker.limits.partitions,
            trace_of=self._trace_of,
        )

    def _set_timer(self) -> None:
        due = self._broker.next_deadline()
        if self._timer is not None and (due is None or self._timer.when() != due):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick, context=Context())

    def _tick(self) -> None:
        self._timer = None
        self._broker.tick(self._now())
        self._pump()

    def _require_running(self) -> asyncio.Task[None]:
        if self._running is None:
            msg = "the runtime has not been started"
            raise NotAllowedNow(msg)
        return self._running
