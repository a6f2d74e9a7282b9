"""The table of open calls, and the line of those that wait."""

from __future__ import annotations

from callboard.core.calls import OpenCall, OpenCalls, WaitingCalls


def begun(
    calls: OpenCalls[str], caller: str = "p", caller_id: int = 1, deadline: float = 10
) -> OpenCall[str]:
    call = calls.begin(caller, caller_id, ("a", "x"), b"12345", deadline=deadline)
    assert call is not None
    return call


def test_a_call_is_open_from_its_beginning_to_its_ending() -> None:
    """Then nothing of it is left."""
    calls: OpenCalls[str] = OpenCalls()
    call = begun(calls)
    calls.assign(call, "w")
    assert (len(calls), calls.size, calls.get(call.id)) == (1, 7, call)
    assert calls.assigned_to("w") == [call]

    assert calls.answer(call.id, "w", last=True) is call

    assert (len(calls), calls.size, calls.next_deadline()) == (0, 0, None)
    assert calls._by_session == {}
    assert calls._by_caller == {}


def test_an_answer_that_is_not_the_last_leaves_it_open() -> None:
    """A stream of replies."""
    calls: OpenCalls[str] = OpenCalls()
    call = begun(calls)
    calls.assign(call, "w")
    assert calls.answer(call.id, "w", last=False) is call
    assert len(calls) == 1


def test_an_id_is_open_once() -> None:
    """And free again after the ending; another caller may have the same."""
    calls: OpenCalls[str] = OpenCalls()
    call = begun(calls)
    assert calls.begin("p", 1, ("a", "x"), b"", deadline=1) is None
    begun(calls, "q", 1)
    calls.end(call)
    assert begun(calls).id == 3


def test_only_the_callee_answers() -> None:
    """Nobody does while it waits, nor a former callee."""
    calls: OpenCalls[str] = OpenCalls()
    call = begun(calls)
    assert calls.answer(call.id, "w", last=True) is None
    calls.assign(call, "w")
    calls.assign(call, None)
    assert calls.answer(call.id, "w", last=True) is None
    assert calls.assigned_to("w") == []
    calls.assign(call, "v")
    assert calls.answer(call.id, "v", last=True) is call


def test_losing_a_session_ends_both_kinds_of_its_calls() -> None:
    """Those it should have answered, and those it made; one that is both it made."""
    calls: OpenCalls[str] = OpenCalls()
    to_it, of_it, both, neither = (
        begun(calls, "p", 1),
        begun(calls, "w", 1),
        begun(calls, "w", 2),
        begun(calls, "p", 2),
    )
    calls.assign(to_it, "w")
    calls.assign(of_it, "v")
    calls.assign(both, "w")
    calls.assign(neither, "v")

    assert calls.lose("w") == ([to_it], [of_it, both])
    assert calls.lose("w") == ([], [])
    assert calls.assigned_to("v") == [neither]


def test_deadlines_pass_in_order() -> None:
    """Ended calls have none."""
    calls: OpenCalls[str] = OpenCalls()
    late, early, ended = (
        begun(calls, caller_id=number, deadline=deadline)
        for number, deadline in ((1, 20), (2, 10), (3, 5))
    )
    calls.cancel("p", 3)
    assert ended.id not in calls._by_id
    assert calls.next_deadline() == 10
    assert calls.expire(9.9) == []
    assert calls.expire(30) == [early, late]
    assert calls.cancel("p", 1) is None


def test_deadlines_of_ended_calls_do_not_gather() -> None:
    """Thousands of calls of five minutes, answered at once, leave about a thousand numbers."""
    calls: OpenCalls[str] = OpenCalls()
    for number in range(10_000):
        calls.end(begun(calls, caller_id=number, deadline=300))
    assert len(calls._deadlines) <= 1024


def test_calls_wait_by_partition_and_agent() -> None:
    """Taken together when the partition has a holder, in order for each agent."""
    table: OpenCalls[str] = OpenCalls()
    waiting: WaitingCalls[str] = WaitingCalls()
    one, two, other = (begun(table, caller_id=number) for number in (1, 2, 3))
    other.target = ("a", "y")
    for call in (one, other, two):
        waiting.add(5, call)
    assert (waiting.count_for(5, ("a", "x")), waiting.count_for(6, ("a", "x"))) == (2, 0)

    waiting.remove(5, one)
    waiting.remove(5, one)
    waiting.remove(6, two)
    assert waiting.take(5) == [two, other]
    assert waiting.take(5) == []
    assert len(waiting) == 0


def test_all_waiting_calls_may_be_taken() -> None:
    """When their type ends."""
    table: OpenCalls[str] = OpenCalls()
    waiting: WaitingCalls[str] = WaitingCalls()
    calls = [begun(table, caller_id=number) for number in (1, 2)]
    for partition, call in enumerate(calls):
        waiting.add(partition, call)
    assert waiting.take_all() == calls
    assert len(waiting) == 0
