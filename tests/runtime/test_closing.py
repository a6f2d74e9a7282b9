"""What `Agent.close` may rely on: it has its time, and nobody is the agent before it has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from callboard import AgentId, BaseAgent, MessageContext, TopicId, TypeSubscription
from callboard.agent.serialization import SerializationRegistry
from callboard.agent.turn import AgentFactory
from callboard.agent.turn_runner import TurnRunner
from callboard.core.envelope import Envelope
from callboard.core.event import Delivery, Grant
from callboard.core.frames import Call, Outcome, Partitions, Reply
from callboard.core.partition import partition_of
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.wire.codec import CloudEventCodec
from callboard.worker import WorkerRuntime

PATIENCE_S = 20.0
TICKS = TypeSubscription("ticks", "agent")
CODEC = CloudEventCodec()
GRANT = Grant(1, 1)
ME = ("agent", "me")

Do = Callable[["Saving"], Awaitable[None]]


async def nothing(agent: Saving) -> None:
    """Nothing."""


class Saving(BaseAgent):
    """Tells what happens to it, and does what its test says."""

    def __init__(self, diary: list[str], turn: Do = nothing, close: Do = nothing) -> None:
        super().__init__("does what a test says")
        self.diary = diary
        self._turn = turn
        self._close = close

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """What the test says."""
        self.diary.append(f"turn {message}")
        await self._turn(self)

    async def close(self) -> None:
        """What the test says."""
        self.diary.append("close")
        await self._close(self)
        self.diary.append("closed")


@contextlib.asynccontextmanager
async def worker(host: Host, factory: Callable[[], Saving], **options: Any) -> AsyncIterator[Any]:
    """A worker with such agents, which a test stops itself."""
    runtime = WorkerRuntime(host.address, **options)
    await runtime.start()
    await Saving.register(runtime, "agent", factory)
    await runtime.add_subscription(TICKS)
    async with asyncio.timeout(PATIENCE_S):
        yield runtime
        await runtime.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


# Over a host.


async def test_a_worker_that_leaves_lets_its_agents_close() -> None:
    """`stop` returns when `close` has, and only then the agent's next turn runs elsewhere."""
    diary: list[str] = []
    go_on = asyncio.Event()

    async def save(agent: Saving) -> None:
        await go_on.wait()

    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address) as client,
        worker(host, lambda: Saving(diary, close=save)) as old,
    ):
        await client.publish_message("1", TopicId("ticks", "here"))
        await until(lambda: diary)
        async with worker(host, lambda: Saving(diary)) as new:
            stopping = asyncio.create_task(old.stop())
            await until(lambda: "close" in diary)
            await client.publish_message("2", TopicId("ticks", "here"))
            await asyncio.sleep(0.05)
            assert diary == ["turn 1", "close"]
            assert not stopping.done()
            go_on.set()
            await until(lambda: "turn 2" in diary)
            assert diary == ["turn 1", "close", "closed", "turn 2"]
            await stopping
            assert new.client_id


async def test_a_partition_moves_to_a_worker_that_joins_when_its_agents_are_closed() -> None:
    """What the old instances save is there when the new ones ask for it."""
    saved: dict[str, int] = {}

    class Keeping(Saving):
        def __init__(self) -> None:
            super().__init__([])
            self.count: int | None = None

        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            if self.count is None:
                self.count = saved.get(self.id.key, 0)
            self.count += 1

        async def close(self) -> None:
            await asyncio.sleep(0.02)
            saved[self.id.key] = self.count or 0

    async with Host(port=0) as host, WorkerRuntime(host.address) as client:
        keys = [f"key-{number}" for number in range(20)]
        async with worker(host, Keeping) as old:
            for _ in range(2):
                for key in keys:
                    await client.publish_message("tick", TopicId("ticks", key))
            async with worker(host, Keeping):
                for key in keys:
                    await client.publish_message("tick", TopicId("ticks", key))
                await old.stop()
    assert saved == dict.fromkeys(keys, 3)


async def test_agents_close_side_by_side() -> None:
    """The close of one does not wait for that of another."""
    diary: list[str] = []
    together = asyncio.Barrier(20)

    async def meet(agent: Saving) -> None:
        await together.wait()

    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address) as client,
        worker(host, lambda: Saving(diary, close=meet)),
    ):
        for number in range(20):
            await client.send_message("tick", AgentId("agent", str(number)))
    assert diary.count("closed") == 20


@pytest.mark.parametrize("swallows", [False, True])
async def test_an_agent_that_does_not_close_holds_nobody_for_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, *, swallows: bool
) -> None:
    """It is cancelled after its time, and named; the others have closed, the worker leaves."""
    monkeypatch.setattr("callboard.worker.runtime.LAST_CLOSES_S", 0.1)
    diary: list[str] = []
    never = asyncio.Event()

    async def hang(agent: Saving) -> None:
        while agent.id.key == "stuck":
            try:
                await never.wait()
            except asyncio.CancelledError:
                if not swallows or never.is_set():
                    raise

    async with Host(port=0) as host, WorkerRuntime(host.address) as client:
        async with worker(host, lambda: Saving(diary, close=hang), drain_timeout_s=0.3) as leaving:
            for key in ("stuck", "good"):
                await client.send_message("tick", AgentId("agent", key))
            async with asyncio.timeout(5):
                await leaving.stop()
        never.set()
        for task in asyncio.all_tasks():
            if task.get_name() == "close of agent/stuck":
                task.cancel()
                await asyncio.wait([task])
    assert diary.count("closed") == 1
    complaints = [each.message for each in caplog.records if "did not close" in each.message]
    assert len(complaints) == 1
    assert "agent/stuck" in complaints[0]


