"""Those who wait are woken a few at a time, each once."""

from __future__ import annotations

import asyncio

import pytest

from callboard.agent.calls_made import SLICE, CallsMade
from callboard.agent.publishes import SLICE as PUBLISHERS
from callboard.agent.publishes import SLICE_BYTES, UnconfirmedPublishes
from callboard.core.errors import Unavailable
from callboard.core.event import Event
from callboard.core.frames import Call, HostFrame, Reply


async def told_by_step(told: list[int], count: int) -> list[int]:
    """How many were told by each step of the loop, until all were."""
    steps, before = [len(told)], len(told)
    while len(told) < count:
        await asyncio.sleep(0)
        steps.append(len(told) - before)
        before = len(told)
    return steps


@pytest.mark.parametrize(
    ("count", "size", "slices"),
    [
        (1, 10, [1]),
        (PUBLISHERS, 10, [PUBLISHERS]),
        (2 * PUBLISHERS + 1, 10, [PUBLISHERS, PUBLISHERS, 1]),
        (100, SLICE_BYTES // 40, [40, 40, 20]),
        (3, 2 * SLICE_BYTES, [1, 1, 1]),
        (PUBLISHERS + 1, 0, [PUBLISHERS, 1]),
    ],
)
async def test_publishers_go_on_in_slices(count: int, size: int, slices: list[int]) -> None:
    """Of so many, or of so many bytes: what the first publish next leaves meanwhile."""
    publishes = UnconfirmedPublishes()
    told: list[int] = []
    for number in range(1, count + 1):

        def done(why: object, number: int = number) -> None:
            assert why is None
            told.append(number)

        publishes.add(Event(b"x" * size, "t", "x"), done)

    publishes.confirm(HostFrame(published_through=count))

    assert publishes.is_empty
    assert publishes.confirmed == count
    assert await told_by_step(told, count) == slices
    assert told == list(range(1, count + 1))


async def test_callers_go_on_in_slices() -> None:
    """One that has given up meanwhile is passed over."""
    calls = CallsMade(lambda _: None, lambda _: None, lambda *_: None)
    count = 2 * SLICE + 1
    answered: list[int] = []

    async def call(number: int) -> None:
        await calls.reply_to(Call(calls.next_id(), ("a", "b"), b"", 60.0), None)
        answered.append(number)

    tasks = [asyncio.create_task(call(number)) for number in range(1, count + 1)]
    await asyncio.sleep(0)
    calls.take([Reply(number, b"answer") for number in range(1, count + 1)])
    tasks[-1].cancel()

    await asyncio.wait(tasks)
    assert answered == list(range(1, count))
    assert tasks[-1].cancelled()
    assert calls.none_open


async def test_who_is_answered_hears_the_answer_whatever_comes_then() -> None:
    """The host may be lost before the last slice; those without an answer hear of that."""
    calls = CallsMade(lambda _: None, lambda _: None, lambda *_: None)
    count = 3 * SLICE
    tasks = [
        asyncio.create_task(calls.reply_to(Call(calls.next_id(), ("a", "b"), b"", 60.0), None))
        for _ in range(count + 1)
    ]
    await asyncio.sleep(0)
    calls.take([Reply(number, b"answer") for number in range(1, count + 1)])
    calls.fail(Unavailable("the host is lost"))

    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, Reply) for each in ends] == [True] * count + [False]
    assert isinstance(ends[-1], Unavailable)
    assert calls.none_open
