"""What becomes of a worker whose way to its host is cut, swallows all, or is gone for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callboard import (
    AgentId,
    BaseAgent,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from callboard.core.broker import BrokerLimits
from callboard.core.errors import (
    AlreadyRegistered,
    CallboardError,
    PublishOutcomeUnknown,
    Unavailable,
)
from callboard.core.event import Event
from callboard.core.lease import Lease, Need
from callboard.engine.sqlite import SqliteEngine
from callboard.host import Host
from callboard.worker import WorkerRuntime
from callboard.worker.connection import Connection, Welcome
from callboard.worker.session import WorkerSession
from runtime.proxy import Proxy

PATIENCE_S = 20.0
LIMITS = BrokerLimits(lease_s=2.4, lease_margin_s=0.3)
HERE = AgentId("agent", "x")
TICKS = TopicId("ticks", "x")


class Slow(BaseAgent):
    """Takes as long as its test says, and notes what it does."""

    def __init__(self, diary: list[str], go_on: asyncio.Event) -> None:
        super().__init__("takes as long as a test says")
        self._diary = diary
        self._go_on = go_on

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Wait, unless told otherwise."""
        self._diary.append(f"begin {message}")
        try:
            if message.startswith("slow"):
                await self._go_on.wait()
            if message == "block" and self._diary.count("begin block") == 1:
                time.sleep(LIMITS.lease_s + LIMITS.lease_margin_s + 0.5)  # noqa: ASYNC251
        except asyncio.CancelledError:
            self._diary.append(f"cancelled {message}")
            raise
        self._diary.append(f"end {message}")
        return message


class Scene:
    """A host, a proxy before it, and a worker behind that."""

    def __init__(self, host: Host, proxy: Proxy, worker: WorkerRuntime) -> None:
        self.host = host
        self.proxy = proxy
        self.worker = worker
        self.diary: list[str] = []
        self.go_on = asyncio.Event()

    async def until(self, *entries: str) -> None:
        """Wait until the diary holds these."""
        while not all(entry in self.diary for entry in entries):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def scene(**options: Any) -> AsyncIterator[Scene]:
    """With an agent that takes its time."""
    async with (
        asyncio.timeout(PATIENCE_S),
        Host(port=0, limits=LIMITS) as host,
        Proxy(host.address) as proxy,
        WorkerRuntime(proxy.address, client_id="far", **options) as worker,
    ):
        made = Scene(host, proxy, worker)
        await Slow.register(worker, "agent", lambda: Slow(made.diary, made.go_on))
        await worker.add_subscription(TypeSubscription("ticks", "agent"))
        yield made


async def test_what_goes_on_when_a_line_is_cut_goes_on_as_if_it_had_not_been() -> None:
    """A turn, a call to the worker, a call of the worker, and what it publishes meanwhile."""
    async with scene() as s, WorkerRuntime(s.host.address) as near:
        await Slow.register(near, "near", lambda: Slow(s.diary, s.go_on))
        await near.publish_message("slow event", TICKS)
        asked = asyncio.create_task(near.send_message("slow question", AgentId("agent", "y")))
        asking = asyncio.create_task(s.worker.send_message("slow answer", AgentId("near", "x")))
        await s.until("begin slow event", "begin slow question", "begin slow answer")
        s.proxy.cut()
        publishing = asyncio.create_task(s.worker.publish_message("later", TICKS))
        s.go_on.set()
        assert list(await asyncio.gather(asked, asking)) == ["slow question", "slow answer"]
        await publishing
        await s.until("end slow event", "end later")
        await asyncio.sleep(0.2)
        assert sorted(s.diary) == sorted(
            f"{what} {message}"
            for message in ("slow event", "slow question", "slow answer", "later")
            for what in ("begin", "end")
        )


async def test_a_line_that_swallows_all_is_left_before_the_lease_runs_out() -> None:
    """Nobody tells the worker: its beats go unanswered."""
    async with scene() as s, WorkerRuntime(s.host.address) as near:
        asked = asyncio.create_task(near.send_message("slow question", HERE))
        await s.until("begin slow question")
        s.proxy.freeze()
        s.go_on.set()
        assert await asked == "slow question"
        assert "cancelled slow question" not in s.diary


