"""gRPC alone, as a process that obeys orders: what no runtime over it can be faster than.

Messages are bytes that nobody encodes, reads or keeps.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic_ns
from typing import Any

import grpc.aio

sys.path.insert(0, str(Path(__file__).parent.parent))

from callboard.bench.program import run

RELAYED_AHEAD = 8
"""Messages that a relay holds; then it reads no further."""

END = b""
"""What a relay passes on last."""

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Bare:
    """A server, or a client, of three methods that only pass bytes on."""

    def __init__(self) -> None:
        self._relayed: asyncio.Queue[bytes] = asyncio.Queue(RELAYED_AHEAD)
        self._server: grpc.aio.Server | None = None
        self._channel: grpc.aio.Channel | None = None

    async def serve(self) -> str:
        """Serve at a free port; its address."""
        self._server = grpc.aio.server(options=UNLIMITED)
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Echo": grpc.stream_stream_rpc_method_handler(self._echo),
            "Push": grpc.stream_unary_rpc_method_handler(self._push),
            "Pull": grpc.unary_stream_rpc_method_handler(self._pull),
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("bare", methods)]
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def _echo(self, _: AsyncIterator[bytes], context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message)

    async def _push(self, _: AsyncIterator[bytes], context: Any) -> bytes:
        while (message := await context.read()) is not grpc.aio.EOF:
            await self._relayed.put(message)
        await self._relayed.put(END)
        return END

    async def _pull(self, _: bytes, context: Any) -> None:
        while (message := await self._relayed.get()) != END:
            await context.write(message)

    async def connect(self, address: str) -> None:
        """Be a client."""
        self._channel = grpc.aio.insecure_channel(address, options=UNLIMITED)
        await self._channel.channel_ready()

    @property
    def _client(self) -> Any:  # a channel without types for its calls
        assert self._channel is not None
        return self._channel

    async def echo(self, count: int, size_bytes: int) -> float:
        """Messages a second there and back, written as fast as gRPC takes them."""
        call = self._client.stream_stream("/bare/Echo")()
        message = b"x" * size_bytes

        async def write() -> None:
            for _ in range(count):
                await call.write(message)
            await call.done_writing()

        began_ns = monotonic_ns()
        writing = asyncio.create_task(write())
        for _ in range(count):
            await call.read()
        await writing
        return count * 1e9 / (monotonic_ns() - began_ns)

    async def ping(self, count: int, size_bytes: int) -> list[int]:
        """How long each message takes there and back, one at a time."""
        call = self._client.stream_stream("/bare/Echo")()
        message = b"x" * size_bytes
        took_ns = []
        for _ in range(count):
            began_ns = monotonic_ns()
            await call.write(message)
            await call.read()
            took_ns.append(monotonic_ns() - began_ns)
        await call.done_writing()
        return took_ns

    async def push(self, count: int, items: int, size_bytes: int) -> int:
        """Write messages of so many items to a relay; when that began."""
        call = self._client.stream_unary("/bare/Push")()
        item = b"x" * size_bytes
        began_ns = monotonic_ns()
        for _ in range(count):
            await call.write(b"".join([item] * items))
        await call.done_writing()
        await call
        return began_ns

    async def pull(self, size_bytes: int) -> int:
        """Read all that a relay was given and take it apart; when the last had come."""
        call = self._client.unary_stream("/bare/Pull")(b"")
        while (message := await call.read()) is not grpc.aio.EOF:
            _ = [message[at : at + size_bytes] for at in range(0, len(message), size_bytes)]
        return monotonic_ns()

    async def close(self) -> None:
        """End all of it."""
        if self._channel is not None:
            await self._channel.close()
        if self._server is not None:
            await self._server.stop(0)


if __name__ == "__main__":
    run(Bare)
