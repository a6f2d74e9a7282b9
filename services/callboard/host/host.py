"""The host as an object: what `callboard host` and tests run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Generator, Sequence
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from callboard.core.broker import Broker, BrokerLimits
from callboard.core.errors import CallboardError, NotAllowedNow, cause_of
from callboard.engine.contract import Engine
from callboard.engine.memory import MemoryEngine
from callboard.host.autogen.client import MESSAGE_BYTES
from callboard.host.autogen.servicer import AutogenServicer
from callboard.host.operations import Operations
from callboard.host.stream import WorkerStream
from callboard.host.switchboard import Switchboard
from callboard.log import Logger
from callboard.wire.endpoint import bind
from callboard.wire.status import CONNECT, server_options, status_of

log = Logger(__name__)

DEFAULT_ADDRESS = "127.0.0.1:50051"
STOP_GRACE_S = 5.0
HELLO_TIMEOUT_S = 10.0

SERVICE, _, METHOD = CONNECT[1:].partition("/")


class Host:
    """Routes, queues and places for the workers that connect to it.

    Used as ``async with Host(port=0) as host: host.address``, or with AutoGen's `start` and `stop`.
    Lifecycle: NEW -> SERVING -> CLOSED; a host serves once.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        extra_grpc_config: Sequence[tuple[str, int | str]] | None = None,
        *,
        port: int | None = None,
        operators_address: str | None = None,
        engine: Engine | None = None,
        limits: BrokerLimits | None = None,
        hello_timeout_s: float = HELLO_TIMEOUT_S,
        autogen_message_bytes: int = MESSAGE_BYTES,
        operators_interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    ) -> None:
        """Describe it; nothing is opened before `start`.

        Args:
            address: Where to serve workers, as ``host:port``; port 0 takes a free one.
            port: Takes the place of the address's port.
            operators_address: Where to serve tools; None is the next port up, a free one for port
                0.
            engine: Where events are kept; None keeps them in memory.
            limits: The bounds to keep; None for the defaults.
            hello_timeout_s: How long a stream may say nothing after it was opened.
            autogen_message_bytes: The largest message that workers of AutoGen read, encoded.
            operators_interceptors: See the calls of tools. There are none for workers' streams.
            extra_grpc_config: Options for the gRPC server, after Callboard's own.
        """
        machine, _, own_port = address.rpartition(":")
        if not machine or not own_port.isdecimal():
            msg = f"invalid address {address!r}: it is written host:port"
            raise ValueError(msg)
        self._machine = machine
        self._port = int(own_port) if port is None else port
        next_port = self._port + 1 if self._port else 0
        self._operators_address = operators_address or f"{machine}:{next_port}"
        self._engine = engine or MemoryEngine()
        self._limits = limits or BrokerLimits()
        self._hello_timeout_s = hello_timeout_s
        self._autogen_message_bytes = autogen_message_bytes
        self._operators_interceptors = tuple(operators_interceptors)
        self._extra_grpc_config = list(extra_grpc_config or ())
        self._main: asyncio.Task[None] | None = None
        self._stop_asked = asyncio.Event()
        self._grace_s = STOP_GRACE_S
        self._started_at = 0.0
        self._servers: list[grpc.aio.Server] = []
        self._autogen: AutogenServicer | None = None
        self.id = uuid4().hex[:12]
        self.operators_address = ""

    @property
    def address(self) -> str:
        """Where workers connect, as ``host:port``."""
        return f"{self._machine}:{self._port}"

    @property
    def engine(self) -> Engine:
        """Where events are kept."""
        return self._engine

    @property
    def uptime_s(self) -> float:
        """Seconds since it began to serve."""
        return monotonic() - self._started_at

    # Life.

    def start(self) -> Awaitable[None]:
        """Begin to serve; awaited, it returns when workers can connect.

        AutoGen's programs do not await it, and need not. A start that fails, or whose wait is
        cancelled, leaves nothing open.

        Raises `Unavailable` when it cannot listen there: when awaited, and from `wait`, `stop` and
        `stop_when_signal`.
        """
        if self._main is not None:
            msg = "the host has been started already"
            raise NotAllowedNow(msg)
        loop = asyncio.get_running_loop()
        serving: asyncio.Future[None] = loop.create_future()
        self._main = loop.create_task(self._run(serving), name="callboard.host")
        return _Start(self._main, serving, self._stop_asked)

    async def stop(self, grace: float = STOP_GRACE_S) -> None:
        """End every stream and stop serving; at most ``grace`` seconds for unary calls.

        Idempotent. Cancelled, it waits no longer, and the host stops all the same.
        """
        if self._main is None:
            msg = "the host has not been started"
            raise NotAllowedNow(msg)
        self._grace_s = grace
        self._stop_asked.set()
        await asyncio.shield(self._main)

    async def wait(self) -> None:
        """Return when the host has stopped; raises what broke it."""
        if self._main is not None:
            await asyncio.shield(self._main)

    async def stop_when_signal(
        self,
        grace: float = STOP_GRACE_S,
        signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
    ) -> None:
        """Serve until one of ``signals`` comes, then `stop`."""
        loop = asyncio.get_running_loop()
        for each in signals:
            loop.add_signal_handler(each, self._stop_asked.set)
        try:
            self._grace_s = grace
            await self.wait()
        finally:
            for each in signals:
                loop.remove_signal_handler(each)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _run(self, serving: asyncio.Future[None]) -> None:
        kept = await self._engine.open()
        broker = Broker(kept.epoch, self._limits, has_pages=not self._engine.is_volatile)
        try:
            async with asyncio.TaskGroup() as tasks:
                health = health_aio.HealthServicer()

                def told(why_not: str | None) -> None:
                    tasks.create_task(_set_ready(health, is_ready=why_not is None), name="health")

                switchboard = Switchboard(broker, self._engine, tasks, told)
                await switchboard.restore(kept)
                server = await self._serve(switchboard, health, tasks)
                operators = await self._serve_operators(switchboard)
                work = [
                    tasks.create_task(switchboard.run(), name="commits"),
                    tasks.create_task(switchboard.read(), name="pages"),
                ]
                self._started_at = monotonic()
                if self._engine.is_volatile:
                    log.warning("events are kept in memory and lost with this process")
                log.info(
                    "serving",
                    address=self.address,
                    operators=self.operators_address,
                    epoch=kept.epoch,
                )
                serving.set_result(None)
                await self._stop_asked.wait()
                await health.enter_graceful_shutdown()
                switchboard.close()
                if self._autogen is not None:
                    self._autogen.close()
                await asyncio.gather(server.stop(self._grace_s), operators.stop(self._grace_s))
                for each in work:
                    each.cancel()
        except ExceptionGroup as group:
            raise cause_of(group) from group
        finally:
            # One that was left as it is would be stopped by the garbage collector, without a loop.
            await asyncio.gather(*(each.stop(None) for each in self._servers))
            await self._engine.close()

    async def _serve(
        self,
        switchboard: Switchboard,
        health: health_aio.HealthServicer,
        tasks: asyncio.TaskGroup,
    ) -> grpc.aio.Server:
        options = [*server_options(self._limits.max_event_bytes), *self._extra_grpc_config]
        server = grpc.aio.server(options=options)
        self._servers.append(server)

        async def connect(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> AsyncIterator[bytes]:
            stream = WorkerStream(switchboard, requests, self._hello_timeout_s)
            try:
                async for frame in stream.frames():
                    yield frame
            except CallboardError as error:
                await context.abort(status_of(error), str(error))

        stream: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(connect)
        handler = grpc.method_handlers_generic_handler(SERVICE, {METHOD: stream})
        server.add_generic_rpc_handlers((handler,))
        self._autogen = AutogenServicer(
            switchboard, tasks, message_bytes=self._autogen_message_bytes
        )
        self._autogen.add_to(server)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        self._port = bind(server, f"{self._machine}:{self._port}")
        await server.start()
        await health.set("", health_pb2.HealthCheckResponse.SERVING)
        await _set_ready(health, is_ready=True)
        return server

    async def _serve_operators(self, switchboard: Switchboard) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=server_options(self._limits.max_event_bytes),
            interceptors=list(self._operators_interceptors),  # what instruments gRPC adds to it
        )
        self._servers.append(server)
        Operations(self, switchboard).add_to(server)
        port = bind(server, self._operators_address)
        self.operators_address = f"{self._operators_address.rpartition(':')[0]}:{port}"
        switchboard.operators_port = port
        await server.start()
        return server


async def _set_ready(health: health_aio.HealthServicer, *, is_ready: bool) -> None:
    """Whether workers should come here; without a name the service says that the host is alive."""
    answer = health_pb2.HealthCheckResponse
    await health.set(SERVICE, answer.SERVING if is_ready else answer.NOT_SERVING)


class _Start:
    """The start of a host, for whoever wants to wait for it."""

    def __init__(
        self, main: asyncio.Task[None], serving: asyncio.Future[None], stop_asked: asyncio.Event
    ) -> None:
        self._main = main
        self._serving = serving
        self._stop_asked = stop_asked

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        try:
            await asyncio.wait([self._main, self._serving], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # Not cancelled: a gRPC server that is interrupted in its start cannot be stopped.
            self._stop_asked.set()
            await asyncio.wait([self._main])
            raise
        if self._main.done():
            await self._main
