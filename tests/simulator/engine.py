"""An engine that keeps what it is given, for hosts that come and go: the contract, plainly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from callboard.core.event import Delivery
from callboard.core.kept import Kept, KeptOrigin, KeptSession, KeptType
from callboard.engine.contract import PAGE_ITEMS
from callboard.engine.memory import MemoryEngine
from callboard.wire.v1.cloudevent_pb2 import CloudEvent

if TYPE_CHECKING:
    from callboard.core.commit import Append, Commit
    from simulator.ledger import Ledger


@dataclass
class Disk:
    """What is kept."""

    events: dict[int, Delivery] = field(default_factory=dict)
    types: dict[str, KeptType] = field(default_factory=dict)
    sessions: dict[bytes, KeptSession] = field(default_factory=dict)
    origins: dict[str, KeptOrigin] = field(default_factory=dict)


class ModelEngine(MemoryEngine):
    """Keeps what it is given, after a while, and tells the ledger of dead letters.

    Attributes:
        epoch: Of the host that has it.
    """

    def __init__(self, ledger: Ledger, chance: Random, commit_s: float) -> None:
        super().__init__()
        self._ledger = ledger
        self._chance = chance
        self._commit_s = commit_s
        self._disk = Disk()
        self._under_way: Commit | None = None
        self.epoch = 0

    async def open(self) -> Kept:
        """What is there."""
        self.epoch += 1
        disk = self._disk
        return Kept(
            self.epoch,
            tuple(disk.types.values()),
            tuple(disk.sessions.values()),
            tuple(disk.origins.values()),
        )

    async def waiting(self, *, beyond: int = 0, limit: int = PAGE_ITEMS) -> Sequence[Delivery]:
        """In pages of three, so that there are several."""
        positions = sorted(each for each in self._disk.events if each > beyond)[: min(limit, 3)]
        return [replace(self._disk.events[each], attempt=0, grant=None) for each in positions]

    async def commit(self, commit: Commit) -> Sequence[int]:
        """Keep it, after a while. One that a crash interrupts is kept or not."""
        if self._commit_s:
            self._under_way = commit
            await asyncio.sleep(self._chance.random() * self._commit_s)
            self._under_way = None
        return self._keep(commit)

    def crash(self) -> None:
        """The host is gone in the middle of what it does."""
        commit, self._under_way = self._under_way, None
        if commit is not None and self._chance.random() < 0.5:
            self._keep(commit)

    def _keep(self, commit: Commit) -> Sequence[int]:
        disk = self._disk
        for letter in commit.dead:
            event_id = CloudEvent.FromString(letter.delivery.event.content).id
            self._ledger.dies(event_id, letter.delivery.agent, letter.reason)
        numbers = self.commit_now(commit)
        given = iter(numbers)
        for incarnation in commit.origins_gone:
            disk.origins.pop(incarnation, None)
        for append in commit.appends:
            for agent in append.targets:
                position = next(given)
                disk.events[position] = Delivery(position, agent, append.event)
            self._note_origin(append)
        for letter, _ in commit.replays:
            position = next(given)
            if position:
                delivery = letter.delivery
                disk.events[position] = Delivery(position, delivery.agent, delivery.event)
        for changed in commit.changed:
            if changed.position in disk.events:
                disk.events[changed.position] = replace(changed)
        for position in (*commit.removed, *(each.delivery.position for each in commit.dead)):
            disk.events.pop(position, None)
        self._keep_presence(commit)
        return numbers

    def _keep_presence(self, commit: Commit) -> None:
        disk = self._disk
        disk.types.update((each.name, each) for each in commit.types)
        for name in commit.types_gone:
            disk.types.pop(name, None)
        for session in commit.sessions:
            disk.sessions[session.token] = KeptSession(
                session.token, session.client_id, session.incarnation
            )
        for token in commit.sessions_gone:
            disk.sessions.pop(token, None)

    def _note_origin(self, append: Append) -> None:
        incarnation = append.session.origin.incarnation
        if incarnation:
            former = self._disk.origins.get(incarnation, KeptOrigin(incarnation, 0))
            refused, through = former.refused, append.known_through
            if append.refusal is not None:
                refused = (*refused, append.number)
            beyond = tuple(each for each in (*former.beyond, append.number) if each > through)
            self._disk.origins[incarnation] = KeptOrigin(incarnation, through, refused, beyond)
