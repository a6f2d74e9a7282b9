"""Stock workers and workers of ours behind one host: events and calls, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from autogen.natives import Bill, Note
from autogen.world import PATIENCE_S, PROMPTLY_S, Refused, Stage, callboard_worker, note
from callboard import (
    AgentId,
    AgentNotFound,
    CallboardError,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    RemoteAgentError,
    RoutedAgent,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    message_handler,
)
from callboard.exceptions import Unavailable
from callboard.worker import WorkerRuntime


class Clerk(RoutedAgent):
    """Keeps what it gets, and does what a note says."""

    def __init__(self, got: asyncio.Queue[tuple[Any, MessageContext]]) -> None:
        super().__init__("does what a note says")
        self.got = got

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> Note | None:
        self.got.put_nowait((message, ctx))
        match message.text.split(" "):
            case ["raise", *words]:
                raise ValueError(" ".join(words))
            case ["nothing"]:
                return None
            case ["large", size]:
                return Note("x" * int(size), message.number)
            case ["large-error", size]:
                raise ValueError("x" * int(size))
            case ["hold"]:
                await asyncio.Event().wait()
            case ["call", agent_type, key]:
                answer: Note = await self.send_message(
                    Note("passed on", message.number), AgentId(agent_type, key)
                )
                return answer
            case ["publish", topic_type, topic_source]:
                await self.publish_message(
                    Note("published", message.number), TopicId(topic_type, topic_source)
                )
        return Note(f"{self.id}: {message.text}", message.number)

    @message_handler
    async def on_bill(self, message: Bill, ctx: MessageContext) -> Bill:
        self.got.put_nowait((message, ctx))
        return message.model_copy(update={"lines": [*message.lines, 1]})

    @message_handler
    async def on_text(self, message: StringValue, ctx: MessageContext) -> Note:
        self.got.put_nowait((message, ctx))
        return Note(message.value, 0)

    @message_handler
    async def on_struct(self, message: Struct, ctx: MessageContext) -> None:
        self.got.put_nowait((message, ctx))


class Native:
    """A worker of ours with one agent type."""

    def __init__(self, runtime: WorkerRuntime, agent_type: str) -> None:
        self.runtime = runtime
        self.agent_type = agent_type
        self.got: asyncio.Queue[tuple[Any, MessageContext]] = asyncio.Queue()

    @classmethod
    async def start(cls, stage: Stage, *topics: str, **how: Any) -> Native:
        made = cls(await stage.native(**how), stage.name("native"))
        await Clerk.register(made.runtime, made.agent_type, lambda: Clerk(made.got))
        for topic in topics:
            await made.runtime.add_subscription(TypeSubscription(topic, made.agent_type))
        return made

    async def next(self) -> tuple[Any, MessageContext]:
        async with asyncio.timeout(PATIENCE_S):
            return await self.got.get()

    async def call(self, message: Any, agent_type: str, **how: Any) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await self.runtime.send_message(
                message, AgentId(agent_type, "k"), reply_type=Note, **how
            )


MESSAGES = [
    (Note("ünïcode ✓", 7), ("Note", {"text": "ünïcode ✓", "number": 7})),
    (
        Bill(name="paper", lines=[1, 2], tax=0.5),
        ("Bill", {"name": "paper", "lines": [1, 2], "tax": 0.5}),
    ),
]
STRUCT = Struct()
STRUCT.update({"number": 1.0, "text": "protobuf"})
PROTOBUF_MESSAGES = [
    (StringValue(value="protobuf"), ("StringValue", {"value": "protobuf"})),
    (STRUCT, ("Struct", {"number": 1.0, "text": "protobuf"})),
]


def named(value: Any) -> str | None:
    return str(value[0]) if isinstance(value, tuple) else ""


# Events.


@pytest.mark.parametrize(("message", "order"), MESSAGES, ids=named)
async def test_ours_get_events_of_stock_workers(stage: Stage, message: Any, order: Any) -> None:
    """A message is the same on both sides; where no agent published it there is no sender."""
    topic = stage.name("topic")
    native, stock = await asyncio.gather(Native.start(stage, topic), stage.stock())

    await stock.do("publish", message=order, topic=(topic, "the source"), message_id="m-1")

    got, ctx = await native.next()
    assert got == message
    assert ctx.topic_id == TopicId(topic, "the source")
    assert ctx.message_id == "m-1"
    assert not ctx.is_rpc


@pytest.mark.parametrize(("message", "order"), PROTOBUF_MESSAGES, ids=named)
async def test_ours_get_protobuf_of_stock_workers(stage: Stage, message: Any, order: Any) -> None:
    """So is a protobuf message."""
    topic = stage.name("topic")
    native, stock = await asyncio.gather(
        Native.start(stage, topic), stage.stock(protobuf=True, knows=("StringValue", "Struct"))
    )

    await stock.do("publish", message=order, topic=(topic, "s"))

    assert (await native.next())[0] == message


@pytest.mark.parametrize(("message", "order"), [*MESSAGES, *PROTOBUF_MESSAGES], ids=named)
async def test_stock_workers_get_events_of_ours(stage: Stage, message: Any, order: Any) -> None:
    """The same the other way, JSON and protobuf."""
    topic, agent_type = stage.name("topic"), stage.name()
    native, stock = await asyncio.gather(stage.native(), stage.clerk(agent_type, topic))

    await native.publish_message(message, TopicId(topic, "the source"), message_id="m-1")

    said = await stock.tells(lambda said: "got" in said)
    assert said["got"] == list(order)
    assert said["agent"] == [agent_type, "the source"]
    assert said["topic"] == [topic, "the source"]
    assert said["message_id"] == "m-1"


async def test_agents_know_who_published(stage: Stage) -> None:
    """The sender of an event is known across."""
    topic, agent_type = stage.name("topic"), stage.name()
    native, stock = await asyncio.gather(Native.start(stage, topic), stage.clerk(agent_type, topic))

    await stock.call(f"publish {topic} k", agent_type, "k")
    _, ctx = await native.next()
    assert ctx.sender == AgentId(agent_type, "k")

    await native.call(Note(f"publish {topic} s", 0), native.agent_type)
    await native.next()
    await native.next()
    said = await stock.tells(lambda said: "got" in said and said["topic"] == [topic, "s"])
    assert said["sender"] == [native.agent_type, "k"]


async def test_prefixes_reach_across(stage: Stage) -> None:
    """Prefix subscriptions of either side match topics of the other."""
    prefix, agent_type = stage.name("prefix"), stage.name()
    native, stock = await asyncio.gather(Native.start(stage), stage.clerk(agent_type))
    await native.runtime.add_subscription(TypePrefixSubscription(prefix, native.agent_type))
    await stock.do("subscribe", agent_type=agent_type, topic_type=prefix, prefix=True)

    await stock.publish("one", f"{prefix}.one")
    await native.runtime.publish_message(Note("two", 2), TopicId(f"{prefix}.two", "s"))

    assert {(await native.next())[0].text, (await native.next())[0].text} == {"one", "two"}
    await stock.gets("one")
    await stock.gets("two")


async def test_an_event_reaches_both_kinds_once(stage: Stage) -> None:
    """Two workers of ours that share a type and two stock workers: each type gets it once."""
    topic, types = stage.name("topic"), [stage.name(), stage.name()]
    native = await Native.start(stage, topic)
    stocks = await asyncio.gather(*(stage.clerk(agent_type, topic) for agent_type in types))
    twin = await stage.native()
    await Clerk.register(twin, native.agent_type, lambda: Clerk(native.got))
    await twin.add_subscription(TypeSubscription(topic, native.agent_type))

    for number in range(20):
        await stocks[0].do("publish", message=note("x", number), topic=(topic, f"s{number}"))

    got = [(await native.next())[0].number for _ in range(20)]
    assert sorted(got) == list(range(20))
    for stock in stocks:
        await stock.tells(lambda said: "got" in said and said["got"][1]["number"] == 19)
        assert sorted(said["got"][1]["number"] for said in stock.got("x")) == list(range(20))
    assert native.got.empty()


async def test_ours_gets_what_no_stock_worker_can_take(stage: Stage) -> None:
    """Five megabytes reach our worker; the stock worker beside it goes on without them."""
    topic, agent_type = stage.name("topic"), stage.name()
    native, stock, publisher = await asyncio.gather(
        Native.start(stage, topic), stage.clerk(agent_type, topic), stage.stock()
    )

    large = ("Note", {"repeat": 5_000_000, "number": 1})
    await publisher.do("publish", message=large, topic=(topic, "s"))
    await native.runtime.publish_message(Note("x" * 5_000_000, 2), TopicId(topic, "s"))
    await publisher.publish("small", topic)

    assert {(await native.next())[0].number for _ in range(3)} == {0, 1, 2}
    await stock.gets("small")
    assert not stock.got("5000000 letters")


# Calls.


async def test_stock_workers_call_ours(stage: Stage) -> None:
    """A dataclass and a pydantic model, asked for and answered."""
    native, stock = await asyncio.gather(Native.start(stage), stage.stock())

    said = await stock.do("call", message=note("hello", 3), target=(native.agent_type, "k/1"))
    assert said["answer"] == ["Note", {"text": f"{native.agent_type}/k/1: hello", "number": 3}]
    _, ctx = await native.next()
    assert ctx.is_rpc
    assert (ctx.sender, ctx.topic_id) == (None, None)
    bill = ("Bill", {"name": "ink", "lines": [1], "tax": None})
    said = await stock.do("call", message=bill, target=(native.agent_type, "k"))
    assert said["answer"] == ["Bill", {"name": "ink", "lines": [1, 1], "tax": None}]


async def test_ours_call_stock_workers(stage: Stage) -> None:
    """A dataclass, a pydantic model and a protobuf message, which stock workers answer in JSON."""
    agent_type = stage.name()
    native, _ = await asyncio.gather(
        stage.native(), stage.clerk(agent_type, knows=("Note", "Bill", "StringValue"))
    )
    target = AgentId(agent_type, "k/1")

    answer = await native.send_message(Note("hello", 3), target, reply_type=Note)
    assert answer == Note(f"{agent_type}/k/1: hello", 3)
    bill = await native.send_message(Bill(name="ink", lines=[1]), target, reply_type=Bill)
    assert bill == Bill(name="ink", lines=[1, 1])
    answer = await native.send_message(StringValue(value="text"), target, reply_type=Note)
    assert answer == Note("text", 0)


async def test_a_stream_of_ours_gets_the_one_answer_of_a_stock_worker(stage: Stage) -> None:
    """A stock worker's `None` too; and an error."""
    agent_type = stage.name()
    native, _ = await asyncio.gather(stage.native(), stage.clerk(agent_type, none=True))
    target = AgentId(agent_type, "k")

    def answers(text: str) -> Any:
        return native.stream_message(Note(text, 3), target, reply_type=Note, timeout_s=PATIENCE_S)

    assert [each async for each in answers("hello")] == [Note(f"{agent_type}/k: hello", 3)]
    assert [each async for each in native.stream_message(Note("nothing", 0), target)] == [None]
    with pytest.raises(RemoteAgentError, match="out of paper"):
        await anext(answers("raise out of paper"))


