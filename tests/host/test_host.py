"""The host as a gRPC service.

What it answers to peers that keep the protocol, and to those that do not.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from callboard import AgentId, AlreadyRegistered, RoutedAgent, TopicId, Unavailable, rpc
from callboard.agent.context import MessageContext
from callboard.host import Host
from callboard.wire.status import CONNECT, OPERATIONS
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.wire.v1 import operations_pb2
from callboard.worker import WorkerRuntime
from host.raw import RawWorker


class Echo(RoutedAgent):
    """Answers with what it was sent."""

    def __init__(self) -> None:
        super().__init__("echoes")

    @rpc
    async def on_text(self, message: str, ctx: MessageContext) -> str:
        """The same text."""
        return message


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    """A host on a free port."""
    async with Host(port=0) as made:
        yield made


@pytest.fixture
async def raw(host: Host) -> AsyncIterator[RawWorker]:
    """A stream to the host."""
    made = RawWorker.connect(host.address)
    yield made
    await made.close()


async def assert_serves(host: Host) -> None:
    """Others are served as if nothing had happened."""
    async with WorkerRuntime(host.address) as runtime:
        await Echo.register(runtime, "echo", Echo)
        assert await runtime.send_message("still there?", AgentId("echo", "x")) == "still there?"


async def test_welcome_says_what_the_host_keeps_to(host: Host, raw: RawWorker) -> None:
    """The limits in welcome are the host's."""
    welcome = await raw.greet()
    assert (welcome.version, welcome.partitions) == (1, 256)
    assert (welcome.max_event_bytes, welcome.publish_window, welcome.delivery_window) == (
        8 << 20,
        2048,
        2048,
    )
    assert host.operators_address.endswith(f":{welcome.operators_port}")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\xff\xff\xff", "malformed frame"),
        (pb.ConnectRequest(hello=pb.Hello(version_min=1, version_max=1)), "a second hello"),
        (pb.ConnectRequest(settlements=[pb.Settlement(number=1)]), "says no outcome"),
        (pb.ConnectRequest(register=pb.Register()), "without a revision"),
        (
            pb.ConnectRequest(
                register=pb.Register(revision=1, subscriptions=[pb.SubscriptionEntry(id="x")])
            ),
            "neither topic_type nor topic_type_prefix",
        ),
        (pb.ConnectRequest(calls=[pb.Call(id=1)]), "without an id or a target"),
        (pb.ConnectRequest(replies=[pb.Reply(call_id=1)]), "neither payload nor error"),
        (
            pb.ConnectRequest(replies=[pb.Reply(call_id=1, payload=b"part")]),
            "needs the capability 'streams', which this host has not announced",
        ),
        (
            pb.ConnectRequest(
                calls=[pb.Call(id=1, target=pb.AgentRef(type="a", key="b"), parent=pb.TurnRef())]
            ),
            "neither a call nor a delivery",
        ),
    ],
)
async def test_a_frame_against_the_protocol_ends_that_stream_only(
    host: Host, raw: RawWorker, frame: pb.ConnectRequest | bytes, reason: str
) -> None:
    """INVALID_ARGUMENT with the rule for the stream it came on; everybody else is served on."""
    await raw.greet()
    await raw.say(frame)
    code, details = await raw.ending()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert reason in details
    await assert_serves(host)


