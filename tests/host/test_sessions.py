"""Sessions over several streams, with workers that say what they like: who may go on with what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
import grpc.aio
import pytest

from callboard.core.broker import BrokerLimits
from callboard.host import Host
from callboard.wire.status import OPERATIONS
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.wire.v1 import operations_pb2
from host.raw import RawWorker

LEASE_S, MARGIN_S = 0.6, 0.2

Open = Callable[..., Awaitable[RawWorker]]


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    """A host with short leases."""
    limits = BrokerLimits(lease_s=LEASE_S, lease_margin_s=MARGIN_S)
    async with Host(port=0, limits=limits) as made:
        yield made


@pytest.fixture
async def open_stream(host: Host) -> AsyncIterator[Open]:
    """Opens streams to the host, which are closed at the end."""
    async with AsyncExitStack() as stack:

        async def open_one() -> RawWorker:
            made = RawWorker.connect(host.address)
            stack.push_async_callback(made.close)
            return made

        yield open_one


async def greet(stream: RawWorker, **parts: Any) -> pb.Welcome:
    """Say hello as a worker that knows leases, and hear the answer."""
    hello = pb.Hello(
        version_min=1, version_max=1, client_id="w", incarnation="i", capabilities=["leases"]
    )
    for name, value in parts.items():
        if name == "capabilities":
            del hello.capabilities[:]
            hello.capabilities.extend(value)
        else:
            setattr(hello, name, value)
    await stream.say(pb.ConnectRequest(hello=hello))
    return (await stream.hear()).welcome


def registering(revision: int = 1, *types: str) -> pb.ConnectRequest:
    """A frame that declares types, each subscribed to the topic of its name."""
    return pb.ConnectRequest(
        register=pb.Register(
            revision=revision,
            types=[pb.AgentTypeEntry(name=each) for each in types],
            subscriptions=[
                pb.SubscriptionEntry(id=each, agent_type=each, topic_type=each) for each in types
            ],
        )
    )


def publishing(*numbers: int, topic: str = "a") -> pb.ConnectRequest:
    """A frame that publishes."""
    return pb.ConnectRequest(
        publishes=[
            pb.Publish(number=each, event=b"event", topic_type=topic, topic_source=str(each))
            for each in numbers
        ]
    )


async def sessions(host: Host) -> list[str]:
    """The host's sessions."""
    async with grpc.aio.insecure_channel(host.operators_address) as channel:
        describe: Any = channel.unary_unary(f"/{OPERATIONS}/Describe")
        described = operations_pb2.DescribeResponse.FromString(await describe(b""))
    return [each.session_id for each in described.sessions]


async def test_a_worker_that_knows_leases_is_given_one(open_stream: Open) -> None:
    """With a secret that nobody guesses; another worker gets another."""
    one, other = await open_stream(), await open_stream()
    welcome = await greet(one)
    second = await greet(other, client_id="other", incarnation="j")

    assert list(welcome.capabilities) == ["leases"]
    assert welcome.lease_ms == LEASE_S * 1000
    assert not welcome.resumed
    assert len(welcome.resume_token) >= 16
    assert welcome.resume_token != second.resume_token


async def test_a_worker_that_knows_none_is_treated_as_before(host: Host, open_stream: Open) -> None:
    """It gets nothing that it has not announced, and its session ends with its stream."""
    stream = await open_stream()
    welcome = await greet(stream, capabilities=["tea"])
    assert (list(welcome.capabilities), welcome.resume_token, welcome.lease_ms) == ([], b"", 0)
    await stream.say(registering(1, "a"))
    frame = await stream.hear()
    assert (frame.received, frame.HasField("lease")) == (0, False)
    await asyncio.sleep(LEASE_S + MARGIN_S + 0.2)
    assert await sessions(host) == [welcome.session_id]

    await stream.close()

    while await sessions(host):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "frame",
    [
        pb.ConnectRequest(beat=pb.Beat()),
        pb.ConnectRequest(leave=pb.Leave()),
        pb.ConnectRequest(received=1),
    ],
    ids=["beat", "leave", "received"],
)
async def test_what_needs_leases_is_refused_from_who_has_not_announced_them(
    open_stream: Open, frame: pb.ConnectRequest
) -> None:
    """It relies on what would not happen."""
    stream = await open_stream()
    await greet(stream, capabilities=[])
    await stream.say(frame)

    code, reason = await stream.ending()

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "needs the capability 'leases'" in reason


