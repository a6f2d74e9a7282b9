"""Agents that may have several turns at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from callboard import MessageContext, Policy, TopicId, TypeSubscription
from callboard.agent.turn import AgentFactory
from callboard.core.frames import ACCEPTED, Rejected, Released
from callboard.core.partition import partition_of
from callboard.local import LocalRuntime
from runtime.stage import ME, PATIENCE_S, Doing, running

TWO = Policy(max_concurrency=2, max_attempts=1)
THREE = Policy(max_concurrency=3, max_attempts=1)


class Gates:
    """Turns that begin, and end when a test lets them."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def __call__(self, agent: Doing, message: str, ctx: MessageContext) -> None:
        self.begun.append(message)
        await self._gates[message].wait()
        if message.startswith("fail") and ctx.attempt == 1:
            raise ValueError("no")

    def open(self, message: str) -> None:
        """Let a turn end."""
        self._gates[message].set()

    async def until_begun(self, *messages: str) -> None:
        """Wait until exactly these have begun, in this order."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.begun) < len(messages):
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert self.begun == list(messages)


async def test_turns_run_side_by_side_up_to_the_limit_and_are_settled_as_they_end() -> None:
    """They begin in order, whoever ends first."""
    gates = Gates()
    async with running(gates, THREE) as stage:
        for text in "abcde":
            stage.deliver(text)
        await gates.until_begun("a", "b", "c")
        gates.open("c")
        await gates.until_begun("a", "b", "c", "d")
        gates.open("a")
        await gates.until_begun("a", "b", "c", "d", "e")
        for text in "bde":
            gates.open(text)
        await stage.until_told(5)
        assert stage.told[:2] == ["settle 3", "settle 1"]
        assert stage.runner.is_idle


async def test_one_agent_that_has_no_room_takes_none_from_others() -> None:
    """The limit is one of each agent."""
    gates = Gates()
    async with running(gates, TWO) as stage:
        for text in "abc":
            stage.deliver(text)
        stage.deliver("d", ("agent", "other"))
        await gates.until_begun("a", "b", "d")


async def test_an_agent_is_made_once_for_turns_that_begin_together() -> None:
    """All of them are turns of one instance."""
    made: list[Doing] = []
    seen: list[Doing] = []
    go_on = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(agent)

    async def make() -> Doing:
        await go_on.wait()
        made.append(Doing(do))
        return made[0]

    async with running(do) as stage:
        stage.runner.add_factory("slow", AgentFactory(make, policy=THREE))
        for text in "abc":
            stage.deliver(text, ("slow", "me"))
        for _ in range(5):
            await asyncio.sleep(0)
        go_on.set()
        await stage.until_told(3)
    assert len(made) == 1
    assert seen == made * 3


async def test_an_event_goes_back_after_those_behind_it_have_ended() -> None:
    """They are settled before, for a release takes back what is out behind it."""
    gates = Gates()
    policy = Policy(max_concurrency=3, backoff_s=100.0, backoff_max_s=100.0)
    async with running(gates, policy) as stage:
        for text in ("a", "fail", "c", "d"):
            stage.deliver(text)
        await gates.until_begun("a", "fail", "c")
        gates.open("fail")
        while len(stage.runner._turns) > 2:
            await asyncio.sleep(0)
        stage.deliver("under way")
        gates.open("c")
        _, (_, outcome) = await stage.until_told(2)
        assert stage.told == ["settle 3", "settle 2"]
        assert isinstance(outcome, Released)
        assert outcome.failed_turns == 1
        gates.open("a")
        await stage.until_told(3)
        assert stage.runner.is_idle
        stage.deliver_again(2, "fail", attempt=2, failed_turns=1)
        stage.deliver_again(4, "d", attempt=2)
        gates.open("d")
        await stage.until_told(5)
    assert sorted(stage.told[2:]) == ["settle 1", "settle 2", "settle 4"]
    assert gates.begun == ["a", "fail", "c", "fail", "d"]


async def test_while_an_event_waits_for_its_attempt_no_later_one_begins() -> None:
    """What has begun goes on, and calls are served."""
    gates = Gates()
    policy = Policy(max_concurrency=2, backoff_s=0.02)
    async with running(gates, policy) as stage:
        for text in ("fail", "b", "c"):
            stage.deliver(text)
        await gates.until_begun("fail", "b")
        gates.open("fail")
        gates.open("call")
        while not stage.runner._retries._timers:
            await asyncio.sleep(0)
        stage.call(7)
        await stage.until_told(1)
        assert stage.told == ["reply 7"]
        assert gates.begun == ["fail", "b", "call"]
        gates.open("b")
        gates.open("c")
        await stage.until_told(4)
    assert gates.begun == ["fail", "b", "call", "fail", "c"]


async def test_a_surrender_waits_for_all_turns_and_gives_back_what_waits() -> None:
    """An event that waits for its attempt goes when those behind it have ended."""
    gates = Gates()
    policy = Policy(max_concurrency=2, backoff_s=0.9)
    async with running(gates, policy) as stage:
        for text in ("fail", "b", "c"):
            stage.deliver(text)
        await gates.until_begun("fail", "b")
        gates.open("fail")
        while not stage.runner._retries._timers:
            await asyncio.sleep(0)
        stage.surrender(partition_of(*ME, 4))
        await asyncio.sleep(0)
        assert stage.told == []
        gates.open("b")
        told = await stage.until_told(3)
    assert [what for what, _ in told] == ["settle 2", "settle 1", "surrendered"]
    assert told[0][1] is ACCEPTED
    assert isinstance(told[1][1], Released)
    assert told[1][1].failed_turns == 1


async def test_each_turn_has_its_own_time() -> None:
    """One that takes too long is cancelled alone."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        if message == "hang":
            await asyncio.get_running_loop().create_future()

    policy = Policy(max_concurrency=2, max_attempts=1, turn_timeout_s=0.05)
    async with running(do, policy) as stage:
        for text in ("hang", "b", "c"):
            stage.deliver(text)
        told = await stage.until_told(3)
    assert [what for what, _ in told] == ["settle 2", "settle 3", "settle 1"]
    assert isinstance(told[2][1], Rejected)


