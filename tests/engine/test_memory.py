"""The memory engine: positions, epochs, dead letters."""

from __future__ import annotations

import pytest

from callboard.core.commit import Append, Commit, DeadLetter
from callboard.core.event import Delivery, Event
from callboard.core.session import Session
from callboard.engine import memory
from callboard.engine.contract import Engine
from callboard.engine.memory import MemoryEngine

EVENT = Event(b"12345678", "t", "x")


def dead(position: int, detail: str = "") -> DeadLetter:
    return DeadLetter(Delivery(position, ("a", "x"), EVENT), "unhandled", detail, 0.0)


def append(number: int, targets: int) -> Append:
    session = Session("s", "s")
    return Append(session, number, EVENT, tuple((f"t{n}", "x") for n in range(targets)))


async def test_positions_rise_and_are_never_reused() -> None:
    """One for each target, in order, over commits."""
    engine: Engine = MemoryEngine()

    first = await engine.commit(Commit(appends=[append(1, 2), append(2, 0), append(3, 1)]))
    second = await engine.commit(Commit(removed=[1]))
    third = await engine.commit(Commit(appends=[append(4, 1)]))

    assert (list(first), list(second), list(third)) == ([1, 2, 3], [], [4])


async def test_the_epoch_rises_with_each_opening() -> None:
    """Also within one millisecond."""
    engine = MemoryEngine()
    epochs = [await engine.open() for _ in range(100)]

    assert epochs == sorted(set(epochs))
    assert 0 < epochs[0] < 2**64


async def test_dead_letters_are_kept_oldest_first() -> None:
    """With their reasons."""
    engine = MemoryEngine()
    await engine.commit(Commit(dead=[dead(1), dead(2)]))
    await engine.commit(Commit(dead=[dead(3)]))

    assert [letter.delivery.position for letter in await engine.dead_letters()] == [1, 2, 3]


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

    assert [letter.delivery.position for letter in await engine.dead_letters()] == kept
