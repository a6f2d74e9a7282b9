"""How the ends of turns are told: when all that they published is confirmed, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from callboard.agent.turn import Release, Turn
from callboard.core.frames import (
    ACCEPTED,
    CallFailure,
    Outcome,
    Partitions,
    Released,
    Reply,
)

if TYPE_CHECKING:
    from callboard.agent.retries import Retries
    from callboard.agent.turn import Activation
    from callboard.core.event import Delivery
    from callboard.core.retry import Policy


class TurnOutput(Protocol):
    """Where the runner tells what came of deliveries, calls and partitions. Nothing here waits."""

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery has ended."""
        ...

    def reply(self, reply: Reply) -> None:
        """A call is answered."""
        ...

    def surrendered(self, partitions: Partitions) -> None:
        """No turn of these partitions runs or will run, and their agents are closed."""
        ...


class Endings:
    """Tells how turns have ended that have nothing unconfirmed left.

    One that is followed by another attempt of the same event is told to nobody, but in its place:
    all that the attempts published is confirmed first.

    Attributes:
        era: Of calls, which rises when nobody waits for the answers to those that there are. Those
            of an earlier one are told to nobody; events have the eras of their agents.
    """

    def __init__(
        self, output: TurnOutput, retries: Retries, policy_of: Callable[[Turn], Policy]
    ) -> None:
        self._output = output
        self._retries = retries
        self._policy_of = policy_of
        self.era = 0

    def tell(self, turn: Turn) -> None:
        """``turn`` has ended, and what it published is confirmed or refused.

        Tell of it, in the order in which events have ended, and of those that waited behind it.
        """
        if turn.delivery is None:
            self._tell_call(turn)
        self.tell_events(turn.activation)

    def tell_events(self, activation: Activation) -> None:
        """Tell of the events of an agent that have ended, as far as nothing is unconfirmed."""
        ended = activation.ended
        while ended and not ended[0].unconfirmed:
            turn = ended.popleft()
            activation.untold_count -= 1
            if turn.era == activation.era:
                self._tell_event(turn)
            if activation.mailbox.released:
                self.give_back(activation)

    def give_back(self, activation: Activation) -> None:
        """Put what is given back, and may be told now, behind the turns that have ended.

        What waited for its next attempt waits for the rest of that time elsewhere.
        """
        ended = activation.ended
        for place, delivery, due in activation.mailbox.take_released():
            rest_s = 0.0 if due is None else max(0.0, due - asyncio.get_running_loop().time())
            outcome = Released(rest_s, delivery.failed_turns)
            # One of a turn that was refused late may be behind one that is not told yet.
            before = 0
            for each in ended:
                if isinstance(each, Release) and each.place < place:
                    break
                before += 1
            ended.insert(before, Release(place, delivery, outcome, activation.era))
            activation.untold_count += 1

    def _tell_event(self, turn: Turn | Release) -> None:
        delivery = turn.delivery
        assert delivery is not None  # noqa: S101 (for the type checker)
        if isinstance(turn, Turn) and turn.error is not None and turn.outcome is ACCEPTED:
            policy = self._policy_of(turn)
            self._retries.refuse(turn, delivery, turn.error, policy)
        if turn.outcome is not None:
            self._output.settle(delivery, turn.outcome)

    def _tell_call(self, turn: Turn) -> None:
        turn.activation.untold_count -= 1
        reply = turn.reply
        assert reply is not None  # noqa: S101 (for the type checker: the turn of a call has ended)
        if turn.error is not None and reply.error is None:
            reply = Reply(reply.call_id, b"", CallFailure.of(turn.error))
        if turn.era == self.era:
            self._output.reply(reply)
