"""Events through the broker: routing, queues, hand-out, settlement."""

from __future__ import annotations

from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code
from callboard.core.frames import Rejected, Released, TypeEntry
from callboard.core.load import RECORD_BYTES
from sim.stage import Stage, subscribed, told


def test_an_event_goes_to_the_subscribed_agents_keyed_by_its_source() -> None:
    """Each subscribed type gets the event at the agent whose key is the topic's source."""
    stage = Stage()
    worker = stage.worker(
        "w", "a", "b", "c", subscriptions=[subscribed("t", "a"), subscribed("", "b", prefix=True)]
    )

    worker.publish("x", topic="t")
    worker.publish("y", topic="u")

    assert told(worker.deliveries()) == ["a/x #1.1", "b/x #2.1", "b/y #3.1"]


def test_one_copy_of_an_event_serves_all_agents_of_a_worker() -> None:
    """A worker with several matching agents gets the content once."""
    stage = Stage()
    worker = stage.worker("w", "a", "b", subscriptions=[subscribed("t", "a"), subscribed("t", "b")])

    worker.publish("x", topic="t")

    ((_, targets),) = worker.heard()[-1].deliveries
    assert [each.agent for each in targets] == [("a", "x"), ("b", "x")]


def test_a_publisher_does_not_get_its_own_event() -> None:
    """The publishing agent is left out, others of its type are not."""
    stage = Stage()
    worker = stage.worker("w", "a")

    worker.publish("x", sender=("a", "x"))
    worker.publish("y", sender=("a", "x"))

    assert told(worker.deliveries()) == ["a/y #1.1"]


def test_a_publish_is_acknowledged_when_the_engine_has_it() -> None:
    """Nothing is said before the commit, all of it in order after."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.heard()

    worker.publish("x", "bad\ud800", "y", kept=False)
    assert worker.heard() == []
    stage.keep()

    (frame,) = worker.heard()
    assert frame.published_through == 3
    assert [(each.number, each.code) for each in frame.publishes_refused] == [
        (2, Code.INVALID_ARGUMENT)
    ]


def test_an_unmatched_event_is_counted() -> None:
    """An event that nobody is subscribed to is taken, and counted."""
    stage = Stage()
    worker = stage.worker("w", "a")

    worker.publish("x", topic="nobody")

    assert stage.broker.counters.unmatched == 1
    assert stage.broker.is_idle


def test_a_repeated_publish_is_passed_over() -> None:
    """A number that was seen is not routed again."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x")
    worker._publishes = 0

    worker.publish("x")

    assert len(worker.deliveries()) == 1


def test_an_invalid_topic_is_refused_even_when_a_prefix_matches_it() -> None:
    """Workers never get an event whose topic breaks the rules."""
    stage = Stage()
    worker = stage.worker("w", "a", subscriptions=[subscribed("", "a", prefix=True)])

    worker.publish("x", topic="not a topic type")
    worker.publish("x", topic="t" * 257)

    (frame,) = [frame for frame in worker.heard() if frame.published_through]
    assert [each.code for each in frame.publishes_refused] == [Code.INVALID_ARGUMENT] * 2
    assert not frame.deliveries


def test_a_refusal_does_not_repeat_a_wrong_value_at_length() -> None:
    """A megabyte that is no topic type does not come back as a megabyte."""
    stage = Stage()
    worker = stage.worker("w", "a")

    worker.publish("x", topic=" " * 1_000_000)

    (refusal,) = worker.heard()[-1].publishes_refused
    assert len(refusal.reason) < 500


def test_too_large_an_event_fails_itself() -> None:
    """The refusal names size and limit; the next event goes on."""
    stage = Stage(BrokerLimits(partitions=8, max_event_bytes=10))
    worker = stage.worker("w", "a")

    worker.publish("x", content=b"12345678901")
    worker.publish("x")

    frames = worker.heard()
    (refusal,) = frames[-1].publishes_refused
    assert (refusal.code, refusal.reason) == (
        Code.RESOURCE_EXHAUSTED,
        "the event has 11 bytes, the host takes at most 10",
    )
    assert len(frames[-1].deliveries) == 1


def test_queues_are_bounded_even_for_events_without_content() -> None:
    """What the broker keeps beside an event counts, so that empty events cannot fill the memory."""
    stage = Stage(BrokerLimits(partitions=8, max_queued_bytes=10 * RECORD_BYTES))
    worker = stage.worker("w", "a")

    for _ in range(11):
        worker.publish("x", content=b"")

    (refusal,) = worker.heard()[-1].publishes_refused
    assert refusal.code == Code.RESOURCE_EXHAUSTED
    assert stage.broker.queued_bytes == 10 * RECORD_BYTES


