"""Workers of other protocols at the broker: any names, and types to themselves."""

from __future__ import annotations

from callboard.core.broker import BrokerLimits
from callboard.core.errors import Code
from callboard.core.frames import TypeEntry
from callboard.core.load import RECORD_BYTES
from callboard.core.session import Session
from sim.stage import Actor, Stage, subscribed

ALONE = TypeEntry("a", session_only=True, exclusive=True)


def foreign(stage: Stage, name: str) -> Actor:
    """A worker that speaks another protocol."""
    actor = Actor(stage, Session(name, name, is_foreign=True))
    stage.broker.join(actor.session, 0.0)
    return actor


def errors_of(actor: Actor) -> list[tuple[str, int, str]]:
    """What of its last registration was refused."""
    return [(error.name, error.code, error.reason) for error in actor.refused]


def test_a_type_to_itself_is_refused_to_others() -> None:
    """To workers of our own protocol too, until it is free again."""
    stage = Stage()
    first = foreign(stage, "first")
    first.register(ALONE)
    second = stage.worker("second", "a")
    refused = ("a", Code.ALREADY_EXISTS, "Agent type a already registered with client first.")
    assert errors_of(second) == [refused]
    assert second.session.registration.types == ()

    first.leave()
    second.register("a")

    assert errors_of(second) == []
    assert stage.broker.held_count(second.session) == 8


def test_nobody_gets_a_type_to_itself_that_others_serve() -> None:
    """Who comes later is refused; who serves it, serves it on with others."""
    stage = Stage()
    stage.worker("first", "a")
    second = foreign(stage, "second")
    second.register(ALONE)
    assert [name for name, _, _ in errors_of(second)] == ["a"]
    third = stage.worker("third", "a")
    assert errors_of(third) == []


def test_what_waits_for_a_durable_type_is_not_for_who_wants_it_alone() -> None:
    """The type has no worker just now: it is refused, and the event waits for its own."""
    stage = Stage()
    stage.worker("first", "a").leave()
    stage.worker("p").publish("x")
    worker = foreign(stage, "w")
    worker.register(ALONE)
    assert [(name, code) for name, code, _ in errors_of(worker)] == [("a", Code.ALREADY_EXISTS)]

    later = stage.worker("later", "a")

    assert [each.agent for each in later.deliveries()] == [("a", "x")]


def test_the_one_that_has_a_type_to_itself_may_say_so_again() -> None:
    """A registration is all that a worker serves: each of them names it."""
    stage = Stage()
    worker = foreign(stage, "w")
    worker.register(ALONE)
    worker.register(ALONE, TypeEntry("b", session_only=True, exclusive=True))
    assert errors_of(worker) == []
    assert stage.broker.held_count(worker.session) == 16


def test_its_names_may_be_any_text() -> None:
    """Of types, topics, sources and keys, empty ones too; others keep to the rules."""
    stage = Stage()
    worker = foreign(stage, "w")
    worker.register(
        TypeEntry("é/ ", session_only=True, exclusive=True),
        subscriptions=[subscribed("тема?", "é/ ")],
    )
    assert errors_of(worker) == []

    worker.publish("", topic="тема?")
    assert [each.agent for each in worker.deliveries()] == [("é/ ", "")]
    worker.call(("é/ ", ""))
    assert [each.target for each in worker.calls()] == [("é/ ", "")]

    other = stage.worker("other")
    other.call(("é/ ", ""))
    (reply,) = other.replies()
    assert reply.error is not None
    assert reply.error.code == Code.INVALID_ARGUMENT
    other.publish("", topic="тема?")
    assert [refusal.code for frame in other.heard() for refusal in frame.publishes_refused] == [
        Code.INVALID_ARGUMENT
    ]


def test_a_worker_that_does_not_read_fills_its_own_queue_alone() -> None:
    """What is too much for it becomes dead letters; others get all, and go on publishing."""
    stage = Stage(BrokerLimits(partitions=8, max_exclusive_bytes=3 * (RECORD_BYTES + 5)))
    worker, other, publisher = foreign(stage, "w"), stage.worker("other", "b"), stage.worker("p")
    worker.register(ALONE, subscriptions=[subscribed("news", "a")])
    other.register("b", subscriptions=[subscribed("news", "b")])

    publisher.publish("x", "y", "x", "x", "x", topic="news", content=b"event")

    assert [(letter.delivery.agent, letter.reason) for letter in stage.dead] == [
        (("a", "x"), "queue_full"),
        (("a", "x"), "queue_full"),
    ]
    assert not [refusal for frame in publisher.heard() for refusal in frame.publishes_refused]
    assert len(other.deliveries()) == 5

    first, *others = worker.deliveries()
    worker.settle(first)
    publisher.publish("x", topic="news", content=b"event")
    worker.settle([*others, *worker.deliveries()])

    assert worker.deliveries() == []
    assert [state.queues.bytes for state in stage.broker.types] == [6 * (RECORD_BYTES + 5), 0]


