"""Calls between stock workers: every one has an ending, and the right one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autogen.world import PROMPTLY_S, Stage, callboard_host, note


async def test_an_answer_arrives_as_it_was(either: Stage) -> None:
    """A dataclass and a pydantic model, asked for and answered."""
    agent_type = either.name()
    _, caller = await asyncio.gather(either.clerk(agent_type), either.stock())

    said = await caller.do("call", message=note("hello", 3), target=(agent_type, "k/1"))
    assert said["answer"] == ["Note", {"text": f"{agent_type}/k/1: hello", "number": 3}]
    bill = ("Bill", {"name": "ink", "lines": [1], "tax": 0.5})
    said = await caller.do("call", message=bill, target=(agent_type, "k"))
    assert said["answer"] == ["Bill", {"name": "ink", "lines": [1, 1], "tax": 0.5}]


async def test_a_callee_knows_what_it_is_asked(either: Stage) -> None:
    """A call has no topic, and a sender only if an agent made it; one to the empty key arrives."""
    one, other = either.name(), either.name()
    worker, _ = await asyncio.gather(either.clerk(one), either.clerk(other))

    await worker.call(f"call {other} x", one, "")
    await worker.call("from no agent", other)

    said = await worker.gets(f"call {other} x")
    assert (said["agent"], said["topic"], said["sender"]) == ([one, ""], None, None)
    assert said["is_rpc"]


async def test_agents_call_agents_in_other_workers(either: Stage) -> None:
    """The callee learns which agent calls, and its answer goes all the way back."""
    first, second = either.name(), either.name()
    one, other, caller = await asyncio.gather(
        either.clerk(first), either.clerk(second), either.stock()
    )

    said = await caller.call(f"call {second} x", first, "k")

    assert said["answer"][1]["text"] == f"{second}/x: passed on"
    assert (await other.gets("passed on"))["sender"] == [first, "k"]
    assert len(one.got(f"call {second} x")) == 1


async def test_agents_call_agents_in_their_own_worker(either: Stage) -> None:
    """A call whose callee is in the caller's own process goes the same way."""
    first, second = either.name(), either.name()
    worker = await either.clerk(first)
    await worker.do("register", agent_type=second)

    said = await worker.call(f"call {second} x", first)

    assert said["answer"][1]["text"] == f"{second}/x: passed on"


async def test_a_caller_has_many_calls_open(either: Stage) -> None:
    """Twenty calls at once, each with its own answer, the slow one last."""
    agent_type = either.name()
    _, caller = await asyncio.gather(either.clerk(agent_type), either.stock())

    slow = asyncio.create_task(caller.call("sleep 0.5", agent_type))
    said = await asyncio.gather(
        *(
            caller.do("call", message=note("n", number), target=(agent_type, f"k{number}"))
            for number in range(20)
        )
    )

    assert [each["answer"][1]["number"] for each in said] == list(range(20))
    assert not slow.done()
    assert "answer" in await slow


async def test_an_error_arrives_with_its_text(either: Stage) -> None:
    """The caller gets what AutoGen makes of it: an `Exception` with the text."""
    agent_type = either.name()
    _, caller = await asyncio.gather(either.clerk(agent_type), either.stock())

    said = await caller.call("raise out of päper", agent_type)

    assert (said["class"], said["error"]) == ("Exception", "out of päper")


async def test_none_is_an_answer_where_programs_can_say_it(either: Stage) -> None:
    """Workers with a serializer of their own for None get and give it."""
    agent_type = either.name()
    _, caller = await asyncio.gather(either.clerk(agent_type, none=True), either.stock(none=True))

    said = await caller.call("nothing", agent_type)

    assert said["answer"] is None
    assert "error" not in said


async def test_each_caller_gets_its_own_answer(stage: Stage) -> None:
    """Three callers, whose workers number their calls alike, call one worker at once."""
    agent_type = stage.name()
    worker, *callers = await asyncio.gather(
        stage.clerk(agent_type), stage.stock(), stage.stock(), stage.stock()
    )

    for _ in range(5):
        said = await asyncio.gather(
            *(
                caller.do(
                    "call", message=note("sleep 0.1", number), target=(agent_type, f"k{number}")
                )
                for number, caller in enumerate(callers)
            )
        )
        assert [each["answer"][1]["number"] for each in said] == [0, 1, 2]
    assert len(worker.got("sleep 0.1")) == 15


async def test_a_call_to_an_unknown_type_fails_at_once(stage: Stage) -> None:
    """The error names the type."""
    caller, nobody = await stage.stock(), stage.name("nobody")

    said = await caller.call("hello?", nobody)

    assert nobody in said["error"]
    assert said["seconds"] < PROMPTLY_S


