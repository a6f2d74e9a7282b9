"""What AutoGen 0.7.5's own runtime gets wrong, one test a defect, and what happens here instead.

Each docstring says what AutoGen does, seen with its host and workers, and then what Callboard does.
AutoGen's unchanged workers at a Callboard host are another matter: see `tests/autogen`.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from behaviour.agents import (
    Ask,
    Circle,
    Drawing,
    Echo,
    Hold,
    Invoice,
    Order,
    Recorder,
    Seen,
    note,
)
from behaviour.world import Cluster, World, cluster, remote_world
from callboard import (
    AgentId,
    AgentNotFound,
    AgentRuntime,
    CancellationToken,
    CantHandleException,
    ClosureAgent,
    ClosureContext,
    DeadlineExceeded,
    MessageContext,
    RemoteAgentError,
    ResourceExhausted,
    RoutedAgent,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    Unavailable,
    event,
    rpc,
    type_subscription,
)
from callboard.agent.calls_made import HOST_GRACE_S
from callboard.core import queues, routing
from callboard.core.errors import AlreadyRegistered
from callboard.core.limits import BrokerLimits
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.wire.status import CONNECT, OPERATIONS
from callboard.wire.v1 import agent_host_pb2, operations_pb2
from callboard.worker import WorkerRuntime

AT_ONCE_S = 20.0
"""How long what happens at once may take on a busy machine, far less than `LONG_S`."""

LONG_S = 120.0
"""A deadline that no test reaches: what ends before it was not ended by it."""

MIB = 1 << 20


@dataclass
class Stranger:
    """A message of a class that no worker has."""

    number: int = 0


@type_subscription("picky")
class Picky(RoutedAgent):
    """Registers only where nothing else has its subscription."""

    def __init__(self) -> None:
        super().__init__("is registered at the second attempt")

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Tell."""
        await note(self, message.number, self.id.key)

    @rpc
    async def on_ask(self, message: Ask, ctx: MessageContext) -> str:
        """Who it is."""
        return str(self.id)


async def hear_texts(runtime: AgentRuntime, name: str) -> asyncio.Queue[str]:
    """Listen in this process to texts on the topic type ``name``."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def hear(_: ClosureContext, message: str, ctx: MessageContext) -> None:
        heard.put_nowait(message)

    await ClosureAgent.register_closure(
        runtime, name, hear, subscriptions=lambda: [TypeSubscription(name, name)]
    )
    return heard


async def counters_of(made: Cluster, runtime: WorkerRuntime) -> operations_pb2.Counters:
    """What the host of ``runtime`` has counted."""
    machine = made.address.rpartition(":")[0]
    address = f"{machine}:{runtime.welcome.operators_port}"
    async with grpc.aio.insecure_channel(address) as channel:
        describe = channel.unary_unary(
            f"/{OPERATIONS}/Describe",
            request_serializer=operations_pb2.DescribeRequest.SerializeToString,
            response_deserializer=operations_pb2.DescribeResponse.FromString,
        )
        description: operations_pb2.DescribeResponse = await describe(
            operations_pb2.DescribeRequest()
        )
        return description.counters


@asynccontextmanager
async def host_that_ends_its_streams(when: asyncio.Event) -> AsyncIterator[str]:
    """A server that welcomes workers, answers nothing, and ends their streams with OK; its address.

    A Callboard host says why it ends a stream; a proxy before it may not.
    """

    async def connect(requests: Any, context: Any) -> None:
        welcome = agent_host_pb2.Welcome(
            version=1, session_id="s", max_event_bytes=MIB, publish_window=16, partitions=4
        )
        await context.write(agent_host_pb2.ConnectResponse(welcome=welcome).SerializeToString())
        await when.wait()

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


# Calls.


async def test_1_callers_that_count_alike_get_their_own_answers(shared_cluster: Cluster) -> None:
    """AutoGen files calls by callee and the caller's number: of two callers one gets the other's
    answer, the other none. Here the host gives each call a number of its own.
    """
    address = shared_cluster.address
    async with (
        remote_world(address) as scout,
        remote_world(address) as first,
        remote_world(address) as second,
    ):
        agents = [AgentId("troublemaker", f"{scout.key}-{number}") for number in range(4)]
        pids = [await scout.runtime.send_message(Ask("pid"), agent) for agent in agents]
        pid = next(each for each in pids if pids.count(each) > 1)  # three workers, four agents
        slow, quick = [agent for agent, place in zip(agents, pids, strict=True) if place == pid][:2]
        watch = await scout.watch(slow.key)
        held = asyncio.create_task(
            first.runtime.send_message(Ask("slow"), slow, timeout_s=AT_ONCE_S)
        )
        await watch.next()
        answer = await second.runtime.send_message(Ask("pid"), quick, timeout_s=AT_ONCE_S)
        assert (answer, await held) == (pid, 1)

        async def ask(world: World, number: int) -> str:
            text: str = await world.runtime.send_message(
                f"{world.key} {number}", AgentId("echo", scout.key), timeout_s=LONG_S
            )
            return text

        asked = [(world, number) for number in range(20) for world in (first, second)]
        answers = await asyncio.gather(*(ask(*each) for each in asked))
        assert answers == [f"{world.key} {number}" for world, number in asked]
        assert first.runtime._calls._last_id == second.runtime._calls._last_id == 21


async def test_2_a_call_to_a_type_that_nobody_has_fails_at_once(world: World) -> None:
    """AutoGen's caller waits for ever. Here it gets `AgentNotFound`, which names the type."""
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(AgentNotFound, match="agent type 'nobody_has_it'"):
            await world.runtime.send_message(
                Ask("anything"), AgentId("nobody_has_it", world.key), timeout_s=LONG_S
            )


