"""Calls through the broker: each gets exactly one ending."""

from __future__ import annotations

import pytest

from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code
from callboard.core.event import Address, TurnId
from callboard.core.frames import CallFailure, TypeEntry
from callboard.core.partition import partition_of
from sim.stage import PARTITIONS, Actor, Stage

AGENT = ("a", "x")


def ending(caller: Actor) -> tuple[int, int, str]:
    """The one failure that ``caller`` was told: (its id, the code, the reason)."""
    (reply,) = caller.replies()
    assert reply.error is not None
    assert reply.last
    return reply.call_id, reply.error.code, reply.error.message


def test_a_call_is_answered() -> None:
    """The callee gets the request under the host's id, the caller the reply under its own."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(("a", "other"))
    own_id = caller.call(AGENT, sender=("b", "y"))
    _, call = callee.calls()

    assert (call.target, call.payload, call.sender, call.remaining_s) == (
        AGENT,
        b"request",
        ("b", "y"),
        60,
    )
    assert call.grant == stage.broker.types.get("a").grants.grant_of(  # type: ignore[union-attr]
        partition_of(*AGENT, PARTITIONS)
    )
    callee.reply(call, b"answer")
    (reply,) = caller.replies()
    assert (reply.call_id, reply.payload, reply.error, reply.last) == (
        own_id,
        b"answer",
        None,
        True,
    )


def test_an_error_is_passed_on_as_it_was() -> None:
    """Type and text of what the agent raised arrive, an empty text too."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(AGENT)
    (call,) = callee.calls()

    callee.reply(call, b"", CallFailure(Code.UNKNOWN, "", "ValueError"))

    (reply,) = caller.replies()
    assert reply.error == CallFailure(Code.UNKNOWN, "", "ValueError")
    assert stage.broker.counters.calls_failed == 1


def test_a_late_repeated_or_forged_reply_changes_nothing() -> None:
    """Only the callee's first last reply counts."""
    stage = Stage()
    caller, callee, stranger = stage.worker("p"), stage.worker("w", "a"), stage.worker("s")
    caller.call(AGENT)
    (call,) = callee.calls()

    stranger.reply(call)
    assert caller.replies() == []
    callee.reply(call)
    callee.reply(call)

    assert len(caller.replies()) == 1


def test_a_call_to_an_unknown_type_ends_at_once() -> None:
    """NOT_FOUND names the type."""
    stage = Stage()
    caller = stage.worker("p")

    caller.call(("nobody", "x"))

    assert ending(caller) == (1, Code.NOT_FOUND, "no worker has registered the agent type 'nobody'")


@pytest.mark.parametrize(
    ("target", "sender"),
    [
        (("a b", "x"), None),
        (("a", ""), None),
        (("a", "k" * 257), None),
        (AGENT, ("", "x")),
        (AGENT, ("b", "\ud800")),
    ],
)
def test_an_invalid_address_never_reaches_a_worker(target: Address, sender: Address | None) -> None:
    """Target and sender are checked where the call comes in."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")

    caller.call(target, sender=sender)

    assert ending(caller)[1] == Code.INVALID_ARGUMENT
    assert callee.calls() == []


def test_a_call_ends_by_its_deadline() -> None:
    """The caller gets DEADLINE_EXCEEDED, the callee is told, a late reply counts nothing."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(AGENT, seconds=5)
    (call,) = callee.calls()
    assert stage.broker.next_deadline() == 5

    stage.wait(5)

    assert ending(caller) == (1, Code.DEADLINE_EXCEEDED, "no reply from a/x in time")
    assert [each for frame in callee.heard() for each in frame.cancels] == [call.id]
    callee.reply(call)
    assert caller.replies() == []
    assert stage.broker.is_idle


def test_a_call_that_names_no_time_gets_the_default() -> None:
    """No call is open for ever."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")

    caller.call(AGENT, seconds=0)

    assert callee.calls()[0].remaining_s == BrokerLimits().call_timeout_s


def test_a_call_waits_for_a_worker_until_its_deadline() -> None:
    """A type without workers: the call goes to the first that comes, or ends with UNAVAILABLE."""
    stage = Stage()
    caller = stage.worker("p")
    stage.worker("w", "a").leave()
    caller.call(AGENT, seconds=5)
    caller.call(AGENT, seconds=9)

    stage.wait(5)

    assert ending(caller)[:2] == (1, Code.UNAVAILABLE)
    later = stage.worker("w2", "a")
    (call,) = later.calls()
    assert call.remaining_s == 4


def test_calls_that_wait_for_one_agent_are_bounded() -> None:
    """One too many for an agent is refused; another agent's is not."""
    stage = Stage(BrokerLimits(partitions=1, max_calls_waiting=2))
    caller = stage.worker("p")
    stage.worker("w", "a").leave()

    for _ in range(3):
        caller.call(AGENT)
    caller.call(("a", "y"))

    assert ending(caller)[:2] == (3, Code.RESOURCE_EXHAUSTED)
    assert len(stage.worker("w2", "a").calls()) == 3