async def test_a_worker_that_is_away_for_longer_than_its_lease_stops_by_its_own_clock() -> None:
    """And before others may have its agents; what it published is published when it is back."""
    async with scene() as s, WorkerRuntime(s.host.address, client_id="near") as near:
        await near.publish_message("slow event", TICKS)
        asked = asyncio.create_task(near.send_message("slow question", AgentId("agent", "y")))
        await s.until("begin slow event", "begin slow question")
        s.proxy.is_open = False
        s.proxy.cut()
        began = time.monotonic()
        publishing = asyncio.create_task(s.worker.publish_message("later", TICKS))
        await s.until("cancelled slow event", "cancelled slow question")
        assert time.monotonic() - began < LIMITS.lease_s + 0.5
        with pytest.raises(Unavailable, match="was lost"):
            await asked
        assert time.monotonic() - began > LIMITS.lease_s * 2 / 3
        await Slow.register(near, "agent", lambda: Slow(s.diary, s.go_on))
        while s.diary.count("begin slow event") < 2:
            await asyncio.sleep(0.01)
        s.go_on.set()
        s.proxy.is_open = True
        await publishing
        await s.until("end later")
        assert s.diary.index("end slow event") < s.diary.index("begin later")


async def test_a_worker_serves_on_when_its_host_was_replaced() -> None:
    """By one that knows nothing of it: it registers anew, and what was not confirmed is said."""
    async with scene() as s:
        s.proxy.is_open = False
        await s.host.stop()
        publishing = asyncio.create_task(s.worker.publish_message("later", TICKS))
        await s.worker.wait_ready(is_ready=False)
        async with Host(port=0, limits=LIMITS) as other:
            s.proxy.target = other.address
            s.proxy.is_open = True
            await publishing
            await s.until("end later")
            await s.worker.wait_ready()
            assert await s.worker.send_message("question", HERE) == "question"
            await s.worker.stop()


async def test_what_was_said_to_a_host_that_was_away_for_too_long_is_not_said_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have it, and has forgotten by then; what was not said yet is."""
    monkeypatch.setattr("callboard.worker.runtime.KEPT_S", 0.3)
    async with scene() as s:
        s.proxy.is_open = False
        s.proxy.freeze()
        in_time = asyncio.create_task(s.worker.publish_message("said", TICKS))
        await asyncio.sleep(LIMITS.lease_s + 0.2)
        later = asyncio.create_task(s.worker.publish_message("later", TICKS))
        await asyncio.sleep(0.5)
        assert not in_time.done()
        s.proxy.is_open = True

        with pytest.raises(PublishOutcomeUnknown, match="away for too long"):
            await in_time
        await later
        await s.worker.publish_message("at last", TICKS)
        await s.until("end later", "end at last")
        assert "begin said" not in s.diary


async def test_what_was_said_once_is_known_as_said_over_sessions_that_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each begins with all that has no answer; one is lost before it has said it again."""
    monkeypatch.setattr("callboard.worker.runtime.KEPT_S", 0.0)
    worker = WorkerRuntime()
    welcome = Welcome(
        "s",
        1 << 20,
        512,
        8,
        0,
        b"token",
        10.0,
        resumed=False,
        received=0,
        known=False,
        capabilities=frozenset(),
    )
    ends: list[CallboardError | None] = []

    def begin() -> WorkerSession:
        greeted_at = asyncio.get_running_loop().time()
        session: Any = SimpleNamespace(welcome=welcome, greeted_at=greeted_at)
        worker._link.session = WorkerSession(session)
        worker.begun(worker._link.session, welcome)
        return worker._link.session

    for is_said in (True, False):
        session = begin()
        if is_said:
            worker._publish(Event(b"event", "t", "x"), ends.append, None)
            assert session.outbox.take() is not None
            monkeypatch.setattr("callboard.worker.runtime.KEPT_S", 60.0)
        worker._link.session = None
        worker.lost(session, Unavailable("the line was cut"))
    monkeypatch.setattr("callboard.worker.runtime.KEPT_S", 0.0)

    assert not begin().outbox.publishes
    assert [type(each) for each in ends] == [PublishOutcomeUnknown]


async def test_a_worker_whose_name_another_has_taken_does_not_come_back() -> None:
    """They would end each other for ever."""
    async with scene() as s, WorkerRuntime(s.host.address, client_id="far"):
        with pytest.raises(AlreadyRegistered, match="another worker named 'far'"):
            await s.worker.wait()


