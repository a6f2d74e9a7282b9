"""The mailbox: what waits for one agent, and what may run next."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.event import Delivery, Event, Grant, TurnId
from callboard.core.frames import Call
from callboard.core.queues import AgentQueue
from callboard.core.turns import Admission, Mailbox

EVENT = Event(b"", "t", "x")
AGENT = ("a", "x")


def delivery(position: int, attempt: int = 1, serial: int = 1) -> Delivery:
    return Delivery(position, AGENT, EVENT, attempt, Grant(1, serial))


def call(call_id: int, *chain: TurnId) -> Call:
    return Call(call_id, AGENT, b"", 1.0, chain=chain)


def released(mailbox: Mailbox[str]) -> list[tuple[int, int, float | None]]:
    """What is told as released: positions, failed turns and when they are due."""
    return [
        (each.delivery.position, each.delivery.failed_turns, each.due)
        for each in mailbox.take_released()
    ]


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
    mailbox.release()
    assert released(mailbox) == [(2, 0, None)]

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
    mailbox.release(running.to_be_tried_again(), 5.0)
    mailbox.finish(running.turn)

    assert released(mailbox) == [(1, 1, 5.0)]
    assert mailbox.is_idle
    assert not mailbox.deliver(delivery(3), "")
    assert mailbox.deliver(delivery(1, 2), "")


def test_releasing_an_empty_mailbox_gives_nothing_back() -> None:
    """There is nothing to tell the host."""
    mailbox: Mailbox[str] = Mailbox()
    mailbox.release()
    assert released(mailbox) == []
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
    mailbox.release()
    assert released(mailbox) == [(1, 1, 5.0)]
    assert mailbox.is_idle
    assert not mailbox.deliver(delivery(2), "was under way")
    assert mailbox.deliver(delivery(1, 2), "anew")
    assert mailbox.next(0.0) is not None


# Several turns at once.


def test_as_many_turns_run_as_the_type_allows() -> None:
    """Events begin in order, calls before them, all of them together up to the limit."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=3)
    for position, body in enumerate(("one", "two", "three", "four"), 1):
        mailbox.deliver(delivery(position), body)
    assert [next_of(mailbox), next_of(mailbox)] == ["one", "two"]
    mailbox.call(waiting := call(7))
    assert mailbox.next() is waiting
    assert mailbox.next() is None
    mailbox.finish((2, 1))
    assert next_of(mailbox) == "three"
    mailbox.finish(7)
    mailbox.finish((1, 1))
    assert next_of(mailbox) == "four"
    assert not mailbox.is_waiting
    assert mailbox.is_running


def test_a_call_that_comes_back_is_let_in_beyond_the_limit_and_counts() -> None:
    """What waits for it must not wait for a place; others wait until there is one."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=2)
    for position in (1, 2, 3):
        mailbox.deliver(delivery(position), "")
    mailbox.next()
    mailbox.next()
    assert mailbox.call(call(7, (2, 1))) is Admission.RUNS_NOW
    mailbox.begin(7)
    mailbox.finish((1, 1))
    assert mailbox.next() is None
    mailbox.finish(7)
    assert mailbox.next() is not None


def test_while_an_attempt_waits_no_later_event_begins() -> None:
    """Those that had begun go on, and may fail as well: each waits in its own place."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=3)
    deliveries = [delivery(position) for position in (1, 2, 3, 4)]
    for each in deliveries:
        mailbox.deliver(each, str(each.position))
    assert [next_of(mailbox) for _ in range(3)] == ["1", "2", "3"]
    mailbox.try_again(deliveries[1].to_be_tried_again(), "2 again", 2.0)
    mailbox.finish((2, 1))
    assert mailbox.next(1.0) is None
    mailbox.try_again(deliveries[0].to_be_tried_again(), "1 again", 5.0)
    mailbox.finish((1, 1))
    assert mailbox.due == 5.0
    assert mailbox.next(4.0) is None
    for again in ("1 again", "2 again", "4"):
        item = mailbox.next(5.0)
        assert isinstance(item, tuple)
        assert item[1] == again
        mailbox.finish(item[0].turn)


