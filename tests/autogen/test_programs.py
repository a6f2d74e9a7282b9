"""Whole programs, written as AutoGen's documentation and samples teach it."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from autogen.world import PATIENCE_S, PROGRAMS, PYTHON, autogen_host, callboard_host


@pytest.fixture(params=["ours", "theirs"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A host of their own: they all use the default topic."""
    with (callboard_host if request.param == "ours" else autogen_host)() as found:
        yield found


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        PYTHON, PROGRAMS / arguments[0], *arguments[1:], stdout=asyncio.subprocess.PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def lines(child: Process, count: int) -> list[str]:
    assert child.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return [(await child.stdout.readline()).decode().strip() for _ in range(count)]


async def end(*children: Process) -> None:
    """SIGTERM ends them in good order."""
    for child in children:
        child.terminate()
    async with asyncio.timeout(PATIENCE_S):
        assert [await child.wait() for child in children] == [0] * len(children)


async def test_a_chain_of_events_over_three_workers(address: str) -> None:
    """Two relays answer each other's events to the third, and one that watches hears of all."""
    async with (
        program("chain.py", address, "relay") as one,
        program("chain.py", address, "relay") as other,
    ):
        assert await lines(one, 1) == await lines(other, 1) == ["ready"]
        async with program("chain.py", address, "watcher") as watcher:
            ready, *heard = await lines(watcher, 7)
            await end(one, other, watcher)

    assert ready == "ready"
    passed = [each.split() for each in heard]
    assert sorted(value for value, *_ in passed) == ["1", "1", "2", "2", "3", "3"]
    takers = {taker for *_, taker in passed}
    assert len(takers) == 2
    for value, giver, taker in passed:
        assert giver == "unknown/unknown" if value == "1" else giver in takers - {taker}


async def test_events_that_lead_to_calls(address: str) -> None:
    """An agent that hears an event calls another, and both hear of the outcome but its author."""
    async with program("desk.py", address) as desk:
        said = await lines(desk, 2)
        await end(desk)

    assert said == [
        "shelf/default passed over Question(text='ink')",
        "shelf/default heard found ink from desk/default",
    ]


async def test_two_runtimes_of_one_process(address: str) -> None:
    """Each agent answers five times, and both runtimes stop."""
    async with program("pair.py", address) as pair:
        said = await lines(pair, 11)
        async with asyncio.timeout(PATIENCE_S):
            assert await pair.wait() == 0

    assert said.pop() == "stopped"
    assert sorted(said) == [f"{name} {number}" for name in ("one", "two") for number in range(1, 6)]