async def test_a_host_that_stays_away_ends_all_that_waits_for_it() -> None:
    """After the time that the worker was given to look for it."""
    async with scene(reconnect_timeout_s=0.5) as s:
        asking = asyncio.create_task(s.worker.send_message("slow question", HERE))
        await s.until("begin slow question")
        s.proxy.is_open = False
        s.proxy.cut()
        with pytest.raises(Unavailable, match="no host at"):
            await s.worker.publish_message("later", TICKS)
        with pytest.raises(Unavailable, match="no host at"):
            await asking
        with pytest.raises(Unavailable, match="no host at"):
            await s.worker.wait()


async def test_a_worker_that_is_not_to_look_again_ends_with_its_stream() -> None:
    """As if it could not."""
    async with scene(reconnect_timeout_s=0) as s:
        s.proxy.cut()
        with pytest.raises(Unavailable, match=r"no host at .*: gave up after 0 s"):
            await s.worker.wait()


@pytest.mark.parametrize("is_busy", [False, True])
async def test_a_worker_without_a_host_stops_when_nothing_needs_one(*, is_busy: bool) -> None:
    """At once, or when its turn has ended or been cancelled."""
    async with scene(drain_timeout_s=0.5) as s:
        if is_busy:
            await s.worker.publish_message("slow event", TICKS)
            await s.until("begin slow event")
        s.proxy.is_open = False
        s.proxy.cut()
        await s.worker.wait_ready(is_ready=False)
        began = time.monotonic()
        await s.worker.stop()
        assert time.monotonic() - began < (1.5 if is_busy else 0.5)
        assert ("cancelled slow event" in s.diary) == is_busy


async def test_a_worker_whose_loop_is_blocked_for_longer_than_its_lease_loses_what_it_had() -> None:
    """The host has given it to others; what the turn did is not counted."""

    async with scene() as s:
        await s.worker.publish_message("block", TICKS)
        while len(s.diary) < 4:
            await asyncio.sleep(0.01)
        assert s.diary == ["begin block", "end block"] * 2


async def test_a_fault_in_keeping_the_lease_ends_the_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody would cancel its turns in time any more: whoever waits for it hears why."""

    def need(self: Lease, now: float) -> Need:
        raise ZeroDivisionError(now)

    async with asyncio.timeout(PATIENCE_S), Host(port=0, limits=LIMITS) as host:
        worker = WorkerRuntime(host.address)
        await worker.start()
        monkeypatch.setattr(Lease, "need", need)
        with pytest.raises(ZeroDivisionError):
            await worker.wait()
        with pytest.raises(Exception, match="the runtime broke"):
            await worker.publish_message("x", TICKS)


async def test_a_worker_whose_lease_ran_out_before_it_heard_another_host_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler had blocked it: what was about to be dropped would never run, nor end."""
    diary: list[str] = []
    go_on = asyncio.Event()
    greet = Connection.open
    lapsed: list[bool] = []

    async def greet_and_block(*arguments: Any, **options: Any) -> Connection:
        connection = await greet(*arguments, **options)
        session = worker._link.session
        if connection.welcome.known and session is not None and not lapsed:
            time.sleep(max(0.0, session.lease.until - asyncio.get_running_loop().time()))  # noqa: ASYNC251
            lapsed.append(True)
        return connection

    async with asyncio.timeout(PATIENCE_S):
        first = Host(port=0, engine=SqliteEngine(tmp_path), limits=LIMITS)
        await first.start()
        async with WorkerRuntime(first.address, client_id="far") as worker:
            await Slow.register(worker, "agent", lambda: Slow(diary, go_on))
            await worker.add_subscription(TypeSubscription("ticks", "agent"))
            await worker.publish_message("slow event", TICKS)
            while not diary:
                await asyncio.sleep(0.01)
            await asyncio.sleep(LIMITS.lease_s / 3)
            monkeypatch.setattr(Connection, "open", greet_and_block)
            await first.stop()
            async with Host(first.address, engine=SqliteEngine(tmp_path), limits=LIMITS):
                while diary.count("begin slow event") < 2:
                    await asyncio.sleep(0.01)
                assert lapsed
                assert diary == ["begin slow event", "cancelled slow event", "begin slow event"]
                go_on.set()
                while "end slow event" not in diary:
                    await asyncio.sleep(0.01)