async def test_an_agent_whose_type_goes_is_closed_when_all_its_turns_have_ended() -> None:
    """None begins meanwhile that would find it closing."""
    gates = Gates()
    async with running(gates, TWO) as stage:
        for text in "abc":
            stage.deliver(text)
        await gates.until_begun("a", "b")
        (instance,) = stage.runner.instances.values()
        stage.runner.remove_factory("agent")
        gates.open("a")
        await stage.until_told(1)
        assert list(stage.runner.instances.values()) == [instance]
        gates.open("b")
        told = await stage.until_told(3)
    assert gates.begun == ["a", "b"]
    assert told[2][0] == "settle 3"
    assert isinstance(told[2][1], Rejected)


async def test_a_type_registered_anew_has_its_new_limit() -> None:
    """Also for agents that are active."""
    gates = Gates()
    async with running(gates, TWO) as stage:
        for text in "abcd":
            stage.deliver(text)
        await gates.until_begun("a", "b")
        stage.runner.add_factory("agent", AgentFactory(lambda: Doing(gates), policy=THREE))
        stage.call(7)
        await gates.until_begun("a", "b", "call")


async def test_a_turn_that_leaves_its_task_cancelled_takes_none_of_the_others_with_it() -> None:
    """What waits is served by another task."""
    begun: list[Any] = []
    go_on = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        begun.append(message)
        if message == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return
        await go_on.wait()

    async with running(do, TWO) as stage:
        for text in ("a", "bad", "c", "d"):
            stage.deliver(text)
        while len(begun) < 3:
            await asyncio.sleep(0)
        go_on.set()
        await stage.until_told(4)
        assert stage.runner.is_idle