def test_what_open_calls_carry_is_bounded() -> None:
    """Calls that nobody answers cannot fill the memory."""
    stage = Stage(BrokerLimits(partitions=8, max_call_bytes=100))
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    for _ in range(3):
        caller.call(AGENT, payload=b"x" * 40)

    assert ending(caller)[:2] == (3, Code.RESOURCE_EXHAUSTED)
    callee.reply(callee.calls()[0])
    caller.call(AGENT, payload=b"x" * 40)
    assert len(callee.calls()) == 1


def test_a_session_may_have_so_many_calls_open_and_no_more() -> None:
    """What others call does not count against it, nor what it is asked."""
    stage = Stage(BrokerLimits(partitions=8, max_open_calls=2))
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    for _ in range(3):
        caller.call(AGENT)
    callee.call(AGENT)

    assert ending(caller) == (
        3,
        Code.RESOURCE_EXHAUSTED,
        "2 calls of this session are open already, that is the limit",
    )
    first, second, _ = callee.calls()
    callee.reply(first)
    caller.cancel(2)
    caller.call(AGENT)
    caller.call(AGENT)
    assert len(callee.calls()) == 2
    assert second.id != first.id


def test_a_lost_callee_fails_its_calls() -> None:
    """UNAVAILABLE, once."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(AGENT)
    callee.calls()

    callee.leave()

    assert ending(caller)[:2] == (1, Code.UNAVAILABLE)
    assert stage.broker.is_idle


def test_a_lost_caller_s_calls_are_cancelled() -> None:
    """The callee is told that nobody waits; calls that wait for a worker are forgotten."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    stage.worker("v", "b").leave()
    caller.call(AGENT)
    caller.call(("b", "x"))
    (call,) = callee.calls()

    caller.leave()

    assert [each for frame in callee.heard() for each in frame.cancels] == [call.id]
    assert stage.worker("v2", "b").calls() == []
    assert stage.broker.is_idle


def test_a_session_may_call_itself_and_be_lost() -> None:
    """Caller and callee are one: all ends."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.call(AGENT)
    worker.calls()

    worker.leave()

    assert stage.broker.is_idle


def test_a_cancelled_call_is_told_to_its_callee_only() -> None:
    """The caller knows; it gets no reply, also not when the callee answers nevertheless."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    own_id = caller.call(AGENT)
    (call,) = callee.calls()

    caller.cancel(own_id)
    callee.reply(call)

    assert [each for frame in callee.heard() for each in frame.cancels] == [call.id]
    assert caller.replies() == []
    assert stage.broker.is_idle


def test_a_call_that_ends_before_it_was_said_is_not_said() -> None:
    """A cancel never overtakes its call, and a worker that does not read gathers no dead calls."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    callee.heard()
    caller.cancel(caller.call(AGENT))

    assert callee.heard() == []


def test_a_repeated_call_is_passed_over() -> None:
    """An id that is open is not called, and not counted, again."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(AGENT)
    caller._calls = 0
    caller.call(AGENT)

    assert len(callee.calls()) == 1
    assert stage.broker.counters.calls == 1


def test_a_reply_too_large_ends_the_call_with_an_error() -> None:
    """Also in the middle of a stream: the error is the last that the caller hears."""
    stage = Stage(BrokerLimits(partitions=8, max_event_bytes=10))
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(AGENT, credit=5)
    (call,) = callee.calls()

    callee.reply(call, b"x", last=False)
    callee.reply(call, b"x" * 11, last=False)
    callee.reply(call, b"x")

    first, second = caller.replies()
    assert not first.last
    assert second.last
    assert second.error is not None
    assert second.error.code == Code.RESOURCE_EXHAUSTED
    assert [each for frame in callee.heard() for each in frame.cancels] == [call.id]
    assert stage.broker.is_idle


