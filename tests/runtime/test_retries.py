"""Events whose turns fail: tried again in their place, or given back, or given up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from callboard import CantHandleException, MessageContext, Policy, TopicId
from callboard.agent.turn import CURRENT_TURN, AgentFactory, Turn
from callboard.core.errors import Code, InvalidIdentifier, ResourceExhausted, Unavailable
from callboard.core.frames import ACCEPTED, Rejected, Released
from callboard.core.partition import partition_of
from callboard.exceptions import Reject
from callboard.host import Host
from callboard.worker import WorkerRuntime
from runtime.stage import ME, PATIENCE_S, Doing, running

SOON = Policy(max_attempts=3, backoff_s=0.02)
LATER = Policy(max_attempts=3, backoff_s=100.0, backoff_max_s=100.0)
HELD = Policy(max_attempts=3, backoff_s=0.9)


async def test_a_failed_event_is_tried_again_before_those_behind_it() -> None:
    """Order is kept; each is settled once, with how it ended at last."""
    seen: list[tuple[str, int]] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append((message, ctx.attempt))
        if message == "first" and ctx.attempt < 3:
            raise ValueError("no")

    async with running(do, SOON) as stage:
        for message in ("first", "second", "third"):
            stage.deliver(message)
        told = await stage.until_told(3)
    assert seen == [("first", 1), ("first", 2), ("first", 3), ("second", 1), ("third", 1)]
    assert told == [(f"settle {number}", ACCEPTED) for number in (1, 2, 3)]


async def test_an_attempt_waits_for_its_time() -> None:
    """Half of the whole wait at least has passed before the second attempt."""
    begun: list[float] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        begun.append(asyncio.get_running_loop().time())
        if ctx.attempt == 1:
            raise ValueError("no")

    async with running(do, Policy(backoff_s=0.1)) as stage:
        stage.deliver("event")
        await stage.until_told(1)
    assert begun[1] - begun[0] >= 0.05


async def test_other_agents_and_calls_do_not_wait_for_an_attempt() -> None:
    """While one event waits, its agent answers calls and its neighbours go on."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        if message == "fail":
            raise ValueError("no")

    async with running(do, HELD) as stage:
        stage.deliver("fail")
        stage.deliver("behind")
        while stage.runner._turns or not stage.runner._retries._timers:
            await asyncio.sleep(0)
        stage.call(7)
        stage.call(8)
        stage.deliver("event", ("agent", "other"))
        assert [what for what, _ in await stage.until_told(3)] == ["reply 7", "reply 8", "settle 3"]
        assert not stage.runner.is_idle


async def test_spent_attempts_end_in_a_dead_letter_that_says_how_many() -> None:
    """With the last error; the agent goes on, with the very instance."""
    agents: set[Doing] = set()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        agents.add(agent)
        if message == "fail":
            raise ValueError(f"no {ctx.attempt}")

    async with running(do, SOON) as stage:
        stage.deliver("fail")
        stage.deliver("next")
        first, second = await stage.until_told(2)
    assert first == (
        "settle 1",
        Rejected("handler_error", "3 attempts, the last: ValueError: no 3"),
    )
    assert second == ("settle 2", ACCEPTED)
    assert len(agents) == 1


async def test_attempts_made_elsewhere_count() -> None:
    """Two turns had failed when the event was handed out here."""
    attempts: list[int] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("no")

    async with running(do, SOON) as stage:
        stage.deliver_again(1, "event", attempt=4, failed_turns=2)
        ((_, outcome),) = await stage.until_told(1)
    assert attempts == [3]
    assert outcome.detail == "3 attempts, the last: ValueError: no"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Reject("not an order"), Rejected("rejected", "not an order")),
        (CantHandleException("not mine"), Rejected("unhandled", "not mine")),
    ],
)
async def test_what_no_attempt_can_mend_is_not_tried_again(
    error: Exception, expected: Rejected
) -> None:
    """The agent says so itself, or has no handler."""
    seen: list[str] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(message)
        raise error

    async with running(do, SOON) as stage:
        stage.deliver("event")
        assert await stage.until_told(1) == [("settle 1", expected)]
    assert seen == ["event"]


