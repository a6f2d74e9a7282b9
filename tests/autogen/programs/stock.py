"""A stock AutoGen worker that does as it is told: see `lines`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from autogen_core import (
    AgentId,
    MessageContext,
    MessageSerializer,
    RoutedAgent,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    default_subscription,
    message_handler,
    try_get_known_serializers_for_type,
    type_subscription,
)
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from lines import serve, tell
from pydantic import BaseModel


@dataclass
class Note:
    """A dataclass."""

    text: str
    number: int


@dataclass
class Secret:
    """A class that only some workers know."""

    text: str


class Bill(BaseModel):
    """A pydantic model with what dataclasses may not have here."""

    name: str
    lines: list[int]
    tax: float | None = None


MESSAGES: dict[str, Any] = {
    each.__name__: each for each in (Note, Secret, Bill, StringValue, Struct)
}


def make(message: tuple[str, dict[str, Any]]) -> Any:
    """A message of a class's name and its fields."""
    name, fields = message
    if name == "Struct":
        struct = Struct()
        struct.update(fields)
        return struct
    if "repeat" in fields:  # lines of orders are short
        fields = {**fields, "text": "x" * fields["repeat"]}
        del fields["repeat"]
    return MESSAGES[name](**fields)


def show(message: Any) -> Any:
    """A message as JSON has it; of a long text only the length."""
    if message is None:
        return None
    fields: Any
    if isinstance(message, Struct):
        fields = dict(message)
    elif isinstance(message, Message):
        fields = {"value": message.value}
    elif isinstance(message, BaseModel):
        fields = message.model_dump()
    elif is_dataclass(message) and not isinstance(message, type):
        fields = asdict(message)
    else:
        fields = {"repr": repr(message)}
    if len(fields.get("text", "")) > 10_000:
        fields = {**fields, "text": f"{len(fields['text'])} letters"}
    fields = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in fields.items()
    }
    return [type(message).__name__, fields]


class Clerk(RoutedAgent):
    """Tells of what it gets, and does what a note says."""

    def __init__(self) -> None:
        super().__init__("does what a note says")

    def _tell(self, message: Any, ctx: MessageContext) -> None:
        topic = ctx.topic_id
        tell(
            got=show(message),
            agent=[self.id.type, self.id.key],
            topic=None if topic is None else [topic.type, topic.source],
            sender=None if ctx.sender is None else [ctx.sender.type, ctx.sender.key],
            is_rpc=ctx.is_rpc,
            message_id=ctx.message_id,
        )

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> Note | None:
        """Answer with the agent's name before the text, if the text asks for nothing else."""
        self._tell(message, ctx)
        match message.text.split(" "):
            case ["raise", *words]:
                raise ValueError(" ".join(words))
            case ["nothing"]:
                return None
            case ["hold"]:
                await asyncio.Event().wait()
            case ["sleep", seconds]:
                await asyncio.sleep(float(seconds))
            case ["publish", topic_type, topic_source]:
                await self.publish_message(
                    Note("published", message.number), TopicId(topic_type, topic_source)
                )
            case ["call", agent_type, agent_key]:
                return await self.send_message(
                    Note("passed on", message.number), AgentId(agent_type, agent_key)
                )
            case ["large", size]:
                return Note("x" * int(size), message.number)
            case ["large-error", size]:
                raise ValueError("x" * int(size))
        return Note(f"{self.id}: {message.text}", message.number)

    @message_handler
    async def on_bill(self, message: Bill, ctx: MessageContext) -> Bill:
        """Answer with one line more."""
        self._tell(message, ctx)
        return message.model_copy(update={"lines": [*message.lines, 1]})

    @message_handler
    async def on_text(self, message: StringValue, ctx: MessageContext) -> Note:
        """Answers are never protobuf: AutoGen writes them as JSON, always."""
        self._tell(message, ctx)
        return Note(message.value, 0)

    @message_handler
    async def on_struct(self, message: Struct, ctx: MessageContext) -> Note:
        """The same for a message of messages."""
        self._tell(message, ctx)
        return Note("struct", len(message))

    async def on_unhandled_message(self, message: Any, ctx: MessageContext) -> None:
        """Tell of it too."""
        self._tell(message, ctx)