@pytest.mark.parametrize(
    ("first", "code", "reason"),
    [
        (b"not protobuf", grpc.StatusCode.INVALID_ARGUMENT, "malformed frame"),
        (pb.ConnectRequest(), grpc.StatusCode.INVALID_ARGUMENT, "has to hold hello"),
        (
            pb.ConnectRequest(
                hello=pb.Hello(version_min=1, version_max=1, client_id="x", incarnation="y"),
                register=pb.Register(revision=1),
                drain=pb.Drain(),
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
            "nothing else: it holds register, drain",
        ),
        (
            pb.ConnectRequest(
                hello=pb.Hello(version_min=7, version_max=9, client_id="x", incarnation="y")
            ),
            grpc.StatusCode.FAILED_PRECONDITION,
            "version 1, the worker 7 to 9",
        ),
        (
            pb.ConnectRequest(hello=pb.Hello(version_min=1, version_max=1, incarnation="y")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "invalid client id",
        ),
    ],
)
async def test_a_bad_first_frame_is_refused_with_the_rule(
    host: Host, raw: RawWorker, first: pb.ConnectRequest | bytes, code: grpc.StatusCode, reason: str
) -> None:
    """A worker that does not introduce itself properly is told why it is refused."""
    await raw.say(first)
    ending = await raw.ending()
    assert ending[0] is code
    assert reason in ending[1]
    await assert_serves(host)


async def test_a_worker_that_connects_and_leaves_without_a_word_harms_nobody(host: Host) -> None:
    """Streams that are opened and broken off leave nothing behind."""
    for _ in range(5):
        silent = RawWorker.connect(host.address)
        await silent.call.wait_for_connection()
        await silent.close()
    await assert_serves(host)


async def test_an_event_too_large_is_refused_by_number_and_the_stream_goes_on(
    raw: RawWorker,
) -> None:
    """The host checks the size itself, for workers that do not."""
    await raw.greet()
    large = pb.Publish(number=1, event=b"x" * (8 << 20 | 1), topic_type="t", topic_source="s")
    small = pb.Publish(number=2, event=b"x", topic_type="t", topic_source="s")
    invalid = pb.Publish(number=3, event=b"x", topic_type="not valid", topic_source="s")
    await raw.say(pb.ConnectRequest(publishes=[large]))
    await raw.say(pb.ConnectRequest(publishes=[small, invalid]))
    answered = 0
    refused: dict[int, tuple[int, str]] = {}
    while answered < 3:
        published = (await raw.hear()).published
        answered = max(answered, published.through)
        refused |= {refusal.number: (refusal.code, refusal.reason) for refusal in published.refused}
    assert refused[1] == (8, "the event has 8388609 bytes, the host takes at most 8388608")
    assert refused[3][0] == 3
    assert set(refused) == {1, 3}


async def test_another_worker_of_the_same_name_takes_the_session_over(
    host: Host, raw: RawWorker
) -> None:
    """The old stream ends, the new one is served, and the end of the old does not touch it."""
    await raw.greet("twin", "first")
    second = RawWorker.connect(host.address)
    await second.greet("twin", "second")
    code, details = await raw.ending()
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert details == "another worker named 'twin' has connected"
    await second.say(
        pb.ConnectRequest(register=pb.Register(revision=1, types=[pb.AgentTypeEntry(name="mine")]))
    )
    assert (await second.hear()).registered.revision == 1
    await second.close()


async def test_a_worker_whose_name_is_taken_over_ends_with_an_error_that_is_not_worth_a_retry(
    host: Host,
) -> None:
    """Two workers of one name do not end each other for ever: the former one gives up."""
    first = WorkerRuntime(host.address, client_id="twin")
    await first.start()
    async with WorkerRuntime(host.address, client_id="twin"):
        with pytest.raises(AlreadyRegistered, match="another worker named 'twin' has connected"):
            await first.wait()


async def test_a_stream_without_a_word_is_ended() -> None:
    """DEADLINE_EXCEEDED after a time that a host is told; those that spoke may be silent."""
    async with asyncio.timeout(20), Host(port=0, hello_timeout_s=0.05) as host:
        spoke, silent = RawWorker.connect(host.address), RawWorker.connect(host.address)
        await spoke.greet()
        assert await silent.ending() == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "no hello within 0.05 s",
        )
        await spoke.say(pb.ConnectRequest(register=pb.Register(revision=1)))
        assert (await spoke.hear()).registered.revision == 1
        for each in (spoke, silent):
            await each.close()


async def test_a_host_does_not_wait_for_streams_without_a_word(host: Host) -> None:
    """It ends them when it stops, like all others."""
    silent = RawWorker.connect(host.address)
    await silent.call.wait_for_connection()
    another = RawWorker(silent.channel.stream_stream(CONNECT)(), silent.channel)
    await another.greet()  # so the host has the stream before
    async with asyncio.timeout(3):
        await host.stop(grace=60)
        assert (await silent.ending())[0] is grpc.StatusCode.UNAVAILABLE
    await silent.close()


async def test_a_registration_is_judged_entry_by_entry(raw: RawWorker) -> None:
    """What is valid is in force; what is not is refused by name with the rule."""
    await raw.greet()
    await raw.say(
        pb.ConnectRequest(
            register=pb.Register(
                revision=1,
                types=[pb.AgentTypeEntry(name="good"), pb.AgentTypeEntry(name="not good")],
                subscriptions=[
                    pb.SubscriptionEntry(id="s1", agent_type="good", topic_type="t"),
                    pb.SubscriptionEntry(id="s2", agent_type="good", topic_type="not valid"),
                ],
            )
        )
    )
    registered = (await raw.hear()).registered
    refused = {error.type_name or error.subscription_id: error.code for error in registered.errors}
    assert refused == {"not good": 3, "s2": 3}
    await raw.say(
        pb.ConnectRequest(
            publishes=[pb.Publish(number=1, event=b"e", topic_type="t", topic_source="key")]
        )
    )
    targets: list[pb.DeliveryTarget] = []
    while not targets:
        targets = [
            target for delivery in (await raw.hear()).deliveries for target in delivery.targets
        ]
    assert [(target.agent.type, target.agent.key, target.attempt) for target in targets] == [
        ("good", "key", 1)
    ]


async def test_an_event_goes_only_to_workers_with_a_matching_agent(
    host: Host, raw: RawWorker
) -> None:
    """A worker whose agents do not subscribe to a topic never sees its events on the wire."""
    await raw.greet()
    mine = pb.SubscriptionEntry(id="s", agent_type="mine", topic_type="mine")
    registration = pb.Register(
        revision=1, types=[pb.AgentTypeEntry(name="mine")], subscriptions=[mine]
    )
    await raw.say(pb.ConnectRequest(register=registration))
    assert (await raw.hear()).registered.revision == 1
    async with WorkerRuntime(host.address) as runtime:
        await Echo.register(runtime, "echo", Echo)
        for _ in range(50):
            await runtime.publish_message("for others", TopicId("echo:direct", "x"))
        await runtime.publish_message("for the raw worker", TopicId("mine", "x"))
        frame = await raw.hear()
    assert [target.agent.type for each in frame.deliveries for target in each.targets] == ["mine"]
    assert len(frame.deliveries) == 1


async def test_the_port_of_another_host_is_refused(host: Host) -> None:
    """A second binding of a port fails with a line that names it."""
    with pytest.raises(Unavailable, match=f"cannot listen on {host.address}"):
        await Host(host.address, operators_address="127.0.0.1:0").start()
    with pytest.raises(Unavailable, match=f"cannot listen on {host.operators_address}"):
        await Host(port=0, operators_address=host.operators_address).start()
    await assert_serves(host)


async def test_health_is_served_as_grpc_defines_it(host: Host) -> None:
    """The health service says SERVING for the whole and for the workers' service."""
    async with grpc.aio.insecure_channel(host.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "callboard.v1.AgentHost"):
            response = await stub.Check(  # type: ignore[attr-defined]  # the stubs lack it
                health_pb2.HealthCheckRequest(service=service)
            )
            assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_operators_are_told_what_the_host_holds(host: Host) -> None:
    """Describe names types, subscriptions, sessions and counts."""
    async with WorkerRuntime(host.address, client_id="described") as runtime:
        await Echo.register(runtime, "echo", Echo)
        await runtime.send_message("one", AgentId("echo", "x"))
        await runtime.publish_message("nobody hears", TopicId("void", "x"))
        async with grpc.aio.insecure_channel(host.operators_address) as channel:
            describe = channel.unary_unary(
                f"/{OPERATIONS}/Describe",
                request_serializer=operations_pb2.DescribeRequest.SerializeToString,
                response_deserializer=operations_pb2.DescribeResponse.FromString,
            )
            description = await describe(operations_pb2.DescribeRequest())
    assert description.engine == "memory"
    assert [(each.name, each.sessions, list(each.subscriptions)) for each in description.types] == [
        ("echo", 1, ["echo:*"])
    ]
    assert [each.client_id for each in description.sessions] == ["described"]
    assert description.types[0].partitions_held == 256
    assert (
        description.counters.calls,
        description.counters.published,
        description.counters.unmatched,
    ) == (1, 1, 1)


async def test_operators_see_how_long_the_oldest_event_waits(host: Host) -> None:
    """A type whose workers have left has its events queued, and their age."""
    async with WorkerRuntime(host.address) as leaving:
        await Echo.register(leaving, "echo", Echo)
    async with WorkerRuntime(host.address) as runtime:
        await runtime.publish_message("first", TopicId("echo:direct", "x"))
        await runtime.publish_message("second", TopicId("echo:direct", "y"))
        began = asyncio.get_running_loop().time()
    async with grpc.aio.insecure_channel(host.operators_address) as channel:
        describe = channel.unary_unary(
            f"/{OPERATIONS}/Describe",
            request_serializer=operations_pb2.DescribeRequest.SerializeToString,
            response_deserializer=operations_pb2.DescribeResponse.FromString,
        )
        echo = (await describe(operations_pb2.DescribeRequest())).types[0]
    waited_s = asyncio.get_running_loop().time() - began
    assert (echo.name, echo.sessions, echo.queued, echo.in_flight) == ("echo", 0, 2, 0)
    assert 0 < echo.oldest_age_s < waited_s + 5


async def test_a_stopping_host_tells_its_workers(host: Host, raw: RawWorker) -> None:
    """Every stream ends with UNAVAILABLE and the reason, and stop returns."""
    await raw.greet()
    ending = asyncio.create_task(raw.ending())
    async with asyncio.timeout(10):
        await host.stop()
        assert await ending == (grpc.StatusCode.UNAVAILABLE, "the host is stopping")


async def test_a_signal_stops_the_host() -> None:
    """stop_when_signal serves until the signal and then stops in good order."""
    host = Host(port=0)
    await host.start()
    serving = asyncio.create_task(host.stop_when_signal())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await serving
    with pytest.raises(Unavailable, match="no host"):
        await WorkerRuntime(host.address, connect_timeout_s=0.1).start()


async def test_what_is_not_a_callboard_host_is_said_so() -> None:
    """Connecting to some other gRPC server names the address and what it is not."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with pytest.raises(Exception, match=f"127.0.0.1:{port} is not a Callboard host"):
        await WorkerRuntime(f"127.0.0.1:{port}", connect_timeout_s=5).start()
    await server.stop(None)


async def test_a_worker_waits_for_a_host_that_comes_later() -> None:
    """start tries again until the connect timeout: a host that appears meanwhile is found."""
    async with Host(port=0) as first:
        address = first.address
    runtime = WorkerRuntime(address, connect_timeout_s=20)
    starting = asyncio.create_task(runtime.start())
    await asyncio.sleep(0.3)
    assert not starting.done()
    async with Host(address, operators_address="127.0.0.1:0"):
        async with asyncio.timeout(20):
            await starting
        await runtime.stop()


async def test_a_start_need_not_be_awaited() -> None:
    """AutoGen's programs call start, and go on: workers that connect meanwhile find the host."""
    async with Host(port=0) as first:
        address = first.address
    host = Host(address)
    host.start()
    async with WorkerRuntime(address) as runtime:
        await Echo.register(runtime, "echo", Echo)
        assert await runtime.send_message("hello", AgentId("echo", "x")) == "hello"
    await host.stop()