def test_an_error_s_text_is_cut() -> None:
    """A megabyte of text, or text that is not writable, does not break the caller's connection."""
    stage = Stage()
    caller, callee = stage.worker("p"), stage.worker("w", "a")
    caller.call(AGENT)
    (call,) = callee.calls()

    callee.reply(call, b"", CallFailure(Code.UNKNOWN, "\ud800" + "x" * 1_000_000, "ValueError"))

    (reply,) = caller.replies()
    assert reply.error is not None
    assert len(reply.error.message.encode()) < 20_000


def test_a_call_made_in_a_turn_carries_the_chain() -> None:
    """Event, then call, then call: the callee sees which turns wait for it."""
    stage = Stage()
    worker = stage.worker("w", "a", "b", "c")
    worker.publish("x")
    (delivery,) = worker.deliveries()
    worker.call(("b", "x"), parent=delivery.turn)
    (second,) = worker.calls()
    worker.call(("c", "x"), parent=second.id)
    (third,) = worker.calls()

    assert second.chain == ((1, 1),)
    assert third.chain == ((1, 1), second.id)


def test_a_chain_is_made_only_of_turns_that_run_at_the_caller() -> None:
    """A parent that is settled, or runs elsewhere, is no parent."""
    stage = Stage()
    worker, stranger = stage.worker("w", "a"), stage.worker("s")
    worker.publish("x")
    (delivery,) = worker.deliveries()

    stranger.call(AGENT, parent=delivery.turn)
    worker.settle(delivery)
    worker.call(AGENT, parent=delivery.turn)
    worker.call(AGENT, parent=99)

    assert [call.chain for call in worker.calls()] == [(), (), ()]


def test_a_chain_has_an_end() -> None:
    """The thirty-third call in a row is refused."""
    stage = Stage()
    worker = stage.worker("w", "a")
    parent: int | None = None
    chain: tuple[TurnId, ...] = ()
    for number in range(33):
        worker.call(("a", f"k{number}"), parent=parent)
        (call,) = worker.calls()
        parent, chain = call.id, call.chain
    assert len(chain) == 32

    worker.call(("a", "one too many"), parent=parent)

    assert ending(worker)[1] == Code.RESOURCE_EXHAUSTED


def test_a_call_in_a_chain_reaches_an_agent_that_is_asked_to_move() -> None:
    """The agent may be waiting for it before it can let go.

    A stranger's call waits for the next holder.
    """
    stage = Stage()
    caller, old = stage.worker("p"), stage.worker("old", "a")
    old.heard()
    new = stage.worker("new", "a")
    (asked,) = [each for frame in old.heard() for each in frame.surrenders]
    partition = asked.partitions[0][0]
    key = next(f"k{n}" for n in range(100) if partition_of("a", f"k{n}", PARTITIONS) == partition)
    stays = next(
        f"k{n}"
        for n in range(100)
        if partition_of("a", f"k{n}", PARTITIONS) not in [each for each, _ in asked.partitions]
    )
    caller.call(("a", stays))
    (outer,) = old.calls()

    caller.call(("a", key))
    old.call(("a", key), parent=outer.id)

    (inner,) = old.calls()
    assert inner.chain == (outer.id,)
    assert new.calls() == []
    old.reply(inner)
    old.surrender(asked)
    assert [call.target for call in new.calls()] == [("a", key)]


def test_calls_that_had_not_arrived_follow_a_surrendered_partition() -> None:
    """A worker answers all it knows before it surrenders: what is open after that goes on."""
    stage = Stage()
    caller, old = stage.worker("p"), stage.worker("old", "a")
    old.heard()
    for number in range(20):
        caller.call(("a", f"k{number}"))
    new = stage.worker("new", "a")

    old.surrender_all_asked()

    assert len(new.calls()) > 0
    old.leave()
    new.leave()
    assert len(caller.replies()) == 20


def test_calls_of_a_type_that_a_worker_leaves_out_go_to_another() -> None:
    """They do not wait for their deadline."""
    stage = Stage()
    caller, old = stage.worker("p"), stage.worker("old", "a", "b")
    caller.call(AGENT)
    old.register("b")
    assert old.calls() == []

    assert [call.target for call in stage.worker("new", "a").calls()] == [AGENT]


def test_calls_that_wait_for_a_type_end_with_it() -> None:
    """A session-only type that ends takes its waiting calls with it."""
    stage = Stage()
    caller = stage.worker("p")
    worker = stage.worker("w", TypeEntry("a", session_only=True))
    worker.drain()
    worker.surrender_all_asked()
    caller.call(AGENT)

    worker.leave()

    assert ending(caller)[1] == Code.UNAVAILABLE
    assert stage.broker.is_idle
