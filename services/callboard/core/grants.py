"""Who may run which partition of one agent type.

States of a partition::

    FREE        holder None
    HELD        holder S, not leaving
    LEAVING     holder S, asked to surrender: S runs what it has, gets nothing new

    FREE    --grant-->      HELD
    HELD    --ask-->        LEAVING
    LEAVING --surrendered-> FREE
    HELD, LEAVING --lose--> FREE

Invariants: a partition has at most one holder; every grant has a serial above all before it; what
names another grant than the present one is refused by `is_valid`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from callboard.core.event import Grant

W = TypeVar("W", bound=Hashable)


class Serials:
    """The numbers of grants, rising within one epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._last = 0

    def next(self) -> int:
        """A number above all before it."""
        self._last += 1
        return self._last


class Grants(Generic[W]):
    """The grants of one agent type; ``W`` is whatever stands for a worker's session."""

    def __init__(self, partitions: int, serials: Serials) -> None:
        self._serials = serials
        self._holders: list[W | None] = [None] * partitions
        # `Grant`s are made when asked for: a thousand types have a quarter of a million, most of
        # them
        # never used, which the garbage collector would visit over and over. Serial 0: no grant.
        self._serial: list[int] = [0] * partitions
        self._grants: list[Grant | None] = [None] * partitions
        self._leaving: set[int] = set()

    def open_to(self, partition: int) -> W | None:
        """The session that may be handed something new for ``partition``.

        None while there is none.
        """
        return None if partition in self._leaving else self._holders[partition]

    def holder(self, partition: int) -> W | None:
        """The session that holds ``partition``, even while it is asked to surrender it."""
        return self._holders[partition]

    def grant_of(self, partition: int) -> Grant | None:
        """The present grant of ``partition``; None while it is free."""
        grant = self._grants[partition]
        if grant is None and self._serial[partition]:
            grant = self._grants[partition] = Grant(self._serials.epoch, self._serial[partition])
        return grant

    def is_valid(self, partition: int, grant: Grant | None, session: W) -> bool:
        """Whether ``grant`` is the present one and ``session`` has it."""
        return (
            grant is not None
            and self._holders[partition] is session
            and self.grant_of(partition) == grant
        )

    def is_leaving(self, partition: int) -> bool:
        """Whether the holder was asked to surrender ``partition``."""
        return partition in self._leaving

    def grant(self, partition: int, session: W) -> None:
        """Give a free partition to ``session``. Raises ValueError when it is not free."""
        if self._holders[partition] is not None:
            msg = f"partition {partition} is held"
            raise ValueError(msg)
        self._holders[partition] = session
        self._serial[partition] = self._serials.next()

    def ask(self, partition: int) -> Grant | None:
        """Note that the holder is asked to surrender.

        Returns:
            The grant to ask back; None when nobody holds the partition or its holder was asked
            before.
        """
        if self._holders[partition] is None or partition in self._leaving:
            return None
        self._leaving.add(partition)
        return self.grant_of(partition)

    def end(self, partition: int) -> None:
        """The holder has surrendered ``partition`` or is lost. Idempotent."""
        self._holders[partition] = None
        self._serial[partition] = 0
        self._grants[partition] = None
        self._leaving.discard(partition)

    def held_by(self, session: W) -> Iterator[int]:
        """The partitions that ``session`` holds, leaving ones included."""
        return (p for p, holder in enumerate(self._holders) if holder is session)

    @property
    def held_count(self) -> int:
        """How many partitions have a holder."""
        return sum(holder is not None for holder in self._holders)

    def __len__(self) -> int:
        return len(self._holders)
