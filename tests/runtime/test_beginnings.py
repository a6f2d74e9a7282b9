"""Turns of what was lost before: they begin when the host knows that they do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callboard import BaseAgent, MessageContext, Policy, TopicId, TypeSubscription
from callboard.core.broker import BrokerLimits
from callboard.core.event import Delivery, DeliveryId
from callboard.core.frames import ACCEPTED, Released
from callboard.core.identity import AgentId
from callboard.core.partition import partition_of
from callboard.core.session import LEASES
from callboard.host import Host, switchboard
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.wire.v1.operations_pb2 import DescribeResponse
from callboard.worker import WorkerRuntime
from chaos.operators import operators_at
from host.raw import RawWorker
from runtime.stage import ME, PATIENCE_S, Doing, Stage, running

LIMITS = BrokerLimits(lease_s=1.2, lease_margin_s=0.2)
TICKS = TopicId("ticks", "x")


# In the runner.


class Asked:
    """What a runner has told a host, which answers when its test says so."""

    def __init__(self, stage: Stage) -> None:
        self.told: list[DeliveryId] = []
        self._beginnings = stage.runner.beginnings
        self._beginnings.tell = self._tell

    def _tell(self, delivery: Delivery) -> bool:
        self.told.append(delivery.turn)
        return True

    async def until(self, *deliveries: DeliveryId) -> None:
        """Wait until all of these were told."""
        async with asyncio.timeout(PATIENCE_S):
            while self.told != list(deliveries):
                await asyncio.sleep(0)

    def answer(self, *deliveries: DeliveryId) -> None:
        """The host knows."""
        self._beginnings.known(deliveries)


async def test_a_turn_waits_until_the_host_knows_and_no_other_does() -> None:
    """Its agent is made then; agents whose events were never lost do not wait."""
    diary: list[Any] = []

    async def do(_: Doing, message: Any, __: MessageContext) -> None:
        diary.append(message)

    async with running(do) as stage:
        asked = Asked(stage)
        stage.deliver_again(7, "lost", attempt=2, losses=1)
        stage.deliver("new", ("agent", "other"))
        await stage.until_told(1)
        await asked.until((7, 2))
        assert diary == ["new"]
        assert AgentId(*ME) not in stage.runner.instances

        asked.answer((7, 1), (8, 2))
        await asyncio.sleep(0.01)
        assert diary == ["new"]
        asked.answer((7, 2))
        asked.answer((7, 2))
        await stage.until_told(2)
        assert stage.output.told[1] == ("settle 7", ACCEPTED)
        asked.answer((7, 2))


async def test_attempts_after_the_first_begin_without_asking() -> None:
    """The host knows that this delivery has begun."""
    attempts: list[int] = []

    async def do(_: Doing, __: Any, ctx: MessageContext) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError

    async with running(do, Policy(backoff_s=0.001)) as stage:
        asked = Asked(stage)
        stage.deliver_again(7, "lost", attempt=2, losses=1)
        await asked.until((7, 2))
        asked.answer((7, 2))
        await stage.until_told(1)
        assert attempts == [1, 2, 3]
        assert asked.told == [(7, 2)]


async def test_the_time_of_a_turn_counts_from_when_it_begins() -> None:
    """What it waited for the host is none of it."""

    async def do(_: Doing, __: Any, ___: MessageContext) -> None:
        await asyncio.sleep(0)

    async with running(do, Policy(turn_timeout_s=0.05, max_attempts=1)) as stage:
        asked = Asked(stage)
        stage.deliver_again(7, "lost", attempt=2, losses=1)
        await asked.until((7, 2))
        await asyncio.sleep(0.1)
        asked.answer((7, 2))
        assert await stage.until_told(1) == [("settle 7", ACCEPTED)]


async def test_a_turn_that_waits_ends_with_its_session() -> None:
    """It has never begun, whatever is answered then."""
    diary: list[Any] = []

    async def do(_: Doing, message: Any, __: MessageContext) -> None:
        diary.append(message)

    async with running(do) as stage:
        asked = Asked(stage)
        stage.deliver_again(7, "lost", attempt=2, losses=1)
        await asked.until((7, 2))
        assert stage.runner.begun() == [(7, 2)]
        stage.runner.cut_off()
        assert stage.runner.begun() == []
        asked.answer((7, 2))
        async with asyncio.timeout(PATIENCE_S):
            await stage.runner.wait_idle()
        assert (diary, stage.told) == ([], [])


async def test_a_turn_whose_lease_runs_out_while_it_waits_does_not_begin() -> None:
    """The answer may be read before anybody has seen that it is over."""
    diary: list[Any] = []

    async def do(_: Doing, message: Any, __: MessageContext) -> None:
        diary.append(message)

    async with running(do) as stage:
        asked = Asked(stage)
        stage.deliver_again(7, "lost", attempt=2, losses=1)
        await asked.until((7, 2))
        stage.runner.lease_until = asyncio.get_running_loop().time()
        asked.answer((7, 2))
        await asyncio.sleep(0.01)
        assert diary == []
        stage.runner.cut_off()
        async with asyncio.timeout(PATIENCE_S):
            await stage.runner.wait_idle()
        assert (diary, stage.told) == ([], [])


async def test_a_surrender_waits_for_a_turn_that_waits_and_for_no_other() -> None:
    """It is let begin, and ends; what is behind it is released."""
    diary: list[Any] = []

    async def do(_: Doing, message: Any, __: MessageContext) -> None:
        diary.append(message)

    async with running(do) as stage:
        asked = Asked(stage)
        stage.deliver_again(7, "lost", attempt=2, losses=1)
        stage.deliver_again(8, "behind", attempt=1)
        await asked.until((7, 2))
        stage.surrender(partition_of(*ME, 4))
        asked.answer((7, 2))
        await stage.until_told(3)
        assert stage.told == ["settle 8", "settle 7", "surrendered"]
        assert stage.output.told[0][1] == Released(0.0, 0)
        assert diary == ["lost"]


async def test_another_host_is_told_of_what_waits_runs_and_is_to_be_tried_again() -> None:
    """And of nothing that was not lost before."""
    go_on = asyncio.Event()

    async def do(_: Doing, message: Any, __: MessageContext) -> None:
        if message == "fails":
            raise ValueError
        await go_on.wait()

    async with running(do, Policy(backoff_s=60.0, backoff_max_s=60.0)) as stage:
        asked = Asked(stage)
        stage.deliver_again(1, "waits", ("agent", "a"), attempt=2, losses=1)
        stage.deliver_again(2, "runs", ("agent", "b"), attempt=2, losses=1)
        stage.deliver_again(3, "new", ("agent", "c"), attempt=1)
        stage.deliver_again(4, "behind", ("agent", "c"), attempt=1)
        await asked.until((1, 2), (2, 2))
        asked.answer((2, 2))
        await asyncio.sleep(0.01)
        assert sorted(stage.runner.begun()) == [(1, 2), (2, 2)]
        stage.runner.beginnings.ask_no_more()
        go_on.set()
        await stage.until_told(4)
        assert stage.runner.begun() == []


async def test_what_was_lost_twice_begins_one_after_the_other() -> None:
    """So that one that ends its process in its first step takes none with it that has not begun."""
    diary: list[Any] = []

    async def do(_: Doing, message: Any, __: MessageContext) -> None:
        diary.append(message)
        await asyncio.sleep(PATIENCE_S)

    async with running(do) as stage:
        asked = Asked(stage)
        for position, key in enumerate("abc", 1):
            stage.deliver_again(position, key, ("agent", key), attempt=3, losses=2)
        await asked.until((1, 3))
        await asyncio.sleep(0.01)
        assert stage.runner.begun() == [(1, 3)], "the others are in line"
        asked.answer((1, 3))
        assert (asked.told, diary) == ([(1, 3)], [])
        await asked.until((1, 3), (2, 3))
        assert diary == ["a"]
        stage.runner.cut_off()
        async with asyncio.timeout(PATIENCE_S):
            await stage.runner.wait_idle()
        assert (asked.told, diary) == ([(1, 3), (2, 3)], ["a"])

        stage.deliver_again(4, "d", ("agent", "d"), attempt=3, losses=2)
        await asked.until((1, 3), (2, 3), (4, 3))


# With a host.


class Slow(BaseAgent):
    """Notes what it does; blocks when it is told to."""

    def __init__(self, diary: list[str]) -> None:
        super().__init__("blocks when it is told to")
        self._diary = diary

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Work."""
        self._diary.append(message)
        if message == "block":
            time.sleep(LIMITS.lease_s + LIMITS.lease_margin_s + 0.4)  # noqa: ASYNC251