def test_calls_without_room_on_the_way_to_their_callee_fail() -> None:
    """It does not read; one alone always fits, and what was read leaves room."""
    stage = Stage(BrokerLimits(partitions=8, max_unread_bytes=100))
    caller, callee = stage.worker("p"), foreign(stage, "w")
    callee.register(ALONE)
    for _ in range(3):
        caller.call(("a", "x"), payload=b"x" * 60)

    errors = [(reply.call_id, reply.error) for reply in caller.replies()]
    assert [(call_id, error and error.code) for call_id, error in errors] == [
        (2, Code.RESOURCE_EXHAUSTED),
        (3, Code.RESOURCE_EXHAUSTED),
    ]
    assert len(callee.calls()) == 1
    caller.call(("a", "x"), payload=b"x" * 60)
    assert len(callee.calls()) == 1


def test_answers_without_room_on_the_way_to_their_caller_are_errors() -> None:
    """It does not read: each of its calls still has an ending, and a short one."""
    stage = Stage(BrokerLimits(partitions=8, max_unread_bytes=500))
    caller, callee = foreign(stage, "p"), stage.worker("w", "a")
    for _ in range(3):
        caller.call(("a", "x"))
    first, second, third = callee.calls()
    for each in (first, second, third):
        callee.reply(each, b"x" * 400)

    replies = caller.replies()

    assert [reply.error and reply.error.code for reply in replies] == [
        None,
        Code.RESOURCE_EXHAUSTED,
        Code.RESOURCE_EXHAUSTED,
    ]
    assert stage.broker.is_idle
    assert caller.session.outbox.unread_bytes == 0


def test_the_texts_of_a_call_take_room_too() -> None:
    """A key may be as long as a payload."""
    stage = Stage(BrokerLimits(partitions=8, max_call_bytes=1000))
    caller, callee = foreign(stage, "p"), foreign(stage, "w")
    callee.register(ALONE)
    caller.call(("a", "k" * 800))
    caller.call(("a", "x"), sender=("s" * 800, ""))
    assert len(callee.calls()) == 1
    (reply,) = caller.replies()
    assert reply.error is not None
    assert reply.error.code == Code.RESOURCE_EXHAUSTED


def test_agents_of_our_own_protocol_get_no_key_that_breaks_its_rules() -> None:
    """An event becomes a dead letter, a call fails; others get theirs, and their workers stay."""
    stage = Stage()
    publisher, stock, native = foreign(stage, "p"), foreign(stage, "w"), stage.worker("n", "b")
    stock.register(ALONE, subscriptions=[subscribed("news", "a")])
    native.register("b", subscriptions=[subscribed("news", "b")])
    for key in ("", "k" * 257, "x"):
        publisher.publish(key, topic="news")
        publisher.call(("b", key))

    assert [each.agent for each in native.deliveries()] == [("b", "x")]
    assert sum(len(frame.calls) for frame in native.frames) == 1
    assert len(stock.deliveries()) == 3
    assert [(letter.delivery.agent[0], letter.reason) for letter in stage.dead] == [
        ("b", "invalid_key"),
        ("b", "invalid_key"),
    ]
    assert [reply.error and reply.error.code for reply in publisher.replies()] == [
        Code.INVALID_ARGUMENT,
        Code.INVALID_ARGUMENT,
    ]


def test_a_long_key_is_not_kept_when_its_events_are_done() -> None:
    """Queues are kept for the next event, and so are their keys."""
    stage = Stage()
    worker = foreign(stage, "w")
    worker.register(ALONE, subscriptions=[subscribed("news", "a")])
    worker.publish("k" * 1000, "x", topic="news")
    worker.settle(worker.deliveries())
    (state,) = stage.broker.types
    assert [queue.agent[1] for queue in state.queues] == ["x"]


def test_another_process_answers_for_nothing_that_the_former_was_told() -> None:
    """Nor for what that had called. What was not told yet goes to it."""
    stage = Stage()
    caller, worker, callee = stage.worker("p"), foreign(stage, "w"), stage.worker("b", "b")
    worker.register(ALONE)
    caller.call(("a", "x"))
    (told,) = worker.calls()
    caller.call(("a", "y"))
    worker.call(("b", "x"))
    (asked,) = callee.calls()

    stage.broker.restart(worker.session)

    (reply,) = caller.replies()
    assert (reply.call_id, reply.error and reply.error.code) == (1, Code.UNAVAILABLE)
    assert [call_id for frame in callee.heard() for call_id in frame.cancels] == [asked.id]
    worker.reply(told)
    callee.reply(asked)
    (untold,) = worker.calls()
    worker.reply(untold)
    assert [reply.call_id for reply in caller.replies()] == [2]
    assert stage.broker.is_idle


def test_a_type_that_is_only_called_gets_no_events() -> None:
    """Whoever subscribes it: its worker gets them by another type, and once."""
    stage = Stage()
    worker, native = foreign(stage, "w"), stage.worker("n")
    called = TypeEntry("a", session_only=True, exclusive=True, calls_only=True)
    inbox = TypeEntry("autogen:w", session_only=True, exclusive=True)
    worker.register(called, inbox, subscriptions=[subscribed("news", "autogen:w")])
    native.register(subscriptions=[subscribed("news", "a")])
    native.publish("x", topic="news")
    assert [each.agent for each in worker.deliveries()] == [("autogen:w", "x")]
    native.call(("a", "x"))
    assert len(worker.calls()) == 1
