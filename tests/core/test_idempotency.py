"""Keys by which the world outside tells a repetition from something new."""

from __future__ import annotations

from callboard.core.event import Delivery, Event, Grant
from callboard.core.frames import Call
from callboard.core.idempotency import key_of_call, key_of_event

EVENT = Event(b"", "t", "x")


def test_a_delivery_keeps_its_key_over_attempts_and_workers() -> None:
    """Neither how often it was handed out or failed, nor the grant, is part of it."""
    delivery = Delivery(7, ("a", "x"), EVENT, 1, Grant(1, 1))
    again = Delivery(7, ("a", "x"), EVENT, 4, Grant(2, 9), failed_turns=3, losses=2)
    assert key_of_event(delivery, "id") == key_of_event(again, "id")
    assert len(key_of_event(delivery, "id")) == 32


def test_each_event_agent_and_call_has_a_key_of_its_own() -> None:
    """Also of an engine that counts anew, also when ids are chosen badly."""
    grant = Grant(1, 1)
    keys = [
        key_of_event(Delivery(7, ("a", "x"), EVENT), "id"),
        key_of_event(Delivery(8, ("a", "x"), EVENT), "id"),
        key_of_event(Delivery(7, ("a", "y"), EVENT), "id"),
        key_of_event(Delivery(7, ("b", "x"), EVENT), "id"),
        key_of_event(Delivery(7, ("a", "x"), EVENT), "other\udcff"),
        key_of_call(Call(7, ("a", "x"), b"", grant=grant), "id"),
        key_of_call(Call(8, ("a", "x"), b"", grant=grant), "id"),
        key_of_call(Call(7, ("a", "x"), b"", grant=Grant(2, 1)), "id"),
        key_of_call(Call(7, ("a", "x"), b""), "id"),
    ]
    assert len(set(keys)) == len(keys)
