"""Queues that are full: publishers wait, turns do not, and nothing stands still."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from callboard import (
    AgentId,
    MessageContext,
    Policy,
    ResourceExhausted,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
)
from callboard.core.broker import Broker, BrokerLimits
from callboard.host import Host
from callboard.host.switchboard import Switchboard
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime

PATIENCE_S = 30.0
ROOM = 8
LIMITS = BrokerLimits(max_type_events=ROOM)
ITEMS = TopicId("items", "x")


@dataclass
class Place:
    """A runtime, and the broker behind it."""

    runtime: Any
    broker: Broker
    switchboard: Switchboard | None = None

    async def remove_type(self, name: str) -> None:
        """As an operator does."""
        assert self.switchboard is not None
        await self.switchboard.keep(self.broker.remove_type(name, 0.0))

    @property
    def counts(self) -> dict[str, int]:
        """How many events of each type take room."""
        return {name: load.count for name, load in self.broker.types.loads.by_type.items()}


@asynccontextmanager
async def local(limits: BrokerLimits) -> AsyncIterator[Place]:
    """All in this process."""
    async with LocalRuntime(limits=limits) as runtime:
        yield Place(runtime, runtime._broker)


@asynccontextmanager
async def remote(limits: BrokerLimits, patch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """A worker at a host."""
    made: list[Switchboard] = []
    original = Switchboard.__init__

    def init(self: Switchboard, broker: Broker, *args: Any) -> None:
        made.append(self)
        original(self, broker, *args)

    patch.setattr(Switchboard, "__init__", init)
    async with Host(port=0, limits=limits) as host, WorkerRuntime(host.address) as runtime:
        yield Place(runtime, made[0].broker, made[0])


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes either for some limits."""
    return local if request.param == "local" else lambda limits: remote(limits, monkeypatch)


class Slow(RoutedAgent):
    """Takes its time, and notes what it sees."""

    seen: list[int] = []
    most = 0
    place: Place | None = None

    def __init__(self) -> None:
        super().__init__("takes its time")

    @event
    async def on_number(self, message: int, ctx: MessageContext) -> None:
        """Note it."""
        await asyncio.sleep(0.002)
        if Slow.place is not None:
            Slow.most = max(Slow.most, Slow.place.counts["slow"])
        Slow.seen.append(message)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """Each test begins anew."""
    Slow.seen, Slow.most, Slow.place = [], 0, None
    Ball.turns.clear()


async def test_publishers_are_as_fast_as_who_handles_what_they_publish(place: Any) -> None:
    """What is queued never exceeds the bound, all of it is handled, and in order."""
    async with asyncio.timeout(PATIENCE_S), place(LIMITS) as there:
        Slow.place = there
        await Slow.register(there.runtime, "slow", Slow)
        await there.runtime.add_subscription(TypeSubscription("items", "slow"))
        assert await there.runtime.publish_many(range(200), ITEMS) == 200
        assert len(Slow.seen) >= 200 - ROOM - 1
        while len(Slow.seen) < 200:
            await asyncio.sleep(0.001)
    assert Slow.seen == list(range(200))
    assert Slow.most == ROOM
    assert there.broker.is_idle


async def test_a_publisher_that_waited_in_vain_is_told_why(place: Any) -> None:
    """Meanwhile others are served; what was refused reaches nobody."""
    async with asyncio.timeout(PATIENCE_S), place(LIMITS) as there:
        runtime = there.runtime
        await Slow.register(runtime, "slow", Slow)
        await runtime.add_subscription(TypeSubscription("others", "slow"))
        await runtime.add_subscription(TypeSubscription("items", "nobody"))
        there.broker.types.ensure("nobody", session_only=False)
        for number in range(ROOM):
            await runtime.publish_message(number, ITEMS)
        waiting = asyncio.create_task(runtime.publish_message(8, ITEMS, timeout_s=0.2))
        await asyncio.sleep(0)
        await runtime.publish_message(1, TopicId("others", "x"))
        assert not waiting.done()
        with pytest.raises(ResourceExhausted, match=r"8 events .* type 'nobody', the limit is 8"):
            await waiting
        with pytest.raises(ResourceExhausted):
            await runtime.publish_message(9, ITEMS, timeout_s=0)
        assert there.counts["nobody"] == ROOM
        assert there.broker.publishes_waiting_count == 0


