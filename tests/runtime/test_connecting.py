"""How a worker looks for a host that is not there yet."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from callboard.core.errors import Unavailable
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


@asynccontextmanager
async def slow(address: str, delay_s: float) -> AsyncIterator[str]:
    """Passes on each connection's bytes, after a time, as where the lookup of a name takes it."""
    machine, _, port = address.rpartition(":")
    open_ends: list[StreamWriter] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        open_ends.append(writer)
        await asyncio.sleep(delay_s)
        far_reader, far_writer = await asyncio.open_connection(machine, int(port))
        open_ends.append(far_writer)
        with suppress(ConnectionError):
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for each in open_ends:
        each.close()
        with suppress(ConnectionError):
            await each.wait_closed()


async def test_attempts_grow_until_one_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing connects within the first attempt's time, a later one is given more."""
    monkeypatch.setattr(connection, "ATTEMPT_S", 0.1)
    async with (
        Host(port=0) as host,
        slow(host.address, 0.3) as address,
        WorkerRuntime(address, connect_timeout_s=10) as runtime,
    ):
        assert runtime.welcome.partitions


async def test_attempts_that_fail_do_not_grow(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """What is refused is asked anew every so often: gRPC itself would wait ever longer."""
    monkeypatch.setattr(connection, "ATTEMPT_S", 0.1)
    tried: list[float] = []
    connect = connection._connect

    async def note(channel: Any, within_s: float) -> Any:
        tried.append(within_s)
        return await connect(channel, within_s)

    monkeypatch.setattr(connection, "_connect", note)
    runtime = WorkerRuntime(f"127.0.0.1:{unused_tcp_port}", connect_timeout_s=1.05)
    with pytest.raises(Unavailable):
        await runtime.start()
    assert set(tried) == {0.1}
    assert len(tried) >= 4


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


class EndedBeforeItsStatus:
    """A call as grpcio leaves it when a write finds its stream over, and its status not there."""

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INTERNAL

    async def details(self) -> str:
        return "Internal error from Core"


async def test_a_stream_that_ended_before_its_status_came_is_tried_again() -> None:
    """Seen where what listens is no host, on a busy machine: the next stream tells what it is."""
    ending = await connection._ending_of(EndedBeforeItsStatus(), "somewhere:1")
    assert isinstance(ending, Unavailable)
