"""What an agent's code may do in its turns without harm to the next turn, or to other agents."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from typing import Any

import pytest

from callboard import AgentId, MessageContext, TopicId, TypeSubscription
from callboard.agent import servers
from callboard.agent.cancellation import CancellationToken
from callboard.agent.turn import AgentFactory
from callboard.core.errors import Code, RemoteAgentError, Unavailable
from callboard.core.frames import ACCEPTED, Rejected
from callboard.core.partition import partition_of
from callboard.local import LocalRuntime
from runtime.stage import ME, ONCE, PATIENCE_S, Doing, running

USER: ContextVar[str] = ContextVar("USER", default="nobody")


async def test_what_a_turn_sets_in_its_context_is_gone_in_the_next() -> None:
    """Context variables set in a handler are not seen by the agent's next turn."""
    seen: list[str] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(USER.get())
        USER.set(message)

    async with running(do) as stage:
        for user in ("ada", "bob", "eve"):
            stage.deliver(user)
        stage.call(7)
        await stage.until_told(4)
    assert seen == ["nobody"] * 4


async def test_agents_with_much_to_do_take_turns_with_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Turns that never wait give way to other agents after their slice of time."""
    monkeypatch.setattr(servers, "SLICE_S", 0.0)
    seen: list[str] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(agent.id.key)

    async with running(do) as stage:
        for _ in range(50):
            stage.deliver("more")
        stage.deliver("one", ("agent", "other"))
        await stage.until_told(51)
    assert seen.index("other") <= 2


async def test_turns_that_do_not_wait_share_a_task() -> None:
    """A task for each agent would cost more than most turns."""
    tasks: set[asyncio.Task[Any] | None] = set()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        tasks.add(asyncio.current_task())

    async with running(do) as stage:
        for number in range(10):
            stage.deliver("event", ("agent", f"{number}"))
            stage.deliver("event", ("agent", f"{number}"))
        await stage.until_told(20)
    assert len(tasks) == 1


async def test_a_turn_that_waits_holds_up_its_own_agent_only() -> None:
    """Other agents are served meanwhile, also those that became ready before it waited."""
    go_on = asyncio.Event()
    seen: list[str] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        if message == "waits":
            await go_on.wait()
        seen.append(f"{agent.id.key} {message}")

    async with running(do) as stage:
        for message in ("waits", "next"):
            for key in ("one", "two"):
                stage.deliver(message, ("agent", key))
        stage.deliver("at once", ("agent", "three"))
        await stage.until_told(1)
        assert seen == ["three at once"]
        go_on.set()
        await stage.until_told(5)
    assert sorted(seen[1:]) == ["one next", "one waits", "two next", "two waits"]


async def test_a_handler_that_swallows_its_cancellation_is_the_last_to_run() -> None:
    """When the runner stops, no further turn begins, whatever the handler that runs does."""
    seen: list[str] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(message)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with running(do) as stage:
        for message in ("first", "second", "third"):
            stage.deliver(message)
        while not seen:
            await asyncio.sleep(0)
    assert seen == ["first"]


async def test_an_agent_goes_on_after_a_turn_that_left_its_task_cancelled() -> None:
    """A handler that cancels its own task ends its turn only, and the next one is cancellable."""
    seen: list[str] = []

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(message)
        task = asyncio.current_task()
        assert task is not None
        if message != "last":
            task.cancel()
            if message == "swallowed":
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(0)
        else:
            raise asyncio.CancelledError

    async with running(do) as stage:
        for message in ("swallowed", "raised", "last"):
            stage.deliver(message)
        first, second, third = await stage.until_told(3)
    assert seen == ["swallowed", "raised", "last"]
    assert first == ("settle 1", ACCEPTED)
    for told in (second, third):
        assert isinstance(told[1], Rejected)
        assert "was cancelled" in told[1].detail


async def test_a_cancellation_that_has_not_struck_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler that cancels its own task and returns: it is not struck when it gives way."""
    monkeypatch.setattr(servers, "SLICE_S", 0.0)

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async with running(do) as stage:
        stage.deliver("first")
        stage.deliver("second")
        assert await stage.until_told(2) == [("settle 1", ACCEPTED), ("settle 2", ACCEPTED)]


