"""Policies: how often an event is tried, and when next."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from callboard.core.errors import InvalidPolicy
from callboard.core.retry import Policy


def test_each_wait_is_twice_as_long_until_it_is_capped() -> None:
    """With the jitter drawn highest, the wait is nearly the whole one."""
    policy = Policy(max_attempts=9, backoff_s=0.1, backoff_max_s=1.0)
    waits = [policy.wait_s(failed, 1.0) for failed in range(1, 9)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0])


def test_jitter_cuts_a_wait_by_up_to_a_half() -> None:
    """What failed together comes back apart, and none at once."""
    policy = Policy(backoff_s=2.0)
    assert [policy.wait_s(1, jitter) for jitter in (0.0, 0.5, 0.75)] == [1.0, 1.5, 1.75]


@pytest.mark.parametrize(("max_attempts", "failed"), [(1, 1), (3, 3), (3, 7)])
def test_spent_attempts_have_no_further_one(max_attempts: int, failed: int) -> None:
    """Also when an earlier worker allowed more."""
    assert Policy(max_attempts=max_attempts).wait_s(failed, 0.0) is None


def test_a_count_that_a_peer_made_up_is_no_fault() -> None:
    """2 to the power of what travels in 32 bits is no number."""
    assert Policy(max_attempts=2**40).wait_s(2**32 - 1, 0.0) == 15.0


def test_no_backoff_waits_for_nothing() -> None:
    """The next attempt is due at once."""
    assert Policy(backoff_s=0.0).wait_s(4, 0.9) == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("max_concurrency", 0),
        ("max_concurrency", "2"),
        ("backoff_s", -0.1),
        ("backoff_s", nan),
        ("backoff_max_s", inf),
        ("backoff_max_s", "1"),
        ("turn_timeout_s", 0.0),
        ("turn_timeout_s", 3e6),
    ],
)
def test_a_number_that_breaks_its_rule_is_named(name: str, value: Any) -> None:
    """The error says which, and what it was."""
    with pytest.raises(InvalidPolicy, match=name) as raised:
        Policy(**{name: value})
    assert isinstance(raised.value, ValueError)


def test_the_defaults() -> None:
    """Five attempts within a few seconds, and turns may take their time."""
    policy = Policy()
    assert (policy.max_attempts, policy.backoff_s, policy.backoff_max_s) == (5, 0.1, 30.0)
    assert policy.turn_timeout_s is None
    assert policy.max_concurrency == 1
