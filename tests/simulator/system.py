"""A host and its workers, all of it real but the network, the engine and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
import grpc.aio

from callboard.core.broker import Broker, BrokerLimits
from callboard.core.errors import CallboardError
from callboard.host.stream import WorkerStream
from callboard.host.switchboard import Switchboard
from callboard.wire.status import status_of
from simulator.engine import ModelEngine
from simulator.ledger import Broken, Ledger
from simulator.network import Ending, Line
from simulator.process import Process, chance_for
from simulator.story import CLIENTS, LENGTH_S, TYPES, Kind, Step, Story

REST_S = 1200.0
"""How long the system may take to come to rest when it is left alone.

Agents that call each other in a circle wait for deadlines, in each attempt anew.
"""

RESTART_S = 0.5
"""How long a process takes to start that takes another's place."""


@dataclass
class Host:
    """A start of the host's process."""

    switchboard: Switchboard
    work: list[asyncio.Task[None]]
    lines: list[Line] = field(default_factory=list)


class System:
    """Everything there is.

    Attributes:
        broken: The first promise that was seen to be broken.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.ledger = Ledger()
        self.broken: Broken | None = None
        self.processes: dict[str, Process] = {}
        self._all: list[Process] = []
        self._chances: dict[str, Random] = {}
        self._actions: list[asyncio.Task[None]] = []
        self._isolated_until: dict[str, float] = {}
        self._is_over = False
        limits = BrokerLimits(
            partitions=4,
            delivery_window=story.window,
            agent_share=max(1, story.window // 2),
            publish_window=story.window,
            max_type_events=story.room,
            memory_bytes=story.memory,
        )
        self._limits = limits
        self._engine = ModelEngine(self.ledger, self.chance_of("engine"), story.commit_s)
        self._host: Host | None = None

    def chance_of(self, name: str) -> Random:
        """Chance of its own for something."""
        return self._chances.setdefault(name, chance_for(self.story.seed, name))

    def process_number(self, process: Process) -> int:
        """Which of all processes that is."""
        return self._all.index(process)

    @property
    def broker(self) -> Broker:
        """The present host's, or the last one's."""
        return self._broker

    def dial(self, process: Process) -> Line:
        """A line from a process to the host."""
        line = Line(self.chance_of(f"line of {process}"), self.story.latency_s)
        if self._host is None:
            line.cut(0.0, 0.0)
        else:
            line.host_task = self._tasks.create_task(self._serve(self._host, line))
            self._host.lines.append(line)
        if asyncio.get_running_loop().time() < self._isolated_until.get(process.name, 0.0):
            line.cut(0.0, 0.0)
        return line

    async def run(self) -> None:
        """Play the story, let all come to rest, and check."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._start_host()
            try:
                await self._play()
                await self._rest()
            finally:
                self._is_over = True
                self._end_host()
                for process in self._all:
                    process.kill()
                    main = process.runtime._main
                    if main is not None:
                        main.cancel()

    async def _start_host(self) -> None:
        kept = await self._engine.open()
        has_pages = self.story.memory > 0
        self._broker = Broker(kept.epoch, self._limits, has_pages=has_pages)
        switchboard = Switchboard(self._broker, self._engine, self._tasks)
        await switchboard.restore(kept)
        work = [self._tasks.create_task(each) for each in (switchboard.run(), switchboard.read())]
        self._host = Host(switchboard, work)

    def _end_host(self) -> None:
        """It is gone, from one moment to the next."""
        host, self._host = self._host, None
        if host is None:
            return
        for each in host.work:
            each.cancel()
        self._engine.crash()
        host.switchboard._is_closed = True
        if host.switchboard._timer is not None:
            host.switchboard._timer.cancel()
        find_out = self.chance_of("crash")
        for line in host.lines:
            line.cut(find_out.uniform(0.0, 1.0), 0.0)

    async def _crash(self, seconds: float) -> None:
        if self._host is None:
            return
        began_at = asyncio.get_running_loop().time()
        self._end_host()
        await asyncio.sleep(seconds)
        self.ledger.without_host.append((began_at, asyncio.get_running_loop().time()))
        if not self._is_over:
            await self._start_host()

    async def _fill_disk(self, seconds: float) -> None:
        self._engine.is_full = True
        await asyncio.sleep(seconds)
        self._engine.is_full = False
        self.ledger.disk_was_full = True
        self.ledger.counts["disks that were full"] += 1

    async def _serve(self, host: Host, line: Line) -> None:
        stream = WorkerStream(host.switchboard, line.requests(), 10.0)
        try:
            async for frame in stream.frames():
                await line.to_worker.write(frame)
            line.to_worker.finish(Ending(grpc.StatusCode.OK))
        except CallboardError as error:
            line.to_worker.finish(Ending(status_of(error), str(error)))
        line.is_whole = False
        line.to_host.end(grpc.aio.EOF)  # a stream that is over has nothing more to read

    async def _play(self) -> None:
        for name in CLIENTS:
            self._launch(name, ())
        steps = self.story.steps
        if not any(step.kind == "join" and step.at_s == 0.0 for step in steps):
            self._launch("w0", TYPES)
        loop = asyncio.get_running_loop()
        for step in steps:
            await asyncio.sleep(step.at_s - loop.time())
            self._check_broken()
            self._do(step)
            if step.at_s == 0.0 and step.kind == "join":
                await self.processes[step.args[0]].is_up.wait()
        await asyncio.sleep(max(0.0, LENGTH_S - loop.time()))

    def _do(self, step: Step) -> None:
        if step.kind == "crash":
            self._act(self._crash(*step.args))
            return
        if step.kind == "full":
            self._act(self._fill_disk(*step.args))
            return
        name, *args = step.args
        process = self.processes.get(name)
        if step.kind == "join":
            self._launch(name, args[0])
        elif process is not None:
            self._do_to(process, step.kind, args)

    def _do_to(self, process: Process, kind: Kind, args: list[Any]) -> None:
        match kind:
            case "publish" | "call" | "stream":
                self._act(getattr(process, kind)(*args))
            case "stop":
                self._act(process.stop())
            case "kill":
                self.end(process)
            case "lose":
                del self.processes[process.name]
                self.end(process)
            case "cut" if process.line is not None:
                process.line.cut(*args)
            case "isolate" if process.line is not None:
                self._isolated_until[process.name] = asyncio.get_running_loop().time() + args[0]
                process.line.cut(*args[1:])

    def end(self, process: Process) -> None:
        """A process is gone, from one moment to the next."""
        process.kill()
        main = process.runtime._main
        if main is not None:
            main.cancel()

    def _act(self, action: Coroutine[Any, Any, None]) -> None:
        self._actions.append(self._tasks.create_task(self._acting(action)))

    async def _acting(self, action: Coroutine[Any, Any, None]) -> None:
        try:
            await action
        except Broken as broken:
            self.broken = self.broken or broken
        except CallboardError:
            pass  # its process is gone

    def _launch(self, name: str, types: Sequence[str]) -> None:
        process = Process(self, name, types)
        self.processes[name] = process
        self._all.append(process)
        self._tasks.create_task(self._keep(process))

    async def _keep(self, process: Process) -> None:
        """Let a process live, and another take its place, as Kubernetes does."""
        try:
            await process.live()
        except asyncio.CancelledError:
            if not process.is_lost:
                raise
        process.was_troubled = True
        await asyncio.sleep(RESTART_S)
        if self.processes.get(process.name) is process and not self._is_over:
            self._launch(process.name, process.types)

    async def _rest(self) -> None:
        """All that is wanted has been said: nothing may be left."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + REST_S
        while not self._is_at_rest():
            self._check_broken()
            if loop.time() > give_up_at:
                msg = f"no rest: {self._what_is_left()}"
                raise Broken(msg)
            await asyncio.sleep(0.5)
        self._check_broken()
        self.ledger.check_end()
        if self.broker.queued_bytes:
            msg = f"{self.broker.queued_bytes} bytes are queued, and no event is"
            raise Broken(msg)
        for load in self.broker.types.loads.by_type.values():
            if load.count or load.line:
                msg = f"{load.count} events of {load.name} take room, and there is none"
                raise Broken(msg)

    def _is_at_rest(self) -> bool:
        return not self._what_is_left()

    def _what_is_left(self) -> list[str]:
        left = []
        if self._host is None:
            left.append("there is no host")
        broker = self.broker
        if not broker.is_idle:
            left.append(f"{broker.waiting_count} wait, {broker.in_flight_count} are out")
        open_actions = sum(not action.done() for action in self._actions)
        if open_actions:
            left.append(f"{open_actions} actions go on")
        for name, process in self.processes.items():
            if process.is_cut_off:
                left.append(f"{name} is to come back")
            elif not process.runtime._runner.is_idle:
                left.append(f"{name} is busy")
        return left

    def _check_broken(self) -> None:
        if self.broken is not None:
            raise self.broken