async def test_an_error_without_a_text_is_an_error(stage: Stage) -> None:
    """What a handler raises without a text is no answer: the host gives it one."""
    agent_type = stage.name()
    _, caller = await asyncio.gather(stage.clerk(agent_type), stage.stock())

    said = await caller.call("raise ", agent_type)

    assert said["error"]
    assert said["seconds"] < PROMPTLY_S


async def test_a_killed_callee_fails_its_calls_at_once(stage: Stage) -> None:
    """The process is gone, the caller hears of it, and later calls fail as well."""
    agent_type = stage.name()
    worker, caller = await asyncio.gather(stage.clerk(agent_type), stage.stock())
    calls = [asyncio.create_task(caller.call("hold", agent_type)) for _ in range(3)]
    await worker.gets("hold")

    await worker.kill()

    async with asyncio.timeout(PROMPTLY_S):
        said = await asyncio.gather(*calls)
    assert all(each["error"] for each in said)
    later = await caller.call("anyone?", agent_type)
    assert agent_type in later["error"]
    assert later["seconds"] < PROMPTLY_S


async def test_a_stopped_callee_fails_later_calls_at_once(stage: Stage) -> None:
    """A worker that left in good order serves its types no more."""
    agent_type = stage.name()
    worker, caller = await asyncio.gather(stage.clerk(agent_type), stage.stock())
    assert "answer" in await caller.call("hello", agent_type)

    await worker.do("stop")

    said = await caller.call("hello?", agent_type)
    assert agent_type in said["error"]
    assert said["seconds"] < PROMPTLY_S


async def test_a_callee_outlives_its_caller(stage: Stage) -> None:
    """An answer that nobody waits for any more goes nowhere, and the callee goes on."""
    agent_type = stage.name()
    worker, caller, third = await asyncio.gather(
        stage.clerk(agent_type), stage.stock(), stage.stock()
    )
    call = asyncio.create_task(caller.call("sleep 0.3", agent_type))
    await worker.gets("sleep 0.3")

    await caller.kill()

    with pytest.raises(EOFError):
        await call
    assert "answer" in await third.call("sleep 0.5", agent_type)
    assert "answer" in await third.call("hello", agent_type)


async def test_a_call_too_large_for_a_stock_worker_fails(stage: Stage) -> None:
    """A request of five megabytes ends with an error, and the callee goes on."""
    agent_type = stage.name()
    _, caller = await asyncio.gather(stage.clerk(agent_type), stage.stock())

    large = ("Note", {"repeat": 5_000_000, "number": 1})
    said = await caller.do("call", message=large, target=(agent_type, "k"))

    assert said["error"]
    assert "answer" in await caller.call("hello", agent_type)


async def test_an_answer_too_large_for_a_stock_worker_fails(stage: Stage) -> None:
    """An answer of five megabytes becomes an error, and caller and callee go on."""
    agent_type = stage.name()
    _, caller = await asyncio.gather(stage.clerk(agent_type), stage.stock())

    said = await caller.call("large 5000000", agent_type)

    assert said["error"]
    assert "answer" in await caller.call("hello", agent_type)


async def test_a_text_of_an_error_too_large_for_a_stock_worker_is_cut(stage: Stage) -> None:
    """The caller gets the error, and goes on."""
    agent_type = stage.name()
    _, caller = await asyncio.gather(stage.clerk(agent_type), stage.stock())

    said = await caller.call("large-error 5000000", agent_type)

    assert said["letters"] < 5_000_000
    assert "answer" in await caller.call("hello", agent_type)


async def test_calls_of_one_worker_keep_their_order(either: Stage) -> None:
    """Fifty calls that are made at once reach the agent in the order of their making."""
    agent_type = either.name()
    worker, caller = await asyncio.gather(either.clerk(agent_type), either.stock())

    await caller.do("call_often", target=(agent_type, "k"), times=50)

    assert [said["got"][1]["number"] for said in worker.got("often")] == list(range(50))


@pytest.mark.parametrize(
    "what", [note("nothing"), ("Secret", {"text": "?"})], ids=["none", "unknown class"]
)
async def test_a_callee_that_says_nothing_fails_the_call_in_time(what: Any) -> None:
    """A stock worker answers neither with None nor to what it cannot read: the deadline ends it."""
    with callboard_host(CALLBOARD_CALL_TIMEOUT_S="1") as address:
        stage = Stage(address)
        agent_type = stage.name()
        _, caller = await asyncio.gather(
            stage.clerk(agent_type), stage.stock(knows=("Note", "Secret"))
        )

        said = await caller.do("call", message=what, target=(agent_type, "k"))

        assert said["error"]
        assert 1 <= said["seconds"] < 1 + PROMPTLY_S
        assert "answer" in await caller.call("hello", agent_type)
        await stage.close()