async def test_neither_what_cannot_be_read_nor_what_nobody_serves_is_tried_again() -> None:
    """Both are dead letters at once."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        """Nothing."""

    async with running(do, HELD) as stage:
        stage.deliver('"')
        stage.deliver("event", ("nobody", "x"))
        told = await stage.until_told(2)
    assert sorted(outcome.reason for _, outcome in told) == ["bad_payload", "no_such_type"]


async def test_the_caller_gets_a_reject_as_any_other_error() -> None:
    """A call is nothing that could become a dead letter."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        raise Reject("no")

    async with running(do, SOON) as stage:
        stage.call(7)
        ((_, error),) = await stage.until_told(1)
    assert (error.code, error.type, error.message) == (Code.UNKNOWN, "Reject", "no")


async def cancelled(ctx: MessageContext) -> None:
    await asyncio.Event().wait()


async def swallowing(ctx: MessageContext) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def translating(ctx: MessageContext) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        raise Reject from error


async def heeding_its_token(ctx: MessageContext) -> None:
    told = asyncio.get_running_loop().create_future()
    ctx.cancellation_token.add_callback(lambda: told.set_result(None))
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.shield(told)
    assert told.done()


@pytest.mark.parametrize("hang", [cancelled, swallowing, translating, heeding_its_token])
async def test_a_turn_that_takes_too_long_is_cancelled_and_has_failed(hang: Any) -> None:
    """Whatever its handler makes of that; it is tried again, and the next turns run as ever."""
    attempts: list[int] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        attempts.append(ctx.attempt)
        if message == "hang":
            await hang(ctx)
        await asyncio.sleep(0)

    policy = Policy(max_attempts=2, backoff_s=0.01, turn_timeout_s=0.02)
    async with running(do, policy) as stage:
        stage.deliver("hang")
        stage.deliver("next")
        first, second = await stage.until_told(2)
    assert attempts == [1, 2, 1]
    text = "2 attempts, the last: TimeoutError: the turn took longer than 0.02 s"
    assert first == ("settle 1", Rejected("handler_error", text))
    assert second == ("settle 2", ACCEPTED)


async def test_a_call_is_not_subject_to_the_time_of_turns() -> None:
    """It has its own deadline."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        await asyncio.sleep(0.05)

    async with running(do, Policy(turn_timeout_s=0.01)) as stage:
        stage.call(7)
        assert await stage.until_told(1) == [("reply 7", None)]


async def test_an_attempt_due_later_is_given_back_with_all_behind_it() -> None:
    """What was under way is dropped until the released one comes anew, its count with it."""
    seen: list[tuple[str, int]] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append((message, ctx.attempt))
        if ctx.attempt == 1 and message == "fail":
            raise ValueError("no")

    async with running(do, LATER) as stage:
        stage.deliver("fail")
        stage.deliver("behind")
        ((what, outcome),) = await stage.until_told(1)
        assert what == "settle 1"
        assert isinstance(outcome, Released)
        assert outcome.failed_turns == 1
        assert 50 <= outcome.not_before_s <= 100
        assert stage.runner.is_idle
        stage.deliver("under way")
        stage.deliver_again(1, "fail", attempt=2, failed_turns=1)
        stage.deliver_again(2, "behind", attempt=2)
        stage.deliver_again(3, "under way", attempt=2)
        told = await stage.until_told(4)
    assert [what for what, _ in told[1:]] == ["settle 1", "settle 2", "settle 3"]
    assert seen == [("fail", 1), ("fail", 2), ("behind", 1), ("under way", 1)]


async def test_an_agent_without_an_instance_knows_what_it_has_given_back() -> None:
    """What was under way is dropped, also when the agent cannot be made or was closed meanwhile."""
    made: list[Doing] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        if message == "later":
            raise ValueError("no")

    def make() -> Doing:
        if not made:
            made.append(Doing(do))
            raise ValueError("not yet")
        return Doing(do)

    async with running(do, LATER) as stage:
        stage.runner.add_factory("agent", AgentFactory(make, policy=LATER))
        stage.deliver("fail")
        await stage.until_told(1)
        stage.deliver("under way")
        assert stage.runner.is_idle
        stage.deliver_again(1, "later", attempt=2, failed_turns=1)
        await stage.until_told(2)
        (activation,) = stage.runner._activations
        stage.runner._instances.begin_close(activation)
        await stage.runner.wait_idle()
        assert not stage.runner.instances
        stage.deliver("under way")
        assert stage.runner.is_idle
        stage.deliver_again(1, "fail", attempt=3, failed_turns=2)
        stage.deliver_again(2, "behind", attempt=2)
        await stage.until_told(4)
        assert stage.told == ["settle 1", "settle 1", "settle 1", "settle 2"]


async def test_a_surrender_does_not_wait_for_an_attempt() -> None:
    """The event goes at once, with its count and the rest of its time; nothing is held."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        raise ValueError("no")

    async with running(do, HELD) as stage:
        stage.deliver("fail")
        stage.deliver("behind")
        while stage.runner._turns or not stage.runner._retries._timers:
            await asyncio.sleep(0)
        stage.surrender(partition_of(*ME, 4))
        (_, outcome), _ = await stage.until_told(2)
        assert stage.told == ["settle 1", "surrendered"]
        assert outcome.failed_turns == 1
        assert 0 < outcome.not_before_s <= 0.9
        assert not stage.runner._retries._timers
        assert not stage.runner._activations


