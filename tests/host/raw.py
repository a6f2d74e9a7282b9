"""A worker without a runtime: it says to a host whatever its test likes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from callboard.wire.status import CONNECT
from callboard.wire.v1 import agent_host_pb2 as pb


@dataclass
class RawWorker:
    """A stream that says what it is told to, right or wrong."""

    call: Any
    channel: grpc.aio.Channel

    @classmethod
    def connect(cls, address: str) -> RawWorker:
        """Open a stream without a word."""
        channel = grpc.aio.insecure_channel(address)
        return cls(channel.stream_stream(CONNECT)(), channel)

    async def say(self, frame: pb.ConnectRequest | bytes) -> None:
        """Write a frame."""
        await self.call.write(frame if isinstance(frame, bytes) else frame.SerializeToString())

    async def hear(self) -> pb.ConnectResponse:
        """Read a frame."""
        data = await self.call.read()
        assert data is not grpc.aio.EOF, f"{await self.call.code()}: {await self.call.details()}"
        return pb.ConnectResponse.FromString(data)

    async def greet(
        self, client_id: str = "raw", incarnation: str = "1", capabilities: Sequence[str] = ()
    ) -> pb.Welcome:
        """Say hello and hear welcome."""
        hello = pb.Hello(
            version_min=1,
            version_max=1,
            client_id=client_id,
            incarnation=incarnation,
            capabilities=capabilities,
        )
        await self.say(pb.ConnectRequest(hello=hello))
        return (await self.hear()).welcome

    async def hear_until(self, field: str) -> pb.ConnectResponse:
        """Read frames up to the first that has ``field``."""
        while not (frame := await self.hear()).HasField(field):
            pass
        return frame

    async def ending(self) -> tuple[grpc.StatusCode, str]:
        """How the host ends the stream."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await self.call.read() is not grpc.aio.EOF:
                pass
        return await self.call.code(), await self.call.details()

    async def close(self) -> None:
        """Break the stream off."""
        self.call.cancel()
        await self.channel.close()
