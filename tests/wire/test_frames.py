"""Frames as bytes: what goes in comes out, in both directions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.errors import Code, ProtocolViolation
from callboard.core.event import Address, Delivery, Event, Grant, TraceContext, TurnId
from callboard.core.frames import (
    ACCEPTED,
    MAX_DETAIL_CHARS,
    MAX_ERROR_CHARS,
    Call,
    CallFailure,
    Credit,
    HostFrame,
    Outcome,
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
from callboard.wire.frames import (
    CAPABILITIES,
    decode_host_frame,
    decode_worker_frame,
    encode_host_frame,
    encode_worker_frame,
    parse_host_frame,
    parse_worker_frame,
)
from callboard.wire.items import MAX_TRACEPARENT_CHARS, MAX_TRACESTATE_CHARS
from callboard.wire.runs import MAX_RUN_ITEMS, RUN_FROM
from callboard.wire.v1 import agent_host_pb2 as pb

GOLDEN = Path(__file__).parent / "golden"

# Values.

numbers = st.integers(1, 2**64 - 1)
texts = st.text(max_size=20)
grants = st.builds(Grant, numbers, numbers)
addresses: st.SearchStrategy[Address] = st.tuples(texts, texts)
hops = st.none() | st.builds(TraceContext, texts, texts)
counts = st.integers(0, 2**32 - 1)
milliseconds = st.integers(0, 2**32 - 1).map(lambda ms: ms / 1000)
delivery_ids = st.tuples(numbers, st.integers(0, 2**32 - 1))
turns: st.SearchStrategy[TurnId] = numbers | delivery_ids
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(ACCEPTED), st.builds(Rejected, texts, texts), st.builds(Released, milliseconds, counts)
)
failures = st.builds(CallFailure, st.integers(0, 16), texts, texts)
replies = st.one_of(
    st.builds(Reply, numbers, st.binary(max_size=20), st.none(), st.booleans()),
    st.builds(Reply, numbers, st.just(b""), failures, st.just(value=True)),
)
calls = st.builds(
    Call,
    numbers,
    addresses,
    st.binary(max_size=20),
    milliseconds,
    st.none() | turns,
    st.lists(turns, max_size=3).map(tuple),
    st.none() | addresses,
    hops,
    st.none() | grants,
    counts,
)
credits_given = st.builds(Credit, numbers, counts)
partitions = st.builds(
    Partitions,
    texts,
    st.lists(st.tuples(st.integers(0, 2**32 - 1), grants), max_size=3).map(tuple),
)
refusals = st.builds(Refusal, numbers, st.integers(0, 16), texts)
some = 3

worker_frames = st.builds(
    WorkerFrame,
    register=st.none()
    | st.builds(
        Registration,
        numbers,
        st.lists(
            st.tuples(texts, st.booleans(), st.integers(1, 2**32 - 1)).map(
                lambda entry: TypeEntry(*entry[:2], max_concurrency=entry[2])
            ),
            max_size=some,
        ).map(tuple),
        st.lists(
            st.builds(SubscriptionEntry, texts, texts, st.sampled_from(["type", "prefix"]), texts),
            max_size=some,
        ).map(tuple),
    ),
    publishes=st.lists(
        st.builds(
            Publish,
            numbers,
            st.builds(Event, st.binary(max_size=20), texts, texts, st.none() | addresses, hops),
        ),
        max_size=some,
    ),
    settlements=st.lists(
        st.builds(Settlement, numbers, numbers, st.integers(0, 2**32 - 1), grants, outcomes),
        max_size=some,
    ),
    calls=st.lists(calls, max_size=some),
    replies=st.lists(replies, max_size=some),
    cancels=st.lists(numbers, max_size=some),
    credits=st.lists(credits_given, max_size=some),
    surrendered=st.lists(partitions, max_size=some),
    drain=st.booleans(),
    received=numbers,
    begins=st.lists(delivery_ids, max_size=some),
    beat=st.booleans(),
    leave=st.booleans(),
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Event, list[Delivery]]:
    """An event for some agents, as a worker gets it: without topic and sender."""
    event = Event(draw(st.binary(max_size=20)), "", "", None, draw(hops))
    targets = st.builds(
        Delivery,
        numbers,
        addresses,
        st.just(event),
        counts,
        grants,
        failed_turns=counts,
        losses=counts,
    )
    return event, draw(st.lists(targets, min_size=1, max_size=some))


host_frames = st.builds(
    HostFrame,
    registered=st.lists(
        st.builds(
            Registered,
            numbers,
            st.lists(
                st.builds(
                    RegistrationError,
                    st.sampled_from(["type", "subscription"]),
                    texts,
                    st.integers(0, 16),
                    texts,
                ),
                max_size=some,
            ).map(tuple),
            st.lists(partitions, max_size=some).map(tuple),
        ),
        max_size=1,
    ),
    published_through=numbers,
    published_beyond=st.lists(numbers, max_size=some),
    publishes_refused=st.lists(refusals, max_size=some),
    settled_through=numbers,
    settlements_refused=st.lists(refusals, max_size=some),
    deliveries=st.lists(deliveries(), max_size=some),
    calls=st.lists(calls, max_size=some),
    replies=st.lists(replies, max_size=some),
    cancels=st.lists(numbers, max_size=some),
    credits=st.lists(credits_given, max_size=some),
    surrenders=st.lists(partitions, max_size=some),
    drain=st.booleans(),
    received=numbers,
    lease_ms=counts,
    begun=st.lists(delivery_ids, max_size=some),
)


def there_and_back(frame: WorkerFrame) -> WorkerFrame:
    return decode_worker_frame(
        parse_worker_frame(encode_worker_frame(frame)), {"streams", "leases", "beginnings"}
    )


def there_and_back_by_runs(frame: WorkerFrame) -> WorkerFrame:
    return decode_worker_frame(parse_worker_frame(encode_worker_frame(frame, CAPABILITIES)))


def here_and_back_by_runs(frame: HostFrame) -> HostFrame:
    return decode_host_frame(parse_host_frame(encode_host_frame(frame, CAPABILITIES)))


def here_and_back(frame: HostFrame) -> HostFrame:
    return decode_host_frame(parse_host_frame(encode_host_frame(frame)))


# Round trips.


@given(worker_frames)
def test_a_worker_s_frame_arrives_as_it_left(frame: WorkerFrame) -> None:
    """Every field, in every combination."""
    assert asdict(there_and_back(frame)) == asdict(frame)


@given(host_frames)
def test_a_host_s_frame_arrives_as_it_left(frame: HostFrame) -> None:
    """Every field, in every combination."""
    assert asdict(here_and_back(frame)) == asdict(frame)


# By columns.

said_hops = hops.filter(lambda hop: hop is None or any(hop))


@settings(max_examples=25)
@given(
    st.lists(
        st.builds(
            Publish,
            st.integers(1, 40),
            st.builds(
                Event,
                st.binary(max_size=20),
                st.sampled_from("ab"),
                texts,
                st.none() | addresses,
                said_hops,
            ),
            milliseconds,
        ),
        min_size=RUN_FROM,
        max_size=2 * RUN_FROM,
    ),
    st.lists(
        st.builds(
            Settlement,
            st.integers(1, 40),
            numbers,
            st.integers(0, 2),
            st.builds(Grant, st.integers(1, 2), st.integers(1, 2)),
            outcomes,
        ),
        min_size=RUN_FROM,
        max_size=2 * RUN_FROM,
    ),
)
def test_what_a_worker_says_by_runs_arrives_as_it_left(
    publishes: list[Publish], settlements: list[Settlement]
) -> None:
    """Of many topics, senders, grants and endings, and with holes in the numbers."""
    frame = WorkerFrame(publishes=publishes, settlements=settlements)

    assert asdict(there_and_back_by_runs(frame)) == asdict(frame)


@settings(max_examples=25)
@given(st.lists(deliveries(), min_size=RUN_FROM, max_size=RUN_FROM + 2))
def test_what_a_host_says_by_runs_arrives_as_it_left(
    said: list[tuple[Event, list[Delivery]]],
) -> None:
    """Events for one agent and for several, with and without a trace."""
    for event, _ in said:
        if event.hop == TraceContext("", ""):
            event.hop = None
    frame = HostFrame(deliveries=said)

    assert asdict(here_and_back_by_runs(frame)) == asdict(frame)


def test_numbers_that_follow_each_other_are_one_run() -> None:
    """What has a hole begins another one."""
    frame = WorkerFrame(
        publishes=[Publish(number, EVENT) for number in (*range(3, 3 + RUN_FROM), 90, 91)],
        settlements=[
            Settlement(number, 300 + number, 1, Grant(1, 2), ACCEPTED)
            for number in range(1, 1 + RUN_FROM)
        ],
    )

    message = parse_worker_frame(encode_worker_frame(frame, CAPABILITIES))

    assert [(run.first_number, len(run.events)) for run in message.publish_runs] == [
        (3, RUN_FROM),
        (90, 2),
    ]
    (run,) = message.settlement_runs
    assert (len(run.forms), list(run.form_of), len(run.positions)) == (1, [], RUN_FROM)
    assert not message.publishes
    assert not message.settlements


def test_what_comes_by_runs_comes_after_what_comes_one_by_one() -> None:
    """A frame may have both."""
    message = pb.ConnectRequest(
        publishes=[pb.Publish(number=1)],
        publish_runs=[pb.PublishRun(first_number=2, forms=[pb.Publish()], events=[b"", b""])],
    )

    assert [each.number for each in decode_worker_frame(message).publishes] == [1, 2, 3]


def test_an_empty_frame_is_valid_and_means_nothing() -> None:
    """No bytes at all."""
    assert encode_worker_frame(WorkerFrame()) == b""
    assert encode_host_frame(HostFrame()) == b""
    assert asdict(there_and_back(WorkerFrame())) == asdict(WorkerFrame())
    assert asdict(here_and_back(HostFrame())) == asdict(HostFrame())


def test_no_field_of_the_protocol_is_forgotten() -> None:
    """Kinds reserved for later are all that the converters leave out."""
    reserved = {"hello", "welcome"}
    theirs = {field.name for field in pb.ConnectRequest.DESCRIPTOR.fields}
    ours = {field.name for field in pb.ConnectResponse.DESCRIPTOR.fields}

    runs = {"publish_runs", "settlement_runs", "delivery_runs"}
    assert theirs - reserved - runs == set(WorkerFrame.__dataclass_fields__)
    assert ours - reserved - runs == {
        name.partition("_")[0] for name in HostFrame.__dataclass_fields__
    } - {"publishes", "settlements"}


@pytest.mark.parametrize(
    ("seconds", "arrives"),
    [(0.0, 0.0), (-1.0, 0.0), (0.000_01, 0.001), (1.2344, 1.234), (1e12, (2**32 - 1) / 1000)],
)
def test_times_travel_in_whole_milliseconds(seconds: float, arrives: float) -> None:
    """Any time at all is at least one; more than the field holds is the most it holds."""
    frame = WorkerFrame(calls=[Call(1, ("a", "x"), b"", seconds)])

    assert there_and_back(frame).calls[0].remaining_s == arrives


# What may be anything.


def test_free_text_is_cut_and_made_writable() -> None:
    """An exception's text may hold anything, and must not break the stream."""
    awkward = "\ud800" + "x" * 1_000_000
    worker = there_and_back(
        WorkerFrame(
            settlements=[Settlement(1, 1, 1, Grant(1, 1), Rejected(awkward, awkward))],
            replies=[Reply(1, b"", CallFailure(2, awkward, awkward))],
        )
    )
    host = here_and_back(
        HostFrame(
            registered=[Registered(1, (RegistrationError("type", "a", 3, awkward),))],
            published_through=1,
            publishes_refused=[Refusal(1, 3, awkward)],
        )
    )

    outcome = worker.settlements[0].outcome
    assert isinstance(outcome, Rejected)
    assert (len(outcome.reason), len(outcome.detail)) == (64, MAX_DETAIL_CHARS)
    error = worker.replies[0].error
    assert error is not None
    assert (len(error.message), len(error.type)) == (MAX_ERROR_CHARS, MAX_DETAIL_CHARS)
    assert error.message.startswith("?xxx")
    assert error.message.endswith("x...")
    assert len(host.registered[0].errors[0].reason) == MAX_DETAIL_CHARS
    assert len(host.publishes_refused[0].reason) == MAX_DETAIL_CHARS