async def test_a_stock_caller_of_a_stream_of_ours_is_told_what_is_wrong(stage: Stage) -> None:
    """AutoGen has no way to take one."""
    native, stock = await asyncio.gather(stage.native(), stage.stock())
    agent_type = stage.name("streams")

    async def count(_: ClosureContext, message: Note, ctx: MessageContext) -> AsyncIterator[Note]:
        yield message

    await ClosureAgent.register_closure(native, agent_type, count)

    said = await stock.call("hello", agent_type)
    assert "answers with a stream" in said["error"]


async def test_calls_go_there_and_back(stage: Stage) -> None:
    """A stock agent calls one of ours that calls a stock agent, and senders are known."""
    first, third = stage.name(), stage.name()
    native, one, other, caller = await asyncio.gather(
        Native.start(stage), stage.clerk(first), stage.clerk(third), stage.stock()
    )

    said = await caller.call(f"call {native.agent_type} k", first, "k")
    assert said["answer"][1]["text"] == f"{native.agent_type}/k: passed on"
    _, ctx = await native.next()
    assert ctx.sender == AgentId(first, "k")

    said = await caller.call(f"call {third} k", native.agent_type, "k")
    assert said["answer"][1]["text"] == f"{third}/k: passed on"
    assert (await other.gets("passed on"))["sender"] == [native.agent_type, "k"]
    assert len(one.got(f"call {native.agent_type} k")) == 1