@asynccontextmanager
async def serving(host: Host, diary: list[str], client_id: str) -> AsyncIterator[WorkerRuntime]:
    """A worker that handles ticks."""
    async with WorkerRuntime(host.address, client_id=client_id) as worker:
        await Slow.register(worker, "agent", lambda: Slow(diary))
        await worker.add_subscription(TypeSubscription("ticks", "agent"))
        yield worker


async def test_a_handler_that_blocks_past_its_lease_each_time_is_given_up() -> None:
    """It has begun each time, and the host knew before the loop was blocked."""
    diary: list[str] = []
    async with (
        asyncio.timeout(PATIENCE_S),
        Host(port=0, limits=LIMITS) as host,
        serving(host, diary, "far") as worker,
    ):
        await worker.publish_message("block", TICKS)
        await worker.publish_message("after", TICKS)
        while "after" not in diary:
            await asyncio.sleep(0.01)
        assert diary == ["block"] * 3 + ["after"]
        assert (await described(host)).counters.rejected == 1


async def described(host: Host) -> DescribeResponse:
    """What the host has counted."""
    async with operators_at(int(host.operators_address.rpartition(":")[2])) as operators:
        return await operators.describe()


async def lose(host: Host, *capabilities: str) -> None:
    """A worker takes an event in, and is gone."""
    raw = RawWorker.connect(host.address)
    await raw.greet(client_id="lost", capabilities=capabilities)
    types = [pb.AgentTypeEntry(name="agent")]
    subscription = pb.SubscriptionEntry(id="1", agent_type="agent", topic_type="ticks")
    register = pb.Register(revision=1, types=types, subscriptions=[subscription])
    await raw.say(pb.ConnectRequest(register=register))
    while not (await raw.hear()).deliveries:
        pass
    await raw.close()
    while any(each.in_flight for each in (await described(host)).types):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("knows", [True, False])