class Ball(RoutedAgent):
    """Publishes every number twice, less one, to the other side."""

    policy = Policy(max_attempts=3, backoff_s=0.005)
    turns: Counter[str] = Counter()

    def __init__(self) -> None:
        super().__init__("plays")

    @event
    async def on_number(self, message: int, ctx: MessageContext) -> None:
        """Play it back."""
        Ball.turns[self.id.type] += 1
        other = "pong" if self.id.type == "ping" else "ping"
        if message:
            for _ in range(2):
                await self.publish_message(message - 1, TopicId(other, "x"))


async def test_types_that_publish_to_each_other_do_not_stand_still(place: Any) -> None:
    """Both queues are full: their turns fail, are tried again, and end as dead letters."""
    async with asyncio.timeout(PATIENCE_S), place(LIMITS) as there:
        runtime = there.runtime
        for name in ("ping", "pong"):
            await Ball.register(runtime, name, Ball)
            await runtime.add_subscription(TypeSubscription(name, name))
        await runtime.publish_message(9, TopicId("ping", "x"))
        await runtime.publish_message(9, TopicId("pong", "x"))
        await asyncio.sleep(0)
        while not there.broker.is_idle:
            assert max(there.counts.values()) <= 2 * ROOM
            await asyncio.sleep(0.001)
        counters = there.broker.counters
    assert counters.rejected > 0
    assert counters.accepted > 0
    assert sum(Ball.turns.values()) > counters.accepted
    if isinstance(runtime, LocalRuntime):
        letters = await runtime.dead_letters()
        assert {letter.reason for letter in letters} == {"queue_full"}
        assert all(letter.detail.startswith("3 attempts, the last: ") for letter in letters)


class Clerk(RoutedAgent):
    """Publishes when it is called."""

    def __init__(self) -> None:
        super().__init__("answers when the host has what it published")

    @rpc
    async def on_number(self, message: int, ctx: MessageContext) -> int:
        """Publish it."""
        await self.publish_message(message, TopicId("others", "x"))
        return message


async def test_turns_publish_while_their_process_waits_for_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More publishes wait than the window holds: it is not taken from turns."""
    limits = BrokerLimits(max_type_events=1, publish_window=4)
    async with asyncio.timeout(PATIENCE_S), remote(limits, monkeypatch) as there:
        runtime = there.runtime
        await Clerk.register(runtime, "clerk", Clerk)
        await runtime.add_subscription(TypeSubscription("items", "nobody"))
        there.broker.types.ensure("nobody", session_only=False)
        waiting = [
            asyncio.create_task(runtime.publish_message(number, ITEMS, timeout_s=5 + number / 100))
            for number in range(10)
        ]
        await waiting[0]
        while there.broker.publishes_waiting_count < 3:
            await asyncio.sleep(0.001)
        for number in range(20):
            assert await runtime.send_message(number, AgentId("clerk", "x")) == number
        assert there.broker.publishes_waiting_count == 3
        assert not any(task.done() for task in waiting[1:])
        await there.remove_type("nobody")
        await asyncio.gather(*waiting)


async def test_what_is_held_at_a_worker_ends_in_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not been sent, and is refused with a reason."""
    limits = BrokerLimits(max_type_events=1, publish_window=4)
    async with asyncio.timeout(PATIENCE_S), remote(limits, monkeypatch) as there:
        runtime = there.runtime
        await runtime.add_subscription(TypeSubscription("items", "nobody"))
        there.broker.types.ensure("nobody", session_only=False)
        await runtime.publish_message(0, ITEMS)
        late = [
            asyncio.create_task(runtime.publish_message(number, ITEMS, timeout_s=20))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted, match="3 events wait for room at the host already"):
            await runtime.publish_message(9, ITEMS, timeout_s=0.1)
        await there.remove_type("nobody")
        await asyncio.gather(*late)