async def test_3_none_is_an_answer(world: World) -> None:
    """AutoGen's worker cannot write ``None``, and its caller waits for ever. Here it arrives."""
    async with asyncio.timeout(AT_ONCE_S):
        reply = await world.runtime.send_message(
            Ask("nothing"), AgentId("echo", world.key), timeout_s=LONG_S
        )
    assert reply is None


async def test_4_a_message_that_the_callee_does_not_know_is_refused_at_once(world: World) -> None:
    """AutoGen's callee fails to read it and never answers. Here the caller is told which class was
    not handled, and the agent goes on.
    """
    agent = AgentId("echo", world.key)
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(CantHandleException, match="Stranger"):
            await world.runtime.send_message(Stranger(), agent, timeout_s=LONG_S)
        assert await world.runtime.send_message("still there?", agent) == "still there?"


async def test_5_a_callers_token_reaches_the_handler(world: World) -> None:
    """AutoGen ignores the caller's token and gives the handler another. Here cancelling it ends the
    call at the caller, and cancels the handler's token and the handler.
    """
    agent = AgentId("troublemaker", world.key)
    watch = await world.watch()
    token = CancellationToken()
    call = asyncio.create_task(
        world.runtime.send_message(Hold(), agent, cancellation_token=token, timeout_s=LONG_S)
    )
    await watch.next()
    token.cancel()
    async with asyncio.timeout(AT_ONCE_S):
        with pytest.raises(asyncio.CancelledError):
            await call
        # The next turn begins only when that of the call has ended.
        assert await world.runtime.send_message(Ask("stops"), agent, timeout_s=LONG_S) == 1


async def test_6_every_call_has_a_deadline(world: World, request: pytest.FixtureRequest) -> None:
    """AutoGen's calls have none. Here a call ends by its own, or its runtime's, or after 300 s, and
    its handler is told to stop.
    """
    loop = asyncio.get_running_loop()
    agent = AgentId("troublemaker", world.key)
    began = loop.time()
    with pytest.raises(DeadlineExceeded, match=f"no reply from troublemaker/{world.key} in time"):
        await world.runtime.send_message(Hold(), agent, timeout_s=0.3)
    assert 0.3 <= loop.time() - began < HOST_GRACE_S
    assert await world.runtime.send_message(Ask("stops"), agent) == 1
    parameters = inspect.signature(type(world.runtime)).parameters
    assert parameters["call_timeout_s"].default == 300
    if world.is_local:
        return
    shared: Cluster = request.getfixturevalue("shared_cluster")
    async with WorkerRuntime(shared.address, call_timeout_s=0.3) as impatient:
        began = loop.time()
        with pytest.raises(DeadlineExceeded):
            await impatient.send_message(Hold(), agent)
        assert 0.3 <= loop.time() - began < HOST_GRACE_S