def test_texts_that_another_language_did_not_cut_are_cut_on_arrival() -> None:
    """What a host keeps of a rejection is bounded, whoever wrote the worker."""
    message = pb.ConnectRequest()
    item = message.settlements.add(number=1)
    item.rejected.reason = item.rejected.detail = "x" * 1_000_000

    outcome = decode_worker_frame(message).settlements[0].outcome

    assert isinstance(outcome, Rejected)
    assert (len(outcome.reason), len(outcome.detail)) == (64, MAX_DETAIL_CHARS)


@pytest.mark.parametrize(
    ("traceparent", "tracestate"),
    [("p" * (MAX_TRACEPARENT_CHARS + 1), ""), ("p", "s" * (MAX_TRACESTATE_CHARS + 1))],
)
def test_a_trace_context_too_long_to_pass_on_is_none(traceparent: str, tracestate: str) -> None:
    """A small event cannot drag megabytes of tracing through a host."""
    hop = TraceContext(traceparent, tracestate)
    frame = WorkerFrame(publishes=[Publish(1, Event(b"", "t", "x", None, hop))])

    assert there_and_back(frame).publishes[0].event.hop is None


# What breaks the protocol.


def publish_run(**columns: Any) -> pb.ConnectRequest:
    run: dict[str, Any] = {"first_number": 1, "forms": [pb.Publish()]} | columns
    run.setdefault("events", [b"", b""])
    return pb.ConnectRequest(publish_runs=[pb.PublishRun(**run)])


