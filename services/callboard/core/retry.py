"""How the turns of an agent type run: how many at once, how often, how long."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from callboard.core.errors import InvalidPolicy

MAX_HELD_S = 1.0
"""How long a worker lets an event wait for its next attempt; one due later goes back to the host.

Meanwhile what is behind it takes room in the worker's window.
"""

MAX_WAIT_S = 30 * 86_400.0
"""The longest time that a policy may name: 32 bits of milliseconds, which travel, are 49 days."""

MAX_DOUBLINGS = 64
"""Enough for any wait to reach its cap; 2.0 to the power of what a peer may send is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the turns of an agent type run, and how those of events are treated when they fail.

    Attributes:
        max_attempts: How many turns an event may have, at least 1; after the last it becomes a dead
            letter. 1: no turn is tried again.
        backoff_s: Seconds before the second attempt, each further one twice as long; 0: at once.
            Cut by a random part of up to a half, so that what failed together comes back apart.
        backoff_max_s: The longest of these waits before it is cut, at most 30 days.
        turn_timeout_s: Seconds after which the turn of an event is cancelled and has failed, at
            most 30 days; None: it may take for ever. Calls have their deadline.
        max_concurrency: How many turns of one agent, of events and calls, may run at once; at least
            1. Events begin in order, whatever it is; above 1 they may end in any.

    Raises:
        InvalidPolicy: If a number breaks its rule.
    """

    max_attempts: int = 5
    backoff_s: float = 0.1
    backoff_max_s: float = 30.0
    turn_timeout_s: float | None = None
    max_concurrency: int = 1

    def __post_init__(self) -> None:
        for name in ("max_attempts", "max_concurrency"):
            count = getattr(self, name)
            if not isinstance(count, int) or count < 1:
                msg = f"{name} is a whole number, 1 or more, not {count!r}"
                raise InvalidPolicy(msg)
        for name in ("backoff_s", "backoff_max_s"):
            _check(name, getattr(self, name))
        if self.turn_timeout_s is not None:
            _check("turn_timeout_s", self.turn_timeout_s)
            if not self.turn_timeout_s:
                msg = "turn_timeout_s is above 0: in no time no turn can end; None is without limit"
                raise InvalidPolicy(msg)

    def wait_s(self, failed_turns: int, jitter: float) -> float | None:
        """Seconds to wait after so many failed turns; None when there is no further attempt.

        Args:
            failed_turns: At least 1.
            jitter: Drawn from [0, 1): 0 waits half of the time, 1 would wait all of it.
        """
        if failed_turns >= self.max_attempts:
            return None
        doublings = min(failed_turns - 1, MAX_DOUBLINGS)
        whole_s = min(self.backoff_s * 2.0**doublings, self.backoff_max_s)
        return whole_s * (0.5 + jitter / 2)


def _check(name: str, value: object) -> None:
    if not isinstance(value, int | float) or not isfinite(value) or not 0 <= value <= MAX_WAIT_S:
        msg = f"{name} is a number of seconds from 0 to {MAX_WAIT_S:.0f}, not {value!r}"
        raise InvalidPolicy(msg)


DEFAULT_POLICY = Policy()
"""The policy of agent types that say none."""
