"""One worker's stream: frames in, frames out, and the broker between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from typing import TYPE_CHECKING

from callboard.core.errors import (
    CallboardError,
    DeadlineExceeded,
    NotAllowedNow,
    ProtocolViolation,
    Unavailable,
)
from callboard.core.identity import check_key
from callboard.core.session import Session
from callboard.host.reading import failure_of
from callboard.log import Logger
from callboard.wire.frames import (
    PROTOCOL_VERSION,
    decode_worker_frame,
    encode_host_frame,
    parse_worker_frame,
)
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.wire.waking import woken

if TYPE_CHECKING:
    from callboard.core.frames import HostFrame
    from callboard.core.outbox import HostOutbox
    from callboard.host.switchboard import Switchboard

log = Logger(__name__)


class WorkerStream:
    """The life of one ``Connect`` call.

    The writer is the generator that gRPC drives; the reader is a task of the host's. Either may
    find that the stream has ended, and `end` is idempotent. The reader is never cancelled and waits
    without a limit: gRPC ends its read when the stream is over, and cancelling a read leaks memory
    (grpc/grpc#43360). Whether the worker is too long silent is for the writer to find.

    Attributes:
        session: The worker's; None before it has introduced itself.
    """

    def __init__(
        self, switchboard: Switchboard, requests: AsyncIterator[bytes], hello_timeout_s: float
    ) -> None:
        self._switchboard = switchboard
        self._requests = requests
        self._hello_timeout_s = hello_timeout_s
        self._wake = asyncio.Event()
        self._welcome: pb.ConnectResponse | None = None
        self._failure: CallboardError | None = None
        self._is_over = False
        self._is_replaced = False
        self.session: Session | None = None

    async def frames(self) -> AsyncIterator[bytes]:
        """What to send, until the stream is over. Raises the `CallboardError` to end it with."""
        self._switchboard.open(self)
        try:
            await self._until_it_spoke()
            if self._welcome is not None and self.session is not None:
                yield self._welcome.SerializeToString()
                while (frame := await self._next_frame(self.session.outbox)) is not None:
                    self._switchboard.tell(self.session, frame)
                    yield encode_host_frame(frame, self.session.capabilities)
            if self._failure is not None:
                raise self._failure
        finally:
            self.end()
            self._switchboard.part(self)

    async def read(self) -> None:
        """Take in what the worker says, until the stream is over."""
        failure: CallboardError | None = None
        try:
            failure = await failure_of(self._take_all(), lambda: self._name)
        finally:
            self._switchboard.part(self, failure)
            self.end(failure)

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def end(self, failure: CallboardError | None = None) -> None:
        """Send what there is and end the stream, with ``failure`` when there is one. Idempotent."""
        if not self._is_over:
            self._is_over = True
            self._failure = failure
            self._wake.set()

    def replace(self) -> None:
        """Another stream goes on with the session: say and take in no more. Idempotent."""
        self._is_replaced = True
        self.end()

    @property
    def _name(self) -> str | None:
        return None if self.session is None else self.session.id

    async def _take_all(self) -> None:
        async for data in self._requests:
            if self._is_over:
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self.session is None:
            hello = _hello_of(data)
            self.session, self._welcome = self._switchboard.admit(hello, self)
            self._wake.set()
        else:
            frame = decode_worker_frame(parse_worker_frame(data), self.session.capabilities)
            self._switchboard.take(self.session, frame)

    async def _until_it_spoke(self) -> None:
        """Wait for the first frame, or the end. Raises `DeadlineExceeded` when neither comes.

        And until the engine knows of the session: the host after this one has to.
        """
        try:
            async with asyncio.timeout(self._hello_timeout_s):
                await self._wake.wait()
                while self.session is not None and not (self.session.is_kept or self._is_over):
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError as error:
            if self.session is not None:
                msg = "the host cannot keep sessions now"
                raise Unavailable(msg) from error
            msg = f"no hello within {self._hello_timeout_s:g} s"
            log.warning("stream refused", reason=msg)
            raise DeadlineExceeded(msg) from error

    async def _next_frame(self, outbox: HostOutbox) -> HostFrame | None:
        """What is to be said next; None when the stream is over and all is said."""
        loop = asyncio.get_running_loop()
        while not self._is_replaced:
            frame = outbox.take(inf if self._is_over else loop.time())
            if frame is not None or self._is_over:
                return frame
            self._wake.clear()
            await woken(self._wake, outbox.due_at)
        return None


def _hello_of(data: bytes) -> pb.Hello:
    message = parse_worker_frame(data)
    if not message.HasField("hello"):
        msg = "the first frame has to hold hello"
        raise ProtocolViolation(msg)
    beside = [field.name for field, _ in message.ListFields() if field.name != "hello"]
    if beside:
        msg = f"the first frame has to hold hello and nothing else: it holds {', '.join(beside)}"
        raise ProtocolViolation(msg)
    hello = message.hello
    if not hello.version_min <= PROTOCOL_VERSION <= hello.version_max:
        msg = (
            f"this host speaks protocol version {PROTOCOL_VERSION}, "
            f"the worker {hello.version_min} to {hello.version_max}"
        )
        raise NotAllowedNow(msg)
    check_key("client id", hello.client_id)
    check_key("incarnation", hello.incarnation)
    return hello
