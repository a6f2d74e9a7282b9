"""Streamed calls through the broker: no answer without credit, and one ending."""

from __future__ import annotations

import pytest

from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code
from callboard.core.frames import Call, CallFailure
from callboard.core.session import Session
from sim.stage import PARTITIONS, Actor, Stage

AGENT = ("a", "x")


def streaming(stage: Stage, credit: int = 3) -> tuple[Actor, Actor, int, Call]:
    """Caller, callee, the caller's id of a streamed call, and the call as the callee gets it."""
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    own_id = caller.call(AGENT, credit=credit)
    (call,) = callee.calls()
    return caller, callee, own_id, call


def told(caller: Actor) -> list[bytes | int]:
    """What the caller hears: payloads of answers, ``b"."`` for a bare end, codes of errors."""
    heard: list[bytes | int] = []
    for reply in caller.replies():
        if reply.error is not None:
            heard.append(reply.error.code)
        elif reply.payload:
            heard.append(reply.payload)
        if reply.last and reply.error is None:
            heard.append(b".")
    return heard


def test_a_stream_s_answers_pass_in_order_until_the_last() -> None:
    """Each under the caller's id; one after the end changes nothing."""
    stage = Stage()
    caller, callee, own_id, call = streaming(stage)
    assert call.credit == 3

    for payload in (b"1", b"2"):
        callee.reply(call, payload, last=False)
    assert not stage.broker.is_idle
    callee.reply(call, b"")
    callee.reply(call, b"3", last=False)
    callee.reply(call, b"", CallFailure(Code.UNKNOWN, "late", "ValueError"))

    replies = caller.replies()
    assert [(each.call_id, each.payload, each.last) for each in replies] == [
        (own_id, b"1", False),
        (own_id, b"2", False),
        (own_id, b"", True),
    ]
    assert stage.broker.is_idle


def test_the_last_answer_needs_no_credit() -> None:
    """Nor does an error: a stream can always end."""
    stage = Stage()
    caller, callee, _, call = streaming(stage, credit=1)
    callee.reply(call, b"1", last=False)
    callee.reply(call, b"2")
    assert told(caller) == [b"1", b"2", b"."]

    caller.call(AGENT, credit=1)
    (call,) = callee.calls()
    callee.reply(call, b"1", last=False)
    callee.reply(call, b"", CallFailure(Code.UNKNOWN, "out of paper", "ValueError"))
    assert told(caller) == [b"1", Code.UNKNOWN]
    assert stage.broker.is_idle


def test_credit_is_passed_on() -> None:
    """Under the host's id; what has come together is one item."""
    stage = Stage()
    caller, callee, own_id, call = streaming(stage, credit=1)
    callee.reply(call, b"1", last=False)

    caller.credit(own_id, 2)
    caller.credit(own_id, 1)

    assert callee.credits() == [(call.id, 3)]
    for payload in (b"2", b"3", b"4"):
        callee.reply(call, payload, last=False)
    assert told(caller) == [b"1", b"2", b"3", b"4"]


def test_answers_beyond_their_credit_end_the_stream() -> None:
    """What came before counts; the callee is told to stop, and nothing that it says then counts."""
    stage = Stage()
    caller, callee, own_id, call = streaming(stage, credit=2)
    for payload in (b"1", b"2", b"3", b"4"):
        callee.reply(call, payload, last=False)
    callee.reply(call)

    *answers, ending = caller.replies()
    assert [each.payload for each in answers] == [b"1", b"2"]
    assert ending.error == CallFailure(
        Code.INTERNAL, "the worker that ran a/x sent more answers than it had credit for"
    )
    assert (ending.call_id, ending.last) == (own_id, True)
    assert callee.cancels() == [call.id]
    assert stage.broker.is_idle


def test_many_answers_to_a_call_with_one_end_it() -> None:
    """A caller that asked for one answer gets one ending."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(AGENT)
    (call,) = callee.calls()
    assert call.credit == 0

    callee.reply(call, b"1", last=False)

    assert told(caller) == [Code.INTERNAL]
    assert callee.cancels() == [call.id]


def test_credit_for_what_is_no_stream_is_passed_over() -> None:
    """An unknown call, one that has ended, one with one answer, another's."""
    stage = Stage()
    caller, callee, own_id, call = streaming(stage)
    single = caller.call(AGENT)
    callee.heard()

    caller.credit(99, 1)
    caller.credit(single, 1)
    caller.credit(own_id, 0)
    callee.credit(own_id, 1)
    callee.credit(call.id, 1)
    callee.reply(call)
    caller.credit(own_id, 1)

    assert callee.credits() == []
    assert told(caller) == [b"reply", b"."]


