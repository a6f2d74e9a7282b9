"""Streamed calls: their replies come in order, as far as they are wanted, and end once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from behaviour.agents import Ask, Flow, Order, Quote
from behaviour.world import PATIENCE_S, World, cluster, remote_world
from callboard import (
    AgentId,
    AgentNotFound,
    CancellationToken,
    CantHandleException,
    ClosureAgent,
    ClosureContext,
    DeadlineExceeded,
    InvalidMessage,
    MessageContext,
    RemoteAgentError,
    TopicId,
    Unavailable,
)
from callboard.agent.stream_made import STREAM_WINDOW


def streamer(world: World) -> AgentId:
    return AgentId("streamer", world.key)


def numbers_of(world: World, flow: Flow, agent: AgentId | None = None, **options: Any) -> Any:
    """A stream of quotes."""
    recipient = agent or streamer(world)
    return world.runtime.stream_message(flow, recipient, reply_type=Quote, **options)


async def take(
    stream: Any, into: list[int], at_five: Callable[[], Awaitable[None]] | None = None
) -> None:
    """All of a stream; ``at_five`` is done when five have come."""
    async for quote in stream:
        into.append(quote.price)
        if len(into) == 5 and at_five is not None:
            await at_five()


async def stops(world: World) -> int:
    """How often the streamer was stopped before its end; asked when its turn has ended."""
    found: int = await world.runtime.send_message(Ask("stops"), streamer(world), timeout_s=10)
    return found


@pytest.mark.parametrize("count", [0, 1, STREAM_WINDOW, STREAM_WINDOW + 1, 1000])
async def test_what_a_handler_yields_comes_in_order_and_ends(world: World, count: int) -> None:
    """However many there are, more than the window too."""
    quotes = [quote async for quote in numbers_of(world, Flow(count))]
    assert quotes == [Quote(number) for number in range(count)]


async def test_what_a_handler_raises_comes_after_what_it_yielded(world: World) -> None:
    """The replies before the error count; nothing comes after it."""
    come: list[int] = []
    with pytest.raises(RemoteAgentError, match="ValueError: out of paper"):
        await take(numbers_of(world, Flow(50, "fail")), come)
    assert come == list(range(50))


@pytest.mark.parametrize(
    ("what", "reason"), [("bad", "yielded a int, not Quote or str"), ("large", "the reply has")]
)
async def test_a_reply_that_cannot_travel_ends_the_stream(
    world: World, what: str, reason: str
) -> None:
    """After what came before it."""
    come: list[int] = []
    with pytest.raises(Exception, match=reason):
        await take(numbers_of(world, Flow(3, what)), come)
    assert come == [0, 1, 2]


async def test_a_handler_is_no_further_ahead_than_the_window(world: World) -> None:
    """Whoever takes nothing lets nothing gather."""
    async with aclosing(numbers_of(world, Flow(1000))) as stream:
        assert await anext(stream) == Quote(0)
        await asyncio.sleep(0.2)  # what the test is about: a consumer that takes its time
        for number in range(1, 100):
            assert await anext(stream) == Quote(number)
    sent = await world.runtime.send_message(Ask("sent"), streamer(world))
    assert sent <= 100 + STREAM_WINDOW
    assert await stops(world) == 1


@pytest.mark.parametrize("count", [20, 1000])
async def test_a_stream_that_is_left_early_stops_its_handler(world: World, count: int) -> None:
    """By break; the handler waits for room, or for something of its own."""
    async for quote in numbers_of(world, Flow(count, "hold")):
        if quote.price == 10:
            break
    assert await stops(world) == 1


async def test_a_cancelled_token_ends_a_stream(world: World) -> None:
    """At once, whatever has come; the handler is told."""
    token = CancellationToken()
    come: list[int] = []
    stream = numbers_of(world, Flow(20, "hold"), cancellation_token=token)

    async def give_up() -> None:
        token.cancel()

    with pytest.raises(asyncio.CancelledError):
        await take(stream, come, at_five=give_up)
    assert come == [0, 1, 2, 3, 4]
    assert await stops(world) == 1


async def test_a_cancelled_task_ends_its_stream(world: World) -> None:
    """Where it waits for the next reply."""
    watch = await world.watch()

    task = asyncio.create_task(take(numbers_of(world, Flow(3, "hold")), []))
    assert await watch.numbers(1) == [3]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stops(world) == 1


async def test_a_stream_past_its_deadline_ends_after_what_has_come(world: World) -> None:
    """The deadline is that of the whole stream, also while the caller takes its time."""
    come: list[int] = []
    with pytest.raises(DeadlineExceeded, match="no end of the stream from streamer"):
        await take(numbers_of(world, Flow(5, "hold"), timeout_s=0.3), come)
    assert come == [0, 1, 2, 3, 4]
    assert await stops(world) == 1


async def test_an_agent_has_no_other_turn_before_its_stream_has_ended(world: World) -> None:
    """A stream is one turn, however long; the handler asserts that it is alone."""
    streams = [numbers_of(world, Flow(100), timeout_s=20) for _ in range(5)]
    asked = [asyncio.create_task(world.runtime.send_message(Ask("pid"), streamer(world)))]

    async def count(stream: Any) -> int:
        return len([quote async for quote in stream])

    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*map(count, streams)) == [100] * 5
        await asyncio.gather(*asked)


async def test_each_of_many_callers_gets_its_own_stream(world: World) -> None:
    """Streams of many agents at once do not cross."""

    async def numbers(number: int) -> list[int]:
        agent = AgentId("streamer", f"{world.key}-{number}")
        return [quote.price async for quote in numbers_of(world, Flow(number), agent)]

    taken = await asyncio.gather(*(numbers(number) for number in range(40)))
    assert taken == [list(range(number)) for number in range(40)]


async def test_a_stream_passes_through_an_agent(world: World) -> None:
    """A handler that streams takes another's stream; when it is left both are stopped."""
    relay = AgentId("relay", world.key)
    doubled = [quote.price async for quote in numbers_of(world, Flow(100), relay)]
    assert doubled == [2 * number for number in range(100)]
    async for quote in numbers_of(world, Flow(1000), relay):
        if quote.price == 20:
            break
    await world.runtime.send_message(Ask("pid"), streamer(world), timeout_s=10)
    assert await stops(world) == 1


