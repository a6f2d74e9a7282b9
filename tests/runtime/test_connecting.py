"""How a worker looks for a host that is not there yet."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from callboard.host import Host
from callboard.worker import WorkerRuntime, connection


@asynccontextmanager
async def deaf_at_first(address: str) -> AsyncIterator[str]:
    """Takes the first connection and says nothing; passes on what comes after it."""
    machine, _, port = address.rpartition(":")
    open_ends: list[StreamWriter] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        open_ends.append(writer)
        if len(open_ends) > 1:
            far_reader, far_writer = await asyncio.open_connection(machine, int(port))
            open_ends.append(far_writer)
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for each in open_ends:
        each.close()
        await each.wait_closed()


async def _pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


async def test_a_connection_that_gets_nowhere_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer that takes the connection and is silent, as one does whose name led elsewhere."""
    monkeypatch.setattr(connection, "ATTEMPT_S", 0.2)
    async with (
        Host(port=0) as host,
        deaf_at_first(host.address) as address,
        WorkerRuntime(address, connect_timeout_s=10) as runtime,
    ):
        assert runtime.welcome.partitions
