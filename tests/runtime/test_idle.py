"""Agents that nothing wants any more are closed and forgotten. Most of it in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from callboard import AgentId, BaseAgent, MessageContext, Policy, TopicId, TypeSubscription
from callboard.agent.base_runtime import BaseRuntime
from callboard.core.broker import Broker, BrokerLimits
from callboard.core.queues import MAX_IDLE_QUEUES
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime
from simulator.virtual_time import run

Do = Callable[["Guest", str], Awaitable[None]]
HELD = 100
BATCH = 500


async def nothing(agent: Guest, message: str) -> None:
    """Nothing."""


class Guest(BaseAgent):
    """Writes into a diary what happens to it."""

    def __init__(self, diary: list[str], do: Do = nothing, close_s: float = 0.0) -> None:
        super().__init__("a guest")
        self.diary = diary
        self._do = do
        self._close_s = close_s
        diary.append(f"{self.id.key} comes")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """What the test says."""
        await self._do(self, message)
        self.diary.append(f"{self.id.key} did {message}")

    async def close(self) -> None:
        """Takes its time."""
        await asyncio.sleep(self._close_s)
        self.diary.append(f"{self.id.key} leaves")


async def tell(runtime: LocalRuntime, key: str, message: str) -> None:
    """Have an event for a guest, and wait until it is taken."""
    await runtime.publish_message(message, TopicId("knocks", key))


async def opened(runtime: LocalRuntime, make: Callable[[], Guest], **options: Any) -> None:
    await Guest.register(runtime, "guest", make, **options)
    await runtime.add_subscription(TypeSubscription("knocks", "guest"))


def test_an_agent_that_is_idle_for_its_time_is_closed_and_made_anew_when_wanted() -> None:
    """One that is used meanwhile has its whole time again."""
    diary: list[str] = []

    async def main() -> None:
        async with LocalRuntime(idle_timeout_s=60.0) as runtime:
            await opened(runtime, lambda: Guest(diary))
            await tell(runtime, "a", "1")
            await tell(runtime, "b", "1")
            await asyncio.sleep(50.0)
            await tell(runtime, "b", "2")
            await asyncio.sleep(20.0)
            assert diary[-1] == "a leaves"
            assert list(runtime._runner.instances) == [AgentId("guest", "b")]
            assert len(runtime._runner._activations) == 1
            await tell(runtime, "a", "2")
            await asyncio.sleep(45.0)
            assert diary[-3:] == ["a comes", "a did 2", "b leaves"]
            await asyncio.sleep(45.0)
            assert not runtime._runner.instances
            assert not len(runtime._runner._activations)
            assert not len(runtime._runner._deactivation._idle)
            assert runtime._runner._instances.made_count == 0

    run(main())


def test_a_runtime_in_one_process_lets_no_agent_go_for_being_idle_by_default() -> None:
    """What is said of them in a notebook today is there tomorrow."""
    diary: list[str] = []

    async def main() -> None:
        async with LocalRuntime() as runtime:
            await opened(runtime, lambda: Guest(diary))
            await tell(runtime, "a", "1")
            await asyncio.sleep(86_400.0)
            assert diary == ["a comes", "a did 1"]

    run(main())


def test_a_worker_lets_agents_go_by_default() -> None:
    """Its agents move, and lose what they hold in themselves, anyway."""
    assert WorkerRuntime()._runner._deactivation._idle._timeout_s == 900.0


def test_when_there_are_too_many_the_one_idle_longest_goes() -> None:
    """Not the one that was made first."""
    diary: list[str] = []

    async def main() -> None:
        async with LocalRuntime(max_instances=2) as runtime:
            await opened(runtime, lambda: Guest(diary))
            for key, message in (("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("d", "1")):
                await tell(runtime, key, message)
                await asyncio.sleep(1.0)
            await runtime.stop_when_idle()
            assert [each for each in diary if "leaves" in each] == ["b leaves", "a leaves"]
            assert {each.key for each in runtime._runner.instances} == {"c", "d"}

    run(main())


def test_those_that_are_busy_stay_however_many_there_are() -> None:
    """They go when they have become idle, as far as there are too many then."""
    diary: list[str] = []
    go_on = asyncio.Event()

    async def do(agent: Guest, message: str) -> None:
        await go_on.wait()

    async def main() -> None:
        async with LocalRuntime(max_instances=1, idle_timeout_s=5.0) as runtime:
            await opened(runtime, lambda: Guest(diary, do))
            for key in "abc":
                await tell(runtime, key, "1")
            await asyncio.sleep(100.0)
            assert diary == ["a comes", "b comes", "c comes"]
            go_on.set()
            await runtime.stop_when_idle()
            assert len(runtime._runner.instances) == 1

    run(main())


def test_an_agent_that_waits_for_an_attempt_is_not_idle() -> None:
    """It is closed after the last."""
    diary: list[str] = []

    async def do(agent: Guest, message: str) -> None:
        if diary.count("failed") < 2:
            diary.append("failed")
            raise ValueError("no")

    async def main() -> None:
        policy = Policy(backoff_s=0.9, backoff_max_s=0.9)
        async with LocalRuntime(idle_timeout_s=0.1) as runtime:
            await opened(runtime, lambda: Guest(diary, do), policy=policy)
            await tell(runtime, "a", "1")
            await asyncio.sleep(10.0)

    run(main())
    assert diary == ["a comes", "failed", "failed", "a did 1", "a leaves"]


def test_what_arrives_while_an_agent_closes_waits_for_a_new_one() -> None:
    """Events and calls; nothing sees two of it at once."""
    diary: list[str] = []

    async def main() -> None:
        async with LocalRuntime(idle_timeout_s=10.0) as runtime:
            await opened(runtime, lambda: Guest(diary, close_s=5.0))
            await tell(runtime, "a", "1")
            await asyncio.sleep(12.0)
            await tell(runtime, "a", "2")
            calling = asyncio.create_task(runtime.send_message("3", AgentId("guest", "a")))
            await asyncio.sleep(1.0)
            assert diary == ["a comes", "a did 1"]
            await calling
            await runtime.stop_when_idle()

    run(main())
    assert diary == [
        *("a comes", "a did 1", "a leaves"),
        *("a comes", "a did 3", "a did 2", "a leaves"),  # calls go first
    ]


def test_an_instance_that_was_made_elsewhere_is_never_closed_for_being_idle() -> None:
    """There is no other of it."""
    diary: list[str] = []

    class Landlord(BaseAgent):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            diary.append("here")

        async def close(self) -> None:
            diary.append("gone")

    async def main() -> None:
        async with LocalRuntime(idle_timeout_s=1.0, max_instances=0) as runtime:
            landlord = Landlord("stays")
            await landlord.register_instance(runtime, AgentId("landlord", "x"))
            for _ in range(3):
                await runtime.send_message("?", AgentId("landlord", "x"))
                await asyncio.sleep(10.0)
            assert diary == ["here"] * 3

    run(main())


def test_a_runtime_that_has_stopped_closes_nothing_until_it_goes_on() -> None:
    """Then what has had its time goes, a hundred at a step."""
    diary: list[str] = []

    async def main() -> None:
        runtime = LocalRuntime(idle_timeout_s=1.0)
        await opened(runtime, lambda: Guest(diary))
        runtime.start()
        for number in range(250):
            await tell(runtime, f"k{number}", "1")
        await runtime.stop_when_idle()
        await asyncio.sleep(10.0)
        assert len(runtime._runner.instances) == 250
        runtime.start()
        await asyncio.sleep(0.5)
        assert not runtime._runner.instances
        await runtime.close()
        assert sum("leaves" in each for each in diary) == 250

    run(main())


class Passing(BaseAgent):
    """Is asked once, and does nothing."""

    def __init__(self) -> None:
        super().__init__("passes")

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Nothing."""