async def test_7_a_call_ends_when_its_worker_is_killed() -> None:
    """AutoGen's caller waits for ever. Here it gets `Unavailable` as soon as the worker is gone."""
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:
            watch = await world.watch()
            agent = AgentId("troublemaker", world.key)
            held = asyncio.create_task(world.runtime.send_message(Hold(), agent, timeout_s=LONG_S))
            await watch.next()
            await asyncio.to_thread(made.workers[0].stop, signal.SIGKILL)
            async with asyncio.timeout(AT_ONCE_S):
                with pytest.raises(Unavailable, match=f"ran {agent} was lost"):
                    await held


async def test_8_a_call_after_its_worker_has_left_waits_for_another_within_its_deadline() -> None:
    """AutoGen's caller waits for ever. Here it is answered by the next worker, or gets
    `Unavailable` when none has come by the call's deadline.
    """
    loop = asyncio.get_running_loop()
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world:
            agent = AgentId("echo", world.key)
            assert await world.runtime.send_message("there?", agent) == "there?"
            assert await asyncio.to_thread(made.workers[0].stop) == 0
            began = loop.time()
            with pytest.raises(Unavailable, match="no worker of agent type 'echo' came in time"):
                await world.runtime.send_message("there?", agent, timeout_s=0.3)
            assert 0.3 <= loop.time() - began < HOST_GRACE_S
            waiting = asyncio.create_task(
                world.runtime.send_message("and now?", agent, timeout_s=LONG_S)
            )
            await asyncio.to_thread(made.start_worker)
            assert await waiting == "and now?"


async def test_9_an_error_is_an_error_with_its_class_and_text(world: World) -> None:
    """AutoGen's caller gets an `Exception` with the text alone, and where that is empty a success.
    Here the class and the text arrive, also an empty one.
    """
    agent = AgentId("troublemaker", world.key)
    for what, error_type, text in (
        ("fail", "ValueError", "out of paper"),
        ("fail silently", "KeyError", ""),
    ):
        with pytest.raises(RemoteAgentError) as raised:
            await world.runtime.send_message(Ask(what), agent)
        assert (raised.value.error_type, raised.value.error_message) == (error_type, text)


async def test_10_calls_carry_protobuf_as_well_as_json(world: World) -> None:
    """AutoGen's calls are JSON whatever the runtime was told, and take no protobuf message. Here
    each message travels in its own format, both ways.
    """
    agent = AgentId("echo", world.key)
    for message in (
        StringValue(value="protobuf"),
        StringValue(),
        Drawing("dataclass", [Circle(1)]),
        Invoice(name="pydantic", lines=[1]),
    ):
        reply = await world.runtime.send_message(message, agent)
        assert (type(reply), reply) == (type(message), message)


# The host and the stream.


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
async def test_11_a_lost_host_is_looked_for_until_it_is_back(how: signal.Signals) -> None:
    """AutoGen's worker is deaf and says nothing once its host is gone. Here workers and clients
    find the one that takes its place, without being started again. Calls that it knows nothing of
    end with `Unavailable`, what is published meanwhile is delivered.
    """
    with cluster(workers=1) as made:
        async with remote_world(made.address) as world, asyncio.timeout(LONG_S):
            watch = await world.watch()
            agent = AgentId("troublemaker", world.key)
            held = asyncio.create_task(world.runtime.send_message(Hold(), agent, timeout_s=LONG_S))
            await watch.next()
            await asyncio.to_thread(made.replace_host, how)
            published = asyncio.create_task(
                world.runtime.publish_message(Order(1), TopicId("orders", world.key))
            )
            with pytest.raises(Unavailable):
                await held
            await published
            echo = AgentId("echo", world.key)
            while True:  # the worker may be back later than this client
                with suppress(AgentNotFound):
                    assert await world.runtime.send_message("x", echo, timeout_s=LONG_S) == "x"
                    break
                await asyncio.sleep(0.1)
        assert "lost the host, looking for it" in made.workers[0].said()


