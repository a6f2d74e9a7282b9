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

from array import array
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

from callboard.core.event import Grant

W = TypeVar("W", bound=Hashable)


@cache
def nobody(partitions: int) -> list[Any]:
    """None for each partition: one list for all that have nothing to say, never written to."""
    return [None] * partitions


@cache
def _no_serials(partitions: int) -> array[int]:
    return array("Q", bytes(8 * partitions))


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
    """The grants of one agent type; ``W`` is whatever stands for a worker's session.

    A host may keep thousands of types, most of them without a worker: tables are made with the
    first grant and dropped with the last. `Grant`s are made when asked for: a thousand types have a
    quarter of a million, most of them never used, which the garbage collector would visit over and
    over.

    Attributes:
        held_count: How many partitions have a holder.
    """

    __slots__ = (
        "_grants",
        "_holders",
        "_leaving",
        "_partitions",
        "_serial",
        "_serials",
        "held_count",
    )

    def __init__(self, partitions: int, serials: Serials) -> None:
        self._serials = serials
        self._partitions = partitions
        self._holders: list[W | None]
        self._serial: array[int]  # 0: no grant
        self._grants: list[Grant | None]
        self._leaving: set[int] = set()
        self.held_count = 0
        self._share_tables()

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
            if self._grants is nobody(self._partitions):
                self._grants = [None] * self._partitions
            grant = self._grants[partition] = Grant(self._serials.epoch, self._serial[partition])
        return grant

    def is_valid(self, partition: int, grant: Grant | None, session: W) -> bool:
        """Whether ``grant`` is the present one and ``session`` has it."""
        return (
            grant is not None
            and self._holders[partition] is session
            and grant == (self._grants[partition] or (self._serials.epoch, self._serial[partition]))
        )

    def is_leaving(self, partition: int) -> bool:
        """Whether the holder was asked to surrender ``partition``."""
        return partition in self._leaving

    def grant(self, partition: int, session: W) -> None:
        """Give a free partition to ``session``. Raises ValueError when it is not free."""
        if self._holders[partition] is not None:
            msg = f"partition {partition} is held"
            raise ValueError(msg)
        if not self.held_count:
            self._holders = [None] * self._partitions
            self._serial = _no_serials(self._partitions)[:]
        self._holders[partition] = session
        self._serial[partition] = self._serials.next()
        self.held_count += 1

    def adopt(self, partition: int, session: W, grant: Grant) -> None:
        """``session`` holds a free partition already, by a grant of a former host: it stands.

        Raises ValueError when it is not free.
        """
        self.grant(partition, session)
        if self._grants is nobody(self._partitions):
            self._grants = [None] * self._partitions
        self._grants[partition] = grant

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
        if self._holders[partition] is None:
            return
        self._leaving.discard(partition)
        if not self._leaving:
            self._leaving.clear()  # an emptied set keeps its table
        self.held_count -= 1
        if not self.held_count:
            self._share_tables()
            return
        self._holders[partition] = None
        self._serial[partition] = 0
        if self._grants[partition] is not None:
            self._grants[partition] = None

    def held_by(self, session: W) -> Iterator[int]:
        """The partitions that ``session`` holds, leaving ones included."""
        return (p for p, holder in enumerate(self._holders) if holder is session)

    def __len__(self) -> int:
        return self._partitions

    def _share_tables(self) -> None:
        self._holders = self._grants = nobody(self._partitions)
        self._serial = _no_serials(self._partitions)
