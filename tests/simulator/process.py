"""Processes of a run: workers with agents, and clients that publish and call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from callboard import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    event,
    rpc,
)
from callboard.agent.calls_made import HOST_GRACE_S
from callboard.agent.publishes import Done
from callboard.core.errors import (
    CallboardError,
    Code,
    RemoteAgentError,
    ResourceExhausted,
    Unavailable,
)
from callboard.core.event import Delivery, Event
from callboard.core.frames import Accepted, Outcome
from callboard.wire.v1.cloudevent_pb2 import CloudEvent
from callboard.worker import WorkerRuntime
from callboard.worker.connection import Connection, Greeting
from callboard.worker.link import HostLink
from callboard.worker.session import WorkerSession
from simulator.engine import DISK_IS_FULL
from simulator.ledger import Broken, Turn
from simulator.network import Channel, Line
from simulator.story import CLOSE_S, IDLE_TIMEOUT_S, MAX_INSTANCES, POLICIES, SUBSCRIBED

if TYPE_CHECKING:
    from simulator.system import System

GREETING_S = 5.0
DRAIN_S = 5.0
CALL_S = 10.0
PATIENCE_S = (0.0, 0.3, 2.0, 30.0)
"""How long clients may wait for room."""

SLOW_AT = 7
SLOW_S = 0.5
"""Who takes a stream rests so long after so many answers: less than the grace of a late ending."""


@dataclass
class Work:
    """A message: what a handler is to do.

    Attributes:
        plan: A list of steps, as JSON.
        chain: The works whose handlers wait for this one.
    """

    id: str
    plan: str
    chain: list[str] = field(default_factory=list)


@dataclass
class Flow(Work):
    """A message: what a handler that streams is to do.

    Attributes:
        count: How many answers it has. A step of the plan is done before each, the others after.
    """

    count: int = 0


class Raised(Exception):
    """A handler was told to raise."""


class Link(HostLink):
    """A worker's session over lines of the model."""

    process: Process

    def _go_on(self, session: WorkerSession | None, connection: Connection) -> bool:
        goes_on = super()._go_on(session, connection)
        if goes_on and connection.welcome.resumed:
            self.process.system.ledger.counts["sessions resumed"] += 1
        return goes_on

    async def _dial(self, greeting: Greeting, timeout_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        while True:
            line = self.process.dial()
            channel: Any = Channel(line)
            try:
                async with asyncio.timeout_at(min(give_up_at, loop.time() + GREETING_S)):
                    return await Connection._greet("host:1", channel, greeting)
            except (TimeoutError, Unavailable) as error:
                line.cut(0.0, 0.0)
                await asyncio.sleep(0.1 + self._jitter())
                if loop.time() >= give_up_at:
                    raise Unavailable("no host") from error
            except asyncio.CancelledError:
                line.cut(0.0, 0.0)
                raise


class Runtime(WorkerRuntime):
    """A worker's runtime over lines of the model."""

    def __init__(self, process: Process) -> None:
        super().__init__(
            "host:1",
            client_id=process.name,
            drain_timeout_s=DRAIN_S,
            call_timeout_s=CALL_S,
            idle_timeout_s=IDLE_TIMEOUT_S,
            max_instances=MAX_INSTANCES,
        )
        self._process = process
        self._link = self._new_link()

    def _new_link(self) -> HostLink:
        link = super()._new_link()
        link.__class__ = Link
        assert isinstance(link, Link)
        process: Process | None = getattr(self, "_process", None)
        if process is not None:
            link.process = process
            link._jitter = process.system.chance_of("jitter").random
        return link

    def lost(self, session: WorkerSession, reason: CallboardError) -> None:
        """Its session is over: what it had is handed out again."""
        self._process.was_troubled = True
        self._process.system.ledger.counts["sessions lost"] += 1
        super().lost(session, reason)

    def handed_over(self, reason: CallboardError) -> None:
        """Another host goes on with its session."""
        self._process.system.ledger.counts["sessions handed over"] += 1
        super().handed_over(reason)

    def _publish(self, event: Event, done: Done, deadline: float | None) -> None:
        def ended(error: CallboardError | None) -> None:
            is_known = not isinstance(error, Unavailable) or DISK_IS_FULL in str(error)
            if not self._process.is_lost and is_known:
                self._process.system.ledger.answers(_id_of(event), is_refused=error is not None)
            done(error)

        super()._publish(event, ended, deadline)

    def _tell_beginning(self, delivery: Delivery) -> bool:
        is_told = super()._tell_beginning(delivery)
        if is_told and not self._process.is_lost:
            event_id = _id_of(delivery.event)
            self._process.system.ledger.is_about_to(self._process, event_id, delivery.agent)
        return is_told

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Let the ledger know what is told of the turns."""
        process, event_id = self._process, _id_of(delivery.event)
        if not process.is_lost:
            is_done = isinstance(outcome, Accepted)
            process.system.ledger.tells(process, event_id, delivery.agent, is_done=is_done)
        super().settle(delivery, outcome)


class Process:
    """A process with one runtime.

    Attributes:
        is_lost: It was killed: what its code does from here on, nobody sees.
        was_troubled: It was killed or stopped, or has lost its session: what it had may be handed
            out again.
        is_leaving: It was stopped: it ends, and another takes its place.
        cuts: When its line was cut, and when there was a whole one again.
    """

    def __init__(self, system: System, name: str, types: Sequence[str]) -> None:
        self.system = system
        self.name = name
        self.types = types
        self.is_lost = False
        self.was_troubled = False
        self.is_leaving = False
        self.line: Line | None = None
        self.cuts: list[tuple[float, float]] = []
        self._cut_at_s: float | None = None
        self.runtime = Runtime(self)
        self.runtime._runner._retries._jitter = system.chance_of("jitter").random
        self.is_up = asyncio.Event()
        self._numbers = 0

    def __str__(self) -> str:
        return f"{self.name}#{self.system.process_number(self)}"

    def dial(self) -> Line:
        """A new line to the host."""
        if self.line is not None and self._cut_at_s is None:
            self._cut_at_s = self.line.cut_at_s
        self.line = self.system.dial(self)
        if self.line.is_whole and self._cut_at_s is not None:
            self.cuts.append((self._cut_at_s, asyncio.get_running_loop().time()))
            self._cut_at_s = None
        return self.line

    @property
    def is_cut_off(self) -> bool:
        """Whether it has no session with the host, or none that goes on."""
        return self.is_lost or self.is_leaving or not self.runtime._link.is_connected

    @contextmanager
    def seen(self) -> Iterator[None]:
        """What is done in the block is noted; unless nobody sees it any more, nothing is raised."""
        try:
            yield
        except Broken as broken:
            if not self.is_lost:
                self.system.broken = self.system.broken or broken

    def new_id(self, of: str) -> str:
        """A name that nothing else has."""
        self._numbers += 1
        return f"{of}.{self.system.process_number(self)}.{self._numbers}"

    async def live(self) -> None:
        """Run until the runtime has stopped, or lost its host."""
        for agent_type in self.types:
            await Worker.register(
                self.runtime,
                agent_type,
                lambda: Worker(self),
                skip_direct_message_subscription=True,
                policy=POLICIES[agent_type],
            )
            for kind, pattern in SUBSCRIBED[agent_type]:
                subscription = TypeSubscription if kind == "type" else TypePrefixSubscription
                await self.runtime.add_subscription(subscription(pattern, agent_type))
        with suppress(Unavailable):
            await self.runtime.start()
            self.is_up.set()
            await self.runtime.wait()
        self.is_up.set()

    async def stop(self) -> None:
        """Leave, as a pod that gets SIGTERM does."""
        self.was_troubled = self.is_leaving = True
        await self.runtime.stop()

    def kill(self) -> None:
        """End at once: nothing that it does from here on has an effect."""
        self.is_lost = self.was_troubled = True
        if self.line is not None:
            self.line.cut(0.0, self.system.chance_of("kill").uniform(0.0, 1.0))

    # What clients do.

    async def publish(self, topic: str, key: str, plans: Sequence[str]) -> None:
        """Publish one after the other, without waiting between."""
        ledger = self.system.ledger
        waiting = []
        for plan in plans:
            noted = ledger.publishes(self.new_id("e"), str(self), topic, key)
            sending = self.runtime.publish_message(
                Work(noted.id, plan),
                TopicId(topic, key),
                message_id=noted.id,
                timeout_s=self.system.chance_of("patience").choice(PATIENCE_S),
            )
            waiting.append((noted, asyncio.ensure_future(sending)))
        for noted, sent in waiting:
            with suppress(Unavailable):
                try:
                    await sent
                except ResourceExhausted:
                    ledger.answers(noted.id, is_refused=True)  # maybe it was not even sent

    async def call(self, agent_type: str, key: str, plan: str, seconds: float) -> None:
        """Call an agent, and look at the answer."""
        with suppress(CallboardError):
            await self.ask(agent_type, key, Work(self.new_id("c"), plan), seconds, None)

    async def ask(
        self, agent_type: str, key: str, work: Work, seconds: float, sender: AgentId | None
    ) -> None:
        """Call an agent; raises what the call ends with."""
        ledger = self.system.ledger
        call = ledger.call_begins(work.id, self)
        late = asyncio.timeout(seconds + HOST_GRACE_S + 1.0)
        try:
            async with late:
                answer = await self.runtime.send_message(
                    work, AgentId(agent_type, key), sender=sender, timeout_s=seconds
                )
        except asyncio.CancelledError:
            ledger.call_ends(call, "cancelled")
            raise
        except TimeoutError as error:
            if late.expired():
                msg = f"call {work.id} has no ending in time"
                raise Broken(msg) from error
            ledger.call_ends(call, type(error).__name__)
            raise
        except CallboardError as error:
            ledger.call_ends(call, type(error).__name__)
            if isinstance(error, RemoteAgentError) and error.error_type == "Broken":
                raise Broken(error.error_message) from error
            raise
        if answer != work.id:
            msg = f"call {work.id} got the answer of {answer}"
            raise Broken(msg)
        ledger.call_ends(call, "answered")

    async def stream(
        self, agent_type: str, key: str, count: int, left_after: int, *plan_and_seconds: Any
    ) -> None:
        """Take an agent's stream, or some of it, and look at the answers."""
        plan, seconds = plan_and_seconds
        with suppress(CallboardError):
            flow = Flow(self.new_id("s"), plan, count=count)
            await self.take(AgentId(agent_type, key), flow, left_after, seconds, None)

    async def take(
        self,
        agent: AgentId,
        flow: Flow,
        left_after: int,
        seconds: float,
        sender: AgentId | None,
    ) -> None:
        """Take a stream until it is left; raises what it ends with."""
        ledger, now = self.system.ledger, asyncio.get_running_loop().time
        call = ledger.call_begins(flow.id, self, flow.count)
        late = asyncio.timeout(seconds + HOST_GRACE_S + 1.0)
        answers = self.runtime.stream_message(flow, agent, sender=sender, timeout_s=seconds)
        ending = "answered"
        try:
            async with late, aclosing(answers):
                async for answer in answers:
                    ledger.takes(call, answer, now())
                    if call.taken == left_after:
                        ending = "left"
                        break
                    if call.taken == SLOW_AT:
                        await asyncio.sleep(SLOW_S)
        except asyncio.CancelledError:
            ledger.stream_ends(call, "cancelled", now())
            raise
        except TimeoutError as error:
            if late.expired():
                msg = f"stream {flow.id} has no ending in time"
                raise Broken(msg) from error
            ledger.stream_ends(call, type(error).__name__, now())
            raise
        except CallboardError as error:
            ledger.stream_ends(call, type(error).__name__, now())
            if isinstance(error, RemoteAgentError) and error.error_type == "Broken":
                raise Broken(error.error_message) from error
            if error.code is Code.INTERNAL:
                msg = f"stream {flow.id} is said to be wrong: {error}"
                raise Broken(msg) from error
            raise
        ledger.stream_ends(call, ending, now())


def _id_of(event: Event) -> str:
    return CloudEvent.FromString(event.content).id


class Worker(RoutedAgent):
    """Does what it is told, and lets the ledger know."""

    def __init__(self, process: Process) -> None:
        super().__init__("does what it is told")
        self._process = process
        with process.seen():
            process.system.ledger.opens((self.id.type, self.id.key), process)

    async def close(self) -> None:
        """It takes a while."""
        process, agent = self._process, (self.id.type, self.id.key)
        with process.seen():
            process.system.ledger.begins_to_close(agent, process)
        await asyncio.sleep(process.system.chance_of("close").random() * CLOSE_S)
        with process.seen():
            process.system.ledger.closes(agent, process)

    @event
    async def on_event(self, message: Work, ctx: MessageContext) -> None:
        """A turn."""
        await self._do(message, is_event=True)

    @rpc
    async def on_call(self, message: Work, ctx: MessageContext) -> str:
        """A turn; answers with the id of the work."""
        await self._do(message, is_event=False)
        return message.id

    @rpc
    async def on_flow(self, message: Flow, ctx: MessageContext) -> AsyncIterator[str]:
        """A turn; answers with the id of the flow and a number, from 0."""
        steps = json.loads(message.plan)
        ledger, now = self._process.system.ledger, asyncio.get_running_loop().time
        await self._unless_lost()
        with self._turn(message, is_event=False) as turn:
            for number in range(message.count):
                if number < len(steps):
                    await self._step(message, turn, steps[number])
                ledger.yields(message.id, number, now(), self._process)
                yield f"{message.id}/{number}"
                await self._unless_lost()
                ledger.goes_on(message.id)
            for step in steps[message.count :]:
                await self._step(message, turn, step)

    async def _do(self, work: Work, *, is_event: bool) -> None:
        await self._unless_lost()
        with self._turn(work, is_event=is_event) as turn:
            for step in json.loads(work.plan):
                await self._step(work, turn, step)

    async def _unless_lost(self) -> None:
        if self._process.is_lost:
            await asyncio.get_running_loop().create_future()

    @contextmanager
    def _turn(self, work: Work, *, is_event: bool) -> Iterator[Turn]:
        process = self._process
        ledger = process.system.ledger
        agent = (self.id.type, self.id.key)
        turn = Turn(process, agent, work.id, tuple(work.chain), is_event)
        ending = "cancelled"
        try:
            ledger.begins(turn)
            yield turn
            ending = "done"
        except (Raised, CallboardError):
            ending = "raised"
            raise
        except Broken as broken:
            process.system.broken = process.system.broken or broken
            raise
        except Exception as error:
            process.system.broken = process.system.broken or Broken(f"a handler met {error!r}")
            raise
        finally:
            if not process.is_lost:
                try:
                    ledger.ends(turn, ending)
                except Broken as broken:
                    process.system.broken = process.system.broken or broken

    async def _step(self, work: Work, turn: Turn, step: list[Any]) -> None:
        process = self._process
        match step:
            case ["sleep", seconds]:
                await asyncio.sleep(seconds)
            case ["raise"]:
                raise Raised(work.id)
            case ["die"]:
                process.system.ledger.ends_its_process(turn)
                process.system.end(process)
            case ["publish", topic, key, plan]:
                noted = process.system.ledger.publishes(
                    process.new_id(work.id), f"{process}/{self.id}", topic, key, turn
                )
                await process.runtime.publish_message(
                    Work(noted.id, json.dumps(plan)),
                    TopicId(topic, key),
                    sender=self.id,
                    message_id=noted.id,
                )
            case ["call", agent_type, key, plan]:
                inner = Work(process.new_id(work.id), json.dumps(plan), [*work.chain, work.id])
                await process.ask(agent_type, key, inner, CALL_S / 2, self.id)
            case ["stream", agent_type, key, count, left_after, plan]:
                chain = [*work.chain, work.id]
                flow = Flow(process.new_id(work.id), json.dumps(plan), chain, count)
                agent = AgentId(agent_type, key)
                await process.take(agent, flow, left_after, CALL_S / 2, self.id)
        await self._unless_lost()


def chance_for(seed: int, *names: object) -> Random:
    """Chance that depends on a seed and names alone."""
    return Random(":".join(map(str, (seed, *names))))
