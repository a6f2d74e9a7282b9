"""What operators may do at a host, over gRPC: dead letters and agent types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from callboard import (
    AgentId,
    MessageContext,
    Policy,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    Unavailable,
    event,
)
from callboard.core import deliveries
from callboard.core.broker import BrokerLimits
from callboard.core.commit import Commit, Errand
from callboard.engine import memory
from callboard.engine.memory import MemoryEngine
from callboard.host import Host, dead_letter_operations
from callboard.host.switchboard import Switchboard
from callboard.wire.codec import CloudEventCodec
from callboard.wire.status import OPERATIONS
from callboard.wire.v1 import operations_pb2 as pb
from callboard.worker import WorkerRuntime

M = TypeVar("M", bound=Message)
ALL = pb.DeadLetterSelection(all=True)


class Clerk(RoutedAgent):
    """Refuses all orders unless it is open, and notes what it was handed out."""

    policy = Policy(max_attempts=1)
    is_open = False
    seen: list[str] = []

    def __init__(self) -> None:
        super().__init__("a clerk")

    @event
    async def on_order(self, message: str, ctx: MessageContext) -> None:
        Clerk.seen.append(f"{self.id} {message}")
        if not Clerk.is_open:
            raise ValueError(message)


@dataclass
class Desk:
    """A host, its operators' service, and somebody who publishes orders to clerks."""

    host: Host
    channel: grpc.aio.Channel
    runtime: WorkerRuntime

    async def ask(self, method: str, request: Message, answer: type[M]) -> M:
        call: Any = self.channel.unary_unary(
            f"/{OPERATIONS}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        response: M = await call(request)
        return response

    async def page(self, **how: Any) -> pb.DeadLettersResponse:
        return await self.ask("DeadLetters", pb.DeadLettersRequest(**how), pb.DeadLettersResponse)

    async def replay(self, selection: pb.DeadLetterSelection) -> pb.ReplayDeadLettersResponse:
        request = pb.ReplayDeadLettersRequest(selection=selection)
        return await self.ask("ReplayDeadLetters", request, pb.ReplayDeadLettersResponse)

    async def drop(self, selection: pb.DeadLetterSelection) -> pb.DropDeadLettersResponse:
        request = pb.DropDeadLettersRequest(selection=selection)
        return await self.ask("DropDeadLetters", request, pb.DropDeadLettersResponse)

    async def remove(self, name: str) -> pb.RemoveTypeResponse:
        return await self.ask("RemoveType", pb.RemoveTypeRequest(name=name), pb.RemoveTypeResponse)

    async def types(self) -> list[tuple[str, bool, int]]:
        answer = await self.ask("Types", pb.TypesRequest(), pb.TypesResponse)
        return [(each.name, each.durable, each.queued) for each in answer.types]

    async def kill(self, *orders: str, key: str = "x") -> None:
        """Let orders become dead letters, in order; returns when the host has them as such."""
        dead = self.host.engine
        before = len(await dead.dead_letters())
        for order in orders:
            await self.runtime.publish_message(order, TopicId("orders", key))
        await until(lambda: len(dead._dead) == before + len(orders))  # type: ignore[attr-defined]

    async def leave(self) -> None:
        """Let the worker leave; returns when the host knows."""
        await self.runtime.close()
        async with asyncio.timeout(10):
            while (await self.described()).sessions:
                await asyncio.sleep(0.001)

    async def described(self) -> pb.DescribeResponse:
        return await self.ask("Describe", pb.DescribeRequest(), pb.DescribeResponse)

    async def seen(self, count: int) -> list[str]:
        """What clerks were handed out, as soon as it is so much."""
        await until(lambda: len(Clerk.seen) >= count)
        return Clerk.seen


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until ``condition`` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def error_of(asked: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """How a request is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked
    return caught.value.code(), caught.value.details() or ""


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """One clerk, who refuses orders, beside a desk of another type that is subscribed to them."""
    Clerk.is_open, Clerk.seen = False, []
    async with (
        Host(port=0) as host,
        grpc.aio.insecure_channel(host.operators_address) as channel,
        WorkerRuntime(host.address, client_id="clerks") as runtime,
    ):
        await Clerk.register(runtime, "clerk", Clerk)
        await runtime.add_subscription(TypeSubscription("orders", "clerk"))
        yield Desk(host, channel, runtime)


async def test_dead_letters_are_listed_without_their_data(desk: Desk) -> None:
    """Each with what is known of it, and nothing of what the event holds."""
    await desk.kill("a secret order", key="p/1")

    (letter,) = (await desk.page()).dead_letters

    assert (letter.position, letter.agent_type, letter.agent_key) == (1, "clerk", "p/1")
    assert (letter.topic_type, letter.topic_source) == ("orders", "p/1")
    assert (letter.reason, letter.attempts) == ("handler_error", 1)
    assert "ValueError" in letter.detail
    assert letter.event_id
    assert 0 <= letter.age_s < 30
    content = (await desk.host.engine.dead_letters())[0].delivery.event.content
    assert letter.size_bytes == len(content)
    letter.detail = ""  # the agent's own words
    assert b"secret" not in letter.SerializeToString()


async def test_dead_letters_are_listed_page_by_page(desk: Desk) -> None:
    """From either end; the cursor stays good when what it names is gone."""
    await desk.kill("1", "2", "3", "4", "5")

    async def positions(**how: Any) -> tuple[list[int], int]:
        page = await desk.page(**how)
        return [each.position for each in page.dead_letters], page.next_cursor

    assert await positions() == ([5, 4, 3, 2, 1], 0)
    assert await positions(limit=5) == ([5, 4, 3, 2, 1], 0)
    assert await positions(limit=2) == ([5, 4], 4)
    await desk.drop(pb.DeadLetterSelection(positions=[4]))
    assert await positions(limit=2, cursor=4) == ([3, 2], 2)
    assert await positions(limit=2, cursor=2) == ([1], 0)
    assert await positions(limit=2, oldest_first=True) == ([1, 2], 2)
    assert await positions(limit=2, oldest_first=True, cursor=2) == ([3, 5], 0)
    assert await positions(agent_type="clerk", reason="handler_error", limit=1) == ([5], 5)
    assert await positions(agent_type="other") == ([], 0)
    assert await positions(reason="other") == ([], 0)
    code, text = await error_of(desk.page(limit=1001))
    assert (code, "at most 1000" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_page_goes_on_over_large_events(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine gives them one by one; the page is as long as it was asked for."""
    monkeypatch.setattr(memory, "PAGE_BYTES", 1)
    await desk.kill("1", "2", "3")

    page = await desk.page(limit=2)

    assert ([each.position for each in page.dead_letters], page.next_cursor) == ([3, 2], 2)


async def test_a_dead_letter_is_shown_with_its_event(desk: Desk) -> None:
    """The bytes as they were published."""
    await desk.kill("an order")

    def show(position: int) -> Awaitable[pb.DeadLetterResponse]:
        request = pb.DeadLetterRequest(position=position)
        return desk.ask("DeadLetter", request, pb.DeadLetterResponse)

    answer = await show(1)

    envelope = CloudEventCodec().decode_event(answer.event)
    assert envelope.data == b'"an order"'
    assert envelope.message_id == answer.dead_letter.event_id
    assert answer.dead_letter.position == 1
    assert await error_of(show(2)) == (
        grpc.StatusCode.NOT_FOUND,
        "there is no dead letter 2",
    )


async def test_a_replay_is_handled_by_the_agent_that_it_was_for_alone(desk: Desk) -> None:
    """In the order in which they were published; others that are subscribed hear nothing."""
    await desk.kill("1", "2", "3")
    await Clerk.register(desk.runtime, "other", Clerk)
    await desk.runtime.add_subscription(TypeSubscription("orders", "other"))
    Clerk.is_open = True
    Clerk.seen.clear()

    answer = await desk.replay(pb.DeadLetterSelection(positions=[3, 1, 3]))

    assert (answer.replayed, answer.refused, list(answer.missing)) == (2, 0, [])
    assert await desk.seen(2) == ["clerk/x 1", "clerk/x 3"]
    await until(lambda: not desk.host.engine._dead.keys() ^ {2})  # type: ignore[attr-defined]
    described = await desk.described()
    assert (described.counters.replayed, described.counters.published) == (2, 3)
    again = await desk.replay(pb.DeadLetterSelection(positions=[1, 2]))
    assert (again.replayed, list(again.missing)) == (1, [1])


async def test_many_are_replayed_in_steps_and_none_of_them_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails again meanwhile is a new dead letter, and waits for the next request."""
    monkeypatch.setattr(dead_letter_operations, "STEP", 2)
    await desk.kill("1", "2", "3", "4", "5")
    Clerk.seen.clear()
    steps = []
    engine_commit = MemoryEngine.commit_now

    def commit_now(self: MemoryEngine, commit: Commit) -> Sequence[int]:
        if commit.replays:
            steps.append([each.letter.delivery.position for each in commit.replays])
        return engine_commit(self, commit)

    switchboard_keep = Switchboard.keep

    async def keep(self: Switchboard, errand: Errand) -> None:
        """The next step begins when all of this one has failed again."""
        await switchboard_keep(self, errand)
        await until(lambda: len(desk.host.engine._dead) == 5)  # type: ignore[attr-defined]

    monkeypatch.setattr(MemoryEngine, "commit_now", commit_now)
    monkeypatch.setattr(Switchboard, "keep", keep)

    answer = await desk.replay(pb.DeadLetterSelection(agent_type="clerk"))

    assert answer.replayed == 5
    assert steps == [[1, 2], [3, 4], [5]]
    assert Clerk.seen == [f"clerk/x {n}" for n in range(1, 6)]
    attempts = [each.attempts for each in (await desk.page()).dead_letters]
    assert attempts == [1] * 5


async def test_a_replay_that_is_refused_says_why_and_loses_nothing() -> None:
    """The type is a session's own that ended, or there is no room for it."""
    Clerk.is_open, Clerk.seen = False, []
    limits = BrokerLimits(max_queued_bytes=10_000)
    async with (
        Host(port=0, limits=limits) as host,
        grpc.aio.insecure_channel(host.operators_address) as channel,
    ):
        async with WorkerRuntime(host.address) as runtime:
            await Clerk.register(runtime, "clerk", Clerk)
            await runtime.add_subscription(TypeSubscription("orders", "clerk"))
            desk = Desk(host, channel, runtime)
            await desk.kill("x" * 5000)
            await desk.leave()
        async with WorkerRuntime(host.address) as runtime:
            await runtime.publish_message("y" * 5000, TopicId("orders", "x"))

            full = await desk.replay(ALL)
            await desk.remove("clerk")
            gone = await desk.replay(ALL)

            assert (full.replayed, full.refused, full.refusals[0].code) == (0, 1, 8)
            assert "the host's queues are full" in full.refusals[0].reason
            assert (gone.replayed, gone.refused) == (0, 2)
            assert [(each.position, each.code) for each in gone.refusals] == [(1, 5), (2, 5)]
            assert "there is no agent type 'clerk' now" in gone.refusals[0].reason
            assert (gone.refusals[0].agent_type, gone.refusals[0].agent_key) == ("clerk", "x")
            assert len((await desk.page()).dead_letters) == 2


async def test_refusals_are_counted_beyond_those_that_are_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer stays small."""
    monkeypatch.setattr(dead_letter_operations, "MAX_REFUSALS", 3)
    monkeypatch.setattr(dead_letter_operations, "STEP", 2)
    await desk.kill("1", "2", "3", "4", "5")
    await desk.leave()
    await desk.remove("clerk")

    answer = await desk.replay(ALL)

    assert (answer.refused, [each.position for each in answer.refusals]) == (5, [1, 2, 3])


async def test_what_is_dropped_is_gone_and_counted(desk: Desk) -> None:
    """By position, by filter, or all."""
    await desk.kill("1", "2", "3", "4")

    by_position = await desk.drop(pb.DeadLetterSelection(positions=[9, 2]))
    by_other_filter = await desk.drop(pb.DeadLetterSelection(reason="other"))
    by_filter = await desk.drop(pb.DeadLetterSelection(reason="handler_error"))
    rest = await desk.drop(ALL)

    assert (by_position.dropped, list(by_position.missing)) == (1, [9])
    assert (by_other_filter.dropped, by_filter.dropped, rest.dropped) == (0, 3, 0)
    assert not (await desk.page()).dead_letters
    assert (await desk.described()).counters.dropped == 4


@pytest.mark.parametrize(
    "selection",
    [
        pb.DeadLetterSelection(),
        pb.DeadLetterSelection(positions=[1], agent_type="clerk"),
        pb.DeadLetterSelection(positions=[1], all=True),
        pb.DeadLetterSelection(reason="r", all=True),
        pb.DeadLetterSelection(positions=range(1, 10_002)),
    ],
    ids=["nothing", "positions-and-type", "positions-and-all", "reason-and-all", "too-many"],
)
async def test_a_selection_that_says_nothing_or_too_much_is_refused(
    desk: Desk, selection: pb.DeadLetterSelection
) -> None:
    """Nothing said must not mean everything."""
    await desk.kill("1")

    assert (await error_of(desk.replay(selection)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await error_of(desk.drop(selection)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert len((await desk.page()).dead_letters) == 1


async def test_a_type_that_is_served_is_not_removed(desk: Desk) -> None:
    """Nor one that is not there; the error names who serves it."""
    code, text = await error_of(desk.remove("clerk"))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "'clerk' is served by 1 worker (clerks)" in text
    assert await error_of(desk.remove("other")) == (
        grpc.StatusCode.NOT_FOUND,
        "there is no agent type 'other'",
    )
    assert await desk.types() == [("clerk", True, 0)]


async def test_a_type_without_workers_is_removed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answered when all that waited is a dead letter, in however many steps; its calls end."""
    monkeypatch.setattr(deliveries, "BURIED_AT_ONCE", 2)
    await desk.leave()
    async with WorkerRuntime(desk.host.address) as runtime:
        for n in range(5):
            await runtime.publish_message(str(n), TopicId("orders", str(n)))
        calling = asyncio.create_task(runtime.send_message("hello?", AgentId("clerk", "x")))
        while not (await desk.described()).counters.calls:
            await asyncio.sleep(0.001)
        assert await desk.types() == [("clerk", True, 5)]

        answer = await desk.remove("clerk")

        letters = (await desk.page(reason="type_removed")).dead_letters
        assert (answer.dead_letters, len(letters)) == (5, 5)
        assert {each.attempts for each in letters} == {0}
        with pytest.raises(Unavailable, match="'clerk' has ended"):
            await calling
        assert await desk.types() == []


async def test_an_operator_who_waits_is_told_when_the_host_stops(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is left without an ending."""
    await desk.kill("1")
    stuck = asyncio.Event()

    async def commit(self: MemoryEngine, commit: Commit) -> Sequence[int]:
        stuck.set()
        await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(MemoryEngine, "commit", commit)
    asking = asyncio.create_task(error_of(desk.drop(ALL)))
    await stuck.wait()

    await desk.host.stop()

    code, text = await asking
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "the host is stopping; what was asked for may be done or not" in text
