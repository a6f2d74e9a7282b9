"""Calls: every one has an ending, and the right one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from behaviour.agents import Ask, Circle, Drawing, Hold, Invoice, Order, Quote, Square, Unheard
from behaviour.world import World
from callboard import (
    AgentId,
    AgentNotFound,
    CancellationToken,
    CantHandleException,
    DeadlineExceeded,
    InvalidIdentifier,
    InvalidMessage,
    RemoteAgentError,
    ResourceExhausted,
    TopicId,
)


@pytest.mark.parametrize(
    "message",
    [
        "text",
        "",
        "ünïcode ✓",
        [1, "two", None, {"three": [4.5]}],
        Drawing("empty", []),
        Drawing(
            "all",
            [Circle(1), Square(1), Square(2)],
            background=Square(3),
            made=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
            tags={"a": (1, 2), "b": ()},
        ),
        Invoice(name="paper", lines=[1, 2, 3]),
        StringValue(value="protobuf"),
        StringValue(),
    ],
    ids=lambda message: f"{type(message).__name__}-{str(message)[:12]!r}",
)
async def test_a_message_comes_back_as_it_was(world: World, message: Any) -> None:
    """Every kind of message arrives as what it was."""
    reply = await world.runtime.send_message(message, AgentId("echo", world.key))
    assert reply == message
    assert type(reply) is type(message)


async def test_a_handler_that_returns_nothing_answers_none(world: World) -> None:
    """None is an answer."""
    assert await world.runtime.send_message(Ask("nothing"), AgentId("echo", world.key)) is None


async def test_each_of_many_callers_gets_its_own_answer(world: World) -> None:
    """Two hundred calls at once to ten agents: no answer crosses."""
    texts = [f"{world.key}-{number}" for number in range(200)]
    calls = (
        world.runtime.send_message(text, AgentId("echo", f"{world.key}-{number % 10}"))
        for number, text in enumerate(texts)
    )
    assert await asyncio.gather(*calls) == texts


async def test_what_a_handler_raises_arrives_with_its_type_and_text(world: World) -> None:
    """The caller learns the class and the text of what the handler raised."""
    with pytest.raises(RemoteAgentError, match="ValueError: out of paper") as raised:
        await world.runtime.send_message(Ask("fail"), AgentId("troublemaker", world.key))
    assert (raised.value.error_type, raised.value.error_message) == ("ValueError", "out of paper")


async def test_an_error_without_text_is_still_an_error(world: World) -> None:
    """An exception with an empty text is told from success."""
    with pytest.raises(RemoteAgentError) as raised:
        await world.runtime.send_message(Ask("fail silently"), AgentId("troublemaker", world.key))
    assert (raised.value.error_type, raised.value.error_message) == ("KeyError", "")


async def test_a_call_to_an_unknown_type_fails_at_once(world: World) -> None:
    """Nobody registered the type: NOT_FOUND, long before any deadline."""
    async with asyncio.timeout(5):
        with pytest.raises(AgentNotFound, match="'nobody'"):
            await world.runtime.send_message("hello", AgentId("nobody", world.key), timeout_s=60)


async def test_a_call_without_a_handler_fails_naming_the_message(world: World) -> None:
    """An agent that has no handler says so to the caller."""
    with pytest.raises(CantHandleException, match="Unheard"):
        await world.runtime.send_message(Unheard(), AgentId("echo", world.key))


async def test_a_call_past_its_deadline_ends_and_its_handler_is_stopped(world: World) -> None:
    """The caller gets DeadlineExceeded, the handler is cancelled, the agent goes on."""
    agent = AgentId("troublemaker", world.key)
    with pytest.raises(DeadlineExceeded, match=f"troublemaker/{world.key}"):
        await world.runtime.send_message(Hold(), agent, timeout_s=0.2)
    assert await world.runtime.send_message(Ask("stops"), agent) == 1


async def test_a_cancelled_token_stops_the_handler_wherever_it_runs(world: World) -> None:
    """Cancelling the token ends the call here and reaches the handler there."""
    agent = AgentId("troublemaker", world.key)
    watch = await world.watch()
    token = CancellationToken()
    call = asyncio.create_task(world.runtime.send_message(Hold(), agent, cancellation_token=token))
    await watch.next()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await world.runtime.send_message(Ask("stops"), agent) == 1


async def test_a_cancelled_task_stops_the_handler_too(world: World) -> None:
    """Cancelling the task that waits for a reply is the same wish."""
    agent = AgentId("troublemaker", world.key)
    watch = await world.watch()
    call = asyncio.create_task(world.runtime.send_message(Hold(), agent))
    await watch.next()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await world.runtime.send_message(Ask("stops"), agent) == 1


async def test_a_call_that_waits_for_its_turn_can_be_cancelled(world: World) -> None:
    """A call behind another one is forgotten when its caller gives up; the one before goes on."""
    agent = AgentId("troublemaker", world.key)
    watch = await world.watch()
    token = CancellationToken()
    first = asyncio.create_task(world.runtime.send_message(Hold(), agent, cancellation_token=token))
    await watch.next()
    with pytest.raises(DeadlineExceeded):
        await world.runtime.send_message(Hold(), agent, timeout_s=0.1)
    assert not first.done()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await world.runtime.send_message(Ask("stops"), agent) == 1
    assert watch.is_empty


async def test_an_agent_that_is_called_back_while_it_waits_does_not_deadlock(world: World) -> None:
    """A calls B, which calls A, which calls B.

    Each is let in while the turn it serves is waiting.
    """
    reply = await world.runtime.send_message(
        Ask("again", 6), AgentId("visitor", world.key), timeout_s=10
    )
    assert reply == 6


async def test_a_chain_of_calls_has_a_bound(world: World) -> None:
    """Calls that call each other without end fail instead of filling memory."""
    with pytest.raises(RemoteAgentError, match="ResourceExhausted: more than 32 calls wait"):
        await world.runtime.send_message(
            Ask("again", 100), AgentId("visitor", world.key), timeout_s=20
        )


async def test_an_error_of_a_call_inside_a_handler_is_the_handlers_own(world: World) -> None:
    """A handler that calls a type nobody has fails.

    Its caller is not told that the handler's type is unknown.
    """
    with pytest.raises(RemoteAgentError, match=r"AgentNotFound: .*'nobody'"):
        await world.runtime.send_message(Ask("call nobody"), AgentId("troublemaker", world.key))


async def test_an_agent_is_made_once_however_many_first_messages_arrive_together(
    world: World,
) -> None:
    """Thirty first calls at once make one instance."""
    agent = AgentId("newcomer", world.key)
    replies = await asyncio.gather(
        *(world.runtime.send_message(Ask("made"), agent) for _ in range(30))
    )
    assert replies == [1] * 30


async def test_an_agent_has_one_turn_at_a_time(world: World) -> None:
    """Turns of one agent never overlap."""
    agent = AgentId("turnstile", world.key)
    replies = await asyncio.gather(
        *(world.runtime.send_message(Ask("in"), agent) for _ in range(20))
    )
    assert replies == [1] * 20


async def test_an_agent_has_as_many_turns_at_once_as_its_type_says(world: World) -> None:
    """Of many that come together as many run, and no more."""
    agent = AgentId("wide_turnstile", world.key)
    replies = await asyncio.gather(
        *(world.runtime.send_message(Ask("in"), agent) for _ in range(20))
    )
    assert max(replies) == 3


async def test_too_many_calls_waiting_for_one_agent_are_refused(world: World) -> None:
    """The sixty-sixth call at an agent that does not answer is refused, and says why."""
    agent = AgentId("troublemaker", world.key)
    watch = await world.watch()
    calls = [asyncio.create_task(world.runtime.send_message(Hold(), agent, timeout_s=30))]
    await watch.next()
    calls += [
        asyncio.create_task(world.runtime.send_message(Hold(), agent, timeout_s=30))
        for _ in range(65)
    ]
    done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    with pytest.raises(ResourceExhausted, match="64 calls wait"):
        await done.pop()
    for call in waiting:
        call.cancel()
    await asyncio.wait(waiting)


async def test_a_message_too_large_fails_itself_and_nothing_else(world: World) -> None:
    """A too large event or call says its size and the limit; the connection stays."""
    text = "x" * (9 << 20)
    with pytest.raises(
        ResourceExhausted, match=r"the event has 9\d+ bytes, the host takes at most 8388608"
    ):
        await world.runtime.publish_message(text, TopicId("orders", world.key))
    with pytest.raises(
        ResourceExhausted, match=r"the call has 9\d+ bytes, the host takes at most 8388608"
    ):
        await world.runtime.send_message(text, AgentId("echo", world.key))
    with pytest.raises(
        ResourceExhausted, match=r"the reply has 9\d+ bytes, the host takes at most 8388608"
    ):
        await world.runtime.send_message(Ask("large reply"), AgentId("troublemaker", world.key))
    with pytest.raises(RemoteAgentError) as raised:
        await world.runtime.send_message(Ask("long error"), AgentId("troublemaker", world.key))
    assert len(raised.value.error_message) == 16_384
    large = "x" * (7 << 20)
    assert await world.runtime.send_message(large, AgentId("echo", world.key)) == large


@pytest.mark.parametrize(
    "make",
    [
        lambda: AgentId("no spaces", "key"),
        lambda: AgentId("type", ""),
        lambda: AgentId("type", "k" * 257),
        lambda: TopicId("a/b", "source"),
        lambda: TopicId("type", ""),
        lambda: AgentId.parse("without-slash"),
    ],
)
def test_an_invalid_id_is_refused_where_it_is_made(make: Any) -> None:
    """Ids are checked on the caller's side, with the rule in the text."""
    with pytest.raises(InvalidIdentifier, match="invalid"):
        make()