class UnspeakableError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise UnspeakableError


class Panic(BaseException):
    """What libraries raise that are not written in Python."""


@pytest.mark.parametrize("raised", [UnspeakableError, Panic])
async def test_whatever_a_handler_raises_fails_its_turn_only(raised: type[BaseException]) -> None:
    """Exceptions without a text, or that are no Exception, are told like others."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        raise raised

    async with running(do) as stage:
        stage.deliver("event")
        stage.call(7)
        told = dict(await stage.until_told(2))
    assert told["settle 1"].reason == "handler_error"
    assert told["settle 1"].detail.startswith(raised.__name__)
    assert (told["reply 7"].code, told["reply 7"].type) == (Code.UNKNOWN, raised.__name__)


async def test_a_failing_callback_of_a_token_stays_with_its_turn() -> None:
    """Cancelling a call does not raise what its handler linked to the token; all links are told."""
    asked = asyncio.Event()
    told: list[str] = []

    def fail() -> None:
        msg = "broken"
        raise ValueError(msg)

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        ctx.cancellation_token.add_callback(fail)
        ctx.cancellation_token.add_callback(lambda: told.append("cancelled"))
        asked.set()
        await asyncio.Event().wait()

    async with running(do) as stage:
        stage.call(7)
        await asked.wait()
        stage.runner.cancel(7)
        await stage.until_told(1)
    assert told == ["cancelled"]


async def test_all_that_is_linked_to_a_token_is_told_even_if_one_fails() -> None:
    """cancel calls every callback, then raises the first error."""
    token, told = CancellationToken(), list[str]()

    def fail() -> None:
        msg = "broken"
        raise ValueError(msg)

    token.add_callback(fail)
    token.add_callback(lambda: told.append("cancelled"))
    with pytest.raises(ValueError, match="broken"):
        token.cancel()
    assert told == ["cancelled"]


async def test_a_call_let_in_can_be_cancelled_before_its_first_step() -> None:
    """A call that arrives together with its cancellation does not run; the agent goes on."""
    seen: list[int | str] = []
    go_on = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        seen.append(message)
        await go_on.wait()

    async with running(do) as stage:
        stage.deliver("outer")
        while not seen:
            await asyncio.sleep(0)
        stage.call(7, (1, 1))
        stage.runner.cancel(7)
        go_on.set()
        stage.deliver("next")
        told = await stage.until_told(3)
    assert seen == ["outer", "next"]
    assert ("settle 2", ACCEPTED) in told


async def test_a_partition_is_surrendered_after_the_reply_that_waits_for_a_publish() -> None:
    """A call whose publishes are unconfirmed is answered before its partition is given up."""
    ended = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        turn = stage.runner.current_turn()
        assert turn is not None
        turn.begin_publish()
        turns.append(turn)
        ended.set()

    turns: list[Any] = []
    async with running(do) as stage:
        stage.call(7)
        await ended.wait()
        while stage.runner._turns:
            await asyncio.sleep(0)
        stage.surrender(partition_of(*ME, 4))
        for _ in range(5):
            await asyncio.sleep(0)
        assert stage.told == []
        assert not stage.runner.is_idle
        turns[0].end_publish(None)
        await stage.until_told(2)
        assert stage.told == ["reply 7", "surrendered"]
        assert stage.runner.is_idle


async def test_a_refused_publish_of_a_call_that_has_returned_fails_it() -> None:
    """The caller gets the refusal, not the result."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> str:
        turn = stage.runner.current_turn()
        assert turn is not None
        turn.begin_publish()
        turns.append(turn)
        return "done"

    turns: list[Any] = []
    async with running(do) as stage:
        stage.call(7)
        while not turns or stage.runner._turns:
            await asyncio.sleep(0)
        turns[0].end_publish(Unavailable("no room"))
        ((what, error),) = stage.output.told
    assert (what, error.code) == ("reply 7", Code.UNAVAILABLE)


