"""How runtimes begin and end, and what programs may do between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from callboard import (
    AgentId,
    AgentNotFound,
    AgentRuntime,
    BaseAgent,
    DefaultInterventionHandler,
    DropMessage,
    InvalidIdentifier,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
)
from callboard.agent.exceptions import MessageDroppedException, NotAccessibleError
from callboard.core.errors import (
    AlreadyRegistered,
    NotAllowedNow,
    RemoteAgentError,
    ResourceExhausted,
    Unavailable,
)
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime


@dataclass
class Tick:
    """An event with a number."""

    number: int


class Counter(RoutedAgent):
    """Adds up what it hears."""

    closed = 0

    def __init__(self) -> None:
        super().__init__("adds up")
        self.total = 0

    @event
    async def on_tick(self, message: Tick, ctx: MessageContext) -> None:
        """Add."""
        self.total += message.number

    @rpc
    async def on_text(self, message: str, ctx: MessageContext) -> int:
        """The sum."""
        return self.total

    async def save_state(self) -> dict[str, Any]:
        """The sum."""
        return {"total": self.total}

    async def load_state(self, state: Any) -> None:
        """Go on from a sum."""
        self.total = state["total"]

    async def close(self) -> None:
        """Count."""
        type(self).closed += 1


COUNTER = AgentId("counter", "x")
TICKS = TopicId("ticks", "x")


@pytest.fixture(params=["local", "worker"])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[LocalRuntime | WorkerRuntime]:
    """A started runtime of each kind."""
    if request.param == "local":
        async with LocalRuntime() as local:
            yield local
    else:
        async with Host(port=0) as host, WorkerRuntime(host.address) as worker:
            yield worker


async def register(runtime: AgentRuntime) -> None:
    """Serve counters that hear ticks."""
    await Counter.register(runtime, "counter", Counter)
    await runtime.add_subscription(TypeSubscription("ticks", "counter"))


async def test_a_runtime_is_an_agent_runtime(runtime: LocalRuntime | WorkerRuntime) -> None:
    """Both kinds keep the protocol that agents are written against."""
    assert isinstance(runtime, AgentRuntime)


async def test_a_type_is_registered_once_in_a_runtime(
    runtime: LocalRuntime | WorkerRuntime,
) -> None:
    """A second registration fails, and the first goes on."""
    await register(runtime)
    with pytest.raises(AlreadyRegistered, match="'counter'"):
        await Counter.register(runtime, "counter", Counter)
    assert await runtime.send_message("total?", COUNTER) == 0


async def test_a_registration_that_failed_can_be_repeated(
    runtime: LocalRuntime | WorkerRuntime,
) -> None:
    """A bad subscription undoes the whole registration."""
    with pytest.raises(InvalidIdentifier):
        await Counter.register(runtime, "not a type", Counter)
    await register(runtime)
    await runtime.publish_message(Tick(2), TICKS)


async def test_agents_can_be_reached_saved_and_restored(
    runtime: LocalRuntime | WorkerRuntime,
) -> None:
    """The instance, its metadata and its state are there for tests and tools."""
    await register(runtime)
    await runtime.get(COUNTER, lazy=False)
    instance = await runtime.try_get_underlying_agent_instance(COUNTER, Counter)
    instance.total = 5
    assert await runtime.save_state() == {"counter/x": {"total": 5}}
    await runtime.load_state({"counter/x": {"total": 7}, "counter/y": {"total": 8}, "other/z": {}})
    assert await runtime.send_message("total?", COUNTER) == 7
    assert await runtime.agent_save_state(AgentId("counter", "y")) == {"total": 8}
    assert (await runtime.agent_metadata(COUNTER))["description"] == "adds up"
    with pytest.raises(NotAccessibleError, match="not served by this process"):
        await runtime.agent_metadata(AgentId("elsewhere", "x"))
    with pytest.raises(TypeError, match="is a Counter"):
        await runtime.try_get_underlying_agent_instance(COUNTER, type("Another", (BaseAgent,), {}))


async def test_an_instance_made_elsewhere_can_be_served(
    runtime: LocalRuntime | WorkerRuntime,
) -> None:
    """register_instance serves the very object, and others of its type, but makes none."""
    first, second = Counter(), Counter()
    await first.register_instance(runtime, AgentId("mine", "1"))
    await second.register_instance(runtime, AgentId("mine", "2"))
    await runtime.add_subscription(TypeSubscription("ticks", "mine"))
    await runtime.publish_message(Tick(3), TopicId("ticks", "2"))
    assert await runtime.send_message("total?", AgentId("mine", "2")) in (0, 3)
    assert await runtime.try_get_underlying_agent_instance(AgentId("mine", "1")) is first
    with pytest.raises(AlreadyRegistered):
        await Counter().register_instance(runtime, AgentId("mine", "1"))
    with pytest.raises(AgentNotFound, match="none of them"):
        await runtime.send_message("total?", AgentId("mine", "3"))


class Censor(DefaultInterventionHandler):
    """Changes and drops messages."""

    async def on_send(
        self, message: Any, *, message_context: MessageContext, recipient: AgentId
    ) -> Any:
        """Drop what is secret."""
        return DropMessage if message == "secret" else message

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        """Double ticks, drop those of zero."""
        return DropMessage() if message.number == 0 else Tick(message.number * 2)

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        """Negate."""
        return -message


@pytest.mark.parametrize("kind", ["local", "worker"])
async def test_intervention_handlers_see_change_and_drop(kind: str) -> None:
    """An intervention may change or drop events, calls and replies."""
    async with Host(port=0) as host:
        made: LocalRuntime | WorkerRuntime
        if kind == "local":
            made = LocalRuntime(intervention_handlers=[Censor()])
        else:
            made = WorkerRuntime(host.address, intervention_handlers=[Censor()])
        async with made as runtime:
            await register(runtime)
            for number in (0, 1, 2):
                await runtime.publish_message(Tick(number), TICKS)
            instance = await runtime.try_get_underlying_agent_instance(COUNTER, Counter)
            while instance.total < 6:
                await asyncio.sleep(0.001)
            assert await runtime.send_message("total?", COUNTER) == -6
            with pytest.raises(MessageDroppedException):
                await runtime.send_message("secret", COUNTER)


async def test_a_local_runtime_keeps_what_arrives_before_it_starts() -> None:
    """Events published before start are handled after it."""
    runtime = LocalRuntime()
    await register(runtime)
    await runtime.publish_message(Tick(1), TICKS)
    assert runtime.unprocessed_messages_count == 1
    runtime.start()
    await runtime.stop_when_idle()
    assert (await runtime.try_get_underlying_agent_instance(COUNTER, Counter)).total == 1
    assert runtime.unprocessed_messages_count == 0
    await runtime.close()


async def test_a_local_runtime_stops_and_goes_on() -> None:
    """What is published while it is stopped waits for the next start."""
    async with LocalRuntime() as runtime:
        await register(runtime)
        await runtime.publish_message(Tick(1), TICKS)
        await runtime.stop_when_idle()
        await runtime.publish_message(Tick(1), TICKS)
        instance = await runtime.try_get_underlying_agent_instance(COUNTER, Counter)
        assert instance.total == 1
        runtime.start()
        with pytest.raises(NotAllowedNow):
            runtime.start()
        await runtime.stop_when(lambda: instance.total == 2)
        with pytest.raises(NotAllowedNow):
            await runtime.stop()


async def test_stopping_lets_the_turn_that_runs_end_and_begins_no_other() -> None:
    """stop returns when the present turn has ended; the next event waits."""
    runtime = LocalRuntime()
    gate = asyncio.Event()
    log: list[int] = []

    class Slow(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("slow")

        @event
        async def on_tick(self, message: Tick, ctx: MessageContext) -> None:
            log.append(message.number)
            await gate.wait()
            log.append(-message.number)

    await Slow.register(runtime, "slow", Slow)
    await runtime.add_subscription(TypeSubscription("ticks", "slow"))
    runtime.start()
    for number in (1, 2):
        await runtime.publish_message(Tick(number), TICKS)
    while not log:
        await asyncio.sleep(0)
    stopping = asyncio.create_task(runtime.stop())
    await asyncio.sleep(0)
    gate.set()
    await stopping
    assert log == [1, -1]
    assert runtime.unprocessed_messages_count == 1
    runtime.start()
    await runtime.stop_when_idle()
    assert log == [1, -1, 2, -2]
    await runtime.close()


async def test_asking_for_an_agent_while_its_first_message_makes_it_makes_one() -> None:
    """A tool that reaches for an agent and the agent's first messages meet the same instance."""
    made: list[Counter] = []

    async def make() -> Counter:
        for _ in range(5):
            await asyncio.sleep(0)
        made.append(Counter())
        return made[-1]

    async with LocalRuntime() as runtime:
        await Counter.register(runtime, "counter", make)
        await asyncio.gather(
            runtime.get(COUNTER, lazy=False),
            runtime.send_message("total?", COUNTER),
            runtime.try_get_underlying_agent_instance(COUNTER),
            runtime.load_state({str(COUNTER): {"total": 1}}),
        )
        assert len(made) == 1


