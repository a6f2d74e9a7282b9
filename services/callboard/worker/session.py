"""The worker's side of a session: what outlives the streams that it goes over."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from callboard.core.frames import ACCEPTED, Claims, Partitions, Settlement
from callboard.core.lease import Lease
from callboard.core.partition import partition_of
from callboard.core.worker_outbox import WorkerOutbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.core.event import Address, Delivery, DeliveryId, Grant
    from callboard.core.frames import HostFrame, Outcome
    from callboard.worker.connection import Connection


class WorkerSession:
    """A session that a host has begun.

    Attributes:
        token: The secret that resumes it; empty: it is over with its stream.
        lease: How long it lives, by this process's clock.
        outbox: What is to be said.
        awaits_adoption: The worker has claimed what it has from a host that is gone, and has not
            heard what it has still; until then it says nothing of that.
        unconfirmed: Settlements that the host has not answered, in order, each with its agent.
        given_up: Partitions that were given up while it awaited adoption.
        gone: The grants of all that were given up, by type and partition.
    """

    def __init__(self, connection: Connection, former: WorkerSession | None = None) -> None:
        """It begins with the stream of ``connection``, with what ``former`` has left to settle."""
        welcome = connection.welcome
        self.token = welcome.resume_token
        self.lease = Lease(connection.greeted_at, welcome.lease_s)
        self.outbox = WorkerOutbox(welcome.publish_window, keeps_frames=bool(self.token))
        self.awaits_adoption = former is not None
        self.unconfirmed: deque[tuple[Settlement, Address]] = deque()
        self._partitions = welcome.partitions
        self.gone: dict[tuple[str, int], Grant] = {}
        self.given_up: list[Partitions] = []
        self._last_settlement = 0
        if former is not None:
            for settlement, agent in former.unconfirmed:
                self._last_settlement += 1
                renumbered = replace(settlement, number=self._last_settlement)
                self.unconfirmed.append((renumbered, agent))
            self.gone.update(former.gone)
            self.given_up += [*former.outbox.surrendered, *former.given_up]

    def resume(self, connection: Connection, now: float) -> None:
        """The host goes on with it over ``connection``.

        Raises `ProtocolViolation` when it claims to have received what was never sent.
        """
        self.outbox.resume(connection.welcome.received)
        self.lease.ask(connection.greeted_at)
        self.lease.renew(connection.welcome.lease_s, now)

    @property
    def received(self) -> int:
        """Frames of the host that were taken in."""
        return 0 if self.outbox.continuity is None else self.outbox.continuity.received

    def took_in(self, frame: HostFrame, now: float) -> bool:
        """The host has said ``frame``. Whether it is to be told so with nothing else to say.

        Raises `ProtocolViolation`: see `WorkerOutbox.took_in`.
        """
        if frame.lease_ms:
            self.lease.renew(frame.lease_ms / 1000, now)
        unconfirmed = self.unconfirmed
        while unconfirmed and unconfirmed[0][0].number <= frame.settled_through:
            unconfirmed.popleft()
        return self.outbox.took_in(frame.received)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """``delivery`` has ended. One that was never under a grant has not."""
        if delivery.grant is None:
            return
        self._last_settlement += 1
        settlement = Settlement(
            self._last_settlement, delivery.position, delivery.attempt, delivery.grant, outcome
        )
        self.unconfirmed.append((settlement, delivery.agent))
        if not self.awaits_adoption:
            self.outbox.settlements.append(settlement)
            if outcome is not ACCEPTED or delivery.losses:
                self.outbox.is_urgent = True

    def begin(self, delivery: Delivery) -> None:
        """The turn of ``delivery`` is about to begin."""
        if not self.awaits_adoption:
            self.outbox.begins.append(delivery.turn)

    def give_up(self, partitions: Partitions) -> None:
        """No turn of these partitions runs or will run."""
        (self.given_up if self.awaits_adoption else self.outbox.surrendered).append(partitions)
        for partition, grant in partitions.partitions:
            self.gone[partitions.agent_type, partition] = grant

    def claims(self, active: Claims) -> Claims:
        """What there is of the session: agents that are ``active``, and settlements to say again.

        What was given up is nobody's any more, or another's.
        """
        places = {
            (each.agent_type, partition): grant
            for each in active.partitions
            for partition, grant in each.partitions
        }
        held: dict[int, int] = {}
        for settlement, agent in self.unconfirmed:
            held[settlement.position] = settlement.attempt
            place = (agent[0], partition_of(*agent, self._partitions))
            gone = self.gone.get(place)
            if gone is None or gone < settlement.grant:
                places[place] = max(settlement.grant, places.get(place, settlement.grant))
        by_type: dict[str, list[tuple[int, Grant]]] = {}
        for (agent_type, partition), grant in sorted(places.items()):
            by_type.setdefault(agent_type, []).append((partition, grant))
        # One that was given back may be here again before that is answered: the newer counts.
        return Claims(
            tuple(Partitions(name, tuple(each)) for name, each in by_type.items()),
            {**held, **active.held},
        )

    def adopted(self, begun: Iterable[DeliveryId]) -> None:
        """The host has said what the worker has still: say what came of it meanwhile.

        ``begun`` is what was lost before and has begun, or waits to: this host does not know.
        """
        self.awaits_adoption = False
        self.outbox.begins.extend(begun)
        self.outbox.settlements.extend(settlement for settlement, _ in self.unconfirmed)
        self.outbox.is_urgent = True
        self.outbox.surrendered += self.given_up
        self.given_up = []
