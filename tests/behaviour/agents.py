"""The agents that the behavioural tests talk to, in whatever process they live."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from pydantic import BaseModel

from callboard import (
    AgentId,
    AgentInstantiationContext,
    AgentRuntime,
    DefaultTopicId,
    MessageContext,
    Policy,
    Reject,
    RoutedAgent,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    default_subscription,
    event,
    message_handler,
    rpc,
    type_subscription,
)


@dataclass
class Order:
    """An event with a number."""

    number: int


@dataclass
class Noted:
    """An agent saw something: where, what, in which process."""

    agent: str
    number: int
    process: int
    topic_source: str = ""


@dataclass
class Seen:
    """Asks a recorder for the numbers it has seen."""


@dataclass
class Ask:
    """Asks an agent to do something, by name."""

    what: str
    number: int = 0


@dataclass
class Hold:
    """Asks an agent not to answer until it is told to stop."""


@dataclass
class Unheard:
    """A message that no agent handles."""


@dataclass
class Circle:
    """A shape with the same fields as `Square`."""

    size: int


@dataclass
class Square:
    """A shape with the same fields as `Circle`."""

    size: int


@dataclass
class Drawing:
    """Nested dataclasses, a union of two of the same form, and what else JSON has no word for."""

    title: str
    shapes: list[Circle | Square]
    background: Circle | Square | None = None
    made: datetime | None = None
    tags: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Invoice(BaseModel):
    """A pydantic model."""

    name: str
    lines: list[int]


async def note(agent: RoutedAgent, number: int, source: str) -> None:
    """Tell the test, which listens to the topic ``noted`` under its own source."""
    noted = Noted(str(agent.id), number, os.getpid(), agent.id.key)
    await agent.publish_message(noted, TopicId("noted", source))


@type_subscription("orders")
class Recorder(RoutedAgent):
    """Keeps the numbers of the orders it sees, in order."""

    def __init__(self) -> None:
        super().__init__("keeps numbers")
        self.numbers: list[int] = []

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Keep the number and tell."""
        self.numbers.append(message.number)
        assert ctx.topic_id is not None
        await note(self, message.number, ctx.topic_id.source)

    @rpc
    async def on_seen(self, message: Seen, ctx: MessageContext) -> list[int]:
        """The numbers."""
        return self.numbers


class PrefixRecorder(Recorder):
    """The same for topics that begin with ``metrics.``."""


@default_subscription
class Repeater(RoutedAgent):
    """Publishes what it gets to its default topic, once; its own event must not come back to it."""

    def __init__(self) -> None:
        super().__init__("repeats")

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Tell, and publish the next number below 3."""
        await note(self, message.number, self.id.key)
        if message.number < 3:
            await self.publish_message(Order(message.number + 1), DefaultTopicId())


class Echo(RoutedAgent):
    """Answers every kind of message with itself."""

    def __init__(self) -> None:
        super().__init__("echoes")

    @message_handler
    async def on_drawing(self, message: Drawing, ctx: MessageContext) -> Drawing:
        """A dataclass."""
        return message

    @message_handler
    async def on_invoice(self, message: Invoice, ctx: MessageContext) -> Invoice:
        """A pydantic model."""
        return message

    @message_handler
    async def on_protobuf(self, message: StringValue, ctx: MessageContext) -> StringValue:
        """A protobuf message."""
        return message

    @message_handler
    async def on_text(self, message: str, ctx: MessageContext) -> str:
        """Text."""
        return message

    @message_handler
    async def on_list(self, message: list[Any], ctx: MessageContext) -> list[Any]:
        """A list."""
        return message

    @message_handler
    async def on_ask(self, message: Ask, ctx: MessageContext) -> None:
        """Answers with nothing."""


@dataclass
class Quote:
    """A reply of a class that nobody sends."""

    price: int


class Quoter(RoutedAgent):
    """Answers with a class of its own."""

    def __init__(self) -> None:
        super().__init__("quotes")

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> Quote:
        """The price."""
        return Quote(42)


class Troublemaker(RoutedAgent):
    """Fails as asked, holds as asked, and says how often it was stopped."""

    stops: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__("makes trouble")

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> int | str:
        """Do what is asked."""
        match message.what:
            case "fail":
                msg = "out of paper"
                raise ValueError(msg)
            case "fail silently":
                raise KeyError
            case "stops":
                return self.stops[self.id.key]
            case "slow":
                await note(self, 0, self.id.key)
                await asyncio.sleep(
                    0.5
                )  # what the test is about: a turn that outlasts the order to stop
                return 1
            case "large reply":
                return "x" * (9 << 20)
            case "call nobody":
                await self.send_message("hello", AgentId("nobody", "x"))
                return 0
            case "pid":
                return os.getpid()
            case _:
                raise NotImplementedError("x" * (9 << 20))

    @rpc
    async def on_hold(self, message: Hold, ctx: MessageContext) -> None:
        """Never answer; notice being stopped."""
        key = self.id.key
        ctx.cancellation_token.add_callback(lambda: self.stops.update([key]))
        await self.publish_message(Noted(str(self.id), 0, os.getpid(), key), TopicId("noted", key))
        await asyncio.Event().wait()


@type_subscription("stumbles")
class Stumbler(RoutedAgent):
    """Handles an order at the attempt that is its number, and tells."""

    policy = Policy(max_attempts=3, backoff_s=0.02)

    def __init__(self) -> None:
        super().__init__("needs some attempts")
        self.attempts: list[str] = []

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Fail, or tell; reject what has no number."""
        self.attempts.append(f"{message.number} {ctx.attempt} {ctx.idempotency_key}")
        if message.number == 0:
            msg = "an order has a number"
            raise Reject(msg)
        if ctx.attempt < message.number:
            msg = f"not at attempt {ctx.attempt}"
            raise ValueError(msg)
        await note(self, message.number, self.id.key)

    @rpc
    async def on_seen(self, message: Seen, ctx: MessageContext) -> list[str]:
        """Numbers, attempts and keys, in order."""
        return self.attempts


