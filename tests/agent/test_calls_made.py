"""Calls whose host has said nothing end all the same."""

from __future__ import annotations

import asyncio

import pytest

from callboard.agent.calls_made import HOST_GRACE_S, CallsMade
from callboard.core.errors import DeadlineExceeded
from callboard.core.frames import Call, Reply
from simulator.virtual_time import run


async def _ending(calls: CallsMade, remaining_s: float) -> float:
    """When a call with so much time is given up."""
    call = Call(calls.next_id(), ("silent", "host"), b"", remaining_s)
    with pytest.raises(DeadlineExceeded, match="no reply from silent/host in time"):
        await calls.reply_to(call, None)
    return asyncio.get_running_loop().time()


def test_each_call_is_given_up_at_its_own_deadline() -> None:
    """Later and sooner ones, in whatever order they were made."""
    times_s = (30.0, 10.0, 20.0, 10.0, 1.0)

    async def main() -> None:
        calls = CallsMade(lambda _: None, lambda _: None, lambda *_: None)
        began = asyncio.get_running_loop().time()
        ended = await asyncio.gather(*(_ending(calls, each) for each in times_s))
        assert [each - began for each in ended] == pytest.approx(
            [each + HOST_GRACE_S for each in times_s]
        )
        assert calls.none_open

    run(main())


def test_the_deadline_of_a_call_that_was_answered_ends_no_other() -> None:
    """The one timer may look when nothing is late."""

    async def main() -> None:
        calls = CallsMade(lambda _: None, lambda _: None, lambda *_: None)
        began = asyncio.get_running_loop().time()
        answered = asyncio.create_task(
            calls.reply_to(Call(calls.next_id(), ("a", "b"), b"", 1.0), None)
        )
        late = asyncio.create_task(_ending(calls, 5.0))
        await asyncio.sleep(0.5)
        calls.take([Reply(1, b"answer")])
        assert (await answered).payload == b"answer"
        assert await late - began == pytest.approx(5.0 + HOST_GRACE_S)

    run(main())