async def test_12_a_stream_that_the_host_ends_is_noticed_by_all_who_wait() -> None:
    """AutoGen's worker takes the end of its stream for silence. Here another is opened, for as long
    as the worker was told to try; then a publish and a registration that wait, and those asked for
    later, end with `Unavailable`. A call does with its session.
    """
    end = asyncio.Event()
    async with host_that_ends_its_streams(end) as address:
        runtime = WorkerRuntime(address, reconnect_timeout_s=0.5)
        await runtime.start()
        waiting = [
            asyncio.create_task(coroutine)
            for coroutine in (
                runtime.send_message("x", AgentId("echo", "x"), timeout_s=LONG_S),
                runtime.publish_message("x", TopicId("orders", "x")),
                runtime.add_subscription(TypeSubscription("orders", "echo")),
                runtime.wait(),
            )
        ]
        _, still_waiting = await asyncio.wait(waiting, timeout=0.1)
        assert still_waiting == set(waiting)
        end.set()
        async with asyncio.timeout(AT_ONCE_S):
            with pytest.raises(Unavailable, match=f"the host at {address} ended the stream"):
                await waiting[0]
    async with asyncio.timeout(AT_ONCE_S):
        ends = await asyncio.gather(*waiting[1:], return_exceptions=True)
        said = f"no host at {address}: gave up after"
        assert [type(each) for each in ends] == [Unavailable] * 3
        assert all(str(each).startswith(said) for each in ends)
        await assert_lost(runtime, said)
        await runtime.stop()


async def assert_lost(runtime: WorkerRuntime, said: str) -> None:
    """Whatever is asked of ``runtime`` ends with `Unavailable`."""
    with pytest.raises(Unavailable, match=said):
        await runtime.wait()
    with pytest.raises(Unavailable, match=said):
        await runtime.send_message("x", AgentId("echo", "x"), timeout_s=LONG_S)
    with pytest.raises(Unavailable, match=said):
        await runtime.publish_message(Order(1), TopicId("orders", "x"))
    with pytest.raises(Unavailable, match=said):
        await runtime.add_subscription(TypeSubscription("late", "echo"))


async def test_13_an_event_too_large_fails_itself_and_not_its_publisher(world: World) -> None:
    """A publish above 4 MiB ends the AutoGen publisher's stream, and with it its registrations,
    without a word. Here events up to 8 MiB arrive, one above is refused with both sizes, and what
    the publisher serves goes on.
    """
    topic = TopicId(f"texts-{world.key}", world.key)
    heard = await hear_texts(world.runtime, topic.type)
    five_mib = "x" * (5 * MIB)
    await world.runtime.publish_message(five_mib, topic)
    async with asyncio.timeout(AT_ONCE_S):
        assert await heard.get() == five_mib
    with pytest.raises(
        ResourceExhausted, match=r"the event has 9\d{6} bytes, the host takes at most 8388608"
    ):
        await world.runtime.publish_message("x" * (9 * MIB), topic)
    await world.runtime.publish_message("still there", topic)
    async with asyncio.timeout(AT_ONCE_S):
        assert await heard.get() == "still there"
    assert heard.empty()


# Agents.


async def test_14_an_agent_handles_one_event_after_the_other(world: World) -> None:
    """AutoGen runs handlers of one agent side by side: a later event may be done first. Here a turn
    begins when the one before it has ended, in the order published.
    """
    watch = await world.watch()
    await world.runtime.publish_many(
        (Order(number) for number in range(5)), TopicId("snails", world.key)
    )
    assert await watch.numbers(5) == [0, 1, 2, 3, 4]
    assert await world.runtime.send_message(Ask("most"), AgentId("snail", world.key)) == 1