async def test_an_agent_whose_turn_was_cut_off_closes_before_others_have_it() -> None:
    """The drain timeout ends the turn; `close` still comes, and the event goes on after it."""
    diary: list[str] = []

    async def hang(agent: Saving) -> None:
        await asyncio.Event().wait()

    async def save(agent: Saving) -> None:
        await asyncio.sleep(0.05)

    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address) as client,
        worker(host, lambda: Saving(diary, hang, save), drain_timeout_s=0.1) as old,
    ):
        await client.publish_message("1", TopicId("ticks", "here"))
        await until(lambda: diary)
        async with worker(host, lambda: Saving(diary)):
            await old.stop()
            await until(lambda: diary.count("turn 1") == 2)
            assert diary == ["turn 1", "close", "closed", "turn 1"]


async def test_a_lost_host_does_not_break_off_a_close() -> None:
    """An agent that saves when the host is lost goes on; `stop` waits for it."""
    diary: list[str] = []
    go_on = asyncio.Event()

    async def save(agent: Saving) -> None:
        await go_on.wait()

    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address) as client,
        worker(host, lambda: Saving(diary, close=save)) as leaving,
    ):
        await client.send_message("1", AgentId("agent", "here"))
        stopping = asyncio.create_task(leaving.stop())
        await until(lambda: "close" in diary)
        await host.stop()
        await leaving.wait_ready(is_ready=False)
        go_on.set()
        await stopping
        assert diary == ["turn 1", "close", "closed"]


async def test_an_agent_may_stop_its_runtime_as_it_closes() -> None:
    """It is not made to wait for itself."""
    diary: list[str] = []

    async def stop(agent: Saving) -> None:
        await agent.runtime.stop()  # type: ignore[attr-defined]  # a worker's

    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address) as client,
        worker(host, lambda: Saving(diary, close=stop)) as leaving,
    ):
        await client.send_message("1", AgentId("agent", "here"))
        async with asyncio.timeout(2):
            await leaving.stop()
    assert diary == ["turn 1", "close", "closed"]


# The runner by itself.


@dataclass
class Told:
    """What a runner has told, in order."""

    what: list[str] = field(default_factory=list)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        self.what.append(f"settle {delivery.position}")

    def reply(self, reply: Reply) -> None:
        self.what.append(f"reply {reply.call_id}")

    def surrendered(self, partitions: Partitions) -> None:
        self.what.append("surrendered")


@contextlib.asynccontextmanager
async def running(factory: Callable[[], Saving]) -> AsyncIterator[tuple[TurnRunner, Told]]:
    """A runner of turns that a test plays the host of."""
    told = Told()
    runner = TurnRunner(LocalRuntime(), told, SerializationRegistry(), CODEC)
    runner.add_factory("agent", AgentFactory(factory))
    runner.divide(4)
    run = asyncio.create_task(runner.run())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        yield runner, told
    run.cancel()
    await asyncio.wait([run])


def call(runner: TurnRunner, number: int) -> None:
    payload = CODEC.encode_payload(Envelope("str", "application/json", f'"{number}"'.encode(), "i"))
    runner.call(Call(number, ME, payload, grant=GRANT))


async def test_a_call_to_an_agent_that_closes_waits_for_a_new_instance() -> None:
    """Its partition is asked for: the turn runs after the close, and that instance closes too."""
    diary: list[str] = []
    go_on = asyncio.Event()

    async def save(agent: Saving) -> None:
        await go_on.wait()

    async with running(lambda: Saving(diary, close=save)) as (runner, told):
        call(runner, 1)
        await until(lambda: told.what)
        runner.surrender(Partitions("agent", ((partition_of(*ME, 4), GRANT),)))
        call(runner, 2)
        await until(lambda: "close" in diary)
        assert not runner.is_idle
        for _ in range(10):
            await asyncio.sleep(0)
        assert diary == ["turn 1", "close"]
        go_on.set()
        await runner.wait_idle()
        assert diary == ["turn 1", "close", "closed", "turn 2", "close", "closed"]
        assert told.what == ["reply 1", "reply 2", "surrendered"]


async def test_an_agent_whose_type_goes_closes_after_the_turn_that_runs() -> None:
    """No turn runs while it closes, and what waits has an instance of the type that came after."""
    diary: list[str] = []
    go_on = asyncio.Event()

    async def wait(agent: Saving) -> None:
        await go_on.wait()

    async with running(lambda: Saving(diary, turn=wait)) as (runner, told):
        call(runner, 1)
        await until(lambda: diary)
        call(runner, 2)
        runner.remove_factory("agent")
        runner.add_factory("agent", AgentFactory(lambda: Saving(diary)))
        await asyncio.sleep(0)
        assert diary == ["turn 1"]
        go_on.set()
        await runner.wait_idle()
        assert diary == ["turn 1", "close", "closed", "turn 2"]
        assert told.what == ["reply 1", "reply 2"]
