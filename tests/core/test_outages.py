"""An engine that can keep nothing for a while: publishes are refused, and nothing else is lost."""

from __future__ import annotations

from callboard.core.broker import BrokerLimits
from callboard.core.commit import Commit
from callboard.core.errors import Code
from callboard.core.frames import TypeEntry
from callboard.core.load import RECORD_BYTES
from callboard.core.session import LEASES, Session
from sim.stage import Actor, Stage, subscribed, told

SIZE = RECORD_BYTES + len(b"event")
WHY = "the disk is full"


def fail(stage: Stage) -> Commit:
    """The engine cannot keep what it is given."""
    commit = stage.broker.take_commit()
    assert commit is not None
    stage.broker.not_kept(commit, WHY)
    return commit


def refusals(actor: Actor) -> list[tuple[int, int, str]]:
    """What was refused since the last time."""
    return [
        (each.number, each.code, each.reason)
        for frame in actor.heard()
        for each in frame.publishes_refused
    ]


def publisher_of(stage: Stage, name: str = "p") -> Actor:
    """One whose publishes are known beyond its session."""
    actor = Actor(stage, Session(name, name, incarnation=f"of {name}"))
    stage.broker.join(actor.session, stage.now)
    stage.keep()
    return actor


def test_what_cannot_be_kept_is_refused_and_takes_no_room() -> None:
    """What was given to the engine, what gathered meanwhile, and what comes then."""
    stage = Stage()
    worker, publisher = stage.worker("w", "a"), publisher_of(stage)
    publisher.publish("x", "y", kept=False)
    commit = stage.broker.take_commit()
    assert commit is not None
    publisher.publish("x", kept=False)
    stage.broker.not_kept(commit, WHY)
    publisher.publish("x", "z", kept=False)

    assert refusals(publisher) == [(number, Code.UNAVAILABLE, WHY) for number in range(1, 6)]
    assert stage.broker.queued_bytes == 0
    assert publisher.session.origin.unanswered_count == 0

    stage.broker.reopen()
    publisher.publish("y")
    assert told(worker.deliveries()) == ["a/y #1.1"]
    assert refusals(publisher) == []
    assert stage.broker.queued_bytes == SIZE


def test_the_engine_hears_later_of_what_was_refused() -> None:
    """With what is kept after it, so that a host to come takes one for the other never."""
    stage = Stage()
    stage.worker("w", "a")
    publisher = publisher_of(stage)
    publisher.publish("x", kept=False)
    fail(stage)
    publisher.publish("y", kept=False)
    stage.broker.reopen()
    publisher.publish("z", kept=False)

    again = fail(stage)
    assert [each.number for each in again.appends] == []
    stage.broker.reopen()
    publisher.publish("z", kept=False)
    commit = stage.broker.take_commit()
    assert commit is not None
    assert [(each.number, each.is_told, each.known_through) for each in commit.appends] == [
        (1, True, 1),
        (2, True, 2),
        (3, True, 3),
        (4, False, 4),
    ]
    assert all(each.refusal is not None for each in commit.appends[:3])


def test_no_more_is_noted_of_a_publisher_than_it_may_ask_for() -> None:
    """However often it tries: the host's memory is bounded."""
    stage = Stage(BrokerLimits(partitions=8, publish_window=4))
    publisher = publisher_of(stage)
    publisher.publish("x", kept=False)
    fail(stage)
    for _ in range(100):
        publisher.publish("x", kept=False)
        publisher.heard()
    stage.broker.reopen()
    commit = stage.broker.take_commit()
    assert commit is not None
    assert [each.number for each in commit.appends] == list(range(94, 102))


def test_what_has_ended_meanwhile_is_told_to_the_engine_later() -> None:
    """Settlements and registrations are answered then, in order."""
    stage = Stage()
    worker, publisher = stage.worker("w", "a"), publisher_of(stage)
    publisher.publish("x", "y")
    first, second = worker.deliveries()
    worker.settle(first, kept=False)
    worker.register("a", "b", kept=False)
    fail(stage)
    worker.settle(second, kept=False)
    worker.register("a", "b", "c", kept=False)
    fail(stage)
    assert worker.heard() == []
    assert stage.removed == []

    stage.broker.reopen()
    stage.keep()
    assert stage.removed == [1, 2]
    frames = worker.heard()
    assert [each.revision for frame in frames for each in frame.registered] == [3]
    assert stage.broker.held_count(worker.session) == 24, "of the types of both"
    assert worker.session.outbox.settled_through == 2


