"""How runtimes begin and end when things go wrong: nobody waits for ever, nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from callboard import AgentId, BaseAgent, MessageContext, TopicId, TypeSubscription
from callboard.agent.cancellation import CancellationToken
from callboard.core.errors import (
    CallboardError,
    DeadlineExceeded,
    ProtocolViolation,
    RemoteAgentError,
    Unavailable,
)
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.wire.status import CONNECT
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.worker import WorkerRuntime
from callboard.worker import runtime as worker_runtime

PATIENCE_S = 20.0
HERE = AgentId("agent", "here")
NOWHERE = TopicId("nowhere", "here")

Handler = Callable[["Doing", Any, MessageContext], Awaitable[Any]]


class Doing(BaseAgent):
    """Does with a message what its test says."""

    def __init__(self, do: Handler) -> None:
        super().__init__("does what a test says")
        self.do = do
        self.close_count = 0

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """What the test says."""
        return await self.do(self, message, ctx)

    async def close(self) -> None:
        """Take a moment."""
        self.close_count += 1
        await asyncio.sleep(0)


async def echo(agent: Doing, message: Any, ctx: MessageContext) -> Any:
    """The message."""
    return message


Script = Callable[[Any, Any], Awaitable[None]]


@contextlib.asynccontextmanager
async def false_host(script: Script) -> AsyncIterator[str]:
    """A server that says what a test wants to whoever connects; its address."""

    async def connect(
        requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> None:
        await script(requests, context)

    server = grpc.aio.server()
    service, _, method = CONNECT[1:].partition("/")
    handler: Any = grpc.stream_stream_rpc_method_handler(connect)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def welcome(**others: Any) -> bytes:
    """A host's first frame."""
    fields: dict[str, Any] = {
        "version": 1,
        "session_id": "s",
        "max_event_bytes": 1 << 20,
        "publish_window": 16,
        "delivery_window": 16,
        "partitions": 4,
    } | others
    return pb.ConnectResponse(welcome=pb.Welcome(**fields)).SerializeToString()