def test_a_release_is_told_when_no_turn_behind_it_runs() -> None:
    """One that ends well behind it is settled before; one that fails is given back with it."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=4)
    deliveries = [delivery(position) for position in (1, 2, 3, 4, 5)]
    for each in deliveries:
        mailbox.deliver(each, "")
    for _ in range(4):
        mailbox.next()
    mailbox.release(deliveries[1].to_be_tried_again(), 60.0)
    mailbox.finish((2, 1))
    assert not mailbox.is_waiting
    assert released(mailbox) == []
    assert not mailbox.deliver(delivery(6), "was under way")
    mailbox.finish((3, 1))
    assert released(mailbox) == []
    mailbox.try_again(deliveries[3].to_be_tried_again(), "", 1.0)
    mailbox.finish((4, 1))
    assert released(mailbox) == [(4, 1, 1.0), (2, 1, 60.0)]
    assert mailbox.is_running  # the first, which it does not concern
    assert not mailbox.deliver(delivery(4, 2), "before the first of what was given back")
    assert mailbox.deliver(delivery(2, 2), "anew")
    assert mailbox.deliver(delivery(4, 3), "anew")


def test_an_event_before_a_release_may_be_tried_again_or_released_later() -> None:
    """It was not given back with it; then it is the first that has to come anew."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=2)
    deliveries = [delivery(position) for position in (1, 2)]
    for each in deliveries:
        mailbox.deliver(each, "")
    mailbox.next()
    mailbox.next()
    mailbox.release(deliveries[1].to_be_tried_again(), 9.0)
    mailbox.finish((2, 1))
    assert released(mailbox) == [(2, 1, 9.0)]
    failed = deliveries[0].to_be_tried_again()
    mailbox.try_again(failed, "again", 0.0)
    mailbox.finish((1, 1))
    assert next_of(mailbox) == "again"
    mailbox.release(failed.to_be_tried_again(), 3.0)
    mailbox.finish((1, 1))
    assert released(mailbox) == [(1, 2, 3.0)]
    assert not mailbox.deliver(delivery(2, 2), "")
    assert mailbox.deliver(delivery(1, 2), "")


def test_giving_all_back_waits_for_turns_behind_an_attempt() -> None:
    """As when a partition is asked for."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=2)
    deliveries = [delivery(position) for position in (1, 2, 3)]
    for each in deliveries:
        mailbox.deliver(each, "")
    mailbox.next()
    mailbox.next()
    mailbox.try_again(deliveries[0].to_be_tried_again(), "", 0.5)
    mailbox.finish((1, 1))
    mailbox.release()
    assert released(mailbox) == []
    mailbox.finish((2, 1))
    assert released(mailbox) == [(1, 1, 0.5)]
    assert mailbox.is_idle


def test_what_is_given_back_is_held_until_it_is_told() -> None:
    """What was behind it and had not begun is not: another host hands that out as new."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=2)
    deliveries = [delivery(position) for position in (1, 2, 3)]
    for each in deliveries:
        mailbox.deliver(each, "")
    assert mailbox.held == deliveries
    mailbox.next()
    mailbox.next()
    mailbox.release(deliveries[0].to_be_tried_again(), 9.0)
    mailbox.finish((1, 1))
    assert [each.position for each in mailbox.held] == [1]
    mailbox.finish((2, 1))
    assert released(mailbox) == [(1, 1, 9.0)]
    assert not mailbox.held