@type_subscription("patience")
class Patient(Stumbler):
    """The same, with a wait for which no worker holds an event."""

    policy = Policy(max_attempts=3, backoff_s=2.1)


@type_subscription("poison")
class Victim(RoutedAgent):
    """Dies of an order without a number, and its process with it."""

    def __init__(self) -> None:
        super().__init__("is not well")

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Die, or tell."""
        if message.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        await note(self, message.number, self.id.key)


class Newcomer(RoutedAgent):
    """Is made slowly, and counts how often it was made."""

    made: Counter[str] = Counter()

    def __init__(self, key: str) -> None:
        super().__init__("is made once")
        self.made[key] += 1

    @classmethod
    async def make(cls) -> Newcomer:
        """Take several turns of the loop to make one."""
        key = AgentInstantiationContext.current_agent_id().key
        for _ in range(10):
            await asyncio.sleep(0)
        return cls(key)

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> int:
        """How often this agent was made."""
        return self.made[self.id.key]


class Turnstile(RoutedAgent):
    """Notices when two of its turns overlap."""

    def __init__(self) -> None:
        super().__init__("one at a time")
        self.inside = 0
        self.most = 0

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> int:
        """How many turns were ever inside at once."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(5):
            await asyncio.sleep(0)
        self.inside -= 1
        return self.most


class WideTurnstile(Turnstile):
    """Lets three in at once."""

    policy = Policy(max_concurrency=3)


@type_subscription("snails")
class Snail(RoutedAgent):
    """Takes less time for each event, so that turns side by side would end in the wrong order."""

    def __init__(self) -> None:
        super().__init__("takes its time")
        self.inside = 0
        self.most = 0

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Take 0.1 s less 0.02 s a number, then tell."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.1 - 0.02 * message.number)
        await note(self, message.number, self.id.key)
        self.inside -= 1

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> int:
        """How many turns were ever inside at once."""
        return self.most