async def test_a_publish_in_a_turn_reaches_its_agents(world: World) -> None:
    """What a handler publishes is delivered although the handler does not wait for it."""
    watch = await world.watch()
    await world.runtime.publish_message(Order(1), TopicId("orders", world.key))
    assert await watch.numbers(1) == [1]


async def test_none_is_a_message_as_well_as_an_answer(world: World) -> None:
    """A call may carry None; the handler gets None."""
    with pytest.raises(CantHandleException, match="NoneType"):
        await world.runtime.send_message(None, AgentId("echo", world.key))


async def test_a_reply_of_a_class_that_the_caller_does_not_know_is_no_answer(world: World) -> None:
    """The caller is told what is missing; with reply_type the class is learnt and checked."""
    agent = AgentId("quoter", world.key)
    if not world.is_local:  # where everything is one process, the class is known
        with pytest.raises(
            InvalidMessage, match="'Quote', a class that this runtime does not know"
        ):
            await world.runtime.send_message(Ask("price"), agent)
    with pytest.raises(InvalidMessage, match="'Quote', not a Order"):
        await world.runtime.send_message(Ask("price"), agent, reply_type=Order)
    assert await world.runtime.send_message(Ask("price"), agent, reply_type=Quote) == Quote(42)
    assert await world.runtime.send_message(Ask("price"), agent) == Quote(42)
