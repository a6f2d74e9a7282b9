"""An engine that keeps what it is given, for hosts that come and go: the contract, plainly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from callboard.core.backlogs import Backlog, PageRequest
from callboard.core.errors import Unavailable
from callboard.core.event import Address, Delivery
from callboard.core.kept import Kept, KeptOrigin, KeptSession, KeptType
from callboard.engine.contract import PAGE_ITEMS
from callboard.engine.memory import MemoryEngine
from callboard.wire.v1.cloudevent_pb2 import CloudEvent

if TYPE_CHECKING:
    from callboard.core.commit import Append, Commit
    from simulator.ledger import Ledger


DISK_IS_FULL = "the disk is full"


@dataclass
class Disk:
    """What is kept."""

    events: dict[int, Delivery] = field(default_factory=dict)
    behind: set[int] = field(default_factory=set)
    types: dict[str, KeptType] = field(default_factory=dict)
    sessions: dict[bytes, KeptSession] = field(default_factory=dict)
    origins: dict[str, KeptOrigin] = field(default_factory=dict)


class ModelEngine(MemoryEngine):
    """Keeps what it is given, after a while, and tells the ledger of dead letters.

    Attributes:
        epoch: Of the host that has it.
        is_full: Whether it can keep nothing.
    """

    def __init__(self, ledger: Ledger, chance: Random, commit_s: float) -> None:
        super().__init__()
        self._ledger = ledger
        self._chance = chance
        self._commit_s = commit_s
        self._disk = Disk()
        self._under_way: Commit | None = None
        self.epoch = 0
        self.is_full = False

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
        disk = self._disk
        positions = sorted(
            each for each in disk.events if each > beyond and each not in disk.behind
        )
        return [self._waits(each) for each in positions[: min(limit, 3)]]

    async def backlogs(
        self, *, beyond: Address | None = None, limit: int = PAGE_ITEMS
    ) -> Sequence[Backlog]:
        """In pages of two."""
        disk = self._disk
        agents = sorted({disk.events[each].agent for each in disk.behind})
        found = []
        for agent in [each for each in agents if beyond is None or each > beyond][: min(limit, 2)]:
            positions = sorted(each for each in disk.behind if disk.events[each].agent == agent)
            size = sum(len(disk.events[each].event.content) for each in positions)
            found.append(Backlog(agent, len(positions), size, positions[0], 0.0))
        return found

    async def pages(self, requests: Sequence[PageRequest]) -> Sequence[Sequence[Delivery]]:
        """After a while, of what is there then; often not all that was asked for."""
        await asyncio.sleep(self._chance.random() * self._commit_s)
        await self.check()
        disk = self._disk
        pages: list[list[Delivery]] = []
        for request in requests:
            positions = sorted(
                each
                for each in disk.behind
                if each > request.beyond and disk.events[each].agent == request.agent
            )
            least = 0 if pages else 1
            count = self._chance.randint(least, request.limit) if self._commit_s else request.limit
            pages.append([self._waits(each) for each in positions[:count]])
            self._ledger.counts["deliveries read back"] += len(pages[-1])
        return pages

    def _waits(self, position: int) -> Delivery:
        return replace(self._disk.events[position], attempt=0, grant=None)

    async def commit(self, commit: Commit) -> Sequence[int]:
        """Keep it, after a while. One that a crash interrupts is kept or not."""
        if self._commit_s:
            self._under_way = commit
            await asyncio.sleep(self._chance.random() * self._commit_s)
            self._under_way = None
        await self.check()
        return self._keep(commit)

    async def check(self) -> None:
        """Whether it can keep something."""
        if self.is_full:
            raise Unavailable(DISK_IS_FULL)

    def crash(self) -> None:
        """The host is gone in the middle of what it does."""
        commit, self._under_way = self._under_way, None
        if commit is not None and not self.is_full and self._chance.random() < 0.5:
            self._keep(commit)

    def _keep(self, commit: Commit) -> Sequence[int]:
        disk = self._disk
        for letter in commit.dead:
            event_id = CloudEvent.FromString(letter.delivery.event.content).id
            self._ledger.dies(event_id, letter.delivery.agent, letter.reason)
        numbers = self.commit_now(commit)
        self._keep_events(commit, iter(numbers))
        disk.behind.difference_update(commit.at_hand)
        for changed in commit.changed:
            if changed.position in disk.events:
                disk.events[changed.position] = replace(changed)
        for position in commit.removed:
            disk.events.pop(position, None)
            assert position not in disk.behind, "handled, and no host has had it"
        for letter in commit.dead:
            disk.events.pop(letter.delivery.position, None)
            disk.behind.discard(letter.delivery.position)
        self._keep_presence(commit)
        return numbers

    def _keep_events(self, commit: Commit, given: Iterator[int]) -> None:
        disk = self._disk
        for incarnation in commit.origins_gone:
            disk.origins.pop(incarnation, None)
        for append in commit.appends:
            for agent in append.targets:
                position = next(given)
                disk.events[position] = Delivery(position, agent, append.event)
                if agent in (append.behind or ()):
                    disk.behind.add(position)
            self._note_origin(append)
        for replay in commit.replays:
            position = next(given)
            if position:
                delivery = replay.letter.delivery
                disk.events[position] = Delivery(position, delivery.agent, delivery.event)
                if replay.behind is not None:
                    disk.behind.add(position)

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