def test_what_becomes_of_types_meanwhile_is_kept_as_it_is_at_the_end() -> None:
    """One that was removed and began anew is there; one that began and was removed is not."""
    stage = Stage()
    stage.worker("former", "a").leave()
    stage.keep()
    worker = stage.worker("w")
    stage.broker.remove_type("a", stage.now)
    fail(stage)
    worker.register("a", "b", kept=False)
    again = fail(stage)
    assert (again.types_gone, [each.name for each in again.types]) == ([], ["a", "b"])
    worker.leave()
    stage.broker.remove_type("b", stage.now)
    last = fail(stage)
    assert (last.types_gone, [each.name for each in last.types]) == (["b"], ["a"])


def test_what_waits_for_room_is_refused_as_well() -> None:
    """At once, whatever its time; and what comes when the engine keeps events again is taken."""
    stage = Stage(BrokerLimits(partitions=8, max_type_events=1))
    worker, publisher = stage.worker("w", "a"), publisher_of(stage)
    publisher.publish("x")
    publisher.publish("y", seconds=60)
    (delivery,) = worker.deliveries()
    other = publisher_of(stage, "q")
    other.publish("z", topic="nobody", kept=False)
    publisher.heard()
    fail(stage)
    assert refusals(publisher) == [(2, Code.UNAVAILABLE, WHY)]
    assert stage.broker.publishes_waiting_count == 0
    assert stage.broker.queued_bytes == SIZE
    worker.settle(delivery, kept=False)
    stage.broker.reopen()
    publisher.publish("z")
    assert [each.agent for each in worker.deliveries()] == [("a", "z")]


def test_what_was_to_go_behind_does_not() -> None:
    """Of a publish that is refused nothing is expected from the engine; a replay goes anew."""
    stage = Stage(BrokerLimits(partitions=8, memory_bytes=2 * SIZE), has_pages=True)
    worker, publisher = stage.worker("w", TypeEntry("a")), publisher_of(stage)
    worker.leave()
    publisher.publish("x", "x", "x")
    assert len(stage.behind) == 2
    publisher.publish("x", "x", kept=False)
    commit = fail(stage)
    assert commit.appends == []
    assert stage.broker.waiting_count == 3
    assert stage.broker.queued_bytes == 3 * SIZE
    stage.broker.reopen()
    again = stage.worker("again", "a", subscriptions=[subscribed("a", "a")])
    handled = []
    while True:
        stage.read()
        out = again.deliveries()
        if not out:
            break
        handled += told(out)
        again.settle(out)
    assert handled == [f"a/x #{number}.1" for number in (1, 2, 3)]
    assert stage.broker.is_idle


def test_what_could_not_be_read_is_asked_for_again() -> None:
    """The same, and nothing twice."""
    stage = Stage(BrokerLimits(partitions=8, memory_bytes=2 * SIZE), has_pages=True)
    worker, publisher = stage.worker("w", "a"), publisher_of(stage)
    publisher.publish("x", "x", "x")
    worker.settle(worker.deliveries())
    requests = stage.broker.take_page_requests(stage.now)
    assert requests
    assert stage.broker.take_page_requests(stage.now) == []
    stage.broker.not_read(requests)
    assert stage.broker.wants_pages
    stage.read()
    assert told(worker.deliveries()) == ["a/x #2.1", "a/x #3.1"]


def test_of_sessions_that_come_and_go_meanwhile_the_engine_hears_nothing() -> None:
    """Workers without one try again and again, and each try begins one."""
    stage = Stage()
    publisher_of(stage).publish("x", topic="nobody", kept=False)
    fail(stage)
    for number in range(5):
        session = Session(
            f"w{number}", "w", incarnation="i", token=b"t", capabilities=frozenset({LEASES})
        )
        actor = Actor(stage, session)
        stage.broker.join(session, stage.now)
        actor.register("a", kept=False)
        actor.leave()
    commit = fail(stage)
    assert (commit.sessions, commit.sessions_gone, commit.declared) == ([], [], {})
    assert [each.name for each in commit.types] == ["a"]


def test_who_has_nothing_to_claim_may_leave_unanswered() -> None:
    """It holds nothing and never did: it need not wait for the engine."""
    stage = Stage()
    worker = stage.worker("w")
    worker.register("a", kept=False)
    worker.drain()
    assert worker.session.is_drained
