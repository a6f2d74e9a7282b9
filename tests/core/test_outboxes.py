"""Outboxes: frames within their bounds, and nothing said before what it depends on."""

from __future__ import annotations

from callboard.core.errors import Code
from callboard.core.event import Delivery, Event, Grant
from callboard.core.frames import (
    ACCEPTED,
    MAX_FRAME_BYTES,
    MAX_FRAME_ITEMS,
    Call,
    CallFailure,
    Credit,
    Partitions,
    Publish,
    Refusal,
    Registered,
    Registration,
    Reply,
    Settlement,
)
from callboard.core.origins import Origin
from callboard.core.outbox import ANSWERS_ALONE, ANSWERS_ALONE_S, HostOutbox
from callboard.core.session import Session
from callboard.core.worker_outbox import (
    BYTES_WORTH_A_FRAME,
    SETTLEMENTS_ALONE,
    SETTLEMENTS_ALONE_S,
    WORTH_A_FRAME,
    WorkerOutbox,
)


def event(size: int = 1) -> Event:
    return Event(b"x" * size, "t", "x")


def delivered(position: int, of: Event, agent_type: str = "a") -> Delivery:
    return Delivery(position, (agent_type, "x"), of, 1, Grant(1, 1))


def call(call_id: int, size: int = 1) -> Call:
    return Call(call_id, ("a", "x"), b"x" * size)


def settlement(number: int) -> Settlement:
    return Settlement(number, number, 1, Grant(1, 1), ACCEPTED)


# What a host says.


def test_a_frame_holds_so_many_items() -> None:
    """The rest follows in the next."""
    outbox = HostOutbox()
    for position in range(MAX_FRAME_ITEMS + 1):
        outbox.deliver(delivered(position, event()))

    frames = [outbox.take(), outbox.take()]

    assert [len(frame.deliveries) for frame in frames if frame] == [MAX_FRAME_ITEMS, 1]
    assert outbox.take() is None


def test_targets_count_as_items() -> None:
    """One event for a thousand agents needs four frames, each with the event once."""
    outbox = HostOutbox()
    one = event()
    for position in range(1000):
        outbox.deliver(delivered(position, one))

    counts = []
    while frame := outbox.take():
        counts.append([len(targets) for _, targets in frame.deliveries])

    assert counts == [[256], [256], [256], [232]]


def test_a_frame_holds_so_many_bytes() -> None:
    """What is larger travels alone, what would not fit waits for the next."""
    outbox = HostOutbox()
    third = MAX_FRAME_BYTES // 3
    for size in (third, third, third, third, 2 * MAX_FRAME_BYTES, 1):
        outbox.deliver(delivered(1, event(size)))

    sizes = []
    while frame := outbox.take():
        sizes.append([len(each.content) for each, _ in frame.deliveries])

    assert sizes == [[third, third, third], [third], [2 * MAX_FRAME_BYTES], [1]]