async def test_an_agent_that_streams_can_be_called_back_meanwhile(world: World) -> None:
    """Streamer, relay, streamer again: it is let in while its own stream waits for it."""
    prices = [quote.price async for quote in numbers_of(world, Flow(3, "back"), timeout_s=10)]
    assert prices == [0, 1, 2, 0, 2, 4]


async def test_a_handler_with_one_reply_gives_it_to_a_stream(world: World) -> None:
    """None too; and its errors."""
    echo, trouble = AgentId("echo", world.key), AgentId("troublemaker", world.key)
    assert [each async for each in world.runtime.stream_message("text", echo)] == ["text"]
    assert [each async for each in world.runtime.stream_message(Ask("x"), echo)] == [None]
    with pytest.raises(RemoteAgentError, match="out of paper"):
        await anext(world.runtime.stream_message(Ask("fail"), trouble))


async def test_a_call_to_a_handler_that_streams_says_what_to_do(world: World) -> None:
    """The handler does not run."""
    with pytest.raises(CantHandleException, match="with a stream: call it by stream_message"):
        await world.runtime.send_message(Flow(3), streamer(world))
    assert await world.runtime.send_message(Ask("sent"), streamer(world)) == 0


async def test_a_stream_of_an_unknown_type_fails_at_once(world: World) -> None:
    """As a call does."""
    async with asyncio.timeout(5):
        with pytest.raises(AgentNotFound, match="'nobody'"):
            await anext(world.runtime.stream_message(Flow(1), AgentId("nobody", "x")))


async def test_a_reply_that_the_caller_cannot_take_ends_the_stream(world: World) -> None:
    """The handler is stopped."""
    stream = world.runtime.stream_message(Flow(100), streamer(world), reply_type=Order)
    with pytest.raises(InvalidMessage, match="'Quote', not a Order"):
        await anext(stream)
    assert await stops(world) == 1


async def test_a_handler_that_streams_runs_to_its_end_for_an_event(world: World) -> None:
    """Nobody waits for its replies, so nothing holds it."""
    watch = await world.watch()
    await world.runtime.publish_message(Flow(1000), TopicId("flows", world.key))
    assert await watch.numbers(1) == [1000]


async def test_a_closure_may_stream(world: World) -> None:
    """Its calls are taken like any other stream."""

    async def count(_: ClosureContext, message: Flow, ctx: MessageContext) -> AsyncIterator[Quote]:
        for number in range(message.count):
            yield Quote(number)

    name = f"closure_{world.key}"
    await ClosureAgent.register_closure(world.runtime, name, count)
    stream = world.runtime.stream_message(Flow(40), AgentId(name, "x"))
    assert [quote.price async for quote in stream] == list(range(40))


async def test_a_stream_whose_worker_is_killed_ends_unavailable() -> None:
    """After what had come; of a worker that is lost in the middle nothing else can be said."""
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:
            come: list[int] = []

            async def kill() -> None:
                await asyncio.to_thread(made.workers[0].stop, signal.SIGKILL)

            with pytest.raises(Unavailable, match="was lost"):
                await take(numbers_of(world, Flow(5, "hold"), timeout_s=20), come, at_five=kill)
            assert come == [0, 1, 2, 3, 4]


async def test_a_stream_ends_when_its_host_is_lost() -> None:
    """The caller hears of it in the middle, when the lease of its session has run out."""
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:

            async def kill() -> None:
                await asyncio.to_thread(made.host.stop, signal.SIGKILL)

            with pytest.raises(Unavailable, match="the host"):
                await take(numbers_of(world, Flow(5, "hold"), timeout_s=20), [], at_five=kill)
            await asyncio.to_thread(made.workers[0].stop, signal.SIGKILL)