def settlement_run(**columns: Any) -> pb.ConnectRequest:
    forms = [pb.Settlement(accepted=pb.Accepted())]
    run: dict[str, Any] = {"first_number": 1, "forms": forms, "positions": [5, 6]} | columns
    return pb.ConnectRequest(settlement_runs=[pb.SettlementRun(**run)])


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05", b"\x12\x02\x0a\xff", b"\x00"])
def test_bytes_that_are_no_frame_are_a_violation(data: bytes) -> None:
    """Truncated, of an unknown wire type, or with text that is no UTF-8."""
    with pytest.raises(ProtocolViolation, match="malformed frame"):
        parse_worker_frame(data)
    with pytest.raises(ProtocolViolation, match="malformed frame"):
        parse_host_frame(data)


def test_text_that_is_no_utf_8_is_a_violation() -> None:
    """Proto3 strings are UTF-8."""
    data = pb.ConnectRequest(publishes=[pb.Publish(number=1, topic_type="ABCD")])
    broken = data.SerializeToString().replace(b"ABCD", b"A\xff\xfeD")

    with pytest.raises(ProtocolViolation, match="malformed frame"):
        parse_worker_frame(broken)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_violation(data: bytes) -> None:
    """Nothing else is raised, whatever arrives."""
    for read in (
        lambda: decode_worker_frame(parse_worker_frame(data)),
        lambda: decode_host_frame(parse_host_frame(data)),
    ):
        try:
            read()
        except ProtocolViolation as error:
            assert error.code is Code.INVALID_ARGUMENT  # noqa: PT017 (either outcome is right)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pb.ConnectRequest(hello=pb.Hello()), "a second hello"),
        (pb.ConnectRequest(register=pb.Register()), "without a revision"),
        (
            pb.ConnectRequest(
                register=pb.Register(revision=1, subscriptions=[pb.SubscriptionEntry(id="s")])
            ),
            "'s' says neither topic_type nor topic_type_prefix",
        ),
        (pb.ConnectRequest(publishes=[pb.Publish()]), "a publish without a number"),
        (
            pb.ConnectRequest(settlements=[pb.Settlement(accepted=pb.Accepted())]),
            "a settlement without a number",
        ),
        (pb.ConnectRequest(settlements=[pb.Settlement(number=7)]), "settlement 7 says no outcome"),
        (publish_run(first_number=0), "a publish without a number"),
        (publish_run(first_number=2**64 - 1), "publish numbers beyond 64 bits"),
        (publish_run(forms=[]), "a run without forms"),
        (publish_run(form_of=[0, 1]), "a run of 1 forms names another"),
        (publish_run(form_of=[0]), "a column of 1 for 2 items"),
        (publish_run(remaining_ms=[1, 2, 3]), "a column of 3 for 2 items"),
        (publish_run(hops=[pb.TraceContext()]), "1 trace contexts for 2 events"),
        (publish_run(events=[b""] * (MAX_RUN_ITEMS + 1)), "more than 65536 publishes"),
        (settlement_run(first_number=0), "a settlement without a number"),
        (settlement_run(first_number=2**64 - 1), "settlement numbers beyond 64 bits"),
        (settlement_run(forms=[pb.Settlement()]), "settlement 1 says no outcome"),
        (settlement_run(form_of=[0, 1]), "a run of 1 forms names another"),
        (settlement_run(positions=[1] * (MAX_RUN_ITEMS + 1)), "more than 65536 settlements"),
        (pb.ConnectRequest(calls=[pb.Call(id=1)]), "without an id or a target"),
        (pb.ConnectRequest(calls=[pb.Call(target=pb.AgentRef())]), "without an id or a target"),
        (
            pb.ConnectRequest(calls=[pb.Call(id=1, target=pb.AgentRef(), parent=pb.TurnRef())]),
            "neither a call nor a delivery",
        ),
        (pb.ConnectRequest(replies=[pb.Reply(call_id=3)]), "call 3 holds neither"),
    ],
)
def test_a_worker_s_frame_that_lacks_something_is_a_violation(
    message: pb.ConnectRequest, reason: str
) -> None:
    """The error says what is missing, and where."""
    with pytest.raises(ProtocolViolation, match=reason):
        decode_worker_frame(message)


