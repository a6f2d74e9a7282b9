"""What the host asks of the place where it keeps what must outlive it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from callboard.core.backlogs import Backlog, PageRequest
from callboard.core.commit import Commit, DeadLetter
from callboard.core.dead_letters import EVERY, Selection
from callboard.core.event import Address, Delivery
from callboard.core.kept import Kept

PAGE_BYTES = 16 << 20
"""What the events of a page have together, about, unless there is but one."""

PAGE_ITEMS = 10_000
"""How many events a page holds at most that nobody has asked for otherwise."""

BACKLOG_BYTES = 1 << 20
"""What the events that are read back at once have together, about, unless there is but one."""


class Engine(Protocol):
    """Keeps events until they are settled, and what a host has to know that comes after another.

    One host uses an engine at a time. `commit` is never called while another is under way, so
    commits are kept in the order in which they are given. What a commit brings is found by the next
    host if `commit` has returned, maybe if it has not, and always as a whole.

    Of what waits, a part can be left to the engine alone: it is *behind* from the append that says
    so until a commit names its position in ``at_hand``. `waiting` passes it over, `backlogs` counts
    it by agent, and `pages` reads it. An engine that is volatile need not: its hosts hold all.

    An event is kept from the append that brings it, under a position for each target, until a
    commit names that position in ``removed`` or ``dead``. A publisher is kept, as `KeptOrigin`, by
    what its appends say, until a commit names it in ``origins_gone``, which counts before the
    appends of the same commit; those without an incarnation are not. Of its numbers each is known
    for as long as it may ask for it again: until twice its window of later ones is appended.
    """

    @property
    def name(self) -> str:
        """As the command line names it."""
        ...

    @property
    def is_volatile(self) -> bool:
        """Whether everything is lost with the process; the host says so at start."""
        ...

    async def open(self) -> Kept:
        """Take the engine over. Returns what hosts before have left, and this one's epoch."""
        ...

    async def waiting(self, *, beyond: int = 0, limit: int = PAGE_ITEMS) -> Sequence[Delivery]:
        """A page of what hosts before have left at hand, in the order of positions.

        With how often they have failed and were lost, and no attempt yet. Targets of one append
        have one `Event` as far as they are on one page. Called before the first commit, until a
        page is empty.

        Args:
            beyond: Those that come after this position; 0: all.
            limit: How many at most. A page that would grow beyond `PAGE_BYTES` ends before that.
        """
        ...

    async def backlogs(
        self, *, beyond: Address | None = None, limit: int = PAGE_ITEMS
    ) -> Sequence[Backlog]:
        """A page of what hosts before have left behind, by agent, in the order of agents.

        Called before the first commit, until a page is empty.

        Args:
            beyond: Those of agents that come after this one; None: all.
            limit: Of how many agents at most.
        """
        ...

    async def pages(self, requests: Sequence[PageRequest]) -> Sequence[Sequence[Delivery]]:
        """The next of what is behind for some agents, in the order of positions, for each request.

        As `waiting` has them. Nothing is changed by it. With what would grow beyond `BACKLOG_BYTES`
        the page ends, and those that follow are empty. The first has one event at least, if there
        is one.
        """
        ...

    async def commit(self, commit: Commit) -> Sequence[int]:
        """Keep all of ``commit`` as one step: all of it or, on an error, nothing.

        Whether a dead letter is still there to be replayed or dropped is decided here, in the order
        in which the commit names them. One that is replayed is removed and kept as an event that
        waits, new position, no attempt yet, in the same step: it is never lost, nor there twice.
        The dead letters that a commit brings come after all that it takes.

        Returns:
            Numbers, in this order: for each target of each append its position; for each replay the
            position of its new delivery, 0 when the dead letter was not there; for each drop the
            position of the dead letter, 0 when it was not there. Positions given out rise over all
            appends and replays, and are never reused. When this returns, the events are kept as the
            engine promises.
        """
        ...

    async def check(self) -> None:
        """Return when the engine can keep events. Raises `Unavailable` when it cannot.

        Asked after `commit` or `pages` has raised that, between commits.
        """
        ...

    async def dead_letters(
        self,
        selection: Selection = EVERY,
        *,
        beyond: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Sequence[DeadLetter]:
        """A page of the dead letters, in the order of their positions.

        Args:
            selection: Which of them.
            beyond: Those that come after this position, which may be there no more; 0: all.
            limit: How many at most; None: all, however large, for tests. A page that would grow
                beyond `PAGE_BYTES` ends before that: only an empty one is the last.
            newest_first: From the highest position down.
        """
        ...

    async def dead_letter(self, position: int) -> DeadLetter | None:
        """The dead letter of that position; None when there is none."""
        ...

    async def close(self) -> None:
        """Let the engine go. Idempotent."""
        ...