async def test_errors_of_ours_reach_stock_callers(stage: Stage) -> None:
    """With a text the text, without one some other."""
    native, stock = await asyncio.gather(Native.start(stage), stage.stock())

    said = await stock.call("raise out of päper", native.agent_type)
    assert "out of päper" in said["error"]
    said = await stock.call("raise ", native.agent_type)
    assert said["error"]


@pytest.mark.parametrize("key", ["", "k" * 300])
async def test_keys_that_ours_cannot_have_end_no_worker(stage: Stage, key: str) -> None:
    """AutoGen's rules are looser: such a call fails, such an event is no agent's."""
    topic = stage.name("topic")
    native, stock = await asyncio.gather(Native.start(stage, topic), stage.stock())

    await stock.publish("lost", topic, key)
    said = await stock.call("?", native.agent_type, key)
    assert "invalid agent key" in said["error"]
    await stock.publish("found", topic)
    got, _ = await native.next()
    assert got == Note("found", 0)


async def test_errors_of_stock_callees_reach_ours(stage: Stage) -> None:
    """They are `RemoteAgentError` with the text, an empty one included."""
    agent_type = stage.name()
    native, _ = await asyncio.gather(Native.start(stage), stage.clerk(agent_type))

    with pytest.raises(RemoteAgentError) as failed:
        await native.call(Note("raise out of päper", 0), agent_type)
    assert failed.value.error_message == "out of päper"
    with pytest.raises(RemoteAgentError):
        await native.call(Note("raise ", 0), agent_type)