@default_subscription
class DefaultClerk(Clerk):
    """Subscribed to the default topic by its class."""


@type_subscription("orders")
class OrdersClerk(Clerk):
    """Subscribed to a topic by its class."""


CLERKS: dict[str, type[Clerk]] = {
    "": Clerk,
    "default": DefaultClerk,
    "orders": OrdersClerk,
}


class NoneSerializer(MessageSerializer[None]):
    """What programs add that want None as an answer: AutoGen has no serializer for it."""

    data_content_type = "application/json"
    type_name = "NoneType"

    def deserialize(self, payload: bytes) -> None:
        """Nothing."""

    def serialize(self, message: None) -> bytes:
        """JSON for it."""
        return b"null"


class Stock:
    """One runtime and the orders it takes."""

    def __init__(self) -> None:
        self._runtime: GrpcWorkerAgentRuntime | None = None

    @property
    def runtime(self) -> GrpcWorkerAgentRuntime:
        """The runtime, once `start` has made it."""
        assert self._runtime is not None
        return self._runtime

    async def start(
        self,
        address: str,
        *,
        protobuf: bool = False,
        knows: tuple[str, ...] = ("Note", "Bill"),
        none: bool = False,
        options: tuple[tuple[str, int], ...] = (),
    ) -> int:
        """Connect; answers with the process's id."""
        kind = "application/x-protobuf" if protobuf else "application/json"
        self._runtime = GrpcWorkerAgentRuntime(
            address,
            payload_serialization_format=kind,
            extra_grpc_config=[(name, value) for name, value in options],
        )
        for name in knows:
            self._runtime.add_message_serializer(try_get_known_serializers_for_type(MESSAGES[name]))
        if none:
            self._runtime.add_message_serializer(NoneSerializer())
        await self._runtime.start()
        return os.getpid()

    async def stop(self) -> None:
        """End the runtime as its owner would."""
        await self.runtime.stop()

    async def register(self, agent_type: str, clerk: str = "", *, direct: bool = True) -> None:
        """Serve a type."""
        cls = CLERKS[clerk]
        await cls.register(
            self.runtime, agent_type, cls, skip_direct_message_subscription=not direct
        )

    async def register_instance(self, agent_type: str, key: str) -> None:
        """Serve one agent that is there already."""
        await Clerk().register_instance(self.runtime, AgentId(agent_type, key))

    async def subscribe(
        self, agent_type: str, topic_type: str, *, prefix: bool = False, name: str | None = None
    ) -> str:
        """Subscribe a type to a topic; answers with the subscription's id."""
        made = (TypePrefixSubscription if prefix else TypeSubscription)(
            topic_type, agent_type, id=name
        )
        await self.runtime.add_subscription(made)
        return made.id

    async def unsubscribe(self, name: str) -> None:
        """Take a subscription back."""
        await self.runtime.remove_subscription(name)

    async def publish(
        self,
        message: tuple[str, dict[str, Any]],
        topic: tuple[str, str],
        *,
        sender: tuple[str, str] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Publish to a topic."""
        await self.runtime.publish_message(
            make(message),
            TopicId(*topic),
            sender=None if sender is None else AgentId(*sender),
            message_id=message_id,
        )

    async def call(
        self, message: tuple[str, dict[str, Any]], target: tuple[str, str]
    ) -> dict[str, Any]:
        """Call an agent: the answer or the error, and how long that took."""
        began = time.monotonic()
        said: dict[str, Any]
        try:
            said = {
                "answer": show(await self.runtime.send_message(make(message), AgentId(*target)))
            }
        except Exception as error:  # noqa: BLE001 (the test is told which)
            text = str(error)
            said = {"error": text[:1000], "letters": len(text), "class": type(error).__name__}
        return said | {"seconds": time.monotonic() - began}

    async def call_often(self, target: tuple[str, str], times: int) -> None:
        """Make calls at once, numbered, and wait for all answers."""
        calls = (self.call(("Note", {"text": "often", "number": n}), target) for n in range(times))
        await asyncio.gather(*calls)


async def main() -> None:
    """Do as one is told."""
    stock = Stock()
    await serve(stock)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    # gRPC's threads outlive a runtime that nobody stopped.
    asyncio.run(main())
    os._exit(0)
