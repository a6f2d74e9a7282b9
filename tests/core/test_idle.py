"""Who is idle since when."""

from __future__ import annotations

from callboard.core.idle import IdleSince


def test_who_is_idle_for_longest_goes_first() -> None:
    """Whoever was busy meanwhile is the last."""
    idle: IdleSince[str] = IdleSince(10.0)
    for now, who in enumerate(("a", "b", "a", "c")):
        idle.rest(who, float(now))
    idle.discard("c")
    idle.discard("d")
    assert len(idle) == 2
    assert [idle.take_oldest() for _ in range(3)] == ["b", "a", None]


def test_nobody_goes_before_the_time() -> None:
    """It counts from when each became idle last."""
    idle: IdleSince[str] = IdleSince(10.0)
    assert idle.next_due() is None
    idle.rest("a", 0.0)
    idle.rest("b", 1.0)
    assert idle.next_due() == 10.0
    assert idle.take_due(9.9) is None
    assert idle.take_due(10.5) == "a"
    assert idle.take_due(10.5) is None
    assert idle.next_due() == 11.0


def test_without_a_timeout_nobody_is_due() -> None:
    """They are only in line."""
    idle: IdleSince[str] = IdleSince(0.0)
    idle.rest("a", 0.0)
    assert idle.next_due() is None
    assert idle.take_due(1e9) is None
    assert idle.take_oldest() == "a"
