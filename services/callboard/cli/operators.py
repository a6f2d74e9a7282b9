"""The operators' service of a host, as commands ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import callboard.wire  # noqa: F401 (before gRPC, which it tells how to run)

# isort: split
import grpc
import grpc.aio
from google.protobuf.message import Message

from callboard.cli.settings import read_settings
from callboard.core.errors import Unavailable
from callboard.wire.endpoint import check_endpoint
from callboard.wire.status import OPERATIONS, channel_options, error_from
from callboard.worker.settings import ClientSettings

Answer = TypeVar("Answer", bound=Message)
Result = TypeVar("Result")


class Operators:
    """Asks one host.

    Attributes:
        own_session: The session by which the host was asked for its operators' address; empty when
            that was known.
    """

    def __init__(
        self, channel: grpc.aio.Channel, address: str, timeout_s: float, own_session: str = ""
    ) -> None:
        self._channel = channel
        self._address = address
        self._timeout_s = timeout_s
        self.own_session = own_session

    async def ask(
        self, method: str, request: Message, answer: type[Answer], *, may_take_long: bool = False
    ) -> Answer:
        """Ask for an answer; one that ``may_take_long`` is waited for as long as the host is there.

        Raises the error that the host says, and `Unavailable` when it is no host or not there.
        """
        ask: Any = self._channel.unary_unary(
            f"/{OPERATIONS}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            response: Answer = await ask(
                request, timeout=None if may_take_long else self._timeout_s
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                older = "" if method == "Describe" else ", or of an older one"
                msg = (
                    f"what serves {self._address} is not the operators' service of a Callboard "
                    f"host{older}"
                )
                raise Unavailable(msg) from error
            raise error_from(error) from error
        return response

    async def connect(self) -> None:
        """Wait for the service. Raises `Unavailable` when there is none in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._channel.channel_ready()
        except TimeoutError as error:
            msg = (
                f"no operators' service at {self._address}: gave up after {self._timeout_s:g} s; "
                "--operators names another address"
            )
            raise Unavailable(msg) from error


def ask_operators(
    ask: Callable[[Operators], Awaitable[Result]], *, operators: str | None, **given: object
) -> Result:
    """Run ``ask`` with the operators' service of a host.

    Args:
        ask: What to do.
        operators: The address of the service; None asks the host for it.
        given: What the command line says of `ClientSettings`.
    """
    settings = read_settings(ClientSettings, **given)
    if operators is not None:
        check_endpoint(operators)

    async def run() -> Result:
        async with connected(settings, operators) as service:
            return await ask(service)

    return asyncio.run(run())


@asynccontextmanager
async def connected(settings: ClientSettings, operators: str | None) -> AsyncIterator[Operators]:
    """The operators' service of a host, at its address; None asks the host for that."""
    timeout_s = settings.connect_timeout_s
    if operators is not None:
        async with grpc.aio.insecure_channel(operators, options=channel_options()) as channel:
            service = Operators(channel, operators, timeout_s)
            await service.connect()
            yield service
        return
    async with settings.runtime() as runtime:
        welcome = runtime.welcome
        address = f"{settings.host.rpartition(':')[0]}:{welcome.operators_port}"
        async with grpc.aio.insecure_channel(address, options=channel_options()) as channel:
            service = Operators(channel, address, timeout_s, welcome.session_id)
            await service.connect()
            yield service
