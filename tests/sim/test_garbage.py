"""The broker under workers that say anything: it ends their streams, or it lives with it.

``CALLBOARD_TEST_GARBAGE_SEEDS=50000 pytest tests/sim/test_garbage.py`` plays so many stories
instead of a few hundred.
"""

from __future__ import annotations

import os
from collections import Counter
from math import inf
from random import Random

import pytest

from callboard.core.broker import Broker, BrokerLimits
from callboard.core.commit import Commit
from callboard.core.errors import ProtocolViolation
from callboard.core.session import Session
from callboard.wire.frames import (
    decode_host_frame,
    decode_worker_frame,
    encode_host_frame,
    parse_host_frame,
    parse_worker_frame,
)
from sim.inspector import Inspector
from sim.vandal import Overheard, Vandal

SEEDS = int(os.environ.get("CALLBOARD_TEST_GARBAGE_SEEDS", "300"))
BATCH = 25
STEPS = 150
VANDALS = 4


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_garbage_breaks_the_host(first: int) -> None:
    """Whatever is said is done, refused or a violation; what is counted is there."""
    for seed in range(first, min(first + BATCH, SEEDS)):
        try:
            Havoc(seed).run()
        except Exception as error:
            error.add_note(f"in the story of seed {seed}")
            raise


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_spoilt_frames_are_frames_or_violations(first: int) -> None:
    """Bytes that were valid once are read, or refused; nothing else is raised."""
    for seed in range(first, min(first + BATCH, SEEDS)):
        chance = Random(seed)
        session = Session("v", "v", capabilities=frozenset(chance.choice(((), ("runs",)))))
        vandal = Vandal(session, chance, Overheard())
        for _ in range(20):
            data = vandal.spoil(vandal.frame().SerializeToString())
            try:
                decode_worker_frame(parse_worker_frame(data), {"streams", "runs"})
            except ProtocolViolation as error:
                assert str(error)  # noqa: PT017 (either outcome is right)


class Havoc:
    """A broker, its engine and some vandals: one story from one seed."""

    def __init__(self, seed: int) -> None:
        self._chance = chance = Random(seed)
        limits = BrokerLimits(
            partitions=chance.choice((1, 2, 4)),
            delivery_window=chance.choice((3, 8)),
            agent_share=chance.choice((1, 2, 3)),
            ahead_s=inf,  # the inspector's rule of what is out knows no time
            max_types=chance.choice((2, 10, 10)),
            max_subscriptions=chance.choice((3, 100, 100)),
            max_queued_bytes=chance.choice((3_000, 1_000_000)),
            max_calls_waiting=2,
            max_open_calls=chance.choice((3, 100)),
            max_stream_credit=chance.choice((3, 1024)),
        )
        # Also what a host does not announce today, but the core has to stand.
        self._capabilities = frozenset(
            chance.choice(((), ("streams", "leases", "beginnings", "runs")))
        )
        self._broker = Broker(2, limits)
        self._inspector = Inspector(self._broker)
        self._overheard = Overheard()
        self._vandals: list[Vandal] = []
        self._names = 0
        self._now = 0.0
        self._committing: Commit | None = None
        self._last_position = 0
        self._endings: Counter[int] = Counter()

    def run(self) -> None:
        """The whole story; afterwards nothing is left but what waits."""
        for step in range(STEPS):
            self._step()
            if step % 8 == 0:
                self._inspector.check(self._committing)
        for vandal in self._vandals:
            self._broker.leave(vandal.session, self._now)
        self._commit_ends()
        while self._committing is not None:
            self._commit_ends()
        self._now += 1_000
        self._broker.tick(self._now)
        self._check_end()

    def _step(self) -> None:
        chance, broker = self._chance, self._broker
        self._now += chance.choice((0, 0, 0.1, 5))
        broker.tick(self._now)
        if not self._vandals or (chance.random() < 0.05 and len(self._vandals) < VANDALS):
            self._join()
        vandal = chance.choice(self._vandals)
        if chance.random() < 0.02:
            self._leave(vandal)
        else:
            self._listen_to(vandal)
        if self._committing is None:
            self._committing = broker.take_commit()
        if chance.random() < 0.7:
            self._commit_ends()
        broker.take_awake()
        for each in self._vandals:
            self._tell(each)
        broker.next_deadline()

    def _join(self) -> None:
        self._names += 1
        known = {"streams", "beginnings", "runs"} & self._capabilities
        capabilities = known if self._chance.random() < 0.8 else ()
        session = Session(
            f"s{self._names}", self._chance.choice("pqrs"), capabilities=frozenset(capabilities)
        )
        self._broker.join(session, 0.0)
        self._vandals.append(Vandal(session, self._chance, self._overheard))

    def _leave(self, vandal: Vandal) -> None:
        self._vandals.remove(vandal)
        self._broker.leave(vandal.session, self._now)

    def _listen_to(self, vandal: Vandal) -> None:
        """As a host does: a violation ends the session."""
        data = vandal.frame().SerializeToString()
        if self._chance.random() < 0.02:
            data = vandal.spoil(data)
        try:
            known = self._capabilities if vandal.session.capabilities else ()
            frame = decode_worker_frame(parse_worker_frame(data), known)
            self._broker.take(vandal.session, frame, self._now)
        except ProtocolViolation:
            self._leave(vandal)

    def _tell(self, vandal: Vandal) -> None:
        while (frame := vandal.session.outbox.take()) is not None:
            message = parse_host_frame(encode_host_frame(frame))
            decode_host_frame(message)
            self._overheard.listen(message)

    def _commit_ends(self) -> None:
        """The engine has kept what it was given, and is given what waits."""
        commit = self._committing
        if commit is not None:
            count = sum(len(append.targets) for append in commit.appends)
            positions = range(self._last_position + 1, self._last_position + count + 1)
            self._last_position += count
            self._endings.update(commit.removed)
            self._endings.update(letter.delivery.position for letter in commit.dead)
            self._broker.committed(commit, positions, self._now)
        self._committing = self._broker.take_commit()

    def _check_end(self) -> None:
        broker, calls = self._broker, self._broker._exchange._calls
        self._inspector.check(self._committing)
        assert not broker.has_commit
        assert broker.sessions == {}
        assert broker.in_flight_count == 0
        kept_until = self._now + broker.limits.type_retention_s
        due = broker.next_deadline()
        assert due is None if not len(broker.types) else self._now < (due or 0.0) <= kept_until
        assert broker._placer._held == {}
        assert (len(calls), calls.size) == (0, 0)
        assert (calls._by_caller, calls._by_session, calls._made) == ({}, {}, {})
        assert not any(state.session_only for state in broker.types)
        waiting = Counter(
            delivery.position
            for state in broker.types
            for queue in state.queues
            for delivery in queue.waiting
        )
        assert self._endings + waiting == Counter(range(1, self._last_position + 1))