@pytest.mark.parametrize(("first", "more"), [(11, ()), (10, (1,)), (1, (5, 5)), (1, (2**32 - 1,))])
def test_credit_is_bounded(first: int, more: tuple[int, ...]) -> None:
    """A caller that takes whatever may come is refused, and its callee told to stop."""
    stage = Stage(BrokerLimits(partitions=PARTITIONS, max_stream_credit=10))
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    own_id = caller.call(AGENT, credit=first)
    calls = callee.calls()
    for count in more:
        caller.credit(own_id, count)

    (ending,) = caller.replies()
    assert ending.error is not None
    assert ending.error.code == Code.INVALID_ARGUMENT
    assert "the limit is 10" in ending.error.message
    assert callee.cancels() == [call.id for call in calls]
    assert stage.broker.is_idle


def test_credit_of_a_stream_that_waits_goes_to_who_runs_it() -> None:
    """Nothing of it is lost."""
    stage = Stage()
    caller = stage.worker("p")
    stage.worker("w", "a").leave()
    own_id = caller.call(AGENT, credit=2)
    caller.credit(own_id, 5)

    (call,) = stage.worker("v", "a").calls()

    assert call.credit == 7


def test_credit_that_comes_before_the_call_is_said_is_said_with_it() -> None:
    """A worker hears of no credit for a call that it does not know."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    callee.heard()
    caller.credit(caller.call(AGENT, credit=2), 5)

    (frame,) = callee.heard()

    assert ([call.credit for call in frame.calls], frame.credits) == ([7], [])


def test_a_worker_that_does_not_know_streams_gets_none() -> None:
    """The caller is told why; a call with one answer passes."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a", capabilities=())
    caller.call(AGENT, credit=2)
    caller.call(AGENT)

    (reply,) = caller.replies()
    assert reply.error == CallFailure(
        Code.UNIMPLEMENTED, "the worker that holds a/x does not know streamed calls"
    )
    assert [call.credit for call in callee.calls()] == [0]


def test_a_worker_of_another_protocol_gets_a_call_with_one_answer() -> None:
    """Which is the stream's."""
    stage = Stage()
    caller = stage.worker("p")
    foreign = Actor(stage, Session("w", "w", is_foreign=True))
    stage.broker.join(foreign.session, stage.now)
    foreign.register("a")
    own_id = caller.call(AGENT, credit=2)
    (call,) = foreign.calls()
    caller.credit(own_id, 2)
    foreign.reply(call, b"one")

    assert call.credit == 0
    assert foreign.credits() == []
    assert told(caller) == [b"one", b"."]


def test_a_stream_past_its_deadline_ends() -> None:
    """After what has come; credit does not lengthen it."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    own_id = caller.call(AGENT, credit=2, seconds=5)
    (call,) = callee.calls()
    callee.reply(call, b"1", last=False)
    stage.wait(4)
    caller.credit(own_id, 1)
    stage.wait(1)

    first, ending = caller.replies()
    assert first.payload == b"1"
    assert ending.error == CallFailure(
        Code.DEADLINE_EXCEEDED, "no end of the stream from a/x in time"
    )
    assert callee.cancels() == [call.id]


def test_a_stream_whose_worker_is_lost_ends_after_what_has_come() -> None:
    """UNAVAILABLE, once."""
    stage = Stage()
    caller, callee, _, call = streaming(stage)
    callee.reply(call, b"1", last=False)
    callee.leave()
    callee.reply(call, b"2", last=False)

    assert told(caller) == [b"1", Code.UNAVAILABLE]
    assert stage.broker.is_idle


def test_a_stream_that_is_given_up_is_told_to_its_callee() -> None:
    """Answers that crossed that are for nobody."""
    stage = Stage()
    caller, callee, own_id, call = streaming(stage)
    callee.reply(call, b"1", last=False)
    caller.heard()
    caller.cancel(own_id)
    callee.reply(call, b"2", last=False)
    caller.credit(own_id, 1)

    assert caller.replies() == []
    (frame,) = callee.heard()
    assert (frame.cancels, frame.credits) == ([call.id], [])
    assert stage.broker.is_idle


def test_a_stream_that_has_begun_does_not_begin_anew_elsewhere() -> None:
    """A worker that gives a partition up in the middle of a stream breaks it off."""
    stage = Stage()
    caller, old = stage.worker("p"), stage.worker("old", "a")
    old.heard()
    keys = [f"k{number}" for number in range(20)]
    for key in keys:
        caller.call(("a", key), credit=5)
    begun = old.calls()[::2]
    for call in begun:
        old.reply(call, b"1", last=False)
    new = stage.worker("new", "a")

    old.surrender_all_asked()

    elsewhere = new.calls()
    assert elsewhere
    assert not {call.id for call in begun} & {call.id for call in elsewhere}
    assert all(call.credit == 5 for call in elsewhere)
    broken_off = [reply.error.code for reply in caller.replies() if reply.error is not None]
    assert broken_off
    assert set(broken_off) == {Code.UNAVAILABLE}