async def test_a_factory_that_fails_fails_its_messages_and_is_tried_again() -> None:
    """The first call gets the factory's error, the next one the agent."""
    attempts: list[int] = []

    def make() -> Counter:
        attempts.append(1)
        if len(attempts) == 1:
            msg = "no paper yet"
            raise LookupError(msg)
        return Counter()

    async with LocalRuntime() as runtime:
        await Counter.register(runtime, "counter", make)
        with pytest.raises(RemoteAgentError, match="LookupError: no paper yet"):
            await runtime.send_message("total?", COUNTER)
        assert await runtime.send_message("total?", COUNTER) == 0


async def test_closing_a_runtime_closes_its_agents() -> None:
    """Each instance is closed once."""
    before = Counter.closed
    async with LocalRuntime() as runtime:
        await register(runtime)
        await asyncio.gather(
            *(runtime.send_message("total?", AgentId("counter", str(key))) for key in range(3))
        )
    assert Counter.closed == before + 3


async def test_a_worker_registers_before_or_after_it_starts() -> None:
    """What was registered before start is served when start returns."""
    async with Host(port=0) as host:
        early = WorkerRuntime(host.address)
        await register(early)
        async with early, WorkerRuntime(host.address) as other:
            assert await other.send_message("total?", COUNTER) == 0


