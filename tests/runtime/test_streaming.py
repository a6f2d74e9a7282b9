"""Turns that stream: no further than there is credit, to one end, with all that a turn may do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from callboard import (
    AgentId,
    DefaultInterventionHandler,
    DefaultTopicId,
    DropMessage,
    MessageContext,
    MessageDroppedException,
    Policy,
    ResourceExhausted,
    RoutedAgent,
    Unavailable,
    default_subscription,
    event,
    message_handler,
    rpc,
)
from callboard.core.errors import Code
from callboard.core.frames import ACCEPTED, Rejected
from callboard.core.limits import BrokerLimits
from callboard.core.partition import partition_of
from callboard.local import LocalRuntime
from runtime.stage import CODEC, ME, PATIENCE_S, Doing, Stage, running

HERE = AgentId("agent", "here")


async def settled() -> None:
    """Let all happen that can."""
    for _ in range(50):
        await asyncio.sleep(0)


class Numbers:
    """A handler whose stream of numbers has no end; it notes what happens to it."""

    def __init__(self) -> None:
        self.sent = 0
        self.seen: list[str] = []

    async def __call__(self, agent: Doing, message: str, ctx: MessageContext) -> Any:
        if message != "call":
            self.seen.append(message)
            return None
        return self._stream(ctx)

    async def _stream(self, ctx: MessageContext) -> AsyncIterator[int]:
        try:
            while True:
                self.sent += 1
                yield self.sent
        finally:
            self.seen.append("closed, wanted no more" if is_cancelled(ctx) else "closed")


def is_cancelled(ctx: MessageContext) -> bool:
    return ctx.cancellation_token.is_cancelled()


def answers(stage: Stage) -> list[str]:
    """The answers so far, as JSON; ``.`` for an end without one, and the codes of errors."""
    return [
        reply.error.message
        if reply.error is not None
        else CODEC.decode_payload(reply.payload).data.decode() + "." * reply.last
        if reply.payload
        else "."
        for reply in stage.output.replies
    ]


async def test_a_handler_is_not_advanced_beyond_its_credit() -> None:
    """Not by one answer, however often it is granted more."""
    do = Numbers()
    async with running(do) as stage:
        stage.call(7, credit=2)
        await settled()
        assert (do.sent, answers(stage)) == (2, ["1", "2"])
        stage.runner.credit(7, 1)
        stage.runner.credit(7, 2)
        await settled()
        assert (do.sent, answers(stage)) == (5, ["1", "2", "3", "4", "5"])
        stage.runner.credit(99, 5)


async def test_credit_for_a_call_that_waits_for_its_turn_is_kept() -> None:
    """The mailbox has the call, and its credit grows there."""
    do = Numbers()
    async with running(do) as stage:
        stage.call(7, credit=2)
        stage.call(8, credit=2)
        await settled()
        stage.runner.credit(8, 3)
        stage.runner.cancel(7)
        await settled()
        assert len([each for each in stage.output.replies if each.call_id == 8]) == 5
        assert do.seen == ["closed, wanted no more"]


async def test_a_stream_that_is_cancelled_is_closed_and_the_agent_goes_on() -> None:
    """While it waits for credit; the next event has its turn then, and not before."""
    do = Numbers()
    async with running(do) as stage:
        stage.call(7, credit=2)
        await settled()
        stage.deliver("next")
        await settled()
        assert do.seen == []
        stage.runner.cancel(7)
        await stage.until_told(4)
    assert do.seen == ["closed, wanted no more", "next"]


async def test_a_handler_that_swallows_its_cancellation_is_closed_all_the_same() -> None:
    """It might wait for credit for ever."""
    seen: list[str] = []
    entered = asyncio.Event()

    async def stream() -> AsyncIterator[int]:
        try:
            entered.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            yield 1
            seen.append("went on")
        finally:
            seen.append("closed")

    async def do(agent: Doing, message: str, ctx: MessageContext) -> Any:
        return stream() if message == "call" else seen.append(message)

    async with running(do) as stage:
        stage.call(7, credit=1)
        await entered.wait()
        stage.runner.cancel(7)
        stage.deliver("next")
        async with asyncio.timeout(PATIENCE_S):
            while "next" not in seen:
                await asyncio.sleep(0)
    assert seen == ["closed", "next"]


async def test_a_runner_that_stops_closes_its_streams() -> None:
    """Nothing is told of them."""
    do = Numbers()
    async with running(do) as stage:
        stage.call(7, credit=2)
        await settled()
    assert do.seen == ["closed"]
    assert answers(stage) == ["1", "2"]


async def test_a_partition_is_surrendered_when_its_stream_has_ended() -> None:
    """The stream is a turn that runs."""
    do = Numbers()
    async with running(do) as stage:
        stage.call(7, credit=1)
        await settled()
        stage.surrender(partition_of(*ME, 4))
        await settled()
        assert "surrendered" not in stage.told
        stage.runner.cancel(7)
        await settled()
        assert stage.told[-1] == "surrendered"


async def test_a_stream_runs_inside_the_turn_that_waits_for_it() -> None:
    """A call that comes back may stream too."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> Any:
        if message == "call":
            return numbers()
        stage.call(8, (1, 1), credit=3)
        await stage.until_told(4)
        return None

    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async with running(do) as stage:
        stage.deliver("outer")
        await stage.until_told(3)
        assert answers(stage) == ["0", "1", "2"]
        stage.runner.credit(8, 1)
        await stage.until_told(5)
        assert stage.told[-1] == "settle 1"
        assert answers(stage)[-1] == "."