async def test_a_session_goes_on_over_another_stream(host: Host, open_stream: Open) -> None:
    """What was not taken in is said again, in order, and nothing else."""
    first, second = await open_stream(), await open_stream()
    welcome = await greet(first)
    await first.say(registering(1, "a"))
    await first.hear_until("registered")
    await first.say(publishing(1, 2))
    heard: list[pb.DeliveryTarget] = []
    while len(heard) < 2:
        frame = await first.hear()
        heard += [target for each in frame.deliveries for target in each.targets]
    await first.close()

    again = await greet(second, resume_token=welcome.resume_token, received=1)

    assert again.resumed
    assert (again.session_id, again.received) == (welcome.session_id, 2)
    assert again.resume_token == welcome.resume_token
    said_again: list[pb.DeliveryTarget] = []
    while len(said_again) < 2:
        frame = await second.hear()
        assert not frame.HasField("registered")
        said_again += [target for each in frame.deliveries for target in each.targets]
    assert said_again == heard
    assert await sessions(host) == [welcome.session_id]


@pytest.mark.parametrize("token", [b"", b"\0" * 16, b"x", b"\xff" * 64])
async def test_a_token_that_is_not_known_begins_another_session(
    open_stream: Open, token: bytes
) -> None:
    """And the worker is told so; what it claims to have received means nothing."""
    stream = await open_stream()

    welcome = await greet(stream, resume_token=token, received=1 << 60)

    assert not welcome.resumed
    assert welcome.received == 0
    assert welcome.resume_token not in (token, b"")


async def test_a_token_of_another_incarnation_begins_another_session(open_stream: Open) -> None:
    """Another process has none of the turns of the first: that session is over."""
    first, second, third = [await open_stream() for _ in range(3)]
    welcome = await greet(first)
    await first.close()

    taken = await greet(second, resume_token=welcome.resume_token, incarnation="other")
    late = await greet(third, resume_token=welcome.resume_token, incarnation="other still")

    assert not taken.resumed
    assert not late.resumed


async def test_a_token_that_is_not_whole_is_no_token(open_stream: Open) -> None:
    """Not the beginning of one, nor more than it."""
    first, second, third = [await open_stream() for _ in range(3)]
    token = (await greet(first)).resume_token

    assert not (await greet(second, client_id="b", resume_token=token[:-1])).resumed
    assert not (await greet(third, client_id="c", resume_token=token + b"\0")).resumed
    await first.say(pb.ConnectRequest(beat=pb.Beat()))
    assert (await first.hear()).lease.ms == LEASE_S * 1000


async def test_a_greeting_that_claims_too_much_ends_its_own_stream_only(open_stream: Open) -> None:
    """The session it was about is served on."""
    first, second = await open_stream(), await open_stream()
    welcome = await greet(first)
    hello = pb.Hello(
        version_min=1,
        version_max=1,
        client_id="w",
        incarnation="i",
        capabilities=["leases"],
        resume_token=welcome.resume_token,
        received=7,
    )
    await second.say(pb.ConnectRequest(hello=hello))

    assert await second.ending() == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "7 frames are said to be received, 0 were sent",
    )
    await first.say(pb.ConnectRequest(beat=pb.Beat()))
    assert (await first.hear()).lease.ms


async def test_a_frame_that_claims_too_much_ends_its_session(host: Host, open_stream: Open) -> None:
    """Nobody knows any more what such a worker has."""
    stream = await open_stream()
    await greet(stream)
    await stream.say(pb.ConnectRequest(received=1))

    code, reason = await stream.ending()

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert reason == "1 frames are said to be received, 0 were sent"
    assert await sessions(host) == []


async def test_of_two_streams_of_a_session_the_newer_counts(host: Host, open_stream: Open) -> None:
    """The older ends with OK, says no more, and what comes over it is not taken in."""
    first, second = await open_stream(), await open_stream()
    welcome = await greet(first)
    await first.say(registering(1, "a"))
    await first.hear_until("registered")

    again = await greet(second, resume_token=welcome.resume_token, received=1)
    assert again.resumed
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended already
        await first.say(publishing(1))
    await second.say(publishing(1))

    frame = await second.hear_until("published")
    assert frame.published.through == 1
    assert await first.call.read() is grpc.aio.EOF
    assert await first.call.code() is grpc.StatusCode.OK
    await first.close()
    await second.say(pb.ConnectRequest(beat=pb.Beat(), received=2))
    assert (await second.hear_until("lease")).lease.ms
    assert await sessions(host) == [welcome.session_id]


async def test_a_session_without_a_stream_lives_for_its_lease(
    host: Host, open_stream: Open
) -> None:
    """Then its token is worth nothing."""
    first, second, third = [await open_stream() for _ in range(3)]
    welcome = await greet(first)
    await first.close()
    await asyncio.sleep(LEASE_S)
    assert await sessions(host) == [welcome.session_id]
    assert (await greet(second, resume_token=welcome.resume_token)).resumed
    await second.close()

    await asyncio.sleep(LEASE_S + MARGIN_S + 0.1)

    assert await sessions(host) == []
    assert not (await greet(third, resume_token=welcome.resume_token)).resumed


async def test_a_worker_that_does_not_beat_is_told_that_it_has_lapsed(open_stream: Open) -> None:
    """By the end of its stream, which is worth another attempt."""
    stream = await open_stream()
    await greet(stream)

    assert await stream.ending() == (
        grpc.StatusCode.UNAVAILABLE,
        "nothing was heard of the worker for the length of a lease",
    )


