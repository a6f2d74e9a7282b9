"""Turns that begin only when the host knows that they do.

What was lost with a worker before may have ended it. Should the next one be lost as well, the host
counts that against the event if its turn had begun, and a turn may end its process in its first
moment: so the host is told before. It answers every time; a wait ends otherwise with the turn, when
the session is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.agent.turn import Activation, Turn
    from callboard.core.event import Delivery, DeliveryId


class Beginnings:
    """The turns of one runner that wait for the host to know that they begin.

    Attributes:
        tell: Tells the host that the turn of a delivery begins. False: the host wants to know of
            none.
    """

    def __init__(self) -> None:
        self.tell: Callable[[Delivery], bool] = _nobody_asks
        self._waiting: dict[DeliveryId, asyncio.Future[None]] = {}

    async def wait(self, delivery: Delivery) -> None:
        """Return when the turn of ``delivery``, which was lost before, may begin."""
        if delivery.has_begun or not self.tell(delivery):
            return
        known = self._waiting[delivery.turn] = asyncio.get_running_loop().create_future()
        try:
            await known
        finally:
            del self._waiting[delivery.turn]
        delivery.has_begun = True

    def known(self, deliveries: Iterable[DeliveryId]) -> None:
        """The host knows that these begin. Those that do not wait for it are passed over."""
        for each in deliveries:
            known = self._waiting.get(each)
            if known is not None and not known.done():
                known.set_result(None)

    def ask_no_more(self) -> None:
        """The host that there is now wants to know of none: those that wait may begin."""
        self.known(list(self._waiting))


def begun(activations: Iterable[Activation], turns: Iterable[Turn]) -> Iterator[DeliveryId]:
    """What was lost before and has begun here, or is about to: another host is to know of it.

    Args:
        activations: The agents that are active.
        turns: What runs.
    """
    for turn in turns:
        delivery = turn.delivery
        if delivery is not None and delivery.losses and turn.era == turn.activation.era:
            yield delivery.turn
    for activation in activations:
        for delivery in activation.held:
            if delivery.has_begun:
                yield delivery.turn


def _nobody_asks(_: Delivery) -> bool:
    return False