async def test_agents_made_before_there_is_a_host_belong_to_their_partition() -> None:
    """The turns of an agent that was made early keep its partition from being given up."""
    go_on = asyncio.Event()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        await go_on.wait()

    async with running(do) as stage:
        stage.runner.divide(1)
        await stage.runner.instance_of(AgentId("agent", "early"))
        stage.runner.divide(256)
        stage.deliver("event", ("agent", "early"))
        await asyncio.sleep(0)
        stage.surrender(partition_of("agent", "early", 256))
        assert stage.told == []
        go_on.set()
        await stage.until_told(2)
    assert stage.told == ["settle 1", "surrendered"]


async def test_an_agent_that_is_being_made_is_not_made_twice() -> None:
    """An event that comes too late does not make the runner forget an agent on its way."""
    go_on, made = asyncio.Event(), list[Doing]()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        """Nothing."""

    async def make() -> Doing:
        await go_on.wait()
        made.append(Doing(do))
        return made[-1]

    async with running(do) as stage:
        stage.runner.add_factory("agent", AgentFactory(make))
        stage.surrender(partition_of(*ME, 4))
        asked = asyncio.create_task(stage.runner.instance_of(AgentId(*ME)))
        await asyncio.sleep(0)
        stage.deliver("too late")
        again = asyncio.create_task(stage.runner.instance_of(AgentId(*ME)))
        await asyncio.sleep(0)
        go_on.set()
        assert await asked is await again
    assert len(made) == 1


