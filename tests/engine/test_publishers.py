"""A publisher over many sessions and hosts: each publish is kept once and told so, or not at all.

The broker, the file and both sides' books of publishes are the real ones; what happens when comes
from a seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from callboard.agent.publishes import Done, UnconfirmedPublishes
from callboard.core.broker import Broker, BrokerLimits
from callboard.core.errors import CallboardError
from callboard.core.event import Event
from callboard.core.frames import (
    ACCEPTED,
    Registration,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
)
from callboard.core.kept import KeptOrigin
from callboard.core.origins import Origins
from callboard.core.session import Session
from callboard.core.worker_outbox import WorkerOutbox
from callboard.engine.sqlite_rows import rows_of
from callboard.engine.sqlite_store import SqliteStore

WINDOW = 3
TYPES = "ab"
STEPS = 300
AT_REST_S = 200


class Run:
    """One publisher, a slow consumer of each type, and hosts that have room for an event or two.

    Attributes:
        copies: How often the engine was given an event, by the number of its publish.
        endings: What the publisher was told.
    """

    def __init__(self, directory: Path, chance: Random) -> None:
        self.copies: Counter[int] = Counter()
        self.endings: dict[int, CallboardError | None] = {}
        self.now = 0.0
        self._directory = directory
        self._chance = chance
        self._limits = BrokerLimits(
            partitions=4,
            publish_window=WINDOW,
            max_type_events=chance.choice([1, 2]),
            delivery_window=2,
        )
        self._publishes = UnconfirmedPublishes()
        self._session: Session | None = None
        self._open_host()
        self._begin_session()

    # What may happen.

    def publish(self) -> None:
        """One event more, which may wait for room or not."""
        number, chance = self._publishes.last + 1, self._chance
        topic_type = "not a topic" if chance.random() < 0.05 else chance.choice(TYPES)
        event = Event(str(number).encode(), topic_type, chance.choice("xy"))
        publish = self._publishes.add(event, self._done(number))
        if chance.random() < 0.6:
            publish.deadline = self.now + chance.choice([0.5, 3.0, 30.0])
        self._outbox.publishes.append(publish)

    def say(self) -> None:
        """What the publisher has to say reaches the host."""
        frame = self._outbox.take(self.now)
        if frame is not None:
            self._broker.publish(self._joined, frame.publishes, self.now)

    def hear(self) -> None:
        """What the host has to say reaches the publisher."""
        frame = self._joined.outbox.take() if self._joined.is_live else None
        if frame is not None:
            self._publishes.confirm(frame)
            self._outbox.confirmed = self._publishes.answered_count

    def commit(self, *, is_heard: bool = True) -> None:
        """The engine keeps what there is. Unless ``is_heard`` its host is gone by then."""
        commit = self._broker.take_commit()
        if commit is None:
            return
        numbers = self._store.commit(rows_of(commit, 0.0, 0.0))
        self.copies.update(int(each.event.content) for each in commit.appends if each.targets)
        if is_heard:
            self._broker.committed(commit, numbers, self.now)

    def consume(self, agent_type: str) -> None:
        """What is out for a type is handled."""
        session = self._consumers[agent_type]
        frame = session.outbox.take()
        if frame is None:
            return
        settlements = [
            Settlement(number, each.position, each.attempt, each.grant, ACCEPTED)
            for number, each in enumerate(
                (each for _, targets in frame.deliveries for each in targets),
                session.last_settlement + 1,
            )
            if each.grant is not None
        ]
        self._broker.settle(session, settlements, self.now)

    def lose_session(self) -> None:
        """The publisher is back in another, of which the host may or may not know."""
        if self._chance.random() < 0.5:
            self._broker.leave(self._joined, self.now)
        self._begin_session()

    def lose_host(self) -> None:
        """Another takes over, after the last commit of the former or before it."""
        if self._chance.random() < 0.5:
            self.commit(is_heard=False)
        self._store.close()
        self._session = None
        self._open_host()
        self._begin_session()

    def pass_time(self, seconds: float) -> None:
        """Deadlines, and leases."""
        self.now += seconds
        self._broker.tick(self.now)

    def rest(self) -> None:
        """Everything goes well until all is told and handled."""
        for _ in range(AT_REST_S):
            self.pass_time(1.0)
            if not self._joined.is_live:
                self._begin_session()
            for _ in range(2 * WINDOW):
                self.say()
            self.commit()
            for _ in range(2 * WINDOW):
                self.hear()
            for agent_type in TYPES:
                self.consume(agent_type)

    @property
    def answer_rows(self) -> int:
        """How many answers the file has."""
        (count,) = self._store._execute("SELECT count(*) FROM answer").fetchone()
        return int(count)

    def close(self) -> None:
        """Let the file go."""
        self._store.close()

    # Inside.

    @property
    def _joined(self) -> Session:
        assert self._session is not None
        return self._session

    def _done(self, number: int) -> Done:
        def done(error: CallboardError | None) -> None:
            assert number not in self.endings
            self.endings[number] = error

        return done

    def _open_host(self) -> None:
        self._store, kept = SqliteStore.open(self._directory, 2 * WINDOW)
        self._broker = Broker(kept.epoch, self._limits)
        self._broker.restore(kept, self.now)
        beyond = 0
        while page := self._store.waiting(beyond, 3, 0.0):
            self._broker.restore_events(page, self.now)
            beyond = page[-1].position
        self._consumers = {each: self._consumer(each) for each in TYPES}

    def _consumer(self, agent_type: str) -> Session:
        session = Session(agent_type, agent_type, incarnation=agent_type)
        subscription = SubscriptionEntry(agent_type, agent_type, "type", agent_type)
        self._broker.join(session, self.now)
        registration = Registration(1, (TypeEntry(agent_type),), (subscription,))
        self._broker.register(session, registration, self.now)
        return session

    def _begin_session(self) -> None:
        former, self._session = self._session, Session("p", "p", incarnation="p")
        if former is not None and former.is_live:
            self._broker.replace(former, self._session, self.now)
        self._broker.join(self._session, self.now, self._publishes.confirmed)
        self._outbox = WorkerOutbox(WINDOW)
        self._outbox.confirmed = self._publishes.answered_count
        self._outbox.publishes.extend(self._publishes.unanswered)


def play(directory: Path, seed: int) -> Run:
    """A run, at rest and closed; how many answers its file had is asserted."""
    chance = Random(seed)
    run = Run(directory, chance)
    steps = [run.publish, run.say, run.commit, run.hear, run.lose_session, run.lose_host]
    weights = [30, 25, 20, 13, 3, 2]
    try:
        for _ in range(STEPS):
            run.pass_time(chance.choice([0.0, 0.0, 0.1, 1.0]))
            if chance.random() < 0.08:
                run.consume(chance.choice(TYPES))
            else:
                chance.choices(steps, weights)[0]()
        run.rest()
        assert run.answer_rows <= 2 * WINDOW + 4 * WINDOW
    finally:
        run.close()
    return run


def check(run: Run) -> None:
    """Each publish has an ending, and a copy if that is no refusal."""
    last, copies = run._publishes.last, run.copies
    assert last > STEPS / 10
    assert sorted(run.endings) == list(range(1, last + 1))
    taken = [number for number, error in sorted(run.endings.items()) if error is None]
    assert sorted(copies.elements()) == taken


def check_all(directory: Path, seeds: Iterable[int]) -> None:
    for seed in seeds:
        check(play(directory / str(seed), seed))


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_a_publish_is_kept_once_if_its_publisher_is_told_so_and_never_otherwise(
    tmp_path: Path, first: int
) -> None:
    """Whatever it waited for, and whoever of the hosts and sessions it went through was lost."""
    check_all(tmp_path, range(first, first + 10))


def test_what_a_host_forgets_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here what the one before had answered beyond a publish that waited for room."""
    original = Origins.restore

    def restore(self: Origins, kept: Iterable[KeptOrigin], now: float) -> None:
        original(self, (each._replace(beyond=()) for each in kept), now)

    monkeypatch.setattr(Origins, "restore", restore)

    with pytest.raises(AssertionError):
        check_all(tmp_path, range(60))
