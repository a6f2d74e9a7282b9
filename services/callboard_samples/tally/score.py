"""What became of the events of a run. Times are arguments: any clock will do, in seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MAX_NAMED = 20
"""How many missing events a report names."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went. Its fields are what ``--json`` prints.

    Attributes:
        run: Its name.
        events: How many it was to publish.
        published: How many the host has acknowledged.
        answered: How many were answered, each counted once.
        duplicates: Answers beyond the first to an event.
        missing: Events acknowledged and not answered.
        missing_numbers: The first of them, at most 20.
        out_of_order: First answers that came after that to a later event of the same key.
        by_worker: First answers by the worker that gave them.
        seconds: From the first event to the last answer.
        rate: Events published in a second.
        behind_s: How far publishing fell behind its schedule, at worst.
        p50_s: Half of the events were answered within this time of being published.
        p99_s: 99 of 100 were.
        max_s: All were.
        failure: Why not all was published or waited for; empty when it was.
    """

    run: str
    events: int
    published: int
    answered: int
    duplicates: int
    missing: int
    missing_numbers: list[int]
    out_of_order: int
    by_worker: dict[str, int]
    seconds: float
    rate: float
    behind_s: float
    p50_s: float
    p99_s: float
    max_s: float
    failure: str

    @property
    def is_complete(self) -> bool:
        """Whether every event was published and answered."""
        return self.published == self.events and not self.missing


class Score:
    """Keeps count of one run.

    Attributes:
        failure: Why the run cannot go on, or what was refused first; empty while all is well.
    """

    def __init__(self, run: str, events: int) -> None:
        self.failure = ""
        self.duplicates = 0
        self.out_of_order = 0
        self._run = run
        self._events = events
        self._sent: dict[int, float] = {}
        self._acknowledged: set[int] = set()
        self._open: set[int] = set()
        self._latencies: dict[int, float] = {}
        self._newest: dict[str, int] = {}
        self._by_worker: Counter[str] = Counter()
        self._behind_s = 0.0
        self._last_answer = 0.0

    def sent(self, number: int, *, due: float, now: float) -> None:
        """The event ``number`` leaves, which was due at ``due``."""
        self._sent[number] = now
        self._behind_s = max(self._behind_s, now - due)

    def acknowledged(self, number: int) -> None:
        """The host has it."""
        self._acknowledged.add(number)
        if number not in self._latencies:
            self._open.add(number)

    def refused(self, reason: str) -> None:
        """The host does not take an event. The first reason counts."""
        self.failure = self.failure or reason

    def answered(self, number: int, *, key: str, worker: str, now: float) -> None:
        """It was handled."""
        if number in self._latencies:
            self.duplicates += 1
            return
        self._latencies[number] = now - self._sent[number]
        self._open.discard(number)
        self._by_worker[worker] += 1
        self._last_answer = now
        if number < self._newest.get(key, -1):
            self.out_of_order += 1
        else:
            self._newest[key] = number

    @property
    def published_count(self) -> int:
        """How many events the host has acknowledged."""
        return len(self._acknowledged)

    @property
    def answered_count(self) -> int:
        """How many events were answered."""
        return len(self._latencies)

    @property
    def is_settled(self) -> bool:
        """Whether all that the host has acknowledged was answered."""
        return not self._open

    def report(self) -> Report:
        """What there is to say by now."""
        missing = sorted(self._open)
        latencies = sorted(self._latencies.values())
        sent = sorted(self._sent.values())
        first, last = (sent[0], sent[-1]) if sent else (0.0, 0.0)
        return Report(
            run=self._run,
            events=self._events,
            published=len(self._acknowledged),
            answered=len(self._latencies),
            duplicates=self.duplicates,
            missing=len(missing),
            missing_numbers=missing[:MAX_NAMED],
            out_of_order=self.out_of_order,
            by_worker=dict(sorted(self._by_worker.items())),
            seconds=max(0.0, self._last_answer - first),
            rate=(len(sent) - 1) / (last - first) if last > first else 0.0,
            behind_s=self._behind_s,
            p50_s=percentile(latencies, 50),
            p99_s=percentile(latencies, 99),
            max_s=percentile(latencies, 100),
            failure=self.failure,
        )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The least of ``ordered`` that ``percent`` of them do not exceed; 0 when there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
