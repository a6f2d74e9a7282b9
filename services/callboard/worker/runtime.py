"""The runtime that holds agents for a host."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from importlib.metadata import version
from typing import Self
from uuid import uuid4

import structlog

from callboard.agent.base_runtime import DEFAULT_CALL_TIMEOUT_S, BaseRuntime
from callboard.agent.intervention import InterventionHandler
from callboard.agent.publishes import Done, UnconfirmedPublishes
from callboard.core.errors import CallboardError, NotAllowedNow, Unavailable, cause_of
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
from callboard.wire.codec import CloudEventCodec
from callboard.worker.connection import Connection, Identity, Welcome

log = structlog.get_logger(__name__)

DEFAULT_HOST_ADDRESS = "127.0.0.1:50051"
DEFAULT_CONNECT_TIMEOUT_S = 10.0
DEFAULT_DRAIN_TIMEOUT_S = 30.0


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
            drain_timeout_s: How long `stop` lets turns go on before it cancels them.
            call_timeout_s: How long a call may take that names no time.
            intervention_handlers: See messages before they leave, in this order.
            extra_grpc_config: Options for the gRPC channel, after Callboard's own.
        """
        super().__init__(
            CloudEventCodec(),
            intervention_handlers=intervention_handlers,
            call_timeout_s=call_timeout_s,
        )
        self._address = host_address.removeprefix("http://").rstrip("/")
        incarnation = uuid4().hex
        own_name = f"{socket.gethostname()}-{os.getpid()}-{incarnation[:6]}"
        self._identity = Identity(
            client_id or own_name, incarnation, f"callboard-python/{version('callboard')}"
        )
        self._connect_timeout_s = connect_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._extra_grpc_config = tuple(extra_grpc_config)
        self._connection: Connection | None = None
        self._main: asyncio.Task[None] | None = None
        self._failure: CallboardError | None = None
        self._stop_asked = asyncio.Event()
        self._drained = asyncio.Event()
        self._all_confirmed = asyncio.Event()
        self._all_confirmed.set()
        self._publishes = UnconfirmedPublishes()
        self._last_settlement = 0
        self._registrations: dict[int, asyncio.Future[Sequence[RegistrationError]]] = {}

    # Life.

    async def start(self) -> None:
        """Connect and register; returns when the host has all that was registered before.

        Raises:
            Unavailable: There was no host within the connect timeout; the text names the address.
        """
        if self._main is not None:
            msg = "the runtime has been started already; a runtime runs once"
            raise NotAllowedNow(msg)
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A context of its own: turns must not inherit that of whoever starts the runtime.
        self._main = asyncio.get_running_loop().create_task(
            self._run(connected), name="callboard.worker", context=Context()
        )
        await asyncio.wait([self._main, connected], return_when=asyncio.FIRST_COMPLETED)
        if self._main.done():
            connected.cancel()
            await self._main
        if not self._declarations.is_empty:
            await self._declare(self._declarations.registration())

    async def stop(self) -> None:
        """Leave: finish the turns that run, give back what waits, end the session. Idempotent.

        Turns that take longer than the drain timeout are cancelled; the host hands their events out
        again.
        """
        if self._main is None:
            msg = "the runtime has not been started"
            raise NotAllowedNow(msg)
        self._stop_asked.set()
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
            loop.add_signal_handler(each, self._stop_asked.set)
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

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def client_id(self) -> str:
        """This worker's name at the host."""
        return self._identity.client_id

    @property
    def welcome(self) -> Welcome:
        """What the host said when it took this worker in."""
        return self._require_connection().welcome

    async def _run(self, connected: asyncio.Future[None]) -> None:
        connection = await Connection.open(
            self._address,
            self._identity,
            timeout_s=self._connect_timeout_s,
            extra_options=self._extra_grpc_config,
        )
        self._bind(connection.welcome.max_event_bytes, connection.welcome.partitions)
        self._connection = connection
        connected.set_result(None)
        try:
            async with asyncio.TaskGroup() as tasks:
                turns = tasks.create_task(self._runner.run(), name="turns")
                leaving = tasks.create_task(self._leave(connection), name="leave")
                await connection.run(self._take)
                turns.cancel()
                leaving.cancel()
        except ExceptionGroup as group:
            cause = cause_of(group)
            self._failure = (
                cause
                if isinstance(cause, CallboardError)
                else CallboardError(f"the runtime broke: {cause!r}")
            )
            raise cause from group
        finally:
            self._end_all(self._failure or Unavailable("the runtime has stopped"))

    async def _leave(self, connection: Connection) -> None:
        """When asked to stop.

        Ask the host for leave, wait until nothing is left here, close the stream.
        """
        await self._stop_asked.wait()
        connection.outbox.drain = True
        connection.wake()
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                await self._drained.wait()
                await self._runner.wait_idle()
                await self._all_confirmed.wait()
        except TimeoutError:
            log.warning("drain timed out", timeout_s=self._drain_timeout_s)
        connection.close()

    def _end_all(self, error: CallboardError) -> None:
        """Give everybody who waits for the host an ending."""
        self._failure = error
        self._connection = None
        self._publishes.fail(error)
        registrations, self._registrations = self._registrations, {}
        for future in registrations.values():
            if not future.done():
                future.set_exception(error)
        self._calls.fail(error)

    # How things travel: by frames.

    async def _declare(self, registration: Registration) -> Sequence[RegistrationError]:
        if self._main is None:
            return ()  # all is declared at the start
        connection = self._require_connection()
        future: asyncio.Future[Sequence[RegistrationError]] = (
            asyncio.get_running_loop().create_future()
        )
        self._registrations[registration.revision] = future
        connection.outbox.register = registration
        connection.wake()
        return await future

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
        """No turn of these partitions runs or will run."""
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
        for reply in frame.replies:
            self._calls.take(reply)
        runner = self._runner
        for event, targets in frame.deliveries:
            runner.deliver(event, targets)
        for call in frame.calls:
            runner.call(call)
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


def _not_started() -> NotAllowedNow:
    return NotAllowedNow("the runtime has not been started")
