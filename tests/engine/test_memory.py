"""The memory engine: what it forgets."""

from __future__ import annotations

import pytest

from callboard.core.commit import Commit, DeadLetter
from callboard.core.event import Delivery, Event
from callboard.engine import memory
from callboard.engine.memory import MemoryEngine
from engine.commits import positions_of, taken

EVENT = Event(b"12345678", "t", "x")


def dead(position: int, detail: str = "") -> DeadLetter:
    return DeadLetter(Delivery(position, ("a", "x"), EVENT), "unhandled", detail, 0.0)


async def test_the_epoch_rises_with_each_opening() -> None:
    """Also within one millisecond."""
    engine = MemoryEngine()
    epochs = [(await engine.open()).epoch for _ in range(100)]

    assert epochs == sorted(set(epochs))
    assert 0 < epochs[0] < 2**64


async def test_nothing_waits_for_the_next_host() -> None:
    """It was lost with this one."""
    assert list(await MemoryEngine().waiting()) == []


@pytest.mark.parametrize(
    ("bound", "value", "kept"),
    [("MAX_DEAD_LETTERS", 2, [2, 3]), ("MAX_DEAD_LETTER_BYTES", 20, [3])],
)
async def test_dead_letters_are_bounded_by_count_and_bytes(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: int, kept: list[int]
) -> None:
    """Memory has no other bound: the oldest are forgotten."""
    monkeypatch.setattr(memory, bound, value)
    engine = MemoryEngine()

    await engine.commit(Commit(dead=[dead(n, "four") for n in (1, 2, 3)]))

    assert positions_of(await engine.dead_letters()) == kept


async def test_what_a_step_takes_goes_before_what_it_brings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead letter that is replayed is not forgotten for want of room by the same step."""
    monkeypatch.setattr(memory, "MAX_DEAD_LETTERS", 2)
    engine = MemoryEngine()
    await engine.commit(Commit(dead=[dead(1), dead(2)]))

    assert list(await engine.commit(taken([dead(1)], [], new=[dead(3)]))) == [1]
    assert positions_of(await engine.dead_letters()) == [2, 3]
