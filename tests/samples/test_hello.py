"""The hello sample in one process."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from callboard.local import LocalRuntime
from callboard_samples import hello
from callboard_samples.command import SampleFailed


async def test_each_agent_publishes_five_times_and_stops() -> None:
    """Both say one to five, in order; then nothing waits any more."""
    async with LocalRuntime() as runtime:
        await hello.ping(runtime)
        await hello.pong(runtime)
        heard = await hello.play(runtime)
        await runtime.stop_when_idle()
        dead_letters = await runtime.dead_letters()

    for agent_type in ("ping", "pong"):
        numbers = [each.number for each in heard if each.author == agent_type]
        assert numbers == [1, 2, 3, 4, 5]
    assert len(heard) == 10
    assert not dead_letters


async def test_rounds_do_not_disturb_each_other() -> None:
    """Each round has agents of its own, one after the other or at once."""
    async with LocalRuntime() as runtime:
        await hello.ping(runtime)
        await hello.pong(runtime)
        first = await hello.play(runtime)
        at_once = await asyncio.gather(*(hello.play(runtime) for _ in range(3)))

    assert [len(heard) for heard in (first, *at_once)] == [10, 10, 10, 10]


async def test_without_an_agent_to_answer_it_fails_at_its_deadline() -> None:
    """The error says what was heard and what to look at."""
    async with LocalRuntime() as runtime:
        await hello.ping(runtime)
        with pytest.raises(SampleFailed, match=r"heard 1 of 10 .* within 0\.1 s; is there a"):
            await hello.play(runtime, deadline_s=0.1)


def test_it_runs_as_a_program() -> None:
    """``python -m callboard_samples.hello`` needs no host."""
    program = subprocess.run(
        [sys.executable, "-m", "callboard_samples.hello"],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )

    assert program.stdout.count("ping: hello") == 5
    assert "pong: hello 5 of 5" in program.stdout
    assert program.stderr == ""
