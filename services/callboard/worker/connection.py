"""A worker's stream to its host: opened with patience, written by one task, read by one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import grpc.aio

from callboard.core.errors import (
    CallboardError,
    Code,
    NotAllowedNow,
    ProtocolViolation,
    Unavailable,
    Unsupported,
    cause_of,
)
from callboard.core.frames import NO_CLAIMS, Claims, HostFrame, WorkerFrame
from callboard.core.worker_outbox import WorkerOutbox
from callboard.log import Logger
from callboard.wire.frames import (
    CAPABILITIES,
    PROTOCOL_VERSION,
    decode_host_frame,
    encode_worker_frame,
    parse_host_frame,
)
from callboard.wire.items import put_claims
from callboard.wire.status import CONNECT, channel_options, error_from
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.wire.waking import woken

log = Logger(__name__)

Connectivity = grpc.ChannelConnectivity

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
"""Pauses between attempts to connect.

Doubled each time, and cut by a random part of up to a half.
"""

GREETING_S = 30.0
"""How long one attempt may take at most, with the answer to the greeting: a host may be frozen."""

ATTEMPT_S = 3.0
"""How long the first channel may take to connect before another takes its place.

gRPC asks a name server that knew no answer ever more rarely, after 1, 1.6, 2.6 to 120 s, and asks
again for an address where nothing answers 30 s after it did; no option bounds the first, and both
begin anew with a channel. Measured with a name that appears after 21 s: found 6 s later by one
channel, 1 s later by one every 3 s.

Twice as long after each one that had not failed: where the first name server is dead, one lookup
takes 5 s or more, and what begins it anew every 3 s never hears the answer.
"""

GATHER_S = 0.004
"""For how long a small frame waits for what is still being added to it."""

LINGER_S = 0.001
FULL_ENOUGH = 32
LARGE_BYTES = 32 << 10
"""After a frame with several items one with fewer than so many waits until the host has said
something, for so long at most. Events that come one by one would leave in frames of two or three
each, which take many times the time of an event in a full frame. One so large is worth a frame.
"""

STREAM_ERRORS = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What gRPC raises from a read or write on a stream that is over: a status, its own failure to
carry the operation out ("Internal error from Core"), or the state of a call that has ended."""

WRITTEN_TOO_LATE = "Internal error from Core"
"""The status that grpcio makes up for a stream that has ended, when a write finds out before the
status of the host is there. What that would have said is lost; to try again tells."""


class Welcome(NamedTuple):
    """What the host said when it took the worker in; see ``Welcome`` in the proto."""

    session_id: str
    max_event_bytes: int
    publish_window: int
    partitions: int
    operators_port: int
    resume_token: bytes
    lease_s: float
    resumed: bool
    received: int
    known: bool
    capabilities: frozenset[str]


class Greeting(NamedTuple):
    """Who the worker says it is, and with what it goes on; see ``Hello`` in the proto."""

    client_id: str
    incarnation: str
    agent: str
    resume_token: bytes = b""
    received: int = 0
    published: int = 0
    claims: Claims = NO_CLAIMS