EFFECTS = pb.Effects()
ACCEPTED_WITH_EFFECTS = pb.Settlement(number=1, accepted=pb.Accepted(), effects=EFFECTS)


@pytest.mark.parametrize(
    ("message", "capability"),
    [
        (pb.ConnectRequest(replies=[pb.Reply(call_id=3, payload=b"part")]), "streams"),
        (pb.ConnectRequest(replies=[pb.Reply(call_id=3, error=pb.CallError(code=2))]), "streams"),
        (pb.ConnectRequest(credits=[pb.Credit(call_id=3, count=1)]), "streams"),
        (
            pb.ConnectRequest(calls=[pb.Call(id=1, target=pb.AgentRef(type="a"), credit=1)]),
            "streams",
        ),
        (pb.ConnectRequest(beat=pb.Beat()), "leases"),
        (pb.ConnectRequest(leave=pb.Leave()), "leases"),
        (pb.ConnectRequest(received=1), "leases"),
        (pb.ConnectRequest(begins=[pb.DeliveryRef(position=1, attempt=2)]), "beginnings"),
        (pb.ConnectRequest(publish_runs=[pb.PublishRun(first_number=1)]), "runs"),
        (pb.ConnectRequest(settlement_runs=[pb.SettlementRun(first_number=1)]), "runs"),
        (pb.ConnectRequest(settlements=[ACCEPTED_WITH_EFFECTS]), "effects"),
        (
            pb.ConnectRequest(
                replies=[pb.Reply(call_id=3, payload=b"", last=True, effects=EFFECTS)]
            ),
            "effects",
        ),
        (
            pb.ConnectRequest(
                register=pb.Register(
                    revision=1,
                    types=[pb.AgentTypeEntry(name="a", policy=pb.Policy(persistent=True))],
                )
            ),
            "effects",
        ),
    ],
)
def test_what_the_host_did_not_announce_is_a_violation(
    message: pb.ConnectRequest, capability: str
) -> None:
    """A peer never sends what the other side did not announce; the error names what it needs."""
    with pytest.raises(ProtocolViolation, match=f"needs the capability '{capability}'"):
        decode_worker_frame(message, frozenset())
    decode_worker_frame(message, {capability})


