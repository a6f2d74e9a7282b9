"""What the agents of the chaos run write down: one file a process, which outlives a kill.

Each line leaves in one write before the agent goes on, so that what is there has happened, and
what has happened is there. Times are of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

DIRECTORY = "CHAOS_JOURNAL"
"""The variable that names the directory."""


class Turn(NamedTuple):
    """One turn of an event, as its process wrote it down.

    Attributes:
        process: The name of the process, that of its file.
        place: The place of its beginning among those of the process, from 0.
        agent: The agent's key.
        publisher: Who published the event.
        number: The event's number among those of its publisher for the agent, from 1.
        began_ns: When it began.
        ended_ns: When it ended; None: it did not.
        is_handled: Whether it ended by itself, not by being cancelled.
    """

    process: str
    place: int
    agent: str
    publisher: str
    number: int
    began_ns: int
    ended_ns: int | None = None
    is_handled: bool = False

    @property
    def event(self) -> tuple[str, str, int]:
        """What it handled: (publisher, agent, number)."""
        return (self.publisher, self.agent, self.number)


class Journal:
    """Writes the file of this process."""

    def __init__(self, directory: Path) -> None:
        path = directory / str(os.getpid())
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._turns = 0

    @contextmanager
    def turn(self, agent: str, publisher: str, number: int) -> Iterator[None]:
        """Write down when a turn begins and how it ends."""
        place, self._turns = self._turns, self._turns + 1
        self._write("begin", place, agent, publisher, number)
        try:
            yield
        except BaseException:
            self._write("cut", place)
            raise
        self._write("end", place)

    def _write(self, what: str, *about: object) -> None:
        line = " ".join(map(str, (what, time.monotonic_ns(), *about)))
        os.write(self._file, line.encode() + b"\n")


def read_journal(process: str, text: str) -> list[Turn]:
    """The turns that a process wrote down, in order. A last line without its end is left out."""
    turns: dict[int, Turn] = {}
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        what, time_ns, place, *about = line.split()
        if what == "begin":
            agent, publisher, number = about
            turns[int(place)] = Turn(
                process, int(place), agent, publisher, int(number), int(time_ns)
            )
        else:
            begun = turns[int(place)]
            turns[int(place)] = begun._replace(ended_ns=int(time_ns), is_handled=what == "end")
    return list(turns.values())