class Connection:
    """One stream to one host.

    Lifecycle: `open`, then `run` until the stream ends. The reader is never cancelled while the
        stream is open; `run` cancels the call itself, which ends the read.

    Attributes:
        greeted_at: When it was asked for a session, in the loop's time: a lease counts from here.
    """

    def __init__(
        self,
        address: str,
        channel: grpc.aio.Channel,
        call: Any,
        welcome: Welcome,
        greeted_at: float,
    ) -> None:
        self.address = address
        self.welcome = welcome
        self.greeted_at = greeted_at
        self._channel = channel
        self._call = call
        self._wake = asyncio.Event()
        self._heard = asyncio.Event()
        self._is_closing = False
        self._is_aborted = False
        self._failure: CallboardError | None = None

    @classmethod
    async def open(
        cls,
        address: str,
        greeting: Greeting,
        *,
        timeout_s: float,
        longest_pause_s: float = LONGEST_PAUSE_S,
        extra_options: Sequence[tuple[str, int | str]] = (),
    ) -> Connection:
        """Connect, trying again, ever more rarely, until ``timeout_s`` has passed.

        Raises:
            Unavailable: There was no host in time; names the address.
            CallboardError: The host, or what is there instead, refused; trying again is no use.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        pause_s, attempt_s = FIRST_PAUSE_S, ATTEMPT_S
        while True:
            channel = grpc.aio.insecure_channel(
                address, options=[*channel_options(), *extra_options]
            )
            try:
                # Around a read as well, which leaks a little memory in gRPC when it is cancelled
                # (grpc/grpc#43360): once, where somebody listens and is no host, or a frozen one.
                async with asyncio.timeout_at(min(give_up_at, loop.time() + GREETING_S)):
                    state = await _connect(channel, attempt_s)
                    if state is Connectivity.READY:
                        return await cls._greet(address, channel, greeting)
                if state is Connectivity.CONNECTING:
                    attempt_s *= 2
                await _close(channel)
            except (TimeoutError, Unavailable) as error:
                await _close(channel)
                if loop.time() >= give_up_at:
                    raise _no_host(address, timeout_s) from error
                pause_s = min(pause_s * 2, longest_pause_s)
                wait_s = pause_s * random.uniform(0.5, 1)  # noqa: S311 (spreads load, no secret)
                if loop.time() + wait_s >= give_up_at:
                    raise _no_host(address, timeout_s) from error
                await asyncio.sleep(wait_s)
            except BaseException:
                await _close(channel)
                raise

    @classmethod
    async def _greet(
        cls, address: str, channel: grpc.aio.Channel, greeting: Greeting
    ) -> Connection:
        greeted_at = asyncio.get_running_loop().time()
        call: Any = channel.stream_stream(CONNECT)()  # grpcio has no public type for it
        hello = pb.Hello(
            version_min=PROTOCOL_VERSION,
            version_max=PROTOCOL_VERSION,
            capabilities=sorted(CAPABILITIES),
            client_id=greeting.client_id,
            incarnation=greeting.incarnation,
            agent=greeting.agent,
            resume_token=greeting.resume_token,
            received=greeting.received,
            published=greeting.published,
        )
        put_claims(hello, greeting.claims)
        try:
            await call.write(pb.ConnectRequest(hello=hello).SerializeToString())
            data = await call.read()
        except STREAM_ERRORS as error:
            raise await _ending_of(call, address) from error
        if data is grpc.aio.EOF:
            raise await _ending_of(call, address)
        message = parse_host_frame(data)
        if not message.HasField("welcome"):
            msg = f"what serves {address} did not answer hello with welcome"
            raise ProtocolViolation(msg)
        return cls(address, channel, call, _checked(message.welcome), greeted_at)

    def wake(self) -> None:
        """There is something in the outbox."""
        self._wake.set()

    def close(self) -> None:
        """Send what there is, then end the stream in good order.

        `run` returns when the host has ended its half. Idempotent.
        """
        self._is_closing = True
        self._wake.set()
        self._heard.set()

    def abort(self, failure: CallboardError | None = None) -> None:
        """End the stream without the host; `run` returns at once, or raises ``failure``."""
        if not self._is_aborted:
            self._failure = failure
            self._is_closing = self._is_aborted = True
            self._call.cancel()

    async def discard(self) -> None:
        """End a stream that `run` was never asked for."""
        self._call.cancel()
        await _close(self._channel)

    async def run(self, outbox: WorkerOutbox, take: Callable[[HostFrame], None]) -> None:
        """Say what is in ``outbox`` and give every frame to ``take`` until the stream ends.

        Returns after `close`. Raises otherwise the `CallboardError` that the stream ended with, or
        what a frame could not be read or written for.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(outbox), name="write")
                await self._read(take)
                writer.cancel()
        except ExceptionGroup as group:
            raise cause_of(group) from group
        finally:
            self._call.cancel()
            with suppress(*STREAM_ERRORS):  # where gRPC is instrumented, a task waits to hear it
                await self._call.done_writing()
            await _close(self._channel)
        if self._failure is not None:
            raise self._failure
        if not self._is_closing:
            raise await _ending_of(self._call, self.address)

    async def _read(self, take: Callable[[HostFrame], None]) -> None:
        while (data := await self._next()) is not grpc.aio.EOF:
            take(decode_host_frame(parse_host_frame(data)))
            self._heard.set()

    async def _next(self) -> Any:
        """The next frame; EOF when the stream is over."""
        task = asyncio.current_task()
        try:
            return await self._call.read()
        except STREAM_ERRORS:
            log.debug("stream ended", address=self.address)  # its status says why: see `run`
        except asyncio.CancelledError:
            # What gRPC raises from a read, here that of `abort`, is no cancellation of the task.
            if not self._is_aborted or (task is not None and task.cancelling()):
                raise
        return grpc.aio.EOF

    async def _write(self, outbox: WorkerOutbox) -> None:
        call, now = self._call, asyncio.get_running_loop().time
        capabilities = self.welcome.capabilities
        try:
            while True:
                await _gather(outbox, now)
                frame = outbox.take(now(), eagerly=self._is_closing)
                if frame is not None:
                    self._heard.clear()
                    await call.write(encode_worker_frame(frame, capabilities))
                    if _holds_several(frame):
                        await self._linger(outbox, now() + LINGER_S)
                elif self._is_closing:
                    await call.done_writing()
                    return
                else:
                    self._wake.clear()
                    await woken(self._wake, outbox.due_at)
        except STREAM_ERRORS:
            log.debug("stream ended", address=self.address)

    async def _linger(self, outbox: WorkerOutbox, until: float) -> None:
        if not self._is_closing and outbox.item_count < FULL_ENOUGH:
            await woken(self._heard, until)


