"""All processes of a chaos run, and the wires between them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from random import Random

from chaos.cast import PATIENCE_S, Host, Worker
from chaos.wires import Wire, Wires

LEASE_S, LEASE_MARGIN_S = 3.0, 0.5
ENVIRONMENT = {
    "CALLBOARD_LEASE_S": str(LEASE_S),
    "CALLBOARD_LEASE_MARGIN_S": str(LEASE_MARGIN_S),
    "CALLBOARD_MEMORY_BYTES": "20000",  # what is flooded waits in the file
}


class Troupe:
    """A host, and workers that come and go.

    Attributes:
        host: The present one.
        host_kills: How many were killed before it.
        workers: All that ever were.
        wires: Makes the workers' ways to it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.wires = Wires()
        self.host_kills = 0
        self.workers: list[Worker] = []
        self._wire_of: dict[Worker, Wire] = {}

    async def start(self, workers: int) -> None:
        """Start the host, and so many workers."""
        self.host = await self._start_host()
        await asyncio.gather(*(self.start_worker() for _ in range(workers)))

    async def start_worker(self) -> None:
        """Start one more; returns when its types are registered."""
        wire = await self.wires.make(self.host.port)
        worker = Worker(self._directory, wire.address, prefix=wire.prefix)
        self._wire_of[worker] = wire
        worker.is_spared = True
        self.workers.append(worker)
        await wire.plug_in(worker.pid)
        await worker.wait_for("ready")
        worker.is_spared = False

    async def victim(self, random: Random) -> Worker:
        """One to which nothing is being done, spared from here on."""
        async with asyncio.timeout(PATIENCE_S):
            while not (free := [each for each in self.workers if not each.is_spared]):
                await asyncio.sleep(0.05)
        worker = random.choice(free)
        worker.is_spared = True
        return worker

    async def cut_off(self, worker: Worker, direction: str, seconds: float) -> None:
        """Cut a worker's wire half-open, for so long."""
        wire = self._wire_of[worker]
        wire.cut(direction)
        await asyncio.sleep(seconds)
        wire.mend()

    async def restart_host(self, after_s: float) -> None:
        """Kill the host, and start another in its place with what it had written."""
        await self.host.stop(signal.SIGKILL)
        self.host_kills += 1
        await asyncio.sleep(after_s)
        self.host = await self._start_host(self.host.port)

    async def leave(self) -> list[str]:
        """Everybody leaves in good order; what did not, in words."""
        complaints = []
        for worker in self.workers:
            if worker.child.poll() is None:
                complaints += await self.drain(worker)
        code = await self.host.stop()
        return complaints if code == 0 else [*complaints, f"the host ended with {code}"]

    async def drain(self, worker: Worker) -> list[str]:
        """SIGTERM; what was not in good order, in words."""
        code = await worker.stop(signal.SIGTERM)
        broken_off = [turn for turn in worker.turns() if turn.ended_ns is None]
        complaints = [f"{worker.name} left, and {turn} had not ended" for turn in broken_off]
        return complaints if code == 0 else [*complaints, f"{worker.name} ended with {code}"]

    async def end(self) -> None:
        """End everything, however it went."""
        for worker in self.workers:
            worker.kill()
            await self._wire_of[worker].take_away()
        self.host.kill()

    async def _start_host(self, port: int = 0) -> Host:
        options = ("--engine", "sqlite", "--data", str(self._directory / "data"))
        return await Host.start(self._directory, ENVIRONMENT, port, options)
