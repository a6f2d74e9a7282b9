"""Frames over streams that are cut anywhere: each taken in once, in order, and few are kept."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.continuity import TELL_EVERY, Continuity
from callboard.core.errors import ProtocolViolation


@dataclass
class Note:
    """A frame that says one number; 0: nothing but what was received."""

    number: int = 0
    received: int = 0


@dataclass
class Side:
    """One side: what it wants to say, what it has heard, and what is on its way to it."""

    continuity: Continuity[Note] = field(default_factory=Continuity)
    unsaid: deque[int] = field(default_factory=deque)
    heard: list[int] = field(default_factory=list)
    coming: deque[tuple[int, int]] = field(default_factory=deque)

    def next_frame(self) -> Note | None:
        """As the outboxes do: first again, then what is new, then only what was received."""
        again = self.continuity.say_again()
        if again is not None:
            return again
        if self.unsaid:
            return self.continuity.say(Note(self.unsaid.popleft()))
        return self.continuity.say(Note()) if self.continuity.owes else None

    def hear(self) -> None:
        """Take in one frame."""
        number, received = self.coming.popleft()
        self.continuity.received += 1
        self.continuity.acknowledge(received)
        if number:
            self.heard.append(number)


class Pair:
    """A worker, a host, and one stream at a time between them."""

    def __init__(self) -> None:
        self.worker = Side()
        self.host = Side()
        self.is_connected = True
        self.last = 0

    def other(self, side: Side) -> Side:
        return self.host if side is self.worker else self.worker

    def want(self, side: Side) -> None:
        self.last += 1
        side.unsaid.append(self.last)

    def say(self, side: Side) -> bool:
        """One frame leaves; on the wire it is bytes, which no later change reaches."""
        frame = side.next_frame() if self.is_connected else None
        if frame is not None:
            self.other(side).coming.append((frame.number, frame.received))
        return frame is not None

    def hear(self, side: Side) -> bool:
        if not side.coming:
            return False
        side.hear()
        return True

    def cut(self) -> None:
        """The stream is over, with what is on its way."""
        self.is_connected = False
        self.worker.coming.clear()
        self.host.coming.clear()

    def connect(self, *, is_welcome_lost: bool = False) -> None:
        """Another stream: ``hello``, and ``welcome`` unless that is lost."""
        self.cut()
        self.host.continuity.resume(self.worker.continuity.received)
        if is_welcome_lost:
            return
        self.worker.continuity.resume(self.host.continuity.received)
        self.is_connected = True

    def settle_down(self) -> int:
        """Say and hear until there is no more; how many frames that took."""
        count = 0
        while True:
            said = [self.say(side) for side in (self.worker, self.host)]
            heard = [self.hear(side) for side in (self.worker, self.host)]
            if not any(said + heard):
                return count
            count += sum(said)


STEPS = st.lists(
    st.sampled_from(
        ["worker wants", "host wants", "worker says", "host says", "worker hears", "host hears"] * 3
        + ["cut", "connect", "hello alone"]
    ),
    max_size=150,
)


def play(pair: Pair, steps: list[str]) -> None:
    for step in steps:
        who, _, what = step.partition(" ")
        side = pair.worker if who == "worker" else pair.host
        match what or step:
            case "wants":
                pair.want(side)
            case "says":
                pair.say(side)
            case "hears":
                pair.hear(side)
            case "cut":
                pair.cut()
            case "connect":
                pair.connect()
            case _:
                pair.connect(is_welcome_lost=True)


@given(STEPS)
@settings(max_examples=600)
def test_whatever_is_cut_each_frame_is_taken_in_once_and_in_order(steps: list[str]) -> None:
    """On both sides, and in the end neither keeps more than it has to be told of."""
    pair = Pair()
    play(pair, steps)
    pair.connect()
    pair.settle_down()

    wanted = list(range(1, pair.last + 1))
    assert sorted(pair.worker.heard + pair.host.heard) == wanted
    for side in (pair.worker, pair.host):
        assert side.heard == sorted(side.heard)
        assert side.continuity.kept_count < TELL_EVERY


@given(st.integers(1, 400), st.integers(0, 400))
def test_what_is_kept_is_bounded_by_how_often_the_other_side_tells(mine: int, its: int) -> None:
    """Also when only one side has anything to say; and they do not thank each other for ever."""
    pair = Pair()
    for _ in range(mine):
        pair.want(pair.worker)
    for _ in range(its):
        pair.want(pair.host)

    count = pair.settle_down()

    assert pair.worker.continuity.kept_count < TELL_EVERY
    assert pair.host.continuity.kept_count < TELL_EVERY
    assert count <= (mine + its) * (1 + 2 / TELL_EVERY) + 2


def test_what_is_said_again_tells_what_was_received_meanwhile() -> None:
    """And not what had been when it was said first."""
    pair = Pair()
    pair.want(pair.worker)
    pair.say(pair.worker)
    pair.cut()
    pair.worker.continuity.received = 5

    pair.worker.continuity.resume(0)
    frame = pair.worker.next_frame()

    assert frame == Note(1, received=5)


def test_a_stream_that_breaks_while_things_are_said_again_begins_from_what_is_missing() -> None:
    """Not from where it broke."""
    pair = Pair()
    for _ in range(5):
        pair.want(pair.worker)
        pair.say(pair.worker)
    pair.connect()
    for _ in range(3):
        pair.say(pair.worker)
    pair.hear(pair.host)
    pair.connect()
    pair.want(pair.worker)

    pair.settle_down()

    assert pair.host.heard == [1, 2, 3, 4, 5, 6]


def test_what_is_told_twice_or_late_changes_nothing() -> None:
    """Acknowledgements only rise."""
    side: Continuity[Note] = Continuity()
    for number in range(1, 5):
        side.say(Note(number))

    assert [note.number for note in side.acknowledge(3)] == [1, 2, 3]
    assert side.acknowledge(3) == []
    assert side.acknowledge(1) == []
    assert side.kept_count == 1


def test_nobody_has_received_what_was_never_said() -> None:
    """Neither in a frame nor in a greeting, and what was kept stays."""
    side: Continuity[Note] = Continuity()
    side.say(Note(1))

    with pytest.raises(ProtocolViolation, match=r"2 frames are said to be received, 1 were sent"):
        side.acknowledge(2)
    with pytest.raises(ProtocolViolation, match=r"2 frames are said to be received, 1 were sent"):
        side.resume(2)
    assert side.kept_count == 1
    assert side.say_again() is None


def test_nobody_forgets_what_it_had_received() -> None:
    """What it has told to have is kept no more."""
    side: Continuity[Note] = Continuity()
    side.say(Note(1))
    side.acknowledge(1)

    with pytest.raises(ProtocolViolation, match=r"0 frames are said to be received, 1 were before"):
        side.resume(0)