def tasks_of_callboard() -> list[str]:
    """The tasks of runtimes that are there."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name in {"callboard.worker", "turns", "leave", "write"}]


# Beginning.


async def test_a_host_that_never_answers_is_none() -> None:
    """Whoever listens and says nothing is given up after the connect timeout."""

    async def say_nothing(requests: Any, context: Any) -> None:
        await asyncio.Event().wait()

    async with false_host(say_nothing) as address:
        runtime = WorkerRuntime(address, connect_timeout_s=0.3)
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Unavailable, match=address):
                await runtime.start()
        with pytest.raises(Unavailable, match=address):
            await runtime.publish_message("x", NOWHERE)
        await runtime.stop()
    assert not tasks_of_callboard()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"version": 2}, "protocol version 2"),
        ({"publish_window": 0}, "no publish_window"),
        ({"partitions": 0}, "no partitions"),
        ({"max_event_bytes": 0}, "no max_event_bytes"),
    ],
)
async def test_a_welcome_that_nobody_can_work_with_is_refused(
    wrong: dict[str, Any], reason: str
) -> None:
    """start says what is wrong with what the host said."""

    async def greet(requests: Any, context: Any) -> None:
        await context.write(welcome(**wrong))
        await asyncio.Event().wait()

    async with false_host(greet) as address:
        with pytest.raises(ProtocolViolation, match=reason):
            await WorkerRuntime(address).start()


async def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    """Neither while it looks for a host, nor while it registers."""

    async def greet_only(requests: Any, context: Any) -> None:
        await context.write(welcome())
        greeted.set()
        await asyncio.Event().wait()

    greeted = asyncio.Event()
    looking = asyncio.create_task(WorkerRuntime("127.0.0.1:1").start())
    while not tasks_of_callboard():
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])
    assert not tasks_of_callboard()

    async with false_host(greet_only) as address:
        runtime = WorkerRuntime(address)
        await Doing.register(runtime, "agent", lambda: Doing(echo))
        registering = asyncio.create_task(runtime.start())
        while not runtime._registrations:
            await asyncio.sleep(0)
        registering.cancel()
        await asyncio.wait([registering])
        assert not tasks_of_callboard()
        with pytest.raises(Unavailable, match="has stopped"):
            await runtime.publish_message("x", NOWHERE)


async def test_stopping_a_runtime_that_looks_for_a_host_ends_the_search() -> None:
    """stop does not wait for the connect timeout, and start says why it ended."""
    runtime = WorkerRuntime("127.0.0.1:1", connect_timeout_s=3600)
    starting = asyncio.create_task(runtime.start())
    while not tasks_of_callboard():
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        await runtime.stop()
        with pytest.raises(Unavailable, match="stopped before it found"):
            await starting


async def test_what_is_registered_while_a_runtime_starts_is_served() -> None:
    """Registering need not wait for the host to be found."""
    async with Host(port=0) as host:
        runtime = WorkerRuntime(host.address)
        await asyncio.gather(runtime.start(), Doing.register(runtime, "agent", lambda: Doing(echo)))
        assert await runtime.send_message("hello", HERE) == "hello"
        await runtime.stop()


async def test_a_registration_that_was_cancelled_is_taken_back_at_the_host() -> None:
    """The host is not left with a type whose factory is gone: its calls find nobody."""
    async with Host(port=0) as host, WorkerRuntime(host.address) as runtime:
        registering = asyncio.create_task(
            runtime.register_factory("agent", lambda: Doing(echo), expected_class=Doing)
        )
        while not runtime._registrations:
            await asyncio.sleep(0)
        registering.cancel()
        await asyncio.wait([registering])
        async with WorkerRuntime(host.address) as other:
            await Doing.register(other, "agent", lambda: Doing(echo))
            keys = [AgentId("agent", str(number)) for number in range(20)]
            asked = [other.send_message("hello", key) for key in keys]
            assert await asyncio.gather(*asked) == ["hello"] * 20


# What a host may say.


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff",
        welcome(),
        pb.ConnectResponse(published=pb.Published(through=99)).SerializeToString(),
    ],
)
async def test_a_host_that_breaks_the_protocol_is_left_and_all_who_wait_hear_of_it(
    garbage: bytes,
) -> None:
    """A call, a publish and a registration that are open end with an error; stop works."""

    async def greet_then_garble(requests: Any, context: Any) -> None:
        await context.write(welcome())
        async for _ in requests:
            await go_on.wait()
            await context.write(garbage)

    go_on = asyncio.Event()
    async with false_host(greet_then_garble) as address:
        runtime = WorkerRuntime(address)
        await runtime.start()
        waiting = [
            asyncio.create_task(runtime.send_message("x", HERE)),
            asyncio.create_task(runtime.publish_message("x", NOWHERE)),
            asyncio.create_task(runtime.add_subscription(TypeSubscription("t", "agent"))),
        ]
        await asyncio.sleep(0)
        go_on.set()
        async with asyncio.timeout(PATIENCE_S):
            ends = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(end, CallboardError) for end in ends), ends
            with pytest.raises(CallboardError):
                await runtime.wait()
            await runtime.stop()


async def test_a_caller_hears_of_a_lost_host_while_a_turn_ignores_its_end() -> None:
    """Those who wait for the host do not wait for turns that do not end."""
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def ignore(agent: Doing, message: Any, ctx: MessageContext) -> None:
        begun.set()
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    host = Host(port=0)
    await host.start()
    runtime = WorkerRuntime(host.address)
    await Doing.register(runtime, "agent", lambda: Doing(ignore))
    await runtime.start()
    asking = asyncio.create_task(runtime.send_message("x", HERE))
    await begun.wait()
    await host.stop()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable):
            await asking
    go_on.set()
    await runtime.stop()


# Ending.


async def test_a_host_that_is_frozen_does_not_keep_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """stop returns after the drain timeout and a grace, though the host says nothing."""
    monkeypatch.setattr(worker_runtime, "CLOSE_GRACE_S", 0.1)

    async def freeze(requests: Any, context: Any) -> None:
        await context.write(welcome())
        await asyncio.Event().wait()

    async with false_host(freeze) as address:
        runtime = WorkerRuntime(address, drain_timeout_s=0.1)
        await runtime.start()
        waiting = asyncio.create_task(runtime.publish_message("x", NOWHERE))
        async with asyncio.timeout(PATIENCE_S):
            await runtime.stop()
            with pytest.raises(Unavailable, match="has stopped"):
                await waiting
    assert not tasks_of_callboard()


async def test_a_worker_that_leaves_waits_for_its_own_calls() -> None:
    """A call under way when stop is asked gets its reply from another worker."""
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def slow(agent: Doing, message: Any, ctx: MessageContext) -> Any:
        begun.set()
        await go_on.wait()
        return message

    async with Host(port=0) as host, WorkerRuntime(host.address) as other:
        await Doing.register(other, "agent", lambda: Doing(slow))
        leaving = WorkerRuntime(host.address)
        await leaving.start()
        asking = asyncio.create_task(leaving.send_message("hello", HERE))
        await begun.wait()
        stopping = asyncio.create_task(leaving.stop())
        while not leaving._drained.is_set():
            await asyncio.sleep(0.001)
        go_on.set()
        assert await asking == "hello"
        await stopping


async def test_agents_are_closed_once_however_often_a_runtime_is_stopped() -> None:
    """stop may be called again, by several at once, and by an agent that is being closed."""
    made: list[Doing] = []

    class Stopping(Doing):
        async def close(self) -> None:
            await super().close()
            await self.runtime.stop()  # type: ignore[attr-defined]  # a worker's

    def make() -> Doing:
        made.append(Stopping(echo))
        return made[-1]

    async with Host(port=0) as host:
        runtime = WorkerRuntime(host.address)
        await runtime.start()
        await Doing.register(runtime, "agent", make)
        for key in ("a", "b"):
            await runtime.send_message("hello", AgentId("agent", key))
        await host.stop()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(runtime.stop(), runtime.stop(), runtime.stop())
            await runtime.stop()
    assert [agent.close_count for agent in made] == [1, 1]


@pytest.mark.parametrize("kind", ["local", "worker"])
async def test_a_handler_cannot_wait_for_the_end_of_its_own_runtime(kind: str) -> None:
    """It would wait for itself; it is told so, and may stop the runtime from a task of its own."""
    left: list[asyncio.Task[None]] = []

    async def stop(agent: Doing, message: Any, ctx: MessageContext) -> None:
        if message == "at once":
            await runtime.stop()
        else:
            left.append(asyncio.create_task(runtime.stop()))
            await asyncio.sleep(0)

    async with Host(port=0) as host:
        runtime = LocalRuntime() if kind == "local" else WorkerRuntime(host.address)
        started = runtime.start()
        if started is not None:
            await started
        await Doing.register(runtime, "agent", lambda: Doing(stop))
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(RemoteAgentError, match="NotAllowedNow: a handler cannot wait"):
                await runtime.send_message("at once", HERE)
            assert await runtime.send_message("later", HERE) is None
            await left[0]
            await runtime.close()


async def test_closing_a_local_runtime_ends_the_calls_that_wait() -> None:
    """A call that nobody will answer any more fails instead of waiting for its deadline."""
    runtime = LocalRuntime()
    await Doing.register(runtime, "agent", lambda: Doing(echo))
    asking = asyncio.create_task(runtime.send_message("hello", HERE))
    await asyncio.sleep(0)
    await runtime.close()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable, match="has been closed"):
            await asking
    runtime.start()
    await runtime.stop_when_idle()


async def test_a_stop_that_is_given_up_lets_the_runtime_go_on() -> None:
    """Events are handled again after stop was cancelled, and stop_when leaves no task behind."""
    go_on, seen = asyncio.Event(), list[Any]()

    async def wait(agent: Doing, message: Any, ctx: MessageContext) -> None:
        seen.append(message)
        await go_on.wait()

    async with LocalRuntime() as runtime:
        await Doing.register(runtime, "agent", lambda: Doing(wait))
        await runtime.add_subscription(TypeSubscription("ticks", "agent"))
        for message in ("first", "second"):
            await runtime.publish_message(message, TopicId("ticks", "here"))
        while not seen:
            await asyncio.sleep(0)
        before = len(asyncio.all_tasks())
        for stop in (runtime.stop, runtime.stop_when_idle):
            stopping = asyncio.create_task(stop())
            await asyncio.sleep(0)
            stopping.cancel()
            await asyncio.wait([stopping])
            assert len(asyncio.all_tasks()) == before
        go_on.set()
        while len(seen) < 2:
            await asyncio.sleep(0)
        await runtime.stop_when_idle()


async def test_a_condition_that_raises_is_the_callers_to_see() -> None:
    """stop_when raises it; the runtime goes on."""

    def condition() -> bool:
        msg = "no such thing"
        raise LookupError(msg)

    async with LocalRuntime() as runtime:
        with pytest.raises(LookupError):
            await runtime.stop_when(condition)
        await Doing.register(runtime, "agent", lambda: Doing(echo))
        assert await runtime.send_message("hello", HERE) == "hello"


async def test_what_is_cancelled_before_it_is_sent_is_not_sent() -> None:
    """A token that is cancelled already stops a call and an event on their way."""
    seen: list[Any] = []

    async def note(agent: Doing, message: Any, ctx: MessageContext) -> None:
        seen.append(message)

    token = CancellationToken()
    token.cancel()
    async with LocalRuntime() as runtime:
        await Doing.register(runtime, "agent", lambda: Doing(note))
        await runtime.add_subscription(TypeSubscription("ticks", "agent"))
        with pytest.raises(asyncio.CancelledError):
            await runtime.send_message("call", HERE, cancellation_token=token)
        with pytest.raises(asyncio.CancelledError):
            await runtime.publish_message(
                "event", TopicId("ticks", "here"), cancellation_token=token
            )
        await runtime.stop_when_idle()
    assert seen == []


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
async def test_a_call_without_time_fails_at_once(timeout_s: float) -> None:
    """No time, or what is no number, never reaches the event loop's timers."""
    async with LocalRuntime() as runtime:
        with pytest.raises(DeadlineExceeded):
            await runtime.send_message("hello", HERE, timeout_s=timeout_s)


FORKED = """
import asyncio, contextlib, os
from callboard.worker import WorkerRuntime

runtime = WorkerRuntime("127.0.0.1:1", connect_timeout_s=0.01)
is_child = os.fork() == 0
with contextlib.suppress(ConnectionError):
    asyncio.run(runtime.start())
greeting = runtime._greeting
line = f"{greeting.client_id} {greeting.incarnation} {runtime._new_id()}\\n"
os.write(1, line.encode())  # whole: both write to one pipe
if not is_child:
    os.wait()
"""


async def test_a_runtime_that_was_described_before_a_fork_is_two_workers() -> None:
    """Parent and child have names, incarnations and message ids of their own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKED, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        said, _ = await child.communicate()
    first, second = (line.split() for line in said.decode().splitlines())
    assert all(mine != others for mine, others in zip(first, second, strict=True))