async def test_a_thousand_events_of_one_agent_run_eight_at_a_time() -> None:
    """Over the broker, whose window is smaller."""
    now = most = 0

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    async with LocalRuntime() as runtime:
        await Doing.register(runtime, "agent", lambda: Doing(do), policy=Policy(max_concurrency=8))
        await runtime.add_subscription(TypeSubscription("ticks", "agent"))
        await runtime.publish_many(map(str, range(1000)), TopicId("ticks", "me"))
        await runtime.stop_when_idle()
        assert runtime._broker.counters.accepted == 1000
    assert most == 8


async def test_what_was_to_be_given_back_is_dropped_with_a_lost_session() -> None:
    """Its turns too: somebody else has all of it, and the agent is closed when they have ended."""
    gates = Gates()
    policy = Policy(max_concurrency=2, backoff_s=100.0, backoff_max_s=100.0)
    async with running(gates, policy) as stage:
        for text in ("fail", "b", "c"):
            stage.deliver(text)
        await gates.until_begun("fail", "b")
        gates.open("fail")
        while len(stage.runner._turns) > 1:
            await asyncio.sleep(0)
        stage.runner.cut_off()
        async with asyncio.timeout(PATIENCE_S):
            await stage.runner.wait_idle()
        assert stage.told == []
        assert not stage.runner.instances
        assert not len(stage.runner._activations)


async def test_what_is_to_be_given_back_is_claimed_from_another_host_and_told_to_it() -> None:
    """With what runs behind it, for which it waits: what a worker has is a run from the front."""
    gates = Gates()
    policy = Policy(max_concurrency=2, backoff_s=100.0, backoff_max_s=100.0)
    async with running(gates, policy) as stage:
        for text in ("fail", "b", "c"):
            stage.deliver(text)
        await gates.until_begun("fail", "b")
        gates.open("fail")
        while len(stage.runner._turns) > 1:
            await asyncio.sleep(0)
        claims = stage.runner.claims()
        assert claims.held == {1: 1, 2: 1}
        stage.runner.keep_only(claims.partitions, frozenset())
        stage.deliver_again(3, "c", attempt=1)
        gates.open("b")
        await stage.until_told(2)
        assert stage.told == ["settle 2", "settle 1"]
        assert isinstance(stage.output.told[1][1], Released)
        stage.deliver_again(1, "fail", attempt=2, failed_turns=1)
        stage.deliver_again(3, "c", attempt=2)
        await gates.until_begun("fail", "b", "fail", "c")


async def test_what_was_given_back_and_heard_of_keeps_nothing_of_another_host_out() -> None:
    """It counts attempts anew."""
    gates = Gates()
    policy = Policy(max_concurrency=2, backoff_s=100.0, backoff_max_s=100.0)
    async with running(gates, policy) as stage:
        stage.deliver("fail")
        gates.open("fail")
        await stage.until_told(1)
        claims = stage.runner.claims()
        assert not claims.held
        stage.runner.keep_only(claims.partitions, {1})
        stage.deliver_again(2, "b", attempt=1)
        await gates.until_begun("fail")
        stage.runner.keep_only(claims.partitions, frozenset())
        stage.deliver_again(1, "fail", attempt=1)
        await gates.until_begun("fail", "fail")


async def test_turns_that_were_cut_off_are_claimed_from_nobody_before_their_end_is_told() -> None:
    """It never will be: the host would wait for it for ever."""
    gates = Gates()
    async with running(gates, TWO) as stage:
        stage.deliver("a")
        await gates.until_begun("a")
        (turn,) = stage.runner._turns.values()
        turn.begin_publish()
        gates.open("a")
        while stage.runner._turns:
            await asyncio.sleep(0)
        assert stage.runner.claims().held == {1: 1}
        stage.runner.cut_off()
        stage.deliver_again(2, "b", attempt=1)
        await gates.until_begun("a", "b")
        assert stage.runner.claims().held == {2: 1}
        turn.end_publish(None)
        assert stage.told == []
