"""Turns that begin only when the host knows that they do.

What was lost with a worker before may have ended it. Should the next one be lost as well, the host
counts that against the event if its turn had begun, and a turn may end its process in its first
moment: so the host is told before. It answers every time; a wait ends otherwise with the turn, when
the session is lost.

Events that were lost together come again together, and one that ends its process would take with it
those whose turns the host knows to begin as well. So what was lost twice, which has no further
chance, begins one after the other, each when the one before has taken its first step.
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
        self._in_line: set[DeliveryId] = set()
        self._turn_of_one = asyncio.Lock()

    async def wait(self, delivery: Delivery) -> None:
        """Return when the turn of ``delivery``, which was lost before, may begin."""
        if delivery.has_begun:
            return
        if delivery.losses == 1:
            await self._until_known(delivery)
            return
        self._in_line.add(delivery.turn)
        try:
            await self._turn_of_one.acquire()
        finally:
            self._in_line.discard(delivery.turn)
        try:
            await self._until_known(delivery)
        finally:
            asyncio.get_running_loop().call_soon(self._turn_of_one.release)  # after its first step

    def known(self, deliveries: Iterable[DeliveryId]) -> None:
        """The host knows that these begin. Those that do not wait for it are passed over."""
        for each in deliveries:
            known = self._waiting.get(each)
            if known is not None and not known.done():
                known.set_result(None)

    def ask_no_more(self) -> None:
        """The host that there is now wants to know of none: those that wait may begin."""
        self.known(list(self._waiting))

    def begun(
        self, activations: Iterable[Activation], turns: Iterable[Turn]
    ) -> Iterator[DeliveryId]:
        """What was lost before and has begun, or is about to: another host is to know of it.

        Args:
            activations: The agents that are active.
            turns: What runs.
        """
        for turn in turns:
            delivery = turn.delivery
            if delivery is None or not delivery.losses or delivery.turn in self._in_line:
                continue
            if turn.era == turn.activation.era:
                yield delivery.turn
        for activation in activations:
            for delivery in activation.held:
                if delivery.has_begun:
                    yield delivery.turn

    async def _until_known(self, delivery: Delivery) -> None:
        if not self.tell(delivery):
            return
        known = self._waiting[delivery.turn] = asyncio.get_running_loop().create_future()
        try:
            await known
        finally:
            del self._waiting[delivery.turn]
        delivery.has_begun = True


def _nobody_asks(_: Delivery) -> bool:
    return False
