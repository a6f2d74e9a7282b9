"""The runtime that holds agents for a host."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from functools import cache
from importlib.metadata import version
from typing import Self
from uuid import uuid4

from callboard.agent.base_runtime import DEFAULT_CALL_TIMEOUT_S, BaseRuntime
from callboard.agent.calls_made import hear, resolve
from callboard.agent.closings import DEFAULT_CLOSE_TIMEOUT_S, is_in_close
from callboard.agent.deactivation import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_MAX_INSTANCES
from callboard.agent.intervention import InterventionHandler
from callboard.agent.publishes import Done, OutsidePublishes, UnconfirmedPublishes
from callboard.core.errors import (
    CallboardError,
    NotAllowedNow,
    PublishOutcomeUnknown,
    Unavailable,
    Unsupported,
    cause_of,
    error_of,
)
from callboard.core.event import Delivery, Event
from callboard.core.frames import (
    Call,
    Claims,
    HostFrame,
    Outcome,
    Partitions,
    Registered,
    Registration,
    RegistrationError,
    Reply,
)
from callboard.core.origins import KEPT_S
from callboard.core.session import BEGINNINGS, STREAMS
from callboard.log import Logger
from callboard.telemetry.active import agent_spans
from callboard.wire.codec import CloudEventCodec
from callboard.worker.connection import Greeting, Welcome
from callboard.worker.link import HostLink
from callboard.worker.session import WorkerSession

log = Logger(__name__)

DEFAULT_HOST_ADDRESS = "127.0.0.1:50051"
DEFAULT_CONNECT_TIMEOUT_S = 10.0
DEFAULT_DRAIN_TIMEOUT_S = 30.0

CLOSE_GRACE_S = 2.0
"""How long the host may take to end its half of a stream that a worker has closed."""


CUT_OFF_S = 1.0
"""How long turns may take to end that the drain timeout has cancelled."""

LAST_CLOSES_S = 3.0
"""How long the agents may take to close that had not closed by then."""


class WorkerRuntime(BaseRuntime):
    """Agents that serve a host, and programs that use agents through it.

    Used as ``async with WorkerRuntime(address) as runtime``, or with AutoGen's `start` and `stop`.
    Lifecycle: NEW -> RUNNING -> DRAINING -> CLOSED; a runtime runs once. A host that is lost is
        looked for again. Found within the lease all goes on; after it turns have been cancelled and
        calls have ended with `Unavailable`, what was published and not confirmed is published
        still. When the host stays lost, or does not want this worker, everything that waits for it
        ends with the reason, and so does everything asked for later.
    """

    def __init__(
        self,
        host_address: str = DEFAULT_HOST_ADDRESS,
        *,
        client_id: str | None = None,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        reconnect_timeout_s: float | None = None,
        drain_timeout_s: float = DEFAULT_DRAIN_TIMEOUT_S,
        call_timeout_s: float = DEFAULT_CALL_TIMEOUT_S,
        idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S,
        max_instances: int = DEFAULT_MAX_INSTANCES,
        intervention_handlers: Sequence[InterventionHandler] | None = None,
        extra_grpc_config: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        """Describe it; nothing is opened before `start`.

        Args:
            host_address: The host, as ``host:port``; ``http://`` before it is taken off.
            client_id: Names this worker over restarts of its process, so that agents come back.
                None makes a name of its own for this process.
            connect_timeout_s: How long to look for a host.
            reconnect_timeout_s: How long to look again for one that was lost; None: until `stop`.
            drain_timeout_s: How long `stop` lets turns go on, and agents close, before it cancels
                the turns. Those agents then have `LAST_CLOSES_S` to close.
            call_timeout_s: How long a call may take that names no time.
            idle_timeout_s: How long an agent may be idle before it is closed and forgotten; its
                next message makes a new one. 0: for ever.
            max_instances: How many agents there may be before those idle longest are closed; those
                that are busy are not.
            intervention_handlers: See messages before they leave, in this order.
            extra_grpc_config: Options for the gRPC channel, after Callboard's own.
        """
        super().__init__(
            CloudEventCodec(),
            intervention_handlers=intervention_handlers,
            call_timeout_s=call_timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_instances=max_instances,
            close_timeout_s=min(DEFAULT_CLOSE_TIMEOUT_S, max(drain_timeout_s, LAST_CLOSES_S)),
        )
        self._address = host_address.removeprefix("http://").rstrip("/")
        self._given_client_id = client_id
        self._connect_timeout_s = connect_timeout_s
        self._reconnect_timeout_s = reconnect_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._extra_grpc_config = tuple(extra_grpc_config)
        self._link = self._new_link()
        self._runner.beginnings.tell = self._tell_beginning
        self._welcome: Welcome | None = None
        self._is_declared = False
        self._main: asyncio.Task[None] | None = None
        self._failure: CallboardError | None = None
        self._stop_asked = asyncio.Event()
        self._drained = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._all_confirmed = asyncio.Event()
        self._all_confirmed.set()
        self._publishes = UnconfirmedPublishes()
        self._outside = OutsidePublishes(self._publish)
        self._lost_at: float | None = None  # the last session, if none has begun since
        self._said_through = 0  # the last publish that it may have said
        self._is_cut_off = asyncio.Event()
        self._readiness = _Readiness()
        self._registrations: dict[int, asyncio.Future[Sequence[RegistrationError]]] = {}

    # Life.

    async def start(self) -> None:
        """Connect and register; returns when the host has all that was registered before.

        A start that fails, or is cancelled, leaves nothing running.

        Raises:
            Unavailable: There was no host within the connect timeout; the text names the address.
            CallboardError: The host refused something that was registered.
        """
        if self._main is not None:
            msg = "the runtime has been started already; a runtime runs once"
            raise NotAllowedNow(msg)
        self._link = self._new_link()  # the process may be a fork by now
        self._trace_by(agent_spans(client_id=self.client_id, address=self._address))
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A context of its own: turns must not inherit that of whoever starts the runtime.
        self._main = asyncio.get_running_loop().create_task(
            self._run(connected), name="callboard.worker", context=Context()
        )
        try:
            await asyncio.wait([self._main, connected], return_when=asyncio.FIRST_COMPLETED)
            if self._main.done():
                await self._main
            if not self._declarations.is_empty:
                await self._declare_all()
        except BaseException:
            self._main.cancel()
            await asyncio.wait([self._main])
            hear(self._main)
            raise

    async def stop(self) -> None:
        """Leave: finish the turns that run, give back what waits, close agents, end the session.

        Turns that take longer than the drain timeout are cancelled; the host hands their events out
        again. While the runtime still looks for a host, it looks no longer. Idempotent. It does not
        wait where an agent's `close` asks, for which it would wait.

        Raises:
            NotAllowedNow: It was not started; or a handler asks, which would wait for itself.
        """
        if self._main is None:
            raise _not_started()
        self._refuse_in_turn("stopped")
        self._ask_to_stop()
        if is_in_close():
            return
        with suppress(CallboardError):  # a lost host has been reported to all that waited for it
            await asyncio.shield(self._main)
        await self._runner.close_agents()

    close = stop
    """AutoGen's other name for it."""

    async def stop_when_signal(
        self, signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)
    ) -> None:
        """Run until one of ``signals`` comes, then `stop`.

        Raises `Unavailable` when the host is lost first.
        """
        loop = asyncio.get_running_loop()
        for each in signals:
            loop.add_signal_handler(each, self._ask_to_stop)
        try:
            await self.wait()
        finally:
            for each in signals:
                loop.remove_signal_handler(each)
            await self._runner.close_agents()

    async def wait(self) -> None:
        """Return when the runtime has stopped; raises `Unavailable` when it lost its host."""
        if self._main is not None:
            await asyncio.shield(self._main)

    async def wait_disconnected(self) -> None:
        """Return when the host is lost or left for good, however long turns take that still run."""
        await self._disconnected.wait()

    async def wait_ready(self, *, is_ready: bool = True) -> None:
        """Return when the host can reach the agents that are registered, or cannot."""
        await self._readiness.wait(is_ready=is_ready)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def client_id(self) -> str:
        """This worker's name at the host; one that was not given is another after `start`."""
        return self._greeting.client_id

    @property
    def welcome(self) -> Welcome:
        """What the host said when it took this worker in."""
        if self._welcome is None or self._failure is not None:
            raise self._failure or _not_started()
        return self._welcome

    def _new_link(self) -> HostLink:
        self._greeting = _greeting(self._given_client_id)
        return HostLink(
            self,
            self._address,
            self._greeting,
            connect_timeout_s=self._connect_timeout_s,
            reconnect_timeout_s=self._reconnect_timeout_s,
            options=self._extra_grpc_config,
        )

    async def _run(self, connected: asyncio.Future[None]) -> None:
        try:
            await self._link.open()
            connected.set_result(None)
            async with asyncio.TaskGroup() as tasks:
                turns = tasks.create_task(self._runner.run(), name="turns")
                leaving = tasks.create_task(self._leave(turns), name="leave")
                try:
                    await self._link.run()
                finally:
                    turns.cancel()
                    leaving.cancel()
                    error = sys.exception()
                    if not isinstance(error, asyncio.CancelledError):  # then another knows why
                        # Now, not when turns have ended: one may ignore that it is cancelled.
                        self._end_all(_reason(error))
        except ExceptionGroup as group:
            raise cause_of(group) from group
        finally:
            self._end_all(_reason(sys.exception()))

    def _ask_to_stop(self) -> None:
        self._stop_asked.set()
        self._link.look_no_longer()

    async def _leave(self, turns: asyncio.Task[None]) -> None:
        """When asked to stop.

        Ask the host for leave, wait until nothing is left here, end the session. Its stream stays
        open until the agents are closed: its end lets others have them. A host that does not end
        its half of it is left without a word.
        """
        await self._stop_asked.wait()
        self._ask_for_leave()
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                await self._drained_or_cut_off()
                await self._runner.wait_idle()
                await self._all_confirmed.wait()
                await self._calls.wait_ended()
        except TimeoutError:
            log.warning("drain timed out", timeout_s=self._drain_timeout_s)
        if not self._drained.is_set():
            turns.cancel()
            await asyncio.wait([turns], timeout=CUT_OFF_S)
            await self._runner.close_agents(LAST_CLOSES_S)
        self._link.close()
        await asyncio.sleep(CLOSE_GRACE_S)  # `HostLink.run` has returned, if all is well
        log.warning("the host does not end the stream", address=self._address)
        self._link.abort()

    def _ask_for_leave(self) -> None:
        session = self._link.session
        if session is not None:
            session.outbox.drain = True
            self._link.wake()

    async def _drained_or_cut_off(self) -> None:
        """Return when the host has said that nothing is held, or cannot say so."""
        waiting = [asyncio.ensure_future(each.wait()) for each in (self._drained, self._is_cut_off)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    def _end_all(self, error: CallboardError) -> None:
        """Give everybody who waits for the host an ending. The first reason counts."""
        error = self._failure = self._failure or error
        self._disconnected.set()
        self._readiness.set(is_ready=False)
        self._outside.fail(error)
        self._publishes.fail(error)
        registrations, self._registrations = self._registrations, {}
        for future in registrations.values():
            resolve(future, error)
            hear(future)  # nobody may wait for it: a declaration that is taken back
        self._calls.fail(error)

    # What the link asks and tells.

    @property
    def confirmed(self) -> int:
        """All publishes up to this number are answered."""
        return self._publishes.confirmed

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop_asked.is_set()

    @property
    def needs_host(self) -> bool:
        """Whether turns run, or somebody waits for what a host has to say."""
        return not (self._runner.is_idle and self._publishes.is_empty and self._calls.none_open)

    @property
    def claims(self) -> Claims:
        """What there is of the present session."""
        return self._runner.claims()

    def handed_over(self, reason: CallboardError) -> None:
        """Another host goes on with the session, and knows of no calls."""
        self._runner.drop_calls()
        self._calls.fail(reason)

    def begun(self, session: WorkerSession, welcome: Welcome) -> None:
        """A session has begun: say what is not answered, and what is served."""
        self._welcome = welcome
        self._bind(welcome.max_event_bytes, welcome.partitions)
        self._drained.clear()
        outbox = session.outbox
        given_up = self._give_up_forgotten()
        outbox.confirmed = self._publishes.answered_count
        self._outside.limit = max(1, welcome.publish_window * 3 // 4)
        outbox.publishes.extend(self._publishes.unanswered)
        self._outside.ended(given_up)  # who waits behind them goes on, with the others
        if self._publishes.is_empty:
            self._all_confirmed.set()
        if not self._tells_beginnings:
            self._runner.beginnings.ask_no_more()
        if self.is_stopping:
            outbox.drain = True
        if self._is_declared and not (self.is_stopping and self._runner.is_idle):
            registration = self._declarations.registration()
            self._note_revision(registration).add_done_callback(_complain)
            outbox.register = registration

    def renewed(self, until: float) -> None:
        """No turn begins later than that."""
        self._runner.lease_until = until

    def connected(self, *, is_connected: bool) -> None:
        """The session has a stream, or none."""
        if is_connected:
            self._is_cut_off.clear()
        else:
            self._is_cut_off.set()
        self._readiness.set(is_ready=is_connected and self._is_declared)

    def _give_up_forgotten(self) -> int:
        """Fail what was said so long ago that the host may take it for new if it is said again.

        How many of them had a deadline.
        """
        lost_at, self._lost_at = self._lost_at, None
        if lost_at is None or asyncio.get_running_loop().time() < lost_at + KEPT_S:
            return 0
        msg = f"the host at {self._address} was away for too long to know whether it has the event"
        return self._publishes.give_up(self._said_through, PublishOutcomeUnknown(msg))

    def lost(self, session: WorkerSession, reason: CallboardError) -> None:
        """The session is over: others may have its agents by now."""
        self._lost_at = asyncio.get_running_loop().time()
        unsaid = len(session.outbox.publishes)
        self._said_through = max(self._said_through, self._publishes.last - unsaid)
        self._runner.cut_off()
        self._calls.fail(reason)

    def take(self, frame: HostFrame) -> None:
        """The host has said something.

        What it asks to surrender comes after what it had delivered before.
        """
        for registered in frame.registered:
            self._take_registered(registered)
            self._take_adopted(registered)
        if frame.published_through or frame.published_beyond:
            self._confirm(frame)
        for refusal in frame.settlements_refused:
            log.warning("settlement refused", number=refusal.number, reason=refusal.reason)
        runner = self._runner
        for event, targets in frame.deliveries:
            runner.deliver(event, targets)
        if frame.begun:
            runner.beginnings.known(frame.begun)
        self._take_calls(frame)
        for surrender in frame.surrenders:
            runner.surrender(surrender)
        if frame.drain:
            self._drained.set()

    # How things travel: by frames.

    async def _declare_all(self) -> None:
        for error in await self._declare(self._declarations.registration()):
            raise error_of(error.code, error.reason)

    def _declare(self, registration: Registration) -> asyncio.Future[Sequence[RegistrationError]]:
        if self._failure is not None:
            raise self._failure
        if self._main is None or self._welcome is None:
            future: asyncio.Future[Sequence[RegistrationError]] = (
                asyncio.get_running_loop().create_future()
            )
            future.set_result(())  # all is declared at the start
            return future
        session = self._link.session
        if session is None:
            self._is_declared = True  # all is declared when the next session begins
            return self._note_revision(registration)
        session.outbox.register = registration
        self._is_declared = True
        self._link.wake()
        return self._note_revision(registration)

    def _note_revision(
        self, registration: Registration
    ) -> asyncio.Future[Sequence[RegistrationError]]:
        future = asyncio.get_running_loop().create_future()
        self._registrations[registration.revision] = future
        return future

    def _send_publish(self, event: Event, done: Done, deadline: float | None) -> None:
        if deadline is None or self._welcome is None or self._failure is not None:
            self._publish(event, done, deadline)
        else:
            self._outside.publish(event, done, deadline)

    def _publish(self, event: Event, done: Done, deadline: float | None) -> None:
        if self._failure is not None or self._welcome is None:
            done(self._failure or _not_started())
            return
        self._all_confirmed.clear()
        publish = self._publishes.add(event, done)
        publish.deadline = deadline
        session = self._link.session
        if session is not None:  # otherwise the next one says it
            publishes = session.outbox.publishes
            publishes.append(publish)
            if len(publishes) == 1:  # those before have woken it, or wait for the host's window
                self._link.wake()

    def _send_call(self, call: Call) -> None:
        outbox = self._require_session().outbox
        if call.credit and STREAMS not in self.welcome.capabilities:
            msg = f"the host at {self._address} does not know streamed calls"
            raise Unsupported(msg)
        outbox.calls.append(call)
        self._link.wake()

    def _send_cancel(self, call_id: int) -> None:
        session = self._link.session
        if session is not None:
            session.outbox.cancels.append(call_id)
            self._link.wake()

    def _send_credit(self, call_id: int, count: int) -> None:
        session = self._link.session
        if session is not None:
            session.outbox.credit(call_id, count)
            self._link.wake()

    def _tell_beginning(self, delivery: Delivery) -> bool:
        session = self._link.session
        if session is None or not self._tells_beginnings:
            return False
        session.begin(delivery)
        self._link.wake()
        return True

    @property
    def _tells_beginnings(self) -> bool:
        """Whether the host wants to know when the turn begins of what was lost before."""
        return self._welcome is not None and BEGINNINGS in self._welcome.capabilities

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery has ended."""
        session = self._link.session
        if session is not None:  # otherwise the host hands it out again
            session.settle(delivery, outcome)
            self._link.wake()

    def reply(self, reply: Reply) -> None:
        """A call is answered."""
        session = self._link.session
        if session is not None:
            session.outbox.replies.append(reply)
            self._link.wake()

    def surrendered(self, partitions: Partitions) -> None:
        """No turn of these partitions runs or will run, and their agents are closed."""
        session = self._link.session
        if session is not None:
            session.give_up(partitions)
            self._link.wake()

    def _take_registered(self, registered: Registered) -> None:
        for revision in [each for each in self._registrations if each <= registered.revision]:
            future = self._registrations.pop(revision)
            if not future.done():
                future.set_result(registered.errors)
        self._readiness.set(is_ready=True)

    def _take_adopted(self, registered: Registered) -> None:
        session = self._require_session()
        if session.awaits_adoption:
            unanswered = {each.position for each, _ in session.unconfirmed}
            self._runner.keep_only(registered.adopted, unanswered)
            session.adopted(self._runner.begun() if self._tells_beginnings else ())
            self._link.wake()

    def _confirm(self, frame: HostFrame) -> None:
        outbox = self._require_session().outbox
        outside_count = self._publishes.confirm(frame)  # in turns they have no deadline
        outbox.confirmed = self._publishes.answered_count
        self._outside.ended(outside_count)
        if self._publishes.is_empty:
            self._all_confirmed.set()
        if outbox.publishes:
            self._link.wake()

    @property
    def _publish_window(self) -> int:
        return self.welcome.publish_window

    def _require_session(self) -> WorkerSession:
        session = self._link.session
        if session is None or self._failure is not None:
            raise self._failure or self._no_session()
        return session

    def _no_session(self) -> CallboardError:
        if self._welcome is None:
            return _not_started()
        return Unavailable(f"the host at {self._address} is lost, and looked for")


class _Readiness:
    """Whether a worker serves its agents, for those who wait for it to change."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()
        self._not_ready = asyncio.Event()
        self._not_ready.set()

    def set(self, *, is_ready: bool) -> None:
        """It does from here on, or does not."""
        now, before = (self._ready, self._not_ready) if is_ready else (self._not_ready, self._ready)
        before.clear()
        now.set()

    async def wait(self, *, is_ready: bool) -> None:
        """Return when it is so."""
        await (self._ready if is_ready else self._not_ready).wait()


def _greeting(client_id: str | None) -> Greeting:
    incarnation = uuid4().hex
    own_name = f"{socket.gethostname()}-{os.getpid()}-{incarnation[:6]}"
    return Greeting(client_id or own_name, incarnation, _agent())


def _complain(declared: asyncio.Future[Sequence[RegistrationError]]) -> None:
    """What was served before the session was lost may be refused in the next one."""
    if not declared.cancelled() and declared.exception() is None:
        for error in declared.result():
            log.warning("registration refused", name=error.name, reason=error.reason)


@cache
def _agent() -> str:
    return f"callboard-python/{version('callboard')}"


def _reason(error: BaseException | None) -> CallboardError:
    """Why a runtime has ended, for those who wait; None: it was asked to."""
    if isinstance(error, BaseExceptionGroup):
        error = cause_of(error)
    if error is None or isinstance(error, asyncio.CancelledError):
        return Unavailable("the runtime has stopped")
    if isinstance(error, CallboardError):
        return error
    return CallboardError(f"the runtime broke: {error!r}")


def _not_started() -> NotAllowedNow:
    return NotAllowedNow("the runtime has not been started")
