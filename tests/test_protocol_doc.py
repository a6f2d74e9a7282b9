"""docs/protocol.md says what the code does: its vectors are the encoder's, its example works."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from callboard import AgentId, RemoteAgentError, TopicId
from callboard.agent.serialization import try_get_known_serializers_for_type
from callboard.core.envelope import Envelope
from callboard.core.event import Delivery, Event, Grant, TraceContext
from callboard.core.frames import (
    ACCEPTED,
    Call,
    CallFailure,
    Credit,
    HostFrame,
    Partitions,
    Publish,
    Refusal,
    Registered,
    Registration,
    RegistrationError,
    Rejected,
    Released,
    Reply,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
    WorkerFrame,
)
from callboard.core.limits import BrokerLimits
from callboard.core.partition import partition_of
from callboard.host import Host
from callboard.wire.codec import CloudEventCodec
from callboard.wire.frames import CAPABILITIES, encode_host_frame, encode_worker_frame
from callboard.wire.runs import RUN_FROM
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.wire.v1.cloudevent_pb2 import CloudEvent
from callboard.worker import WorkerRuntime
from host.raw import RawWorker

DOCS = Path(__file__).parents[1] / "docs"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads((DOCS / "protocol-vectors.json").read_text())
PATIENCE_S = 20.0

CODEC = CloudEventCodec()
TEXT = StringValue(value="hi").SerializeToString()
GRANT = Grant(1_700_000_000_000, 42)
JSON_EVENT = CODEC.encode_event(
    Envelope(
        "Click", "application/json", b'{"times":2}', "1", ("button", "ok"), ("clicks", "home/ü")
    )
)
PROTOBUF_EVENT = CODEC.encode_event(
    Envelope(
        "google.protobuf.StringValue",
        "application/x-protobuf",
        TEXT,
        "2",
        None,
        ("texts", "a"),
    )
)
JSON_PAYLOAD = CODEC.encode_payload(Envelope("HowMany", "application/json", b"{}", "3"))
NO_PAYLOAD = CODEC.encode_payload(Envelope("", "application/json", b"null", ""))
EVENT = Event(b"event", "clicks", "home/ü", ("button", "ok"), TraceContext("00-01-02-01", "a=b"))
PLAIN_EVENT = Event(b"plain", "texts", "a")

ENCODED: dict[str, tuple[type[Message], bytes]] = {
    "hello": (
        pb.ConnectRequest,
        pb.ConnectRequest(
            hello=pb.Hello(
                version_min=1, version_max=1, client_id="w-1", incarnation="5f0c", agent="me/1"
            )
        ).SerializeToString(),
    ),
    "welcome": (
        pb.ConnectResponse,
        pb.ConnectResponse(
            welcome=pb.Welcome(
                version=1,
                session_id="session-1",
                max_event_bytes=8 << 20,
                publish_window=2048,
                delivery_window=2048,
                partitions=256,
                operators_port=50052,
            )
        ).SerializeToString(),
    ),
    "register": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                register=Registration(
                    1,
                    (TypeEntry("counter"), TypeEntry("tool", session_only=True)),
                    (
                        SubscriptionEntry("1", "counter", "type", "clicks"),
                        SubscriptionEntry("2", "counter", "prefix", ""),
                    ),
                )
            )
        ),
    ),
    "registered, with an entry refused": (
        pb.ConnectResponse,
        encode_host_frame(
            HostFrame(
                registered=[Registered(1, (RegistrationError("type", "to!ol", 3, "bad name"),))]
            )
        ),
    ),
    "publish": (
        pb.ConnectRequest,
        encode_worker_frame(WorkerFrame(publishes=[Publish(1, EVENT)])),
    ),
    "publishes by a run": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                publishes=[
                    Publish(number, EVENT if number % 2 else PLAIN_EVENT, 30.0)
                    for number in range(2, 2 + RUN_FROM)
                ]
            ),
            CAPABILITIES,
        ),
    ),
    "published through 7, of which 6 refused": (
        pb.ConnectResponse,
        encode_host_frame(
            HostFrame(published_through=7, publishes_refused=[Refusal(6, 8, "queues are full")])
        ),
    ),
    "an event for two agents, and a surrender": (
        pb.ConnectResponse,
        encode_host_frame(
            HostFrame(
                deliveries=[
                    (
                        EVENT,
                        [
                            Delivery(900, ("audit", "home/ü"), EVENT, 1, GRANT),
                            Delivery(901, ("counter", "home/ü"), EVENT, 2, GRANT, failed_turns=3),
                        ],
                    )
                ],
                surrenders=[Partitions("counter", ((0, GRANT), (255, GRANT)))],
            )
        ),
    ),
    "an event that was lost with a worker before": (
        pb.ConnectResponse,
        encode_host_frame(
            HostFrame(
                deliveries=[
                    (EVENT, [Delivery(902, ("counter", "home/ü"), EVENT, 2, GRANT, losses=1)])
                ]
            )
        ),
    ),
    "events for one agent and for two, by a run": (
        pb.ConnectResponse,
        encode_host_frame(
            HostFrame(
                deliveries=[
                    (
                        PLAIN_EVENT,
                        [
                            Delivery(1000 + 2 * number + each, (name, "a"), PLAIN_EVENT, 1, GRANT)
                            for each, name in enumerate(("audit", "counter")[: 1 + number % 2])
                        ],
                    )
                    for number in range(RUN_FROM)
                ]
            ),
            CAPABILITIES,
        ),
    ),
    "its turn begins": (pb.ConnectRequest, encode_worker_frame(WorkerFrame(begins=[(902, 2)]))),
    "it may": (pb.ConnectResponse, encode_host_frame(HostFrame(begun=[(902, 2)]))),
    "settlements of each kind": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                settlements=[
                    Settlement(1, 900, 1, GRANT, ACCEPTED),
                    Settlement(2, 901, 2, GRANT, Rejected("handler_error", "ValueError: no")),
                    Settlement(3, 902, 1, GRANT, Released(1.5, 2)),
                    Settlement(4, 903, 1, GRANT, Released()),
                ]
            )
        ),
    ),
    "settlements by a run": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                settlements=[
                    Settlement(
                        number,
                        1000 + number,
                        1,
                        GRANT,
                        ACCEPTED if number % 4 else Rejected("unhandled", "no"),
                    )
                    for number in range(5, 5 + RUN_FROM)
                ]
            ),
            CAPABILITIES,
        ),
    ),
    "settled through 4, of which 3 refused": (
        pb.ConnectResponse,
        encode_host_frame(
            HostFrame(settled_through=4, settlements_refused=[Refusal(3, 10, "not out")])
        ),
    ),
    "a call made while handling a delivery": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                calls=[
                    Call(1, ("counter", "a"), JSON_PAYLOAD, 2.5, (901, 2), sender=("asker", "b"))
                ]
            )
        ),
    ),
    "the same call as its callee gets it": (
        pb.ConnectResponse,
        encode_host_frame(
            HostFrame(
                calls=[
                    Call(
                        77,
                        ("counter", "a"),
                        JSON_PAYLOAD,
                        2.499,
                        chain=((901, 2), 76),
                        sender=("asker", "b"),
                        grant=GRANT,
                    )
                ]
            )
        ),
    ),
    "replies: nothing, and an error of the agent's code": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                replies=[
                    Reply(77, NO_PAYLOAD),
                    Reply(78, error=CallFailure(2, "", "ValueError")),
                ]
            )
        ),
    ),
    "a streamed call, and credit for it and for one before": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                calls=[Call(2, ("counter", "a"), JSON_PAYLOAD, 2.5, credit=32)],
                credits=[Credit(1, 16)],
            )
        ),
    ),
    "replies to a streamed call: one, another, and the end": (
        pb.ConnectRequest,
        encode_worker_frame(
            WorkerFrame(
                replies=[
                    Reply(79, JSON_PAYLOAD, last=False),
                    Reply(79, NO_PAYLOAD, last=False),
                    Reply(79),
                ]
            )
        ),
    ),
    "credit for a call of another": (
        pb.ConnectResponse,
        encode_host_frame(HostFrame(credits=[Credit(79, 16)])),
    ),
    "cancel": (pb.ConnectRequest, encode_worker_frame(WorkerFrame(cancels=[1]))),
    "surrendered": (
        pb.ConnectRequest,
        encode_worker_frame(WorkerFrame(surrendered=[Partitions("counter", ((255, GRANT),))])),
    ),
    "drain": (pb.ConnectRequest, encode_worker_frame(WorkerFrame(drain=True))),
    "hello, to go on with a session": (
        pb.ConnectRequest,
        pb.ConnectRequest(
            hello=pb.Hello(
                version_min=1,
                version_max=1,
                capabilities=["leases"],
                client_id="w-1",
                incarnation="5f0c",
                resume_token=b"0123456789abcdef",
                received=3,
                published=7,
            )
        ).SerializeToString(),
    ),
    "welcome, to go on with a session": (
        pb.ConnectResponse,
        pb.ConnectResponse(
            welcome=pb.Welcome(
                version=1,
                capabilities=["leases"],
                session_id="session-1",
                resume_token=b"0123456789abcdef",
                lease_ms=10_000,
                max_event_bytes=8 << 20,
                publish_window=2048,
                delivery_window=2048,
                partitions=256,
                operators_port=50052,
                resumed=True,
                received=2,
            )
        ).SerializeToString(),
    ),
    "a beat": (pb.ConnectRequest, encode_worker_frame(WorkerFrame(beat=True, received=2))),
    "a lease": (pb.ConnectResponse, encode_host_frame(HostFrame(lease_ms=10_000, received=2))),
    "nothing but what was received": (
        pb.ConnectResponse,
        encode_host_frame(HostFrame(received=32)),
    ),
    "leave": (pb.ConnectRequest, encode_worker_frame(WorkerFrame(leave=True, received=4))),
    "an event of JSON": (CloudEvent, JSON_EVENT),
    "an event of protobuf": (CloudEvent, PROTOBUF_EVENT),
    "a payload of JSON": (pb.Payload, JSON_PAYLOAD),
    "a payload of protobuf": (
        pb.Payload,
        CODEC.encode_payload(
            Envelope("google.protobuf.StringValue", "application/x-protobuf", TEXT, "4")
        ),
    ),
    "a payload of nothing": (pb.Payload, NO_PAYLOAD),
}
"""What the vectors hold, from the encoder that hosts and workers use."""


@dataclass
class Click:
    """What the example counts."""

    times: int


@dataclass
class HowMany:
    """What the example answers."""


@pytest.mark.parametrize("vector", VECTORS["partitions"], ids=lambda each: each["key"][:20])
def test_partitions_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """The partition of an agent is the same in every language."""
    assert vector["partition"] == partition_of(vector["type"], vector["key"], vector["partitions"])


def test_each_frame_is_in_the_vectors() -> None:
    """The vectors hold the frames that this test encodes, and no others."""
    assert [each["name"] for each in VECTORS["frames"]] == list(ENCODED)


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda each: each["name"])
def test_frames_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """What the encoder writes is what the vectors say, byte for byte where order is defined."""
    kind, content = ENCODED[vector["name"]]
    given = bytes.fromhex(vector["hex"])
    assert vector["message"] == kind.DESCRIPTOR.name
    assert vector["says"] == _said(kind, given) == _said(kind, content)
    if kind is not CloudEvent:  # the order of its attributes is free
        assert given.hex() == content.hex()


def _said(kind: type[Message], content: bytes) -> dict[str, Any]:
    message = kind()
    message.ParseFromString(content)
    return MessageToDict(message, preserving_proto_field_name=True)


async def test_the_smallest_worker_works() -> None:
    """The example, as printed, handles events and calls, settles, drains and leaves."""
    async with asyncio.timeout(PATIENCE_S), Host(port=0) as host, _client(host) as client:
        async with _example(host, "first") as first:
            await client.publish_message(Click(2), TopicId("clicks", "home"))
            await client.publish_message(Click(3), TopicId("clicks", "home"))
            assert await client.send_message(HowMany(), AgentId("counter", "home")) == 5
            with pytest.raises(RemoteAgentError, match="AssertionError"):
                await client.send_message(Click(1), AgentId("counter", "home"))
            await client.publish_message(HowMany(), TopicId("clicks", "home"))
            # Both reach the example in order of their frames, and it runs events first.
            assert await client.send_message(HowMany(), AgentId("counter", "home")) == 5
            assert first.counts == {"home": 5}
        dead = await host.engine.dead_letters()
        assert [letter.reason for letter in dead] == ["handler_error"]
        await client.publish_message(Click(1), TopicId("clicks", "late"))
        async with _example(host, "second"):
            assert await client.send_message(HowMany(), AgentId("counter", "late")) == 1


async def test_two_of_the_smallest_workers_share() -> None:
    """A second one gets partitions from the first, and no agent is at both."""
    async with (
        asyncio.timeout(PATIENCE_S),
        Host(port=0) as host,
        _client(host) as client,
        _example(host, "first") as first,
        _example(host, "second") as second,
    ):
        keys = [f"key/{number}" for number in range(40)]
        for key in keys:
            await client.publish_message(Click(1), TopicId("clicks", key))
        for key in keys:
            assert await client.send_message(HowMany(), AgentId("counter", key)) == 1
        assert first.counts
        assert second.counts
        assert sorted([*first.counts, *second.counts]) == sorted(keys)


async def test_the_exchange_of_the_page_is_what_a_host_says() -> None:
    """A worker that says the page's frames hears the page's answers, over both streams."""
    block = (DOCS / "protocol.md").read_text().partition("An exchange, ")[2]
    lines = re.findall(
        r"^ *[\d.]+  ([WH])  (.*)$", block.partition("```text")[2].partition("```")[0], re.MULTILINE
    )
    told = [(who, re.split(r" {2,}", what)[0], _received(what)) for who, what in lines]
    limits = BrokerLimits(lease_s=9.0)
    async with (
        asyncio.timeout(PATIENCE_S),
        Host(port=0, limits=limits) as host,
        _client(host) as client,
    ):
        played = [each async for each in _play_exchange(host, client)]
    assert [(who, what.split(" ")[0], received) for who, what, received in told] == played


async def _play_exchange(
    host: Host, client: WorkerRuntime
) -> AsyncIterator[tuple[str, str, int | None]]:
    stream = RawWorker.connect(host.address)

    async def say(**items: Any) -> tuple[str, str, int | None]:
        frame = pb.ConnectRequest(**items)
        await stream.say(frame)
        return _kind("W", frame)

    async def hear() -> tuple[str, str, int | None]:
        frames.append(await stream.hear())
        return _kind("H", frames[-1])

    hello = pb.Hello(
        version_min=1, version_max=1, client_id="w", incarnation="5f0c", capabilities=["leases"]
    )
    frames: list[pb.ConnectResponse] = []
    yield await say(hello=hello)
    yield await hear()
    yield await say(
        register=pb.Register(
            revision=1,
            types=[pb.AgentTypeEntry(name="counter")],
            subscriptions=[pb.SubscriptionEntry(id="1", agent_type="counter", topic_type="clicks")],
        ),
    )
    yield await hear()
    await client.publish_message(Click(1), TopicId("clicks", "home"))
    yield await hear()
    target = frames[-1].deliveries[0].targets[0]
    yield await say(beat=pb.Beat(), received=2)
    yield await hear()
    settlement = pb.Settlement(number=1, grant=target.grant, accepted=pb.Accepted())
    settlement.delivery.position, settlement.delivery.attempt = target.position, target.attempt
    lost = pb.ConnectRequest(settlements=[settlement], received=3)
    yield _kind("W", lost)
    await client.publish_message(Click(1), TopicId("clicks", "office"))
    frames.append(await stream.hear())  # as if it had been lost on its way
    yield _kind("H", frames[-1])
    await stream.close()
    stream = RawWorker.connect(host.address)
    hello.resume_token, hello.received = frames[0].welcome.resume_token, 3
    yield await say(hello=hello)
    yield await hear()
    assert frames[-1].welcome.resumed
    assert frames[-1].welcome.received == 2
    await stream.say(lost)
    yield _kind("W", lost)
    yield await hear()
    assert frames[-1].deliveries == frames[-3].deliveries
    yield await hear()
    assert frames[-1].settled == pb.Settled(through=1)
    await stream.say(pb.ConnectRequest(leave=pb.Leave(), received=5))
    await stream.ending()
    await stream.close()


def _kind(who: str, frame: pb.ConnectRequest | pb.ConnectResponse) -> tuple[str, str, int | None]:
    """Who says a frame, of which kind it is, and what it says to have received."""
    (kind,) = [field.name for field, _ in frame.ListFields() if field.name != "received"]
    return who, kind, None if kind in ("hello", "welcome") else frame.received


def _received(line: str) -> int | None:
    found = re.search(r" {2,}received (\d+)", line)
    return int(found[1]) if found else None


@asynccontextmanager
async def _client(host: Host) -> AsyncIterator[WorkerRuntime]:
    async with WorkerRuntime(host.address) as client:
        client.add_message_serializer(try_get_known_serializers_for_type(int))
        yield client


@asynccontextmanager
async def _example(host: Host, client_id: str) -> AsyncIterator[Any]:
    """The worker of the page, running; leaves at the end, and has to end by itself."""
    page = (DOCS / "protocol.md").read_text()
    _, _, example = page.partition("## The smallest worker")
    code = example.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "protocol.md", "exec"), names)
    worker = names["Worker"](client_id)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(host.address))
        await worker.registered.wait()
        yield worker
        worker.leave()
