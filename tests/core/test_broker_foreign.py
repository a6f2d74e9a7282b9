"""Workers of other protocols at the broker: any names, and types to themselves."""

from __future__ import annotations

from callboard.core.errors import Code
from callboard.core.frames import TypeEntry
from callboard.core.session import Session
from sim.stage import Actor, Stage, subscribed

ALONE = TypeEntry("a", session_only=True, exclusive=True)


def foreign(stage: Stage, name: str) -> Actor:
    """A worker that speaks another protocol."""
    actor = Actor(stage, Session(name, name, is_foreign=True))
    stage.broker.join(actor.session)
    return actor


def errors_of(actor: Actor) -> list[tuple[str, int, str]]:
    """What of its registrations was refused."""
    return [
        (error.name, error.code, error.reason)
        for frame in actor.heard()
        for registered in frame.registered
        for error in registered.errors
    ]


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
