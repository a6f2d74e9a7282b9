"""The mailbox: what waits for one agent, and what may run next."""

from __future__ import annotations

from callboard.core.event import Delivery, Event, Grant, TurnId
from callboard.core.frames import Call
from callboard.core.turns import Admission, Mailbox

EVENT = Event(b"", "t", "x")
AGENT = ("a", "x")


def delivery(position: int, attempt: int = 1, serial: int = 1) -> Delivery:
    return Delivery(position, AGENT, EVENT, attempt, Grant(1, serial))


def call(call_id: int, *chain: TurnId) -> Call:
    return Call(call_id, AGENT, b"", 1.0, chain=chain)


def next_of(mailbox: Mailbox[str]) -> object:
    item = mailbox.next()
    return item[1] if isinstance(item, tuple) else item


def test_one_turn_at_a_time_events_in_order_calls_first() -> None:
    """A call overtakes events that wait, never the turn that runs."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(delivery(1), "one")
    mailbox.deliver(delivery(2), "two")
    assert next_of(mailbox) == "one"
    assert mailbox.call(waiting := call(7)) is Admission.WAITS
    assert mailbox.next() is None
    mailbox.finish((1, 1))
    assert mailbox.next() is waiting
    mailbox.finish(7)
    assert next_of(mailbox) == "two"
    assert mailbox.is_running
    mailbox.finish((2, 1))
    assert mailbox.is_idle


def test_without_events_only_calls_run() -> None:
    """For a runtime that is stopping."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(delivery(1), "one")
    assert mailbox.next(events=False) is None
    mailbox.call(waiting := call(7))
    assert mailbox.next(events=False) is waiting


def test_a_call_of_the_running_turn_is_let_in() -> None:
    """However deep in the chain; the next turn waits for both to end."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(delivery(1), "one")
    mailbox.deliver(delivery(2), "two")
    mailbox.next()
    assert mailbox.call(call(7, (1, 1), 5)) is Admission.RUNS_NOW
    mailbox.begin(7)
    assert mailbox.call(call(8, 7)) is Admission.RUNS_NOW
    mailbox.finish((1, 1))
    assert mailbox.next() is None
    mailbox.finish(7)
    assert next_of(mailbox) == "two"


def test_strangers_wait() -> None:
    """Another chain, a former turn, a former attempt."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(delivery(1), "one")
    mailbox.next()
    mailbox.finish((1, 1))
    mailbox.deliver(delivery(2, 2), "two")
    mailbox.next()
    chains: list[tuple[TurnId, ...]] = [(), ((1, 1),), ((2, 1),), (2,)]
    for number, chain in enumerate(chains):
        assert mailbox.call(call(number, *chain)) is Admission.WAITS


def test_calls_that_wait_are_bounded() -> None:
    """One too many is refused; a withdrawn one makes room."""
    mailbox: Mailbox[str] = Mailbox(max_calls_waiting=2)
    assert [mailbox.call(call(number)) for number in (1, 2, 3)] == [
        Admission.WAITS,
        Admission.WAITS,
        Admission.REFUSED,
    ]
    assert mailbox.withdraw(1)
    assert not mailbox.withdraw(1)
    assert mailbox.call(call(4)) is Admission.WAITS


def test_after_a_release_nothing_of_that_run_is_taken_in() -> None:
    """Until its first comes anew, or anything under another grant."""
    mailbox: Mailbox[str] = Mailbox()
    for position in (1, 2, 3):
        mailbox.deliver(delivery(position), "")
    mailbox.next()
    first = mailbox.release()
    assert first is not None
    assert first.position == 2

    assert not mailbox.deliver(delivery(4), "was under way")
    assert not mailbox.deliver(delivery(2), "was under way")
    assert mailbox.deliver(delivery(2, 2), "anew")
    assert mailbox.deliver(delivery(3, 2), "anew")


def test_another_grant_ends_a_release() -> None:
    """The partition was given up and came back."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(delivery(1), "")
    mailbox.release()

    assert mailbox.deliver(delivery(5, serial=2), "")


def test_a_running_event_may_be_released_with_those_after_it() -> None:
    """It is the first that has to come anew."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(running := delivery(1), "")
    mailbox.deliver(delivery(2), "")
    mailbox.next()
    mailbox.finish(running.turn)

    assert mailbox.release(running) is running
    assert mailbox.is_idle
    assert not mailbox.deliver(delivery(3), "")
    assert mailbox.deliver(delivery(1, 2), "")


def test_releasing_an_empty_mailbox_gives_nothing_back() -> None:
    """There is nothing to tell the host."""
    mailbox: Mailbox[str] = Mailbox()
    assert mailbox.release() is None
    assert mailbox.deliver(delivery(1), "")


def test_an_event_that_is_tried_again_waits_in_front_of_all_others() -> None:
    """Until it is due no event runs, and calls do; then it is the first, then the others."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(first := delivery(1), "one")
    mailbox.deliver(delivery(2), "two")
    mailbox.next(0.0)
    mailbox.try_again(first.to_be_tried_again(), "one again", 5.0)
    assert mailbox.next(9.0) is None  # the turn that failed has not ended
    mailbox.finish(first.turn)
    mailbox.deliver(delivery(3), "three")
    assert mailbox.due == 5.0
    assert mailbox.next(4.9) is None
    mailbox.call(waiting := call(7))
    assert mailbox.next(4.9) is waiting
    mailbox.finish(7)
    item = mailbox.next(5.0)
    assert isinstance(item, tuple)
    assert (item[0].failed_turns, item[1]) == (1, "one again")
    assert mailbox.due is None
    mailbox.finish(first.turn)
    assert next_of(mailbox) == "two"


def test_a_release_does_not_wait_for_the_next_attempt() -> None:
    """It gives back the event that waited, with its count; what comes anew waits for nothing."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.deliver(first := delivery(1), "one")
    mailbox.deliver(delivery(2), "two")
    mailbox.next(0.0)
    mailbox.try_again(first.to_be_tried_again(), "one", 5.0)
    mailbox.finish(first.turn)
    released = mailbox.release()
    assert released is not None
    assert (released.position, released.failed_turns) == (1, 1)
    assert mailbox.is_idle
    assert not mailbox.deliver(delivery(2), "was under way")
    assert mailbox.deliver(delivery(1, 2), "anew")
    assert mailbox.next(0.0) is not None