@type_subscription("eggs")
class Egg(RoutedAgent):
    """Breaks at odd numbers."""

    def __init__(self) -> None:
        super().__init__("breaks")

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Raise, or tell."""
        if message.number % 2:
            msg = f"{self.id.key} broke at {message.number}"
            raise ValueError(msg)
        await note(self, message.number, self.id.key)


class Visitor(RoutedAgent):
    """Calls another agent, which calls it back while it waits."""

    def __init__(self) -> None:
        super().__init__("calls and is called back")
        self.calls_inside = 0

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> int:
        """``number`` more calls, between this agent and its twin."""
        if message.number == 0:
            return 0
        key = self.id.key
        other = key.removesuffix("-twin") if key.endswith("-twin") else f"{key}-twin"
        below: int = await self.send_message(
            Ask("again", message.number - 1), AgentId("visitor", other), timeout_s=10
        )
        return below + 1


@dataclass
class Flow:
    """Asks for a stream of so many numbers; ``what`` says what is special about it."""

    count: int
    what: str = ""


@type_subscription("flows")
class Streamer(RoutedAgent):
    """Streams, and says how far it went and how often it was closed before its end."""

    sent: Counter[str] = Counter()
    stops: Counter[str] = Counter()
    is_inside = False

    def __init__(self) -> None:
        super().__init__("streams")

    @message_handler
    async def on_flow(self, message: Flow, ctx: MessageContext) -> AsyncIterator[Quote | str]:
        """Numbers, as quotes."""
        key = self.id.key
        assert not self.is_inside or message.what == "inside"
        self.is_inside = True
        try:
            for number in range(message.count):
                self.sent[key] += 1
                yield Quote(number)
            match message.what:
                case "fail":
                    msg = "out of paper"
                    raise ValueError(msg)
                case "hold":
                    await note(self, message.count, key)
                    await asyncio.Event().wait()
                case "bad":
                    yield 3  # type: ignore[misc]  # the point
                case "large":
                    yield "x" * (9 << 20)
                case "back":
                    async for quote in self.stream_message(Flow(message.count), self._relay):
                        yield quote
            if not ctx.is_rpc:
                await note(self, message.count, key)
        except (GeneratorExit, asyncio.CancelledError):
            self.stops[key] += 1
            assert ctx.cancellation_token.is_cancelled() or message.what in {"bad", "large"}
            raise
        finally:
            self.is_inside = False

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> int:
        """How often it was stopped, how many numbers it sent, its process."""
        match message.what:
            case "stops":
                return self.stops[self.id.key]
            case "sent":
                return self.sent[self.id.key]
            case _:
                return os.getpid()

    @property
    def _relay(self) -> AgentId:
        return AgentId("relay", self.id.key)


class Relay(RoutedAgent):
    """Passes the stream of a streamer on, or what that says of itself while it streams."""

    def __init__(self) -> None:
        super().__init__("passes on")

    @rpc
    async def on_flow(self, message: Flow, ctx: MessageContext) -> AsyncIterator[Quote]:
        """The numbers of the streamer of the same key, doubled."""
        streamer = AgentId("streamer", self.id.key)
        async for quote in self.stream_message(
            Flow(message.count, "inside"), streamer, timeout_s=10
        ):
            yield Quote(2 * quote.price)


class Broadcast(RoutedAgent):
    """One of a thousand that hear the same event."""

    def __init__(self) -> None:
        super().__init__("hears")

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Tell."""
        await note(self, message.number, self.id.key)


BROADCAST_TYPES = 1000


async def setup(runtime: AgentRuntime) -> None:
    """Serve all agents but the thousand."""
    await Recorder.register(runtime, "recorder", Recorder)
    await PrefixRecorder.register(
        runtime, "prefix_recorder", PrefixRecorder, skip_class_subscriptions=True
    )
    await runtime.add_subscription(TypePrefixSubscription("metrics.", "prefix_recorder"))
    await Repeater.register(runtime, "repeater", Repeater)
    await Repeater.register(runtime, "second_repeater", Repeater)
    await Echo.register(runtime, "echo", Echo)
    await Troublemaker.register(runtime, "troublemaker", Troublemaker)
    await Quoter.register(runtime, "quoter", Quoter)
    await Stumbler.register(runtime, "stumbler", Stumbler)
    await Patient.register(runtime, "patient", Patient)
    await Victim.register(runtime, "victim", Victim)
    await Newcomer.register(runtime, "newcomer", Newcomer.make)
    await Turnstile.register(runtime, "turnstile", Turnstile)
    await WideTurnstile.register(runtime, "wide_turnstile", WideTurnstile)
    await Snail.register(runtime, "snail", Snail)
    await Egg.register(runtime, "egg", Egg)
    await Visitor.register(runtime, "visitor", Visitor)
    await Streamer.register(runtime, "streamer", Streamer)
    await Relay.register(runtime, "relay", Relay)


async def setup_broadcast(runtime: AgentRuntime) -> None:
    """Serve a thousand agent types that hear the topic ``broadcast``."""

    async def one(name: str) -> None:
        await Broadcast.register(runtime, name, Broadcast)
        await runtime.add_subscription(TypeSubscription("broadcast", name))

    await asyncio.gather(*(one(f"broadcast{number}") for number in range(BROADCAST_TYPES)))