async def test_nothing_is_kept_of_agents_that_cannot_be_made() -> None:
    """A thousand keys that a factory refuses leave nothing behind."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        """Nothing."""

    def refuse() -> Doing:
        msg = "no such key"
        raise LookupError(msg)

    async with running(do) as stage:
        stage.runner.add_factory("agent", AgentFactory(refuse, policy=ONCE))
        for number in range(1000):
            stage.deliver("event", ("agent", f"key-{number}"))
        await stage.until_told(1000)
        assert not stage.runner._activations
        assert not stage.runner._activations._by_place


async def test_agents_of_a_type_that_is_served_no_more_are_let_go() -> None:
    """A type that is registered again makes its agents with the new factory."""
    closed: list[str] = []

    class Closing(Doing):
        async def close(self) -> None:
            closed.append(self.id.key)

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        """Nothing."""

    async with running(do) as stage:
        stage.runner.add_factory("agent", AgentFactory(lambda: Closing(do)))
        old = await stage.runner.instance_of(AgentId(*ME))
        stage.runner.remove_factory("agent")
        stage.runner.add_factory("agent", AgentFactory(lambda: Closing(do)))
        assert await stage.runner.instance_of(AgentId(*ME)) is not old
        while not closed:
            await asyncio.sleep(0)
    assert closed == ["me"]


async def test_a_turn_in_one_runtime_is_none_in_another() -> None:
    """A handler that uses a second runtime is a stranger there: its events are acknowledged."""
    ticks = TopicId("ticks", "me")

    async def bridge(agent: Doing, message: str, ctx: MessageContext) -> str:
        assert first._runner.current_turn() is not None
        assert second._runner.current_turn() is None
        await second.publish_message(message, ticks)
        return f"{second.unprocessed_messages_count} waits"

    first, second = LocalRuntime(), LocalRuntime()
    await Doing.register(first, "bridge", lambda: Doing(bridge))
    await Doing.register(second, "agent", lambda: Doing(bridge))
    await second.add_subscription(TypeSubscription("ticks", "agent"))
    async with first:
        assert await first.send_message("tick", AgentId("bridge", "x")) == "1 waits"
    await second.close()


async def test_a_factory_may_publish_and_call() -> None:
    """What a factory publishes belongs to the turn that makes the agent."""

    async def hear(agent: Doing, message: str, ctx: MessageContext) -> str:
        heard.append(message)
        return message.upper()

    heard: list[str] = []

    async def make() -> Doing:
        await runtime.publish_message("made", TopicId("ticks", "x"))
        assert await runtime.send_message("who?", AgentId("listener", "y")) == "WHO?"
        return Doing(hear)

    async with LocalRuntime() as runtime:
        await Doing.register(runtime, "listener", lambda: Doing(hear))
        await runtime.add_subscription(TypeSubscription("ticks", "listener"))
        await Doing.register(runtime, "maker", make)
        assert await runtime.send_message("hello", AgentId("maker", "x")) == "HELLO"
        await runtime.stop_when_idle()
    assert sorted(heard) == ["hello", "made", "who?"]


async def test_a_task_that_outlives_its_turn_publishes_and_calls_for_itself() -> None:
    """What a background task does after the turn is acknowledged, and has no parent."""
    left: list[asyncio.Task[Any]] = []

    async def later(agent: Doing) -> Any:
        assert runtime._runner.current_turn() is not None
        await ended.wait()
        assert runtime._runner.current_turn() is None
        await agent.publish_message("later", TopicId("nobody", "x"))
        return await agent.send_message("again", agent.id)

    async def do(agent: Doing, message: str, ctx: MessageContext) -> str:
        if message == "first":
            left.append(asyncio.create_task(later(agent)))
            await asyncio.sleep(0)
        return message

    ended = asyncio.Event()
    async with LocalRuntime() as runtime:
        await Doing.register(runtime, "agent", lambda: Doing(do))
        assert await runtime.send_message("first", AgentId("agent", "x")) == "first"
        ended.set()
        assert await left[0] == "again"


async def test_a_failure_is_logged_without_what_local_variables_hold(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that has not set logging up gets plain tracebacks, in which no message stands."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        raise UnspeakableError

    async with running(do) as stage:
        stage.deliver("private")
        await stage.until_told(1)
    said = caplog.text
    assert "event rejected" in said
    assert "in do" in said
    assert "private" not in said
    assert capsys.readouterr().out == ""  # where a program's results belong


async def test_an_error_with_broken_text_travels_to_the_caller() -> None:
    """The caller learns the class, and that there is no text."""

    async def do(agent: Doing, message: str, ctx: MessageContext) -> None:
        raise UnspeakableError

    async with LocalRuntime() as runtime:
        await Doing.register(runtime, "agent", lambda: Doing(do))
        with pytest.raises(RemoteAgentError, match="UnspeakableError: <its text cannot be had"):
            await runtime.send_message("first", AgentId("agent", "x"))


async def test_a_chain_of_calls_that_is_cancelled_in_the_middle_lets_go_of_its_agents() -> None:
    """A calls B calls A: when the first caller gives up all three turns end, and both go on."""
    inside, ended = asyncio.Event(), list[str]()

    async def do(agent: Doing, message: str, ctx: MessageContext) -> str:
        next_one = {"go": ("b", "via"), "via": ("a", "back"), "self": (agent.id.type, "plain")}
        try:
            if message in next_one:
                agent_type, passed_on = next_one[message]
                answer: str = await agent.send_message(passed_on, AgentId(agent_type, "x"))
                return answer
            if message == "back":
                inside.set()
                await asyncio.Event().wait()
            return message
        finally:
            ended.append(message)

    token = CancellationToken()
    async with LocalRuntime() as runtime:
        for agent_type in ("a", "b"):
            await Doing.register(runtime, agent_type, lambda: Doing(do))
        asked = runtime.send_message("go", AgentId("a", "x"), cancellation_token=token)
        asking = asyncio.create_task(asked)
        async with asyncio.timeout(PATIENCE_S):
            await inside.wait()
            token.cancel()
            await asyncio.wait([asking])
            while len(ended) < 3:
                await asyncio.sleep(0)
            for agent_type in ("a", "b"):
                assert await runtime.send_message("self", AgentId(agent_type, "x")) == "plain"
    assert asking.cancelled()


async def test_an_address_that_no_agent_has_is_rejected() -> None:
    """A host with looser rules ends no worker; what it sent has an ending."""

    async def do(agent: Doing, message: Any, ctx: MessageContext) -> None:
        pass

    async with running(do) as stage:
        stage.deliver("lost", ("agent", ""))
        stage.call(1, agent=("agent", "k" * 300))
        stage.deliver("found")
        told = await stage.until_told(3)
    (_, rejected), (_, failure), (_, outcome) = told
    assert rejected == Rejected("bad_payload", rejected.detail)
    assert "invalid agent key ''" in rejected.detail
    assert failure.code == Code.INVALID_ARGUMENT
    assert outcome == ACCEPTED