async def test_none_of_ours_reaches_stock_callers(stage: Stage) -> None:
    """One that has a serializer for None gets None, any other what says so, and no error."""
    native, stock, prepared = await asyncio.gather(
        Native.start(stage), stage.stock(), stage.stock(none=True)
    )

    said = await prepared.call("nothing", native.agent_type)
    assert said["answer"] is None
    said = await stock.call("nothing", native.agent_type)
    assert said["answer"] == [
        "UnknownPayload",
        {"type_name": "NoneType", "data_content_type": "application/json", "payload": "null"},
    ]


async def test_none_of_stock_callees_reaches_ours(stage: Stage) -> None:
    """A stock worker that can say None is understood."""
    agent_type = stage.name()
    native, _ = await asyncio.gather(Native.start(stage), stage.clerk(agent_type, none=True))

    assert await native.call(Note("nothing", 0), agent_type) is None


async def test_a_stock_callee_that_says_nothing_is_given_up(stage: Stage) -> None:
    """Our caller's own deadline ends a call that a stock worker never answers."""
    agent_type = stage.name()
    native, _ = await asyncio.gather(Native.start(stage), stage.clerk(agent_type))

    with pytest.raises(TimeoutError):
        await native.call(Note("nothing", 0), agent_type, timeout_s=0.5)


async def test_a_killed_stock_callee_fails_calls_of_ours(stage: Stage) -> None:
    """At once, and later calls find nobody."""
    agent_type = stage.name()
    native, stock = await asyncio.gather(Native.start(stage), stage.clerk(agent_type))
    call = asyncio.create_task(native.call(Note("hold", 0), agent_type))
    await stock.gets("hold")

    await stock.kill()

    async with asyncio.timeout(PROMPTLY_S):
        with pytest.raises(Unavailable):
            await call
    with pytest.raises(AgentNotFound):
        await native.call(Note("anyone?", 0), agent_type)


async def test_a_stopped_worker_of_ours_fails_stock_calls(stage: Stage) -> None:
    """The last worker of a type takes its open calls with it, and the caller hears of it."""
    stock = await stage.stock()
    inner = Stage(stage.address)
    native = await Native.start(inner, drain_timeout_s=0.1)
    call = asyncio.create_task(stock.call("hold", native.agent_type))
    await native.next()

    await inner.close()

    assert (await call)["error"]


async def test_large_answers_and_errors_of_ours_harm_no_stock_caller(stage: Stage) -> None:
    """What its worker could not take ends as an error that it can."""
    native, stock = await asyncio.gather(Native.start(stage), stage.stock())

    assert (await stock.call("large 5000000", native.agent_type))["error"]
    assert (await stock.call("large-error 5000000", native.agent_type))["error"]
    assert "answer" in await stock.call("hello", native.agent_type)


async def test_a_large_call_of_ours_harms_no_stock_callee(stage: Stage) -> None:
    """The call fails, and the stock worker goes on."""
    agent_type = stage.name()
    native, _ = await asyncio.gather(Native.start(stage), stage.clerk(agent_type))

    with pytest.raises(Exception, match="bytes"):
        await native.call(Note("x" * 5_000_000, 0), agent_type)
    assert (await native.call(Note("hello", 0), agent_type)).text == f"{agent_type}/k: hello"


# Types.


async def test_a_type_of_ours_is_taken_to_stock_workers(stage: Stage) -> None:
    """A stock worker is refused it in AutoGen's words, and ours goes on."""
    native, stock = await asyncio.gather(Native.start(stage), stage.stock())

    with pytest.raises(Refused) as refused:
        await stock.do("register", agent_type=native.agent_type)

    assert refused.value.code == "INVALID_ARGUMENT"
    assert refused.value.text.startswith(f"Agent type {native.agent_type} already registered")
    assert "answer" in await stock.call("hello", native.agent_type)


async def test_a_type_of_a_stock_worker_is_taken_to_ours(stage: Stage) -> None:
    """Our worker is refused it, and the stock worker goes on."""
    agent_type = stage.name()
    native, stock = await asyncio.gather(stage.native(), stage.clerk(agent_type))

    with pytest.raises(CallboardError, match=agent_type):
        await Clerk.register(native, agent_type, lambda: Clerk(asyncio.Queue()))

    assert "answer" in await stock.call("hello", agent_type)


async def test_a_worker_process_of_ours_serves_stock_workers(stage: Stage) -> None:
    """`callboard worker` is called, and gets and publishes events."""
    agent_type = stage.name()
    with callboard_worker(stage.address, "autogen.natives:setup"):
        stock = await stage.clerk(agent_type, "natives.echoed")

        said = await stock.call("hello", "native_echo")
        assert said["answer"] == ["Note", {"text": "native_echo/k: hello", "number": 0}]
        source = stage.name("source")
        await stock.publish("an event", "natives.echo", source)
        said = await stock.gets("an event")
        assert said["agent"] == [agent_type, source]
        assert said["sender"] == ["native_echo", source]