def test_effects_within_a_run_are_found() -> None:
    """They would be passed over otherwise."""
    message = settlement_run(forms=[ACCEPTED_WITH_EFFECTS])

    with pytest.raises(ProtocolViolation, match="effects in settlements from 1 on needs"):
        decode_worker_frame(message)


def test_fields_of_a_later_version_are_passed_over() -> None:
    """Unknown fields never break a stream, nor do those that need no capability."""
    unknown = b"\xfa\x7f\x01x"  # field 2047, one byte
    register = pb.Register(revision=1, types=[pb.AgentTypeEntry(name="a", policy=pb.Policy())])
    frame = decode_worker_frame(
        parse_worker_frame(pb.ConnectRequest(register=register).SerializeToString() + unknown)
    )
    assert frame == WorkerFrame(register=Registration(1, (TypeEntry("a"),), ()))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (pb.ConnectResponse(welcome=pb.Welcome()), "a second welcome"),
        (
            pb.ConnectResponse(
                registered=pb.Registered(errors=[pb.RegistrationError(reason="no")])
            ),
            "names neither type nor subscription: no",
        ),
        (pb.ConnectResponse(replies=[pb.Reply(call_id=3)]), "call 3 holds neither"),
        (pb.ConnectResponse(calls=[pb.Call()]), "without an id or a target"),
        (
            pb.ConnectResponse(
                delivery_runs=[pb.DeliveryRun(forms=[pb.DeliveryTarget()], events=[b"", b""])]
            ),
            "has not the targets it counts",
        ),
    ],
)
def test_a_host_s_frame_that_lacks_something_is_a_violation(
    message: pb.ConnectResponse, reason: str
) -> None:
    """The worker does not trust its host blindly either."""
    with pytest.raises(ProtocolViolation, match=reason):
        decode_host_frame(message)


