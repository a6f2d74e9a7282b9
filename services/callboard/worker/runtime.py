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
from callboard.agent.intervention import InterventionHandler
from callboard.agent.publishes import Done, UnconfirmedPublishes
from callboard.core.errors import CallboardError, NotAllowedNow, Unavailable, cause_of, error_of
from callboard.core.event import Delivery, Event
from callboard.core.frames import (
    Call,
    HostFrame,
    Outcome,
    Partitions,
    Publish,
    Registered,
    Registration,
    RegistrationError,
    Reply,
    Settlement,
)
from callboard.log import Logger
from callboard.telemetry.active import agent_spans
from callboard.wire.codec import CloudEventCodec
from callboard.worker.connection import Connection, Identity, Welcome

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
    Lifecycle: NEW -> RUNNING -> DRAINING -> CLOSED; a runtime runs once. When the host is lost,
        everything that waits for it ends with `Unavailable`, and so does everything asked for
        later.
    """

    def __init__(
        self,
        host_address: str = DEFAULT_HOST_ADDRESS,
        *,
        client_id: str | None = None,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        drain_timeout_s: float = DEFAULT_DRAIN_TIMEOUT_S,
        call_timeout_s: float = DEFAULT_CALL_TIMEOUT_S,
        intervention_handlers: Sequence[InterventionHandler] | None = None,
        extra_grpc_config: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        """Describe it; nothing is opened before `start`.

        Args:
            host_address: The host, as ``host:port``; ``http://`` before it is taken off.
            client_id: Names this worker over restarts of its process, so that agents come back.
                None makes a name of its own for this process.
            connect_timeout_s: How long to look for a host.
            drain_timeout_s: How long `stop` lets turns go on, and agents close, before it cancels
                the turns. Those agents then have `LAST_CLOSES_S` to close.
            call_timeout_s: How long a call may take that names no time.
            intervention_handlers: See messages before they leave, in this order.
            extra_grpc_config: Options for the gRPC channel, after Callboard's own.
        """
        super().__init__(
            CloudEventCodec(),
            intervention_handlers=intervention_handlers,
            call_timeout_s=call_timeout_s,
            close_timeout_s=min(DEFAULT_CLOSE_TIMEOUT_S, max(drain_timeout_s, LAST_CLOSES_S)),
        )
        self._address = host_address.removeprefix("http://").rstrip("/")
        self._given_client_id = client_id
        self._identity = _identity(client_id)
        self._connect_timeout_s = connect_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._extra_grpc_config = tuple(extra_grpc_config)
        self._connection: Connection | None = None
        self._main: asyncio.Task[None] | None = None
        self._looking: asyncio.Timeout | None = None
        self._failure: CallboardError | None = None
        self._stop_asked = asyncio.Event()
        self._drained = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._all_confirmed = asyncio.Event()
        self._all_confirmed.set()
        self._publishes = UnconfirmedPublishes()
        self._last_settlement = 0
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
        self._identity = _identity(self._given_client_id)  # the process may be a fork by now
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
        """Return when the session has ended, however long the turns take that still run."""
        await self._disconnected.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def client_id(self) -> str:
        """This worker's name at the host; one that was not given is another after `start`."""
        return self._identity.client_id

    @property
    def welcome(self) -> Welcome:
        """What the host said when it took this worker in."""
        return self._require_connection().welcome

    async def _run(self, connected: asyncio.Future[None]) -> None:
        try:
            connection = await self._connect()
            self._bind(connection.welcome.max_event_bytes, connection.welcome.partitions)
            self._connection = connection
            connected.set_result(None)
            async with asyncio.TaskGroup() as tasks:
                turns = tasks.create_task(self._runner.run(), name="turns")
                leaving = tasks.create_task(self._leave(connection, turns), name="leave")
                try:
                    await connection.run(self._take)
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

    async def _connect(self) -> Connection:
        """Look for the host until it is there, the connect timeout has passed, or `stop`."""
        try:
            async with asyncio.timeout(0 if self._stop_asked.is_set() else None) as self._looking:
                return await Connection.open(
                    self._address,
                    self._identity,
                    timeout_s=self._connect_timeout_s,
                    extra_options=self._extra_grpc_config,
                )
        except TimeoutError as error:
            msg = f"the runtime was stopped before it found the host at {self._address}"
            raise Unavailable(msg) from error
        finally:
            self._looking = None

    def _ask_to_stop(self) -> None:
        self._stop_asked.set()
        if self._looking is not None:
            self._looking.reschedule(asyncio.get_running_loop().time())

    async def _leave(self, connection: Connection, turns: asyncio.Task[None]) -> None:
        """When asked to stop.

        Ask the host for leave, wait until nothing is left here, close the stream. It stays open
        until the agents are closed: its end lets others have them. A host that does not end its
        half of it is left without a word.
        """
        await self._stop_asked.wait()
        connection.outbox.drain = True
        connection.wake()
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                await self._drained.wait()
                await self._runner.wait_idle()
                await self._all_confirmed.wait()
                await self._calls.wait_ended()
        except TimeoutError:
            log.warning("drain timed out", timeout_s=self._drain_timeout_s)
            turns.cancel()
            await asyncio.wait([turns], timeout=CUT_OFF_S)
            await self._runner.close_agents(LAST_CLOSES_S)
        connection.close()
        await asyncio.sleep(CLOSE_GRACE_S)  # `connection.run` has returned, if all is well
        log.warning("the host does not end the stream", address=self._address)
        connection.abort()

    def _end_all(self, error: CallboardError) -> None:
        """Give everybody who waits for the host an ending. The first reason counts."""
        error = self._failure = self._failure or error
        self._connection = None
        self._disconnected.set()
        self._publishes.fail(error)
        registrations, self._registrations = self._registrations, {}
        for future in registrations.values():
            resolve(future, error)
            hear(future)  # nobody may wait for it: a declaration that is taken back
        self._calls.fail(error)

    # How things travel: by frames.

    async def _declare_all(self) -> None:
        for error in await self._declare(self._declarations.registration()):
            raise error_of(error.code, error.reason)

    def _declare(self, registration: Registration) -> asyncio.Future[Sequence[RegistrationError]]:
        future: asyncio.Future[Sequence[RegistrationError]] = (
            asyncio.get_running_loop().create_future()
        )
        if self._connection is None:
            if self._failure is not None:
                raise self._failure
            future.set_result(())  # all is declared at the start
        else:
            self._registrations[registration.revision] = future
            self._connection.outbox.register = registration
            self._connection.wake()
        return future

    def _send_publish(self, event: Event, done: Done) -> None:
        connection = self._connection
        if connection is None:
            done(self._failure or _not_started())
            return
        self._all_confirmed.clear()
        connection.outbox.publishes.append(Publish(self._publishes.add(done), event))
        connection.wake()

    def _send_call(self, call: Call) -> None:
        connection = self._require_connection()
        connection.outbox.calls.append(call)
        connection.wake()

    def _send_cancel(self, call_id: int) -> None:
        if self._connection is not None:
            self._connection.outbox.cancels.append(call_id)
            self._connection.wake()

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery has ended."""
        if self._connection is None or delivery.grant is None:
            return  # the host is lost, and hands it out again
        self._last_settlement += 1
        self._connection.outbox.settlements.append(
            Settlement(
                self._last_settlement, delivery.position, delivery.attempt, delivery.grant, outcome
            )
        )
        self._connection.wake()

    def reply(self, reply: Reply) -> None:
        """A call is answered."""
        if self._connection is not None:
            self._connection.outbox.replies.append(reply)
            self._connection.wake()

    def surrendered(self, partitions: Partitions) -> None:
        """No turn of these partitions runs or will run, and their agents are closed."""
        if self._connection is not None:
            self._connection.outbox.surrendered.append(partitions)
            self._connection.wake()

    def _take(self, frame: HostFrame) -> None:
        """The host has said something.

        What it asks to surrender comes after what it had delivered before.
        """
        for registered in frame.registered:
            self._take_registered(registered)
        if frame.published_through or frame.published_beyond:
            self._confirm(frame)
        for refusal in frame.settlements_refused:
            log.warning("settlement refused", number=refusal.number, reason=refusal.reason)
        runner = self._runner
        for event, targets in frame.deliveries:
            runner.deliver(event, targets)
        for call in frame.calls:
            runner.call(call)
        for reply in frame.replies:
            self._calls.take(reply)
        for call_id in frame.cancels:
            runner.cancel(call_id)
        for surrender in frame.surrenders:
            runner.surrender(surrender)
        if frame.drain:
            self._drained.set()

    def _take_registered(self, registered: Registered) -> None:
        for revision in [each for each in self._registrations if each <= registered.revision]:
            future = self._registrations.pop(revision)
            if not future.done():
                future.set_result(registered.errors)

    def _confirm(self, frame: HostFrame) -> None:
        connection = self._require_connection()
        self._publishes.confirm(frame)
        connection.outbox.confirmed = self._publishes.confirmed
        if self._publishes.is_empty:
            self._all_confirmed.set()
        if connection.outbox.publishes:
            connection.wake()

    @property
    def _publish_window(self) -> int:
        return self._require_connection().welcome.publish_window

    def _require_connection(self) -> Connection:
        if self._connection is None:
            raise self._failure or _not_started()
        return self._connection


def _identity(client_id: str | None) -> Identity:
    incarnation = uuid4().hex
    own_name = f"{socket.gethostname()}-{os.getpid()}-{incarnation[:6]}"
    return Identity(client_id or own_name, incarnation, _agent())


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