def test_settling_frees_the_bytes_that_an_event_took() -> None:
    """After all is settled, nothing counts any more."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x", "y", "x")
    assert stage.broker.queued_bytes > 0

    worker.settle(worker.deliveries())

    assert stage.broker.queued_bytes == 0
    assert stage.broker.is_idle
    assert stage.removed == [1, 2, 3]


def test_events_wait_for_a_worker() -> None:
    """A durable type keeps its subscriptions and its events when its last worker has left."""
    stage = Stage()
    publisher = stage.worker("p")
    stage.worker("w", "a").leave()
    publisher.publish("x", "y")

    later = stage.worker("w2", "a")

    assert sorted(told(later.deliveries())) == ["a/x #1.1", "a/y #2.1"]


def test_a_session_only_type_ends_with_its_session() -> None:
    """What waits or is out of it becomes dead letters; later events match nobody."""
    stage = Stage()
    publisher = stage.worker("p")
    worker = stage.worker("w", TypeEntry("a", session_only=True))
    publisher.publish("x", "y")

    worker.leave()
    stage.keep()
    publisher.publish("z")

    assert [letter.reason for letter in stage.dead] == ["no_such_type", "no_such_type"]
    assert stage.broker.counters.unmatched == 1
    assert stage.broker.is_idle
    assert stage.broker.queued_bytes == 0


def test_an_event_kept_after_its_type_ended_is_a_dead_letter() -> None:
    """A publish that was under way to the engine when the type ended is not lost silently."""
    stage = Stage()
    publisher = stage.worker("p")
    worker = stage.worker("w", TypeEntry("a", session_only=True))
    publisher.publish("x", kept=False)

    worker.leave()
    stage.keep()

    assert [letter.reason for letter in stage.dead] == ["no_such_type"]
    assert stage.broker.queued_bytes == 0


def test_a_lost_worker_s_deliveries_are_handed_out_again_in_order() -> None:
    """What was not settled goes to the next worker, with a higher attempt, before what waited."""
    stage = Stage()
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("x", "x", "x")
    first, _, third = worker.deliveries()
    worker.settle(first)
    worker.settle(third)

    worker.leave()
    publisher.publish("x")
    other = stage.worker("w2", "a")

    (second,) = other.deliveries()
    other.settle(second)
    assert told([second, *other.deliveries()]) == ["a/x #2.2", "a/x #4.1"]


def test_losing_a_worker_hands_nothing_out_to_it() -> None:
    """Room that becomes free while a worker is taken apart is not filled again.

    Attempts would rise.
    """
    stage = Stage(BrokerLimits(partitions=8, delivery_window=2))
    publisher = stage.worker("p")
    worker = stage.worker("w", "a")
    publisher.publish("k0", "k1", "k2", "k3", "k4", "k5")

    worker.leave()

    assert stage.broker.counters.delivered == 2
    other = stage.worker("w2", "a")
    seen = []
    while some := other.deliveries():
        seen += some
        other.settle(some)
    assert {each.position: each.attempt for each in seen} == {1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1}


def test_leaving_a_type_out_hands_nothing_more_of_it_out() -> None:
    """A worker that no longer declares a type gets no delivery of it, whatever room it has."""
    stage = Stage(BrokerLimits(partitions=8, delivery_window=2))
    publisher = stage.worker("p")
    worker = stage.worker("w", "a", "b")
    publisher.publish("k0", "k1", "k2", "k3", "k4", "k5")
    assert len(worker.deliveries()) == 2

    worker.register("b")

    assert worker.deliveries() == []
    assert stage.broker.waiting_count == 6


def test_a_settlement_of_a_former_attempt_is_refused() -> None:
    """A release ends the attempt: what settles it afterwards changes nothing."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x")
    (first,) = worker.deliveries()
    worker.settle(first, Released())
    (second,) = worker.deliveries()

    worker.settle(first)

    (refusal,) = worker.heard()[-1].settlements_refused
    assert refusal.code == Code.ABORTED
    assert not stage.broker.is_idle
    worker.settle(second)
    assert stage.broker.is_idle


def test_a_rejected_event_becomes_a_dead_letter_and_leaves_a_hole() -> None:
    """The rest of the agent's events goes on."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x", "x", "x")
    first, second, third = worker.deliveries()

    worker.settle(first)
    worker.settle(second, Rejected("handler_error", "ValueError: no"))
    worker.settle(third)

    assert [(d.delivery.position, d.reason, d.detail) for d in stage.dead] == [
        (2, "handler_error", "ValueError: no")
    ]
    assert stage.broker.is_idle


def test_a_release_returns_a_delivery_and_all_after_it() -> None:
    """Those before it stay out; what was settled after it is not repeated."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x", "x", "x", "x")
    deliveries = worker.deliveries()
    worker.settle(deliveries[2])

    worker.settle(deliveries[1], Released())

    assert told(worker.deliveries()) == ["a/x #2.2", "a/x #4.2"]
    worker.settle(deliveries[0])
    assert stage.broker.in_flight_count == 2