async def test_15_first_messages_that_come_together_make_one_agent(world: World) -> None:
    """Five first messages and a factory that awaits make five instances in AutoGen, with five
    answers. Here the first one makes the agent, the others wait for it.
    """
    agent = AgentId("newcomer", world.key)
    calls = [world.runtime.send_message(Ask("made"), agent) for _ in range(5)]
    assert await asyncio.gather(*calls) == [1] * 5


async def test_16_two_subscriptions_that_match_make_one_delivery(world: World) -> None:
    """AutoGen's agent handles an event as often as its subscriptions match. Here it does once."""
    watch = await world.watch()
    await world.runtime.add_subscription(TypePrefixSubscription("orde", "recorder", id=world.key))
    try:
        for number in range(3):
            await world.runtime.publish_message(Order(number), TopicId("orders", world.key))
        assert await watch.numbers(3) == [0, 1, 2]
        assert await world.runtime.send_message(Seen(), AgentId("recorder", world.key)) == [0, 1, 2]
        assert watch.is_empty
    finally:
        await world.runtime.remove_subscription(world.key)


async def test_17_an_event_that_failed_is_kept_with_its_reason(
    world: World, request: pytest.FixtureRequest
) -> None:
    """AutoGen logs that a handler failed and forgets the event. Here it is tried again, as often as
    its policy says, and then becomes a dead letter with the reason; the agent goes on.
    """
    shared: Cluster | None = None
    rejected = 0
    if not world.is_local:
        shared = request.getfixturevalue("shared_cluster")
        rejected = (await counters_of(shared, world.runtime)).rejected
    watch = await world.watch()
    for number in range(3):
        await world.runtime.publish_message(Order(number), TopicId("eggs", world.key))
    assert await watch.numbers(2) == [0, 2]
    said = f"5 attempts, the last: ValueError: {world.key} broke at 1"
    if shared is None:
        letters = await world.runtime.dead_letters()
        assert [(each.delivery.agent, each.reason, each.detail) for each in letters] == [
            (("egg", world.key), "handler_error", said)
        ]
    else:
        assert (await counters_of(shared, world.runtime)).rejected == rejected + 1
        logs = "".join(worker.said() for worker in shared.workers)
        lines = [line for line in logs.splitlines() if f"egg/{world.key}" in line]
        assert len(lines) == 5
        assert all("event failed, it is tried again" in line for line in lines[:4])
        assert "event rejected" in lines[4]
        assert "handler_error" in lines[4]
        assert said in lines[4]


# Registration.


async def test_18_a_registration_that_failed_can_be_made_again(world: World) -> None:
    """In AutoGen what a failed ``register`` had added stays, and the next one says ``already
    exists``. Here it is all taken back, and the next one serves.
    """
    name = f"picky-{world.key}"
    in_the_way = TypeSubscription("picky", name)
    await world.runtime.add_subscription(in_the_way)
    for _ in range(2):
        with pytest.raises(AlreadyRegistered, match=r"TypeSubscription\('picky'"):
            await Picky.register(world.runtime, name, Picky)
    await world.runtime.remove_subscription(in_the_way.id)
    await Picky.register(world.runtime, name, Picky)
    agent = AgentId(name, world.key)
    assert await world.runtime.send_message(Ask("who"), agent) == str(agent)
    watch = await world.watch()
    await world.runtime.publish_message(Order(18), TopicId("picky", world.key))
    assert await watch.numbers(1) == [18]


async def test_18_a_registration_that_the_host_refused_can_be_made_again() -> None:
    """The same where it is the host that refuses, here because it has room for one type only."""
    async with (
        Host(port=0, limits=BrokerLimits(max_types=1)) as host,
        WorkerRuntime(host.address) as runtime,
    ):
        async with WorkerRuntime(host.address) as other:
            await hear_texts(other, "occupant")
            for _ in range(2):
                with pytest.raises(ResourceExhausted, match="the host keeps 1 agent types"):
                    await Echo.register(runtime, "echo", Echo)
        await Echo.register(runtime, "echo", Echo)
        assert await runtime.send_message("there?", AgentId("echo", "x")) == "there?"