async def test_a_worker_that_is_not_started_or_has_stopped_says_so() -> None:
    """Every operation names the state instead of hanging."""
    async with Host(port=0) as host:
        runtime = WorkerRuntime(host.address)
        with pytest.raises(NotAllowedNow, match="not been started"):
            await runtime.send_message("hello", COUNTER)
        with pytest.raises(NotAllowedNow, match="not been started"):
            await runtime.publish_message("hello", TICKS)
        with pytest.raises(NotAllowedNow, match="not been started"):
            await runtime.stop()
        await runtime.start()
        with pytest.raises(NotAllowedNow, match="runs once"):
            await runtime.start()
        await runtime.stop()
        await runtime.stop()
        with pytest.raises(Unavailable, match="has stopped"):
            await runtime.publish_message("hello", TICKS)


async def test_a_drain_has_an_end_even_if_a_turn_has_none() -> None:
    """A turn without end is cancelled after the drain timeout; its event goes elsewhere."""
    async with Host(port=0) as host:
        started: asyncio.Queue[str] = asyncio.Queue()

        class Endless(RoutedAgent):
            def __init__(self) -> None:
                super().__init__("never ends")

            @event
            async def on_tick(self, message: Tick, ctx: MessageContext) -> None:
                await started.put("began")
                try:
                    await asyncio.Event().wait()
                finally:
                    await started.put("cancelled")

        first = WorkerRuntime(host.address, drain_timeout_s=0.2)
        await first.start()
        await Endless.register(first, "endless", Endless)
        await first.add_subscription(TypeSubscription("ticks", "endless"))
        await first.publish_message(Tick(1), TICKS)
        assert await started.get() == "began"
        async with asyncio.timeout(10):
            await first.stop()
        assert await started.get() == "cancelled"

        class Patient(RoutedAgent):
            def __init__(self) -> None:
                super().__init__("takes over")

            @event
            async def on_tick(self, message: Tick, ctx: MessageContext) -> None:
                await started.put("handled")

        async with WorkerRuntime(host.address) as second:
            await Patient.register(second, "endless", Patient)
            async with asyncio.timeout(10):
                assert await started.get() == "handled"


async def test_publishing_many_keeps_order_and_says_what_was_refused() -> None:
    """publish_many returns the count; a refusal raises after what was under way has ended."""
    async with Host(port=0) as host, WorkerRuntime(host.address) as runtime:
        await register(runtime)
        assert await runtime.publish_many((Tick(1) for _ in range(5000)), TICKS) == 5000
        assert await runtime.publish_many([], TICKS) == 0
        with pytest.raises(ResourceExhausted):
            await runtime.publish_many(["x", "x" * (9 << 20)], TICKS)
        instance = await runtime.try_get_underlying_agent_instance(COUNTER, Counter)
        while instance.total < 5000:
            await asyncio.sleep(0.001)