def test_a_release_may_name_a_time() -> None:
    """Nothing of the agent is handed out before it, also not what is published meanwhile."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x")
    worker.settle(worker.deliveries(), Released(10))
    worker.publish("x")

    assert worker.deliveries() == []
    assert stage.broker.next_deadline() == 10
    stage.wait(9.9)
    assert worker.deliveries() == []
    stage.wait(0.1)
    assert told(worker.deliveries()) == ["a/x #1.2", "a/x #2.1"]
    assert stage.broker.next_deadline() is None


def test_a_later_release_does_not_shorten_an_agent_s_wait() -> None:
    """Two deliveries released in the wrong order wait for the later time."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x", "x")
    first, second = worker.deliveries()
    worker.settle(second, Released(10))
    worker.settle(first, Released(1))

    stage.wait(5)
    assert worker.deliveries() == []
    stage.wait(5)
    assert told(worker.deliveries()) == ["a/x #1.2", "a/x #2.2"]


def test_a_session_is_handed_out_no_more_than_its_window() -> None:
    """Deliveries out by type and session stay within the window; what is settled makes room."""
    stage = Stage(BrokerLimits(partitions=8, delivery_window=3))
    worker = stage.worker("w", "a")
    worker.publish("k0", "k1", "k2", "k3", "k4")

    deliveries = worker.deliveries()
    assert told(deliveries) == ["a/k0 #1.1", "a/k1 #2.1", "a/k2 #3.1"]
    worker.settle(deliveries[:1])
    assert told(worker.deliveries()) == ["a/k3 #4.1"]


def test_an_agent_is_handed_out_no_more_than_its_share() -> None:
    """The rest of the window is for other agents."""
    stage = Stage(BrokerLimits(partitions=8, delivery_window=6, agent_share=2))
    worker = stage.worker("w", "a")

    worker.publish("x", "x", "x", "y", "y", "y")

    assert told(worker.deliveries()) == ["a/x #1.1", "a/x #2.1", "a/y #4.1", "a/y #5.1"]


def test_agents_with_long_queues_do_not_keep_the_window_to_themselves() -> None:
    """Room goes to the agent that has waited longest, not back to the one that made it."""
    stage = Stage(BrokerLimits(partitions=8, delivery_window=2, agent_share=2))
    worker = stage.worker("w", "a")
    worker.publish(*["busy"] * 10)
    worker.publish("quiet")

    first, second = worker.deliveries()
    worker.settle(first)
    (third,) = worker.deliveries()
    worker.settle(second)
    (fourth,) = worker.deliveries()

    assert told([first, second, third, fourth]) == [
        "a/busy #1.1",
        "a/busy #2.1",
        "a/quiet #11.1",
        "a/busy #3.1",
    ]


def test_what_a_lost_session_says_changes_nothing() -> None:
    """Frames that arrive after the end of their session are ignored."""
    stage = Stage()
    worker = stage.worker("w", "a")
    worker.publish("x")
    (delivery,) = worker.deliveries()
    worker.leave()
    stage.broker.take_awake()

    worker.settle(delivery)
    worker.publish("y")
    worker.register("a", "b")
    worker.drain()

    assert stage.broker.waiting_count == 1
    assert stage.broker.types.get("b") is None
    assert not stage.broker.take_awake()


def test_a_dead_session_does_not_take_a_living_one_of_its_id_with_it() -> None:
    """Leaving removes the session itself, not whoever has its id now."""
    stage = Stage()
    old = stage.worker("w", "a")
    new = stage.worker("w", "a")

    old.leave()

    assert stage.broker.sessions == {"w": new.session}


def test_sessions_wake_in_the_order_in_which_they_got_something() -> None:
    """The order does not depend on where in memory the sessions lie: a run replays exactly."""
    stage = Stage()
    workers = [stage.worker(f"w{number}", f"t{number}") for number in range(20)]
    stage.broker.take_awake()

    for number in (7, 3, 19, 3, 0):
        workers[0].publish("x", topic=f"t{number}", kept=False)
    stage.keep()

    awake = [session.id for session in stage.broker.take_awake()]
    assert awake == ["w0", "w7", "w3", "w19"]  # whoever waits for an answer first
