"""One worker's stream: frames in, frames out, and the broker between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc.aio
import structlog

from callboard.core.errors import CallboardError, NotAllowedNow, ProtocolViolation
from callboard.core.identity import check_key
from callboard.core.session import Session
from callboard.wire.frames import (
    PROTOCOL_VERSION,
    decode_worker_frame,
    encode_host_frame,
    parse_worker_frame,
)
from callboard.wire.v1 import agent_host_pb2 as pb

if TYPE_CHECKING:
    from callboard.host.switchboard import Switchboard

log = structlog.get_logger(__name__)


class WorkerStream:
    """The life of one ``Connect`` call.

    The writer is the generator that gRPC drives; the reader is a task of the host's. Either may
    find that the stream has ended, and `end` is idempotent. The reader is never cancelled: gRPC
    ends its read when the stream is over, and cancelling a read leaks memory (grpc/grpc#43360).
    """

    def __init__(self, switchboard: Switchboard, requests: AsyncIterator[bytes]) -> None:
        self._switchboard = switchboard
        self._requests = requests
        self._wake = asyncio.Event()
        self._failure: CallboardError | None = None
        self._is_over = False
        self.session: Session | None = None

    async def frames(self) -> AsyncIterator[bytes]:
        """What to send, until the stream is over. Raises the `CallboardError` to end it with."""
        first = await anext(self._requests, None)
        if first is None:
            return
        session, welcome = self._switchboard.admit(_hello_of(first), self)
        self.session = session
        try:
            yield welcome.SerializeToString()
            self._switchboard.start_reader(self._read(session), session)
            outbox = session.outbox
            while True:
                frame = outbox.take()
                if frame is not None:
                    yield encode_host_frame(frame)
                elif self._is_over:
                    break
                else:
                    self._wake.clear()
                    await self._wake.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self.end()
            self._switchboard.leave(session)

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def end(self, failure: CallboardError | None = None) -> None:
        """Send what there is and end the stream, with ``failure`` when there is one. Idempotent."""
        if not self._is_over:
            self._is_over = True
            self._failure = failure
            self._wake.set()

    async def _read(self, session: Session) -> None:
        failure: CallboardError | None = None
        try:
            async for data in self._requests:
                if not session.is_live:
                    return
                self._switchboard.take(session, decode_worker_frame(parse_worker_frame(data)))
        except CallboardError as error:
            log.warning("stream refused", session=session.id, reason=str(error))
            failure = error
        except grpc.aio.BaseError as error:
            # The other half has ended the stream, or gRPC has: there is nothing more to read.
            log.debug("stream broken off", session=session.id, reason=str(error))
        finally:
            self._switchboard.leave(session)
            self.end(failure)


def _hello_of(data: bytes) -> pb.Hello:
    message = parse_worker_frame(data)
    if not message.HasField("hello"):
        msg = "the first frame has to hold hello"
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
