# ruff: noqa: T201 (it talks to whoever runs it)
"""How fast the bare broker is, and what it keeps, without I/O: ``make bench-core``.

Times are the best of several runs; each line names its unit.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from time import process_time

from callboard.core.broker import Broker, BrokerLimits
from callboard.core.event import Event
from callboard.core.frames import (
    ACCEPTED,
    Publish,
    Registration,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
)
from callboard.core.routing import Routes
from callboard.core.session import Session

RUNS = 5


def best_of(run: Callable[[], float]) -> float:
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(RUNS):
        gc.collect()
        times.append(run())
    return min(times)


def joined(broker: Broker, name: str, types: list[str], topic: str = "t") -> Session:
    """A worker that serves ``types``, each subscribed to ``topic``."""
    session = Session(name, name)
    broker.join(session, 0.0)
    entries = tuple(TypeEntry(each) for each in types)
    subscriptions = tuple(SubscriptionEntry(each, each, "type", topic) for each in types)
    broker.register(session, Registration(1, entries, subscriptions), 0.0)
    return session


def turn_round(
    broker: Broker, workers: list[Session], settled: dict[Session, int], last: int
) -> int:
    """Let the engine keep what waits, take every frame, settle all of it; the last position."""
    while True:
        commit = broker.take_commit()
        if commit is not None:
            count = sum(len(append.targets) for append in commit.appends)
            broker.committed(commit, range(last + 1, last + count + 1), 0.0)
            last += count
        frames = [(w, frame) for w in workers if (frame := w.outbox.take()) is not None]
        if commit is None and not frames:
            return last
        for session, frame in frames:
            settlements = []
            number = settled.get(session, 0)
            for _, targets in frame.deliveries:
                for each in targets:
                    number += 1
                    assert each.grant is not None
                    settlements.append(
                        Settlement(number, each.position, each.attempt, each.grant, ACCEPTED)
                    )
            settled[session] = number
            broker.settle(session, settlements, 0.0)
            for surrender in frame.surrenders:
                broker.surrendered(session, surrender, 0.0)


def events(count: int, keys: int, batch: int = 256) -> float:
    """One publisher, two workers of one type: publish, commit, hand out, take frames, settle."""
    broker = Broker(1)
    workers = [joined(broker, name, ["agent"]) for name in ("one", "two")]
    publisher = joined(broker, "publisher", [])
    settled: dict[Session, int] = {}
    turn_round(broker, workers, settled, 0)
    publishes = [
        Publish(number, Event(b"x" * 256, "t", f"key-{number % keys}"))
        for number in range(1, count + 1)
    ]
    start = process_time()
    last = 0
    for first in range(0, count, batch):
        broker.publish(publisher, publishes[first : first + batch], 0.0)
        last = turn_round(broker, workers, settled, last)
        publisher.outbox.take()
    took = process_time() - start
    assert broker.is_idle
    assert broker.counters.accepted == count
    return took


def backlog(count: int, keys: int) -> float:
    """The same when all events are published before the first is taken: windows are full."""
    broker = Broker(1)
    workers = [joined(broker, name, ["agent"]) for name in ("one", "two")]
    publisher = joined(broker, "publisher", [])
    settled: dict[Session, int] = {}
    turn_round(broker, workers, settled, 0)
    publishes = [
        Publish(number, Event(b"x" * 256, "t", f"key-{number % keys}"))
        for number in range(1, count + 1)
    ]
    start = process_time()
    broker.publish(publisher, publishes, 0.0)
    turn_round(broker, workers, settled, 0)
    took = process_time() - start
    assert broker.counters.accepted == count
    return took


def fan_out(agents: int) -> float:
    """One event for an agent of each of many types at one worker, until all is settled."""
    broker = Broker(1, BrokerLimits())
    worker = joined(broker, "worker", [f"type-{number}" for number in range(agents)])
    settled: dict[Session, int] = {}
    turn_round(broker, [worker], settled, 0)
    start = process_time()
    broker.publish(worker, [Publish(1, Event(b"x" * 256, "t", "key"))], 0.0)
    turn_round(broker, [worker], settled, 0)
    took = process_time() - start
    assert broker.counters.accepted == agents
    return took


def lookup(subscriptions: int, *, remembered: bool) -> float:
    """Find who is subscribed to a topic type among so many exact and prefix subscriptions."""
    routes = Routes()
    for number in range(subscriptions):
        routes.add("type" if number % 2 else "prefix", f"topic.{number:05}", f"agent-{number}")
    count = 10_000 if remembered else 2_000
    topics = [
        f"topic.{number % subscriptions:05}{'' if remembered else number}"
        for number in range(count)
    ]
    if remembered:
        topics = [topics[0]] * count
    start = process_time()
    for topic in topics:
        routes.match(topic)
    return (process_time() - start) / count


def joins(workers: int) -> tuple[float, float]:
    """Workers of one type join one after the other: (all of it, the last join)."""
    broker = Broker(1)
    start = process_time()
    last = start
    for number in range(workers):
        last = process_time()
        joined(broker, f"worker-{number}", ["agent"])
    end = process_time()
    return end - start, end - last


def leave_all(workers: int) -> float:
    """One of so many workers is lost, after those before it have surrendered what was asked."""
    broker = Broker(1)
    sessions = [joined(broker, f"worker-{number}", ["agent"]) for number in range(workers)]
    for _ in range(workers):
        for session in sessions:
            while (frame := session.outbox.take()) is not None:
                for surrender in frame.surrenders:
                    broker.surrendered(session, surrender, 0.0)
    start = process_time()
    broker.leave(sessions[0], 0.0)
    return process_time() - start


def register_one_by_one(types: int) -> float:
    """A worker declares its types one at a time, the whole set each time."""
    broker = Broker(1)
    session = Session("one", "one")
    broker.join(session, 0.0)
    entries = tuple(TypeEntry(f"type-{number}") for number in range(types))
    subscriptions = tuple(SubscriptionEntry(e.name, e.name, "type", "t") for e in entries)
    start = process_time()
    for count in range(1, types + 1):
        broker.register(session, Registration(count, entries[:count], subscriptions[:count]), 0.0)
    return process_time() - start


def bytes_by_type(workers: int, *, stay: bool) -> float:
    """What a type keeps in memory that so many workers share, or shared before they left."""
    count = 1000
    names = [f"type-{number}" for number in range(count)]
    broker = Broker(1)
    gc.collect()
    tracemalloc.start()
    settled: dict[Session, int] = {}
    sessions = [joined(broker, f"worker-{number}", names) for number in range(workers)]
    turn_round(broker, sessions, settled, 0)
    if not stay:
        for session in sessions:
            broker.leave(session, 0.0)
        sessions.clear()
        settled.clear()
        del session
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept / count


def main() -> None:
    """Measure and print."""
    count = 100_000
    for keys in (1, 1000, 20_000):
        took = best_of(lambda keys=keys: events(count, keys))  # type: ignore[misc]
        print(f"events, {keys} keys: {count / took:,.0f}/s, {took / count * 1e6:.2f} us each")
    for keys in (1, 1000):
        took = best_of(lambda keys=keys: backlog(count, keys))  # type: ignore[misc]
        print(f"backlog, {keys} keys: {count / took:,.0f}/s")
    print(f"fan-out to 1,000 agents: {best_of(lambda: fan_out(1000)) * 1e3:.2f} ms")
    for number in (10, 10_000):
        for remembered in (True, False):
            took = best_of(lambda n=number, r=remembered: lookup(n, remembered=r))  # type: ignore[misc]
            kind = "asked before" if remembered else "new topic"
            print(f"lookup among {number} subscriptions, {kind}: {took * 1e6:.2f} us")
    whole, last = joins(200)
    print(f"200 workers join one type: {whole * 1e3:.0f} ms, the last {last * 1e3:.2f} ms")
    print(f"one of 200 workers is lost: {best_of(lambda: leave_all(200)) * 1e3:.2f} ms")
    print(f"100 types declared one by one: {register_one_by_one(100) * 1e3:.0f} ms")
    print(f"1,000 types declared one by one: {register_one_by_one(1000) * 1e3:.0f} ms")
    for number in (1, 2, 4):
        stays, stayed = (bytes_by_type(number, stay=stay) for stay in (True, False))
        print(f"a type at {number} workers: {stays:,.0f} bytes; {stayed:,.0f} when they have left")


if __name__ == "__main__":
    main()
