"""What a host tells its operators, asked by tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message

from callboard.wire.status import OPERATIONS
from callboard.wire.v1 import operations_pb2 as pb

Answer = TypeVar("Answer", bound=Message)


class Operators:
    """Asks one host."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def describe(self) -> pb.DescribeResponse:
        """What it holds."""
        return await self._ask("Describe", pb.DescribeRequest(), pb.DescribeResponse)

    async def dead_letters(self) -> list[pb.DeadLetterDescription]:
        """All of its dead letters."""
        found: list[pb.DeadLetterDescription] = []
        cursor = 0
        while True:
            request = pb.DeadLettersRequest(oldest_first=True, cursor=cursor, limit=1000)
            page = await self._ask("DeadLetters", request, pb.DeadLettersResponse)
            found += page.dead_letters
            cursor = page.next_cursor
            if not cursor:
                return found

    async def _ask(self, method: str, request: Message, answer: type[Answer]) -> Answer:
        ask: Any = self._channel.unary_unary(
            f"/{OPERATIONS}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        response: Answer = await ask(request, timeout=10)
        return response


@asynccontextmanager
async def operators_at(port: int) -> AsyncIterator[Operators]:
    """Ask the host that serves them at ``port`` of this machine."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Operators(channel)