async def test_what_was_lost_before_is_handled_whether_the_host_wants_to_know(
    monkeypatch: pytest.MonkeyPatch, *, knows: bool
) -> None:
    """A host of before does not."""
    if not knows:
        monkeypatch.setattr(switchboard, "CAPABILITIES", frozenset({LEASES}))
    diary: list[str] = []
    async with (
        asyncio.timeout(PATIENCE_S),
        Host(port=0, limits=LIMITS) as host,
        WorkerRuntime(host.address) as publisher,
    ):
        async with serving(host, diary, "near"):
            pass  # now the type is known
        await publisher.publish_message("event", TICKS)
        await lose(host)
        async with serving(host, diary, "near"):
            while (await described(host)).counters.accepted < 1:
                await asyncio.sleep(0.01)
        assert diary == ["event"]


async def test_events_that_never_began_are_lost_as_often_as_it_happens() -> None:
    """With workers that say when turns begin."""
    diary: list[str] = []
    async with (
        asyncio.timeout(PATIENCE_S),
        Host(port=0, limits=LIMITS) as host,
        WorkerRuntime(host.address) as publisher,
    ):
        async with serving(host, diary, "near"):
            pass
        await publisher.publish_message("event", TICKS)
        for _ in range(6):
            await lose(host, "beginnings")
        assert (await described(host)).counters.rejected == 0
        async with serving(host, diary, "near"):
            while not diary:
                await asyncio.sleep(0.01)
        assert diary == ["event"]