@contextlib.asynccontextmanager
async def of_kind(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[BaseRuntime, BaseRuntime, Broker]]:
    """A runtime that holds a hundred agents, one that publishes, and the broker between them."""
    if kind == "local":
        async with LocalRuntime(max_instances=HELD) as runtime:
            yield runtime, runtime, runtime._broker
        return
    broker = Broker(1, BrokerLimits())
    monkeypatch.setattr("callboard.host.host.Broker", lambda *_, **_more: broker)
    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address) as client,
        WorkerRuntime(host.address, max_instances=HELD) as worker,
    ):
        yield worker, client, broker


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "key_count"), [("local", 50_000), ("worker", 5_000)])
async def test_many_agents_pass_through_and_few_are_held(
    kind: str, key_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of agents with nothing to do there are at most as many as a runtime may hold, and there is no
    trace of the others, in it or at its host.
    """
    async with of_kind(kind, monkeypatch) as (runtime, client, broker):
        runner = runtime._runner
        await Passing.register(runtime, "passing", Passing)
        await runtime.add_subscription(TypeSubscription("knocks", "passing"))
        passing = broker.types.get("passing")
        assert passing is not None

        def held() -> dict[str, int]:
            return {
                "instances": runner._instances.made_count,
                "activations": len(runner._activations),
                "places": len(runner._activations._by_place),
                "idle": len(runner._deactivation._idle),
                "closings": len(runner._instances._closings._enough),
                "queues": len(passing.queues),
            }

        highest: Counter[str] = Counter()
        for first in range(0, key_count, BATCH):
            keys = (f"k{number}" for number in range(first, first + BATCH))
            await asyncio.gather(*(client.publish_message("", TopicId("knocks", k)) for k in keys))
            highest |= Counter(held())
        while broker.counters.accepted < key_count or not runner.is_idle:
            await asyncio.sleep(0.001)
            highest |= Counter(held())
        now = held()
    assert now["closings"] == 0
    assert max(now[what] for what in ("instances", "activations", "places", "idle")) <= HELD
    assert now["queues"] <= MAX_IDLE_QUEUES
    window = BrokerLimits().delivery_window
    assert highest["queues"] <= MAX_IDLE_QUEUES + window
    assert max(highest[what] for what in highest if what != "queues") <= HELD + window