@pytest.mark.parametrize(("remaining_s", "read"), [(0.0, 0.0), (0.0001, 0.001), (30.0, 30.0)])
def test_how_long_a_publish_may_wait_travels_in_milliseconds(
    remaining_s: float, read: float
) -> None:
    """Any time at all is at least one: none means something else."""
    data = encode_worker_frame(WorkerFrame(publishes=[Publish(1, EVENT, remaining_s)]))

    (publish,) = decode_worker_frame(parse_worker_frame(data)).publishes

    assert publish.remaining_s == read


# Golden bytes, for other languages to compare with.

HOP = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
EVENT = Event(b"\x0a\x01e", "orders.placed", "customer/7", ("shop", "main"), HOP)

GOLDEN_FRAMES: dict[str, WorkerFrame | HostFrame] = {
    "worker-register": WorkerFrame(
        register=Registration(
            1,
            (TypeEntry("shop"), TypeEntry("tool", session_only=True)),
            (
                SubscriptionEntry("1", "shop", "type", "orders.placed"),
                SubscriptionEntry("2", "tool", "prefix", ""),
            ),
        )
    ),
    "worker-publish": WorkerFrame(publishes=[Publish(1, EVENT)]),
    "worker-settle": WorkerFrame(
        settlements=[
            Settlement(1, 300, 1, Grant(1_700_000_000_000, 5), ACCEPTED),
            Settlement(2, 301, 2, Grant(1_700_000_000_000, 5), Rejected("unhandled", "no")),
            Settlement(3, 302, 1, Grant(1_700_000_000_000, 5), Released(1.5)),
        ]
    ),
    "worker-runs": WorkerFrame(
        publishes=[Publish(number, EVENT, 30.0) for number in range(1, RUN_FROM + 1)],
        settlements=[
            Settlement(number, 299 + number, 1, Grant(1_700_000_000_000, 5), ACCEPTED)
            for number in range(1, RUN_FROM + 1)
        ],
    ),
    "worker-call": WorkerFrame(
        calls=[Call(1, ("shop", "main"), b"\x0a\x01p", 30.0, (300, 1), (), ("tool", "x"))],
        cancels=[1],
    ),
    "worker-stream": WorkerFrame(
        calls=[Call(2, ("shop", "main"), b"\x0a\x01p", 30.0, credit=32)],
        replies=[Reply(9, b"part", last=False), Reply(9)],
        credits=[Credit(2, 16)],
    ),
    "worker-begin": WorkerFrame(begins=[(300, 2), (301, 1)]),
    "worker-leave": WorkerFrame(
        surrendered=[Partitions("shop", ((0, Grant(1, 2)), (255, Grant(1, 3))))], drain=True
    ),
    "host-answers": HostFrame(
        registered=[Registered(1, (RegistrationError("subscription", "2", 3, "no"),))],
        published_through=3,
        published_beyond=[5],
        publishes_refused=[Refusal(2, 8, "full")],
        settled_through=7,
        settlements_refused=[Refusal(7, 10, "not out")],
    ),
    "host-deliver": HostFrame(
        deliveries=[
            (
                EVENT,
                [
                    Delivery(300, ("shop", "customer/7"), EVENT, 1, Grant(1_700_000_000_000, 5)),
                    Delivery(301, ("tool", "customer/7"), EVENT, 2, Grant(1_700_000_000_000, 6)),
                ],
            )
        ]
    ),
    "host-runs": HostFrame(
        deliveries=[
            (
                EVENT,
                [
                    Delivery(
                        300 + number, ("shop", "customer/7"), EVENT, 1, Grant(1_700_000_000_000, 5)
                    )
                ],
            )
            for number in range(RUN_FROM)
        ]
    ),
    "host-begun": HostFrame(
        deliveries=[
            (
                EVENT,
                [
                    Delivery(
                        302, ("shop", "customer/7"), EVENT, 3, Grant(1_700_000_000_000, 5), losses=2
                    )
                ],
            )
        ],
        begun=[(300, 2), (301, 1)],
    ),
    "host-call": HostFrame(
        calls=[Call(9, ("shop", "main"), b"p", 30.0, None, ((300, 1), 8), None, HOP, Grant(1, 2))],
        cancels=[9],
    ),
    "host-stream": HostFrame(
        calls=[Call(10, ("shop", "main"), b"p", 30.0, grant=Grant(1, 2), credit=32)],
        credits=[Credit(10, 16)],
    ),
    "host-reply": HostFrame(
        replies=[
            Reply(1, b"\x0a\x01p"),
            Reply(2, b"", CallFailure(2, "", "ValueError")),
            Reply(3, b"part", last=False),
        ]
    ),
    "host-surrender": HostFrame(surrenders=[Partitions("shop", ((17, Grant(1, 2)),))], drain=True),
}


def encoded(frame: WorkerFrame | HostFrame) -> bytes:
    if isinstance(frame, WorkerFrame):
        return encode_worker_frame(frame, CAPABILITIES)
    return encode_host_frame(frame, CAPABILITIES)


@pytest.mark.parametrize("name", GOLDEN_FRAMES)
def test_frames_have_these_bytes(name: str) -> None:
    """What is in ``golden/`` stays: workers in other languages are tested with it."""
    golden = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())

    assert encoded(GOLDEN_FRAMES[name]).hex(" ", 16) == golden.hex(" ", 16)


def test_every_golden_file_is_compared() -> None:
    """No file is left over."""
    assert {path.stem for path in GOLDEN.glob("*.hex")} == set(GOLDEN_FRAMES)