async def test_a_worker_that_beats_stays(host: Host, open_stream: Open) -> None:
    """For much longer than its lease; each beat has one answer."""
    stream = await open_stream()
    welcome = await greet(stream)
    for number in range(6):
        await asyncio.sleep(LEASE_S / 2)
        await stream.say(pb.ConnectRequest(beat=pb.Beat(), received=number))
        frame = await stream.hear()
        assert (frame.lease.ms, frame.received) == (LEASE_S * 1000, number + 1)

    assert await sessions(host) == [welcome.session_id]


async def test_half_closing_is_no_leave(host: Host, open_stream: Open) -> None:
    """The host ends its half as well, and keeps the session."""
    first, second = await open_stream(), await open_stream()
    welcome = await greet(first)
    await first.call.done_writing()
    assert (await first.ending())[0] is grpc.StatusCode.OK

    assert (await greet(second, resume_token=welcome.resume_token)).resumed


async def test_a_worker_that_leaves_is_gone_at_once(host: Host, open_stream: Open) -> None:
    """Its stream ends with OK when it has half-closed it, and its token is worth nothing."""
    first, second = await open_stream(), await open_stream()
    welcome = await greet(first)
    await first.say(pb.ConnectRequest(leave=pb.Leave()))
    await first.call.done_writing()

    assert (await first.ending())[0] is grpc.StatusCode.OK
    assert await sessions(host) == []
    assert not (await greet(second, resume_token=welcome.resume_token)).resumed


async def test_a_worker_that_leaves_and_keeps_its_stream_is_sent_away(
    host: Host, open_stream: Open
) -> None:
    """Nothing is left to be said on it; it must not stay for ever."""
    stream = await open_stream()
    await greet(stream)
    await stream.say(pb.ConnectRequest(leave=pb.Leave()))

    assert (await stream.ending())[0] is grpc.StatusCode.OK
    assert await sessions(host) == []


async def test_a_host_that_stops_does_not_wait_for_sessions_without_a_stream(
    host: Host, open_stream: Open
) -> None:
    """The streams of the others end with UNAVAILABLE."""
    first, second = await open_stream(), await open_stream()
    await greet(first)
    await greet(second, client_id="other", incarnation="j")
    await first.close()
    await asyncio.sleep(0.05)

    await asyncio.wait_for(host.stop(), 2)

    assert (await second.ending())[0] is grpc.StatusCode.UNAVAILABLE


async def test_publishes_of_a_lost_session_are_taken_once(open_stream: Open) -> None:
    """They are said again in the incarnation's next, which hears of those that were refused."""
    first, second = await open_stream(), await open_stream()
    await greet(first)
    await first.say(publishing(1))
    await first.say(publishing(2, topic="not a topic!"))
    await first.say(publishing(3))
    while (await first.hear_until("published")).published.through < 3:
        pass
    await first.close()

    welcome = await greet(second, published=1)
    assert not welcome.resumed
    told = (await second.hear_until("published")).published
    assert (told.through, [each.number for each in told.refused]) == (3, [2])
    await second.say(publishing(2, 3, 4))
    assert (await second.hear_until("published")).published.through == 4


async def test_a_publisher_goes_on_at_a_host_that_knows_nothing_of_it(open_stream: Open) -> None:
    """One that was started anew, after thousands of publishes."""
    stream = await open_stream()
    await greet(stream, published=100_000)
    first = await stream.hear_until("published")
    assert first.published.through == 100_000

    await stream.say(publishing(100_001))

    assert (await stream.hear_until("published")).published.through == 100_001


async def test_another_process_of_the_same_name_takes_over_from_one_that_is_away(
    host: Host, open_stream: Open
) -> None:
    """Its agents are free at once: the first process is taken to be gone."""
    first, second = await open_stream(), await open_stream()
    await greet(first)
    await first.close()

    welcome = await greet(second, incarnation="j")

    assert await sessions(host) == [welcome.session_id]


async def test_one_that_was_away_while_its_name_was_taken_does_not_take_it_back(
    host: Host, open_stream: Open
) -> None:
    """Whether or not it was connected at the time: they would end each other."""
    first, second, third, fourth = [await open_stream() for _ in range(4)]
    welcome = await greet(first)
    await first.close()
    taken = await greet(second, incarnation="j")

    for stream, token in ((third, welcome.resume_token), (fourth, b"")):
        hello = pb.Hello(version_min=1, version_max=1, client_id="w", incarnation="i")
        hello.resume_token = token
        await stream.say(pb.ConnectRequest(hello=hello))
        assert await stream.ending() == (
            grpc.StatusCode.ALREADY_EXISTS,
            "another worker named 'w' has connected",
        )

    await second.say(pb.ConnectRequest(beat=pb.Beat()))
    assert (await second.hear_until("lease")).lease.ms
    assert await sessions(host) == [taken.session_id]
