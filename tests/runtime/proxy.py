"""A way to a host that can be cut, and can swallow what goes over it."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from typing import Self


class Proxy:
    """Passes bytes on between workers and a host.

    Attributes:
        target: The host's address, as ``host:port``; may change.
        address: Where workers connect.
        is_open: Whether it takes connections.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.address = ""
        self.is_open = True
        self._writers: set[StreamWriter] = set()
        self._frozen: set[StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections; both sides are told."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Swallow what goes over the connections that there are; nobody is told.

        Others can be made.
        """
        self._frozen = set(self._writers)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._writers.add(writer)
        if not self.is_open:
            writer.transport.abort()
            return
        machine, _, port = self.target.rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(machine, int(port))
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if writer in self._frozen:
                    continue
                writer.write(data)
        if writer not in self._frozen:
            writer.close()