async def test_a_turn_that_fails_in_a_leaving_partition_is_given_back() -> None:
    """The surrender waits for the turn, not for the next one."""
    go_on = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        await go_on.wait()
        raise ValueError("no")

    async with running(do, SOON) as stage:
        stage.deliver("fail")
        while not stage.runner._turns:
            await asyncio.sleep(0)
        stage.surrender(partition_of(*ME, 4))
        go_on.set()
        (_, outcome), _ = await stage.until_told(2)
    assert stage.told == ["settle 1", "surrendered"]
    assert isinstance(outcome, Released)
    assert outcome.failed_turns == 1


async def test_agents_that_are_closed_are_not_woken_for_an_attempt() -> None:
    """Nothing is left that would begin a turn of one that is gone."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        raise ValueError("no")

    async with running(do, HELD) as stage:
        stage.deliver("fail")
        while stage.runner._turns or not stage.runner._retries._timers:
            await asyncio.sleep(0)
        await stage.runner.pause()
        await stage.runner.close_agents()
        assert not stage.runner._retries._timers


async def test_what_every_attempt_published_is_confirmed_before_the_end_is_told() -> None:
    """Also when the attempt has failed: what it published is out, and must not be lost."""
    turns: list[Any] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        turn = stage.runner.current_turn()
        assert turn is not None
        turn.begin_publish()
        turns.append(turn)
        if ctx.attempt == 1:
            raise ValueError("no")

    async with running(do, SOON) as stage:
        stage.deliver("event")
        async with asyncio.timeout(PATIENCE_S):
            while len(turns) < 2 or stage.runner._turns:
                await asyncio.sleep(0)
        turns[1].end_publish(None)
        assert stage.told == []
        turns[0].end_publish(Unavailable("what a failed attempt published counts no more"))
        assert stage.output.told == [("settle 1", ACCEPTED)]
        assert stage.runner.is_idle


async def test_no_attempt_begins_while_the_runner_pauses() -> None:
    """One that falls due meanwhile begins when turns run again."""
    seen: list[int] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("no")

    async with running(do, Policy(backoff_s=0.01)) as stage:
        stage.deliver("event")
        while not stage.runner._retries._timers:
            await asyncio.sleep(0)
        await stage.runner.pause()
        while stage.runner._retries._timers:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == [1]
        stage.runner._resume()
        await stage.until_told(1)
    assert seen == [1, 2]


async def test_an_event_keeps_its_key_and_no_other_has_it() -> None:
    """Over attempts, and when it is handed out again; calls have their own."""
    keys: dict[str, set[str]] = {}

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        name = f"{agent.id} {message} {ctx.is_rpc}"
        keys.setdefault(name, set()).add(ctx.idempotency_key)
        if ctx.attempt == 1 and not ctx.is_rpc:
            raise ValueError("no")

    async with running(do, Policy(max_attempts=2, backoff_s=0.0)) as stage:
        stage.deliver("one")
        stage.deliver("two")
        stage.deliver("three", ("agent", "other"))
        await stage.until_told(3)
        stage.deliver_again(1, "one", attempt=2)
        stage.call(7)
        await stage.until_told(5)
    assert [len(each) for each in keys.values()] == [1, 1, 1, 1]
    assert len(set.union(*keys.values())) == 4
    assert "" not in set.union(*keys.values())


async def test_a_worker_that_stops_waits_for_no_attempt_and_the_next_one_goes_on() -> None:
    """The event is tried again elsewhere: one attempt later, under the same key."""
    attempts: list[tuple[str, int, str]] = []
    done = asyncio.Event()

    def doing(worker: str) -> Doing:
        async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
            attempts.append((worker, ctx.attempt, ctx.idempotency_key))
            if ctx.attempt == 1:
                raise ValueError("no")
            done.set()

        return Doing(do)

    async with Host(port=0) as host, WorkerRuntime(host.address) as shop:
        first = WorkerRuntime(host.address)
        await first.start()
        await Doing.register(first, "agent", lambda: doing("first"), policy=HELD)
        await shop.publish_message("event", TopicId("agent:x", "me"))
        async with asyncio.timeout(PATIENCE_S):
            while not first._runner._retries._timers:
                await asyncio.sleep(0)
            await first.stop()
            assert [each[:2] for each in attempts] == [("first", 1)]
            async with WorkerRuntime(host.address) as second:
                await Doing.register(second, "agent", lambda: doing("second"), policy=HELD)
                await done.wait()
    (_, _, key), last = attempts
    assert last == ("second", 2, key)


def begin_publish() -> Turn:
    """The handler publishes, and the host has not answered yet."""
    turn = CURRENT_TURN.get()
    assert turn is not None
    turn.begin_publish()
    return turn


FULL = ResourceExhausted("full")


async def test_an_event_whose_publish_found_no_room_is_given_back_with_what_has_not_begun() -> None:
    """Its agent was further already: those that it had begun count, and are told before."""
    seen: list[str] = []
    published: list[Turn] = []
    goes_on = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(message)
        if seen == ["first"]:
            published.append(begin_publish())
        if seen == ["first", "second", "third"]:
            await goes_on.wait()

    async with running(do, SOON) as stage:
        for message in ("first", "second", "third", "fourth"):
            stage.deliver(message)
        while len(seen) < 3:
            await asyncio.sleep(0)
        published[0].end_publish(FULL)
        stage.deliver_again(5, "on its way", attempt=1)
        goes_on.set()
        told = await stage.until_told(3)
        assert told[:2] == [("settle 2", ACCEPTED), ("settle 3", ACCEPTED)]
        assert told[2][0] == "settle 1"
        assert isinstance(told[2][1], Released)
        assert told[2][1].failed_turns == 1
        assert told[2][1].not_before_s <= 0.02
        stage.deliver_again(1, "first", attempt=2, failed_turns=1)
        stage.deliver_again(4, "fourth", attempt=2)
        assert (await stage.until_told(5))[3:] == [
            ("settle 1", ACCEPTED),
            ("settle 4", ACCEPTED),
        ]
    assert seen == ["first", "second", "third", "first", "fourth"]


async def test_what_fails_behind_an_event_without_room_is_given_back_before_it() -> None:
    """Each counts its own failed turn."""
    published: list[Turn] = []
    goes_on = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        if message == "first":
            published.append(begin_publish())
        else:
            await goes_on.wait()
            raise ValueError("no")

    async with running(do, SOON) as stage:
        stage.deliver("first")
        stage.deliver("second")
        while len(stage.runner._turns) != 1 or not published:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        published[0].end_publish(FULL)
        goes_on.set()
        told = await stage.until_told(2)
    assert [each[0] for each in told] == ["settle 2", "settle 1"]
    assert [each[1].failed_turns for each in told] == [1, 1]


async def test_two_events_without_room_are_given_back_the_last_first() -> None:
    """Also when the first hears of it first: what is told behind a release would not count."""
    published: list[Turn] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        published.append(begin_publish())

    async with running(do, SOON) as stage:
        for message in ("first", "second", "third"):
            stage.deliver(message)
        while len(published) < 3:
            await asyncio.sleep(0)
        published[0].end_publish(FULL)
        published[1].end_publish(FULL)
        published[2].end_publish(None)
        told = await stage.until_told(3)
    assert [each[0] for each in told] == ["settle 3", "settle 2", "settle 1"]
    assert [each[1].failed_turns for each in told[1:]] == [1, 1]


async def test_an_event_whose_publishes_never_find_room_is_a_dead_letter() -> None:
    """When its attempts are spent, those that failed for other reasons included."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        begin_publish().end_publish(FULL)

    async with running(do, SOON) as stage:
        stage.deliver_again(1, "first", attempt=3, failed_turns=2)
        assert await stage.until_told(1) == [
            ("settle 1", Rejected("queue_full", "3 attempts, the last: full"))
        ]


async def test_an_event_whose_publish_is_refused_for_good_is_not_tried_again() -> None:
    """Only room may come by waiting."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        begin_publish().end_publish(InvalidIdentifier("bad topic"))

    async with running(do, SOON) as stage:
        stage.deliver("first")
        assert await stage.until_told(1) == [("settle 1", Rejected("publish_refused", "bad topic"))]
