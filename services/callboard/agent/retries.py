"""What becomes of an event whose turn has failed: another attempt, here or elsewhere, or none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import TYPE_CHECKING

from callboard.agent.failures import (
    HANDLER_ERROR,
    NOT_OF_THE_TURN,
    QUEUE_FULL,
    is_of_the_host,
    refusal_of,
    rejection_of,
)
from callboard.core.frames import Rejected, clipped
from callboard.core.retry import MAX_HELD_S, Policy
from callboard.log import Logger

if TYPE_CHECKING:
    from callboard.agent.turn import Activation, Incoming, Turn
    from callboard.core.errors import CallboardError
    from callboard.core.event import Delivery

log = Logger(__name__)

HOST_PAUSE_S = 5.0
"""About how long the event of a turn waits for a host that could not keep what it published.

That is no failed attempt.
"""


class Retries:
    """The events of one runner that are to be tried again.

    One whose attempt is due soon waits in its place in its agent's mailbox; one due later goes back
    to the host, and what is behind it.
    """

    def __init__(
        self, go_on: Callable[[Activation], None], jitter: Callable[[], float] = random.random
    ) -> None:
        """Take in nothing yet.

        Args:
            go_on: Serves an agent; called when an attempt is due, maybe after it was given up.
            jitter: Draws from [0, 1).
        """
        self._go_on = go_on
        self._jitter = jitter
        self._timers: dict[Activation, asyncio.TimerHandle] = {}

    def fail(
        self,
        turn: Turn,
        delivery: Delivery,
        incoming: Incoming,
        error: BaseException,
        policy: Policy,
        *,
        is_leaving: bool,
    ) -> None:
        """The ``turn`` of ``delivery`` has failed with ``error``: decide its outcome.

        With ``is_leaving`` the agent's partition is asked for, and waits for no attempt.
        """
        rejected = rejection_of(error)
        if rejected.reason != HANDLER_ERROR:
            self._reject(turn, rejected, None)
            return
        cause = error.__cause__ or error
        failed = delivery.to_be_tried_again()
        wait_s = policy.wait_s(failed.failed_turns, self._jitter())
        if wait_s is None:
            self._reject(turn, _after(failed, rejected), cause)
            return
        activation = turn.activation
        _log_next(turn, failed, wait_s, rejected, cause)
        turn.outcome = None
        due = asyncio.get_running_loop().time() + wait_s
        if is_leaving or wait_s > MAX_HELD_S:
            activation.mailbox.release(failed, due)
        else:
            activation.mailbox.try_again(failed, incoming, due)

    def refuse(self, turn: Turn, delivery: Delivery, error: CallboardError, policy: Policy) -> None:
        """The ``turn`` of ``delivery`` was done, and the host has refused what it published.

        Decide its outcome. The agent may be further by now: an event that is tried again goes back
        to the host with those behind it that have not begun; those that have count.
        """
        rejected = refusal_of(error)
        if is_of_the_host(error):
            pause_s = HOST_PAUSE_S * (0.5 + self._jitter())
            _log_next(turn, delivery, pause_s, rejected, None)
            self._give_back(turn, delivery, pause_s)
            return
        failed = delivery.to_be_tried_again()
        wait_s = None
        if rejected.reason == QUEUE_FULL:
            wait_s = policy.wait_s(failed.failed_turns, self._jitter())
        if wait_s is None:
            self._reject(turn, _after(failed, rejected), None)
            return
        _log_next(turn, failed, wait_s, rejected, None)
        self._give_back(turn, failed, wait_s)

    def release(self, activation: Activation) -> None:
        """Give all events that wait for an agent back to the host; see `Endings.give_back`."""
        activation.mailbox.release()
        self.forget(activation)

    def wake_when_due(self, activation: Activation, now: float) -> None:
        """Nothing may run for an agent: serve it again when an attempt of its first event is due.

        One that is due ``now`` waits for something else.
        """
        due = activation.mailbox.due
        if due is not None and due > now:
            self._wake_at(due, activation)

    def forget(self, activation: Activation) -> None:
        """The agent is to be served no more for the sake of an attempt."""
        timer = self._timers.pop(activation, None)
        if timer is not None:
            timer.cancel()

    # Inside.

    def _give_back(self, turn: Turn, delivery: Delivery, wait_s: float) -> None:
        turn.outcome = None
        due = asyncio.get_running_loop().time() + wait_s
        turn.activation.mailbox.release(delivery, due, turn.place)

    def _wake_at(self, due: float, activation: Activation) -> None:
        self.forget(activation)
        loop = asyncio.get_running_loop()
        self._timers[activation] = loop.call_at(due, self._wake, activation, context=Context())

    def _wake(self, activation: Activation) -> None:
        del self._timers[activation]
        self._go_on(activation)

    def _reject(self, turn: Turn, rejected: Rejected, cause: BaseException | None) -> None:
        turn.outcome = rejected
        log.warning(
            "event rejected",
            agent=str(turn.activation.agent_id),
            reason=rejected.reason,
            detail=rejected.detail,
            exc_info=cause,
        )


def _after(failed: Delivery, rejected: Rejected) -> Rejected:
    """The last of some attempts has failed: what stands in the dead letter."""
    count = failed.failed_turns
    if count == 1:
        return rejected
    return rejected._replace(detail=clipped(f"{count} attempts, the last: {rejected.detail}"))


def _log_next(
    turn: Turn, failed: Delivery, wait_s: float, rejected: Rejected, cause: BaseException | None
) -> None:
    log.warning(
        "event failed, it is tried again",
        agent=str(turn.activation.agent_id),
        attempt=failed.failed_turns,
        wait_s=round(wait_s, 3),
        detail=rejected.detail,
        exc_info=cause,
    )


@contextmanager
def limited(turn: Turn, timeout_s: float) -> Iterator[None]:
    """Cancel ``turn``, which runs in the block, when that takes longer.

    Raises:
        TimeoutError: It took longer, whatever its handler made of being cancelled.
    """
    has_run_out = False

    def run_out() -> None:
        nonlocal has_run_out
        has_run_out = True
        turn.cancel()

    timer = asyncio.get_running_loop().call_later(timeout_s, run_out)
    try:
        yield
    except NOT_OF_THE_TURN:
        raise
    except BaseException as error:
        if has_run_out:
            raise _too_long(timeout_s) from error
        raise
    finally:
        timer.cancel()
    if has_run_out:
        raise _too_long(timeout_s)


def _too_long(timeout_s: float) -> TimeoutError:
    return TimeoutError(f"the turn took longer than {timeout_s:g} s")