def _holds_several(frame: WorkerFrame) -> bool:
    publishes = frame.publishes
    if publishes and len(publishes[0].event.content) >= LARGE_BYTES:
        return False
    return len(publishes) + len(frame.calls) + len(frame.replies) > 1


async def _gather(outbox: WorkerOutbox, now: Callable[[], float]) -> None:
    """Let turns and publishers that run add to a small frame, while each step adds some.

    One frame a slice of turns is small: its write costs as much as the turns, and so does the
    host's frame that answers it. Where nothing runs this takes one step of the loop.
    """
    count, until = outbox.item_count, now() + GATHER_S
    while count and not outbox.is_worth_a_frame and now() < until:
        former = count
        await asyncio.sleep(0)
        count = outbox.item_count
        if count <= former:
            return


async def _connect(channel: grpc.aio.Channel, within_s: float) -> Connectivity:
    """READY once it is connected.

    After ``within_s`` TRANSIENT_FAILURE if it has failed meanwhile, CONNECTING if it is still at it
    for the first time: looks the name up, or waits for an answer.
    """
    reached = Connectivity.CONNECTING
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while (state := channel.get_state(try_to_connect=True)) is not Connectivity.READY:
                if state is Connectivity.TRANSIENT_FAILURE:
                    reached = state
                await channel.wait_for_state_change(state)
            reached = state
    return reached


async def _close(channel: grpc.aio.Channel) -> None:
    """Close a channel, or leave that to when it is forgotten.

    grpcio 1.70 cannot where a program has gRPC instrumented and another stream is open
    ("Unrecognized call object").
    """
    with suppress(grpc.aio.InternalError):
        await channel.close()


def _checked(welcome: pb.Welcome) -> Welcome:
    """What the host has said. Raises `ProtocolViolation` for what nobody can work with."""
    if welcome.version != PROTOCOL_VERSION:
        msg = (
            f"the host chose protocol version {welcome.version}, "
            f"this worker offered {PROTOCOL_VERSION}"
        )
        raise ProtocolViolation(msg)
    for name in ("max_event_bytes", "publish_window", "partitions"):
        if not getattr(welcome, name):
            msg = f"the host's welcome has no {name}"
            raise ProtocolViolation(msg)
    return Welcome(
        welcome.session_id,
        welcome.max_event_bytes,
        welcome.publish_window,
        welcome.partitions,
        welcome.operators_port,
        welcome.resume_token,
        welcome.lease_ms / 1000,
        welcome.resumed,
        welcome.received,
        welcome.known,
        CAPABILITIES.intersection(welcome.capabilities),
    )


async def _ending_of(call: Any, address: str) -> CallboardError:
    """The error that a stream ended with."""
    code, details = await call.code(), await call.details()
    if code is grpc.StatusCode.OK:
        return Unavailable(f"the host at {address} ended the stream")
    if code is grpc.StatusCode.INTERNAL and details == WRITTEN_TOO_LATE:
        return Unavailable(f"lost the host at {address}: it ended the stream")
    error = error_from(
        grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
    )
    if isinstance(error, Unsupported):
        return NotAllowedNow(f"what serves {address} is not a Callboard host")
    if error.code is Code.UNAVAILABLE:
        return Unavailable(f"lost the host at {address}: {details}")
    return error


def _no_host(address: str, timeout_s: float) -> Unavailable:
    return Unavailable(f"no host at {address}: gave up after {timeout_s:g} s")
