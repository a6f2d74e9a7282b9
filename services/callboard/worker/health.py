"""A worker's answers to probes: gRPC's health protocol, on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from callboard.log import Logger
from callboard.wire.endpoint import bind

log = Logger(__name__)

READINESS: Final = "readiness"
"""The service to ask whether a worker serves its agents. The service of no name is SERVING for as
long as anything answers."""

_STATUS = {
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
    True: health_pb2.HealthCheckResponse.SERVING,
}


class Health:
    """What probes are told.

    Attributes:
        address: Where they are answered, as ``host:port``.
    """

    def __init__(self, address: str, servicer: health_aio.HealthServicer) -> None:
        self.address = address
        self._servicer = servicer

    async def set_ready(self, *, is_ready: bool) -> None:
        """Say whether the worker serves its agents."""
        await self._servicer.set(READINESS, _STATUS[is_ready])


@asynccontextmanager
async def serve_health(address: str) -> AsyncIterator[Health]:
    """Answer probes for the length of the block, which ends without waiting for any.

    At first the worker is not ready. Probes share the event loop with the agents: while a handler
    blocks it they have no answer.

    Args:
        address: Where to listen, as ``host:port``; port 0 takes a free one.

    Raises:
        Unavailable: It cannot listen there.
    """
    servicer = health_aio.HealthServicer()
    # Otherwise a second worker binds the port, and each answers for the other.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    try:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = bind(server, address)
        health = Health(f"{address.rpartition(':')[0]}:{port}", servicer)
        await health.set_ready(is_ready=False)
        await server.start()
        log.info("health served", address=health.address)
        yield health
    finally:
        await server.stop(None)
