"""Clients of AutoGen's service without a runtime, of whatever names: see `lines`.

Messages are protobuf's JSON, with the names of the fields as in the proto.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import grpc
from autogen_ext.runtimes.grpc.protos import agent_worker_pb2, agent_worker_pb2_grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from lines import serve, tell

REQUESTS = {
    "RegisterAgent": agent_worker_pb2.RegisterAgentTypeRequest,
    "AddSubscription": agent_worker_pb2.AddSubscriptionRequest,
    "RemoveSubscription": agent_worker_pb2.RemoveSubscriptionRequest,
    "GetSubscriptions": agent_worker_pb2.GetSubscriptionsRequest,
}


def metadata(client: str | None) -> list[tuple[str, str]]:
    """What names a client."""
    return [] if client is None else [("client-id", client)]


class Raw:
    """One connection, on which any number of clients speak."""

    def __init__(self) -> None:
        self.stub: Any = None
        self.streams: dict[str, Any] = {}
        self.readers: dict[str, asyncio.Task[None]] = {}

    async def connect(self, address: str) -> None:
        """Open the connection."""
        channel = grpc.aio.insecure_channel(address)
        await channel.channel_ready()
        self.stub = agent_worker_pb2_grpc.AgentRpcStub(channel)

    async def rpc(
        self, method: str, client: str | None, request: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One of the calls with one answer."""
        made = ParseDict(request or {}, REQUESTS[method]())
        answer = await getattr(self.stub, method)(made, metadata=metadata(client))
        return MessageToDict(answer, preserving_proto_field_name=True)

    async def open(self, stream: str, client: str | None, method: str = "OpenChannel") -> None:
        """Open a stream and tell of all that comes, and of its end."""
        call = getattr(self.stub, method)(metadata=metadata(client))
        self.streams[stream] = call
        self.readers[stream] = asyncio.create_task(self._read(stream, call))

    async def _read(self, stream: str, call: Any) -> None:
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                said = MessageToDict(message, preserving_proto_field_name=True)
                tell(stream=stream, message=said)
        except grpc.aio.AioRpcError as error:
            tell(stream=stream, ended=error.code().name, details=error.details())
        except asyncio.CancelledError:
            tell(stream=stream, ended="CANCELLED", details="")
        else:
            tell(stream=stream, ended=(await call.code()).name, details=await call.details())

    async def send(self, stream: str, message: dict[str, Any]) -> None:
        """Write a message to a stream."""
        call = self.streams[stream]
        kind = (
            agent_worker_pb2.ControlMessage
            if "destination" in message
            else agent_worker_pb2.Message
        )
        await call.write(ParseDict(message, kind()))

    async def half_close(self, stream: str) -> None:
        """Say that nothing more will be written."""
        await self.streams[stream].done_writing()

    async def close(self, stream: str) -> None:
        """End a stream."""
        self.streams.pop(stream).cancel()
        await self.readers.pop(stream)


if __name__ == "__main__":
    asyncio.run(serve(Raw()))
    os._exit(0)