def test_replies_calls_and_deliveries_share_a_frame() -> None:
    """And its bounds; the texts of errors count."""
    outbox = HostOutbox()
    outbox.reply(Reply(1, b"", CallFailure(2, "x" * (MAX_FRAME_BYTES // 8))))
    outbox.call(call(1, MAX_FRAME_BYTES // 2 - len("ax")))
    outbox.deliver(delivered(1, event()))

    frames = [frame for _ in range(2) if (frame := outbox.take())]

    assert [(len(f.replies), len(f.calls), len(f.deliveries)) for f in frames] == [
        (1, 1, 0),
        (0, 0, 1),
    ]


def test_surrenders_and_cancels_are_bounded_too() -> None:
    """A session with many types does not get a frame without end."""
    outbox = HostOutbox()
    grants = tuple((number, Grant(1, 1)) for number in range(256))
    for number in range(3):
        outbox.surrenders.append(Partitions(f"t{number}", grants))
    for number in range(300):
        outbox.cancel(number)

    frames = []
    while frame := outbox.take():
        frames.append((len(frame.surrenders), len(frame.cancels)))

    assert frames == [(1, 0), (1, 0), (1, 0), (0, 256), (0, 44)]


def test_answers_never_run_ahead_of_their_refusals() -> None:
    """More refusals than a frame holds: the rest of the numbers waits with them."""
    outbox = HostOutbox()
    outbox.published_through = outbox.settled_through = 1000
    for number in range(1, 1001, 2):
        outbox.publishes_refused.append(Refusal(number, 3, "no"))
        outbox.settlements_refused.append(Refusal(number, 10, "no"))

    told = []
    while frame := outbox.take():
        assert len(frame.publishes_refused) <= MAX_FRAME_ITEMS
        told.append((frame.published_through, frame.publishes_refused[-1].number))
        assert frame.settled_through == frame.published_through

    assert told == [(511, 511), (1000, 999)]


def told_of_publishes() -> tuple[HostOutbox, Origin]:
    """The outbox of a session, and where its publishes come from."""
    session = Session("s", "s")
    session.origin.session = session
    return session.outbox, session.origin


def test_answers_beyond_a_publish_that_waits_are_said_at_once() -> None:
    """Each once, in one of the two forms; a refusal comes with the answer."""
    outbox, origin = told_of_publishes()
    for number in (1, 2, 3):
        origin.answer(number, None, 2048)
    origin.hold(5)
    origin.answer(4, None, 2048)
    origin.answer(6, Refusal(6, 3, "no"), 2048)
    origin.hold(8)
    origin.answer(7, None, 2048)

    first, second = outbox.take(), outbox.take()
    assert first is not None
    assert second is not None
    assert (first.published_through, first.published_beyond) == (0, [6, 7])
    assert [each.number for each in first.publishes_refused] == [6]
    assert (second.published_through, second.published_beyond) == (4, [])

    origin.answer(8, None, 2048)
    origin.answer(9, None, 2048)
    origin.answer(5, Refusal(5, 8, "full"), 2048)
    third, fourth = outbox.take(), outbox.take()
    assert third is not None
    assert fourth is not None
    assert (third.published_through, third.published_beyond) == (4, [5, 8, 9])
    assert [each.number for each in third.publishes_refused] == [5]
    assert (fourth.published_through, fourth.published_beyond) == (9, [])
    origin.answer(10, None, 2048)
    last = outbox.take()
    assert last is not None
    assert (last.published_through, last.published_beyond) == (10, [])
    assert outbox.take() is None


def test_many_answers_beyond_share_frames() -> None:
    """And count as what the worker has not read."""
    outbox, origin = told_of_publishes()
    origin.hold(1)
    for number in range(2, 1002):
        origin.answer(number, Refusal(number, 3, "no"), 2048)
    assert outbox.answer_count == 1000
    origin.answer(1, None, 2048)
    told: list[int] = []
    through = 0
    while frame := outbox.take():
        assert len(frame.publishes_refused) <= MAX_FRAME_ITEMS
        assert [each.number for each in frame.publishes_refused] == frame.published_beyond
        told += frame.published_beyond
        through = frame.published_through
    assert (told, through) == (list(range(2, 1002)), 1001)


def test_a_refusal_is_said_though_answers_beyond_keep_coming() -> None:
    """It is known for some answers only: a publisher that asked later would take it for taken."""
    outbox, origin = told_of_publishes()
    origin.hold(1)
    origin.answer(2, None, 4)
    origin.hold(3)
    origin.answer(1, Refusal(1, 8, "full"), 4)
    told: list[tuple[int, list[int]]] = []
    for number in range(4, 20):
        origin.answer(number, None, 4)
        frame = outbox.take()
        assert frame is not None
        told += [(each.number, frame.published_beyond) for each in frame.publishes_refused]
    assert told == [(1, [1, 2, 4])]
    frame = outbox.take()
    assert frame is not None
    assert (frame.published_through, frame.publishes_refused) == (2, [])


def test_refusals_and_answers_beyond_share_frames() -> None:
    """Neither waits for all of the others."""
    outbox, origin = told_of_publishes()
    for number in range(1, 1001):
        origin.answer(number, Refusal(number, 3, "no"), 2048)
    origin.hold(1001)
    for number in range(1002, 2002):
        origin.answer(number, None, 2048)
    frames = list(iter(outbox.take, None))
    assert all(len(each.published_beyond) <= MAX_FRAME_ITEMS for each in frames)
    assert {len(each.publishes_refused) for each in frames[:7]} == {MAX_FRAME_ITEMS // 2}
    refused = [refusal.number for each in frames for refusal in each.publishes_refused]
    beyond = [number for each in frames for number in each.published_beyond if number > 1000]
    assert (refused, beyond) == (list(range(1, 1001)), list(range(1002, 2002)))
    assert frames[-1].published_through == 1000


def test_answers_are_said_once() -> None:
    """Nothing new, nothing to say."""
    outbox = HostOutbox()
    outbox.published_through = 5
    assert outbox.take() is not None
    assert outbox.take() is None


def test_each_registration_is_answered_in_a_frame_of_its_own() -> None:
    """A frame has room for one."""
    outbox = HostOutbox()
    outbox.registered += [Registered(1), Registered(2)]

    frames = [outbox.take(), outbox.take()]

    assert [[each.revision for each in frame.registered] for frame in frames if frame] == [[1], [2]]


def test_a_call_that_ends_unsaid_is_not_said() -> None:
    """One that was said is cancelled."""
    outbox = HostOutbox()
    outbox.call(call(1))
    outbox.take()
    outbox.call(call(2))
    outbox.call(call(3))
    outbox.cancel(1)
    outbox.cancel(2)
    outbox.recall(3)

    frame = outbox.take()

    assert frame is not None
    assert (frame.calls, frame.cancels) == ([], [1])


def test_credit_is_said_with_its_call_or_after_it() -> None:
    """What has come together of one call is one item; of a call that is not wanted none."""
    outbox = HostOutbox()
    for number in (1, 2, 3):
        outbox.call(Call(number, ("a", "x"), b"", credit=4))
    outbox.credit(1, 2)
    outbox.recall(2)

    first = outbox.take()
    for number in (1, 3, 1, 3):
        outbox.credit(number, 5)
    outbox.cancel(3)
    second = outbox.take()

    assert first is not None
    assert second is not None
    assert [(each.id, each.credit) for each in first.calls] == [(1, 6), (3, 4)]
    assert (first.credits, second.credits, second.cancels) == ([], [Credit(1, 10)], [3])


def test_credits_are_bounded_in_a_frame() -> None:
    """The others leave in the next."""
    outbox = HostOutbox()
    for number in range(MAX_FRAME_ITEMS + 1):
        outbox.credit(number, 1)

    frames = [frame for _ in range(2) if (frame := outbox.take())]

    assert [len(frame.credits) for frame in frames] == [256, 1]


def test_a_type_that_is_left_out_is_said_no_more_of() -> None:
    """What others of the worker's agents get stays."""
    outbox = HostOutbox()
    one, two = event(), event()
    outbox.deliver(delivered(1, one, "a"))
    outbox.deliver(delivered(2, one, "b"))
    outbox.deliver(delivered(3, two, "a"))
    outbox.call(call(1))

    outbox.forget("a")

    frame = outbox.take()
    assert frame is not None
    assert [[each.position for each in targets] for _, targets in frame.deliveries] == [[2]]
    assert frame.calls == []
    assert outbox.take() is None


def test_drain_is_said_last() -> None:
    """When nothing else is to be said, the worker may end the stream."""
    outbox = HostOutbox()
    outbox.drain = True
    outbox.published_through = 1
    outbox.reply(Reply(1))

    frames = [outbox.take(), outbox.take()]

    assert [frame.drain for frame in frames if frame] == [False, True]
    assert outbox.take() is None


# What a worker says.


def test_publishes_wait_for_the_window() -> None:
    """What is confirmed makes room."""
    outbox = WorkerOutbox(3)
    for number in range(1, 6):
        outbox.publishes.append(Publish(number, event()))

    first = outbox.take()
    assert first is not None
    assert [each.number for each in first.publishes] == [1, 2, 3]
    assert outbox.take() is None
    outbox.confirmed = 1
    second = outbox.take()
    assert second is not None
    assert [each.number for each in second.publishes] == [4]


def test_a_worker_s_frame_has_the_same_bounds() -> None:
    """Items, bytes, and one larger item alone."""
    outbox = WorkerOutbox(2048)
    for number in range(1, 301):
        outbox.settlements.append(settlement(number))
    outbox.replies.append(Reply(1, b"x" * MAX_FRAME_BYTES))
    outbox.calls.append(call(1, 2 * MAX_FRAME_BYTES))
    for number, size in enumerate((1, MAX_FRAME_BYTES, 1), start=1):
        outbox.publishes.append(Publish(number, event(size)))

    frames = []
    while frame := outbox.take():
        frames.append(
            (
                len(frame.settlements),
                len(frame.replies),
                len(frame.calls),
                len(frame.publishes),
            )
        )

    assert frames == [
        (256, 0, 0, 0),
        (44, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (0, 0, 0, 1),
        (0, 0, 0, 1),
    ]


def test_a_cancel_does_not_overtake_its_call() -> None:
    """It leaves with the last of the calls before it, or later."""
    outbox = WorkerOutbox(2048)
    for number in range(MAX_FRAME_ITEMS + 1):
        outbox.calls.append(call(number))
    outbox.cancels.append(MAX_FRAME_ITEMS)

    frames = [frame for _ in range(2) if (frame := outbox.take())]

    assert [(len(frame.calls), frame.cancels) for frame in frames] == [(256, []), (1, [256])]


def test_credit_does_not_overtake_its_call() -> None:
    """Like a cancel; what has come together of one call is one item."""
    outbox = WorkerOutbox(2048)
    for number in range(MAX_FRAME_ITEMS + 1):
        outbox.calls.append(call(number))
    for _ in range(2):
        outbox.credit(MAX_FRAME_ITEMS, 16)

    frames = [frame for _ in range(2) if (frame := outbox.take())]

    assert [frame.credits for frame in frames] == [[], [Credit(MAX_FRAME_ITEMS, 32)]]


def test_surrender_and_registration_follow_the_ends_of_turns() -> None:
    """Both may end the grants that those turns ran under."""
    outbox = WorkerOutbox(2048)
    for number in range(1, MAX_FRAME_ITEMS + 1):
        outbox.settlements.append(settlement(number))
    outbox.replies.append(Reply(1))
    outbox.surrendered.append(Partitions("a", ((0, Grant(1, 1)),)))
    outbox.register = Registration(2, (), ())

    frames = [frame for _ in range(2) if (frame := outbox.take())]

    assert [bool(frame.surrendered) for frame in frames] == [False, True]
    assert [frame.register is not None for frame in frames] == [False, True]
    assert outbox.take() is None


def test_drain_and_an_empty_outbox() -> None:
    """Asking to leave waits for nothing."""
    outbox = WorkerOutbox(2048)
    outbox.drain = True
    frame = outbox.take()
    assert frame is not None
    assert frame.drain
    assert outbox.take() is None


def test_a_publish_says_how_long_it_may_still_wait_when_it_leaves() -> None:
    """What waited for the window has less time; a moment is left to one whose time is up."""
    outbox = WorkerOutbox(2)
    for number, deadline in ((1, 15.0), (2, None), (3, 11.0)):
        outbox.publishes.append(Publish(number, event(), deadline=deadline))
    first = outbox.take(10.0)
    outbox.confirmed = 2
    second = outbox.take(12.0)
    assert first is not None
    assert second is not None
    assert [each.remaining_s for each in (*first.publishes, *second.publishes)] == [5, 0, 0.001]


# What may wait for company.


def test_answers_to_settlements_wait_for_something_else_to_say() -> None:
    """For so long, or for so many: nobody waits for them."""
    outbox = HostOutbox()
    outbox.settled_through = 1
    assert outbox.take(10.0) is None
    assert outbox.due_at == 10.0 + ANSWERS_ALONE_S
    outbox.deliver(delivered(1, event()))

    with_it = outbox.take(10.01)

    assert with_it is not None
    assert with_it.settled_through == 1
    assert outbox.due_at is None
    outbox.settled_through = 2
    assert outbox.take(20.0) is None
    late = outbox.take(20.0 + ANSWERS_ALONE_S)
    assert late is not None
    assert late.settled_through == 2
    outbox.settled_through += ANSWERS_ALONE
    many = outbox.take(30.0)
    assert many is not None
    assert many.settled_through == 2 + ANSWERS_ALONE


def test_a_refused_settlement_is_answered_at_once() -> None:
    """And so are those before it."""
    outbox = HostOutbox()
    outbox.settled_through = 2
    outbox.settlements_refused.append(Refusal(2, Code.ABORTED, "late"))

    frame = outbox.take(10.0)

    assert frame is not None
    assert (frame.settled_through, len(frame.settlements_refused)) == (2, 1)


def test_a_frame_is_worth_sending_when_it_gives_its_reader_enough_to_do() -> None:
    """A call is as much as four events; large events are worth one by their bytes."""
    outbox = WorkerOutbox(1000)
    assert not outbox.is_worth_a_frame
    outbox.publishes += [Publish(number, event()) for number in range(1, WORTH_A_FRAME)]
    assert not outbox.is_worth_a_frame
    outbox.settlements += [settlement(1), settlement(2)]
    assert outbox.is_worth_a_frame

    outbox = WorkerOutbox(1000)
    outbox.calls += [call(number) for number in range(1, WORTH_A_FRAME // 8 + 1)]
    assert not outbox.is_worth_a_frame
    outbox.replies += [Reply(number) for number in range(1, WORTH_A_FRAME // 8 + 1)]
    assert outbox.is_worth_a_frame

    outbox = WorkerOutbox(1000)
    outbox.publishes.append(Publish(1, event(BYTES_WORTH_A_FRAME // 2)))
    assert not outbox.is_worth_a_frame
    outbox.publishes.append(Publish(2, event(BYTES_WORTH_A_FRAME // 2)))
    assert outbox.is_worth_a_frame


def test_settlements_wait_for_something_else_to_say() -> None:
    """For so long, or for so many: the host hands out far ahead of them."""
    outbox = WorkerOutbox(window=10)
    outbox.settlements.append(settlement(1))
    assert outbox.take(10.0, eagerly=False) is None
    assert outbox.due_at == 10.0 + SETTLEMENTS_ALONE_S
    outbox.calls.append(call(1))

    with_it = outbox.take(10.001, eagerly=False)

    assert with_it is not None
    assert len(with_it.settlements) == 1
    assert outbox.due_at is None
    outbox.settlements.append(settlement(2))
    assert outbox.take(20.0, eagerly=False) is None
    late = outbox.take(20.0 + SETTLEMENTS_ALONE_S, eagerly=False)
    assert late is not None
    assert len(late.settlements) == 1
    outbox.settlements.extend(settlement(number) for number in range(SETTLEMENTS_ALONE))
    many = outbox.take(30.0, eagerly=False)
    assert many is not None
    assert len(many.settlements) == SETTLEMENTS_ALONE


def test_publishes_beyond_the_window_are_no_company() -> None:
    """They do not leave."""
    outbox = WorkerOutbox(window=1)
    outbox.publishes.append(Publish(2, event()))
    outbox.settlements.append(settlement(1))
    assert outbox.take(10.0, eagerly=False) is None

    outbox.confirmed = 1

    frame = outbox.take(10.0, eagerly=False)
    assert frame is not None
    assert (len(frame.settlements), len(frame.publishes)) == (1, 1)


def test_settlements_that_are_urgent_or_eagerly_taken_wait_for_nothing() -> None:
    """One of a turn that failed, or the last of a worker that leaves."""
    outbox = WorkerOutbox(window=10)
    outbox.settlements.append(settlement(1))
    assert outbox.take(10.0) is not None
    outbox.settlements.append(settlement(2))
    outbox.is_urgent = True
    assert outbox.take(10.0, eagerly=False) is not None
    outbox.settlements.append(settlement(3))
    assert outbox.take(10.0, eagerly=False) is None