def test_what_was_given_back_keeps_others_out_until_another_host_has_heard_of_it() -> None:
    """Before that what it hands out is void with the release; then it has counted anew."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=2)
    for position in (1, 2):
        mailbox.deliver(delivery(position), "")
        mailbox.next()
    mailbox.release(delivery(1).to_be_tried_again(), 9.0)
    mailbox.finish((1, 1))
    mailbox.lift_fence(())
    assert mailbox.is_fenced  # it is not told while the other turn runs
    mailbox.finish((2, 1))
    assert released(mailbox) == [(1, 1, 9.0)]
    mailbox.lift_fence({1})
    assert not mailbox.deliver(delivery(3), "under way")
    mailbox.lift_fence({2})
    assert mailbox.deliver(delivery(1), "anew")


def test_an_event_does_not_run_beside_its_own_turn_that_was_cut_off() -> None:
    """Another host hands it out under the same attempt."""
    mailbox: Mailbox[str] = Mailbox(max_concurrency=2)
    mailbox.deliver(delivery(1), "once")
    assert next_of(mailbox) == "once"
    mailbox.drop()
    mailbox.deliver(delivery(1, serial=2), "again")
    assert mailbox.next() is None
    mailbox.finish((1, 1))
    assert next_of(mailbox) == "again"


class Worked:
    """A mailbox and the queue of its agent at a host, with a line between them.

    Another host may take the place of the one that there is. It finds what that has heard, and
    hears the rest.
    """

    def __init__(self, limit: int, count: int) -> None:
        self.limit = limit
        self.queue = AgentQueue(AGENT, 0)
        self.queue.wake()
        self.queue.waiting.extend(
            Delivery(position, AGENT, EVENT) for position in range(1, count + 1)
        )
        self.mailbox: Mailbox[int] = Mailbox(max_concurrency=limit)
        self.down: deque[Delivery] = deque()
        self.up: deque[tuple[Delivery, str]] = deque()
        self.running: list[Delivery] = []
        self.begun: list[int] = []
        self.done: list[int] = []
        self.failed: Counter[int] = Counter()

    def hand_out(self) -> None:
        """The host has room for one more."""
        if self.queue.waiting:
            delivery = self.queue.waiting.popleft()
            delivery.attempt += 1
            delivery.grant = Grant(1, 1)
            self.queue.out.append(delivery)
            self.down.append(delivery)

    def arrive(self) -> None:
        """What the host has said last arrives."""
        if self.down:
            delivery = self.down.popleft()
            self.mailbox.deliver(delivery, delivery.position)

    def take(self) -> None:
        """What the worker has said first arrives: it is out, or the rule is broken."""
        if not self.up:
            return
        settled, outcome = self.up.popleft()
        out = {each.position: each for each in self.queue.out}
        delivery = out.get(settled.position)
        assert delivery is not None, f"{settled.position} is not out"
        assert delivery.attempt == settled.attempt
        assert delivery.position not in self.queue.settled
        if outcome == "released":
            self.queue.take_back(delivery)
            first = self.queue.waiting[0]
            first.failed_turns = max(first.failed_turns, settled.failed_turns)
        else:
            self.queue.settle(delivery)

    def replace_host(self) -> None:
        """Another host finds what is not settled, and takes for out what the worker has."""
        self.down.clear()
        unheard = [settled for settled, _ in self.up]
        held = {
            each.position: each.attempt for each in (*unheard, *self.mailbox.held, *self.running)
        }
        former, self.queue = self.queue, AgentQueue(AGENT, 0)
        self.queue.wake()
        left = [each for each in former.out if each.position not in former.settled]
        for each in (*left, *former.waiting):
            new = Delivery(each.position, AGENT, EVENT, failed_turns=each.failed_turns)
            if each.position in held:
                assert not self.queue.waiting, "what is held is no run from the front"
                new.attempt, new.grant = held.pop(each.position), Grant(1, 1)
                self.queue.out.append(new)
            else:
                self.queue.waiting.append(new)
        assert not held
        self.mailbox.lift_fence({settled.position for settled in unheard})

    def begin(self) -> None:
        """A turn begins, if one may."""
        item = self.mailbox.next(0.0)
        if isinstance(item, tuple):
            delivery = item[0]
            assert delivery.failed_turns == self.failed[delivery.position]
            if delivery.position not in self.begun:
                assert all(delivery.position > each for each in self.begun)
                self.begun.append(delivery.position)
            assert delivery.position not in self.done
            self.running.append(delivery)
            assert len(self.running) <= self.limit

    def end(self, which: int, how: str) -> None:
        """A turn ends: well, or it fails and is tried again here, or is given back."""
        if not self.running:
            return
        delivery = self.running.pop(which % len(self.running))
        if how == "well":
            self.done.append(delivery.position)
        else:
            self.failed[delivery.position] += 1
            failed = delivery.to_be_tried_again()
            if how == "again":
                self.mailbox.try_again(failed, delivery.position, 0.0)
            else:
                self.mailbox.release(failed, 9.0)
        self.mailbox.finish(delivery.turn)
        if how == "well":
            self.up.append((delivery, "accepted"))
        self._tell_released()

    def release(self) -> None:
        """All that waits is given back."""
        self.mailbox.release()
        self._tell_released()

    def _tell_released(self) -> None:
        self.up.extend((each.delivery, "released") for each in self.mailbox.take_released())


STEPS = st.one_of(
    st.tuples(st.just("hand_out")),
    st.tuples(st.just("arrive")),
    st.tuples(st.just("take")),
    st.tuples(st.just("begin")),
    st.tuples(st.just("release")),
    st.tuples(st.just("replace_host")),
    st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from(("well", "again", "back"))),
)


@given(limit=st.integers(1, 4), steps=st.lists(STEPS, max_size=120))
def test_whatever_happens_each_event_is_done_once_and_no_settlement_is_refused(
    limit: int, steps: list[tuple[Any, ...]]
) -> None:
    """Whatever fails, is given back or is under way: first beginnings in order, counts kept.

    Also when another host takes the place of the one that heard it.
    """
    worked = Worked(limit, 8)
    for step, *args in steps:
        getattr(worked, step)(*args)
    for _ in range(200):
        for _ in range(8):
            worked.hand_out()
            worked.arrive()
            worked.begin()
        worked.end(0, "well")
        worked.take()
    assert sorted(worked.done) == list(range(1, 9))
    assert worked.queue.is_empty
    assert worked.mailbox.is_idle