async def test_19_several_instances_of_a_type_can_be_registered(world: World) -> None:
    """AutoGen's second ``register_instance`` of a type fails. Here each serves its own key."""
    name = f"instances-{world.key}"
    recorders = {key: Recorder() for key in ("one", "two", "three")}
    for key, recorder in recorders.items():
        await recorder.register_instance(world.runtime, AgentId(name, key))
    await world.runtime.add_subscription(TypeSubscription(name, name))
    for number, key in enumerate(recorders):
        await world.runtime.publish_message(Order(number), TopicId(name, key))
    seen = [await world.runtime.send_message(Seen(), AgentId(name, key)) for key in recorders]
    assert seen == [[0], [1], [2]]
    assert [recorder.numbers for recorder in recorders.values()] == seen


async def test_20_the_end_of_a_former_stream_leaves_the_registrations_of_the_newer() -> None:
    """Of two AutoGen streams of one client-id, the end of either takes the registrations of both.
    Here the former ends when the newer comes, and says so; the newer serves on, each event once.
    """
    named = ("behaviour.agents:setup", "--client-id", "twin")
    with cluster(workers=0) as made:
        async with remote_world(made.address) as world:
            former = await asyncio.to_thread(made.start_worker, *named)
            agents = [AgentId("troublemaker", f"{world.key}-{number}") for number in range(10)]
            pids = [await world.runtime.send_message(Ask("pid"), each) for each in agents]
            assert set(pids) == {former.child.pid}
            newer = await asyncio.to_thread(made.start_worker, *named)
            assert await asyncio.to_thread(former.child.wait, AT_ONCE_S) == 1
            assert "another worker named 'twin' has connected" in former.said()
            pids = [
                await world.runtime.send_message(Ask("pid"), each, timeout_s=AT_ONCE_S)
                for each in agents
            ]
            assert set(pids) == {newer.child.pid}
            watch = await world.watch()
            for number in range(3):
                await world.runtime.publish_message(Order(number), TopicId("orders", world.key))
            assert await watch.numbers(3) == [0, 1, 2]
            seen = AgentId("recorder", world.key)
            assert await world.runtime.send_message(Seen(), seen) == [0, 1, 2]
            assert watch.is_empty


# What stays.


async def test_21_topics_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoGen keeps every topic that it ever saw, and asks every subscription about each of them at
    every change. Here what is kept of topics has a bound, and a change asks about none.
    """
    monkeypatch.setattr(queues, "MAX_IDLE_QUEUES", 50)
    monkeypatch.setattr(routing, "MAX_REMEMBERED", 50)
    asked: list[TopicId] = []

    class Counted(TypeSubscription):
        def is_match(self, topic_id: TopicId) -> bool:
            asked.append(topic_id)
            return super().is_match(topic_id)

    async with LocalRuntime() as runtime:
        await Echo.register(runtime, "echo", Echo)
        await runtime.add_subscription(Counted("texts", "echo"))
        for number in range(200):
            await runtime.publish_message("hello", TopicId("texts", f"source-{number}"))
            await runtime.publish_message("hello", TopicId(f"texts-{number}", "source"))
        types = runtime._broker.types
        assert 0 < len(types._routes._answers) <= 50
        await runtime.add_subscription(Counted("late", "echo"))
        await runtime.stop_when_idle()
        echo = types.get("echo")
        assert echo is not None
        assert runtime._broker.counters.accepted == 200
        assert len(echo.queues) == 50
        assert asked == []


async def test_21_agents_are_not_kept_for_ever() -> None:
    """AutoGen keeps every agent that it ever made. Here those that are idle for longest are closed
    when there are too many, and every one that is idle for its time.
    """
    async with LocalRuntime(max_instances=50, idle_timeout_s=0.05) as runtime:
        await Echo.register(runtime, "echo", Echo)
        await runtime.add_subscription(TypeSubscription("texts", "echo"))
        for number in range(200):
            await runtime.publish_message("hello", TopicId("texts", f"source-{number}"))
        while runtime.unprocessed_messages_count:
            await asyncio.sleep(0.001)
            assert len(await runtime.save_state()) < 200
        while await runtime.save_state():
            await asyncio.sleep(0.01)
