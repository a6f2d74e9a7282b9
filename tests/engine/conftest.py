"""The engines that the contract is for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from callboard.core.kept import Kept
from callboard.engine.contract import Engine
from callboard.engine.memory import MemoryEngine
from callboard.engine.sqlite import SqliteEngine
from simulator.engine import ModelEngine
from simulator.ledger import Ledger


class _Ledger(Ledger):
    def dies(self, event_id: str, agent: tuple[str, str], reason: str) -> None:
        """These events are no publisher's."""


class Place:
    """Where hosts come and go, one at a time.

    Attributes:
        engine: That of the present one, open.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Engine] = {
            "memory": MemoryEngine(),
            "model": ModelEngine(_Ledger(), Random(1), 0.0),
        }
        self.engine = self._engine_of(name)

    def _engine_of(self, name: str) -> Engine:
        return self._made.get(name) or SqliteEngine(self._directory, publish_window=4)

    async def reopen(self) -> Kept:
        """Another host takes over; what it finds."""
        await self.engine.close()
        self.engine = self._engine_of(self.engine.name if self.is_sqlite else "model")
        return await self.engine.open()

    @property
    def is_sqlite(self) -> bool:
        return isinstance(self.engine, SqliteEngine)


@pytest.fixture(params=["memory", "model", "sqlite"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """Any of them, open."""
    place = Place(request.param, tmp_path)
    await place.engine.open()
    yield place.engine
    await place.engine.close()


@pytest.fixture(params=["model", "sqlite"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """One whose engine outlives its host."""
    place = Place(request.param, tmp_path)
    await place.engine.open()
    yield place
    await place.engine.close()
