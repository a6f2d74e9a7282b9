"""The memory engine: positions, epochs, dead letters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from callboard.core.commit import Append, Commit, DeadLetter, Drop, Errand, Replay
from callboard.core.dead_letters import Selection
from callboard.core.event import Delivery, Event
from callboard.core.session import Session
from callboard.engine import memory
from callboard.engine.contract import Engine
from callboard.engine.memory import MemoryEngine

EVENT = Event(b"12345678", "t", "x")


def dead(
    position: int, detail: str = "", agent_type: str = "a", reason: str = "unhandled"
) -> DeadLetter:
    return DeadLetter(Delivery(position, (agent_type, "x"), EVENT), reason, detail, 0.0)


def taken(replays: list[int], drops: list[int], new: list[DeadLetter] | None = None) -> Commit:
    errand = Errand()
    return Commit(
        replays=[Replay(dead(position), errand) for position in replays],
        drops=[Drop(position, errand) for position in drops],
        dead=new or [],
        errands=[errand],
    )


def positions_of(letters: Sequence[DeadLetter]) -> list[int]:
    return [letter.delivery.position for letter in letters]


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
    epochs = [(await engine.open()).epoch for _ in range(100)]

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


async def test_a_dead_letter_is_replayed_or_dropped_once() -> None:
    """The first that a commit names has it; positions go on rising, for replays as for appends."""
    engine: Engine = MemoryEngine()
    await engine.commit(Commit(appends=[append(1, 4)]))
    await engine.commit(Commit(dead=[dead(n) for n in (1, 2, 3)]))

    commit = taken(replays=[2, 2, 9], drops=[2, 1, 1])
    commit.appends.append(append(2, 1))

    assert list(await engine.commit(commit)) == [5, 6, 0, 0, 0, 1, 0]
    assert positions_of(await engine.dead_letters()) == [3]
    assert list(await engine.commit(taken([3], []))) == [7]
    assert list(await engine.dead_letters()) == []


async def test_what_a_step_takes_goes_before_what_it_brings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead letter that is replayed is not forgotten for want of room by the same step."""
    monkeypatch.setattr(memory, "MAX_DEAD_LETTERS", 2)
    engine = MemoryEngine()
    await engine.commit(Commit(appends=[append(1, 3)], dead=[dead(1), dead(2)]))

    assert list(await engine.commit(taken([1], [], new=[dead(3)]))) == [4]
    assert positions_of(await engine.dead_letters()) == [2, 3]


async def test_dead_letters_are_read_in_pages() -> None:
    """By position, from either end, beyond one that is there no more; of one type or reason."""
    engine: Engine = MemoryEngine()
    letters = [
        dead(5, agent_type="b"),
        dead(1),
        dead(3, reason="invalid"),
        dead(2, reason="invalid", agent_type="b"),
        dead(4),
    ]
    await engine.commit(Commit(dead=letters))
    await engine.commit(taken([], [3]))

    async def page(
        selection: Selection, beyond: int = 0, *, newest_first: bool = False
    ) -> list[int]:
        letters = await engine.dead_letters(
            selection, beyond=beyond, limit=2, newest_first=newest_first
        )
        return positions_of(letters)

    assert await page(Selection()) == [1, 2]
    assert await page(Selection(), beyond=2) == [4, 5]
    assert await page(Selection(), beyond=3) == [4, 5]
    assert await page(Selection(), beyond=5) == []
    assert await page(Selection(), newest_first=True) == [5, 4]
    assert await page(Selection(), newest_first=True, beyond=3) == [2, 1]
    assert await page(Selection(agent_type="b")) == [2, 5]
    assert await page(Selection(reason="invalid")) == [2]
    assert await page(Selection("a", "invalid")) == []
    letter = await engine.dead_letter(4)
    assert letter is letters[4]
    assert await engine.dead_letter(3) is None


async def test_a_page_of_large_events_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are bounded, but one event fits in any case."""
    monkeypatch.setattr(memory, "PAGE_BYTES", 20)
    engine = MemoryEngine()
    await engine.commit(Commit(dead=[dead(1), dead(2), dead(3, "x" * 20), dead(4)]))

    async def page(beyond: int) -> list[int]:
        return positions_of(await engine.dead_letters(beyond=beyond, limit=10))

    assert [await page(beyond) for beyond in (0, 2, 3, 4)] == [[1, 2], [3], [4], []]