async def test_a_stream_of_an_event_is_held_to_the_time_of_its_turn() -> None:
    """It has failed, like any turn that takes too long."""

    async def stream() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> Any:
        return stream()

    async with running(do, Policy(max_attempts=1, turn_timeout_s=0.01)) as stage:
        stage.deliver("event")
        ((_, outcome),) = await stage.until_told(1)
    assert isinstance(outcome, Rejected)
    assert "longer than 0.01 s" in outcome.detail


async def test_an_event_s_stream_is_run_to_its_end_without_credit() -> None:
    """Its answers go nowhere."""
    seen: list[int] = []

    async def stream() -> AsyncIterator[int]:
        for number in range(100):
            seen.append(number)
            yield number

    async def do(agent: Doing, message: str, ctx: MessageContext) -> Any:
        return stream()

    async with running(do) as stage:
        stage.deliver("event")
        assert await stage.until_told(1) == [("settle 1", ACCEPTED)]
    assert (seen, stage.output.replies) == (list(range(100)), [])


@default_subscription
class Chatty(RoutedAgent):
    """Streams the words of a text, and publishes each."""

    def __init__(self) -> None:
        super().__init__("streams words")
        self.heard: list[str] = []

    @message_handler
    async def on_text(self, message: str, ctx: MessageContext) -> AsyncIterator[str]:
        """One word after the other."""
        for word in message.split():
            await self.publish_message([word], DefaultTopicId())
            yield word


@default_subscription
class Listener(RoutedAgent):
    """Hears words."""

    def __init__(self) -> None:
        super().__init__("hears")
        self.heard: list[Any] = []

    @event
    async def on_words(self, message: list[Any], ctx: MessageContext) -> None:
        """Keep them."""
        self.heard += message


async def test_a_handler_that_streams_finds_what_every_handler_finds() -> None:
    """The default topic is that of its own key; what it publishes belongs to its turn."""
    async with LocalRuntime() as runtime:
        await Chatty.register(runtime, "agent", Chatty)
        await Listener.register(runtime, "listener", Listener)
        words = [word async for word in runtime.stream_message("to be or", HERE)]
        await runtime.stop_when_idle()
        listener = await runtime.try_get_underlying_agent_instance(
            AgentId("listener", "here"), Listener
        )
        assert words == listener.heard == ["to", "be", "or"]


async def test_a_stream_that_published_what_was_refused_fails_at_its_end() -> None:
    """Its answers have left by then."""
    async with LocalRuntime(limits=BrokerLimits(max_queued_bytes=3_000)) as runtime:
        await Chatty.register(runtime, "agent", Chatty)
        await Listener.register(runtime, "listener", Listener)
        stream = runtime.stream_message(f"one {'x' * 5_000} three", HERE)
        assert [len(await anext(stream)) for _ in range(3)] == [3, 5_000, 5]
        with pytest.raises(ResourceExhausted, match="queues are full"):
            await anext(stream)


class Censor(DefaultInterventionHandler):
    """Changes replies, and drops some."""

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        """In capitals."""
        return DropMessage if message == "secret" else message.upper()


async def test_an_intervention_sees_each_answer_of_a_stream() -> None:
    """One that it drops ends the stream."""
    async with LocalRuntime(intervention_handlers=[Censor()]) as runtime:
        await Chatty.register(runtime, "agent", Chatty)
        stream = runtime.stream_message("to be secret or", HERE)
        assert [await anext(stream), await anext(stream)] == ["TO", "BE"]
        with pytest.raises(MessageDroppedException):
            await anext(stream)


class Endless(RoutedAgent):
    """Streams without end."""

    def __init__(self) -> None:
        super().__init__("goes on")

    @rpc
    async def on_text(self, message: str, ctx: MessageContext) -> AsyncIterator[str]:
        """The same again and again."""
        while True:
            yield message


async def test_a_runtime_that_closes_ends_the_streams_that_it_takes() -> None:
    """`Unavailable`, after what had come."""
    runtime = LocalRuntime()
    runtime.start()
    await Endless.register(runtime, "agent", Endless)
    stream = runtime.stream_message("again", HERE)
    assert await anext(stream) == "again"
    await settled()
    closing = asyncio.create_task(runtime.close())
    await settled()
    assert not closing.done(), "a runtime waits for the turns that run"
    await stream.aclose()
    await closing

    waiting = LocalRuntime()
    await Endless.register(waiting, "agent", Endless)
    taking = asyncio.create_task(anext(waiting.stream_message("again", HERE)))
    await settled()
    await waiting.close()
    with pytest.raises(Unavailable, match="closed"):
        await taking


async def test_nothing_is_left_of_streams() -> None:
    """However they end."""
    async with LocalRuntime() as runtime:
        await Endless.register(runtime, "agent", Endless)
        for number in range(50):
            agent = AgentId("agent", f"k{number % 5}")
            stream = runtime.stream_message("again", agent, timeout_s=5)
            for _ in range(number):
                await anext(stream)
            await stream.aclose()
        await runtime.stop_when_idle()
        assert runtime._calls._open == {}
        assert len(runtime._broker._exchange._calls) == 0
        assert runtime._runner._turns == {}
        assert runtime._session.outbox._credits == {}


async def test_a_handler_s_refusal_to_stream_a_call_is_unimplemented() -> None:
    """Which the caller can tell from an error of the handler."""
    do = Numbers()
    async with running(do) as stage:
        stage.call(7)
        ((_, error),) = await stage.until_told(1)
    assert error.code == Code.UNIMPLEMENTED
    assert (error.type, do.sent) == ("", 0)
