"""Carries placement out: grants what is free, asks for what should move, takes back what ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.frames import Claims, Partitions
from callboard.core.grants import nobody
from callboard.core.placement import place

if TYPE_CHECKING:
    from callboard.core.agenda import Agenda
    from callboard.core.agent_types import AgentTypes, AgentTypeState
    from callboard.core.deliveries import Deliveries
    from callboard.core.event import Grant
    from callboard.core.exchange import Exchange
    from callboard.core.reservations import Reservations
    from callboard.core.session import Session


class Placer:
    """Who holds what, by session.

    Deliveries and calls follow grants: whoever gets a partition gets what waited for it, and what a
    former holder had of it goes back.
    """

    def __init__(
        self,
        types: AgentTypes,
        deliveries: Deliveries,
        exchange: Exchange,
        reservations: Reservations,
        agenda: Agenda,
    ) -> None:
        self._types = types
        self._deliveries = deliveries
        self._exchange = exchange
        self._agenda = agenda
        self._reservations = reservations
        self._held: dict[Session, int] = {}

    def held_count(self, session: Session) -> int:
        """The partitions that ``session`` holds, all types together."""
        return self._held.get(session, 0)

    def rebalance(self, state: AgentTypeState, now: float) -> None:
        """Plan anew who holds what; grant what is free, ask for what should move."""
        candidates = [
            session
            for session in state.workers
            if not session.draining and session.lanes[state.name].is_open
        ]
        index = {session: number for number, session in enumerate(candidates)}
        grants = state.grants
        held = [
            None if (holder := grants.open_to(partition)) is None else index.get(holder)
            for partition in range(len(grants))
        ]
        plan = place(held, [state.workers[session] for session in candidates])
        state.plan = [None if worker is None else candidates[worker] for worker in plan]
        asked: dict[Session, list[tuple[int, Grant]]] = {}
        for partition, planned in enumerate(state.plan):
            holder = grants.holder(partition)
            if holder is None:
                self._grant(state, partition, now)
            elif holder is not planned:
                grant = grants.ask(partition)
                if grant is not None:
                    asked.setdefault(holder, []).append((partition, grant))
        for session, partitions in asked.items():
            session.outbox.surrenders.append(Partitions(state.name, tuple(partitions)))
            self._agenda.wake(session)

    def adopt(
        self, session: Session, state: AgentTypeState, claims: Claims, now: float
    ) -> Partitions | None:
        """``session`` serves the type now, and has had some of it since the former host.

        Returns what it has still; None when it has nothing.
        """
        lane, kept = session.lanes[state.name], []
        for partition, grant in self._reservations.take(session, state.name).items():
            if (
                0 <= partition < len(state.grants)
                and state.grants.holder(partition) is None
                and self._deliveries.adopt(state, partition, lane, grant, claims.held, now=now)
            ):
                state.grants.adopt(partition, session, grant)
                self._held[session] = self._held.get(session, 0) + 1
                kept.append((partition, grant))
        return Partitions(state.name, tuple(kept)) if kept else None

    def begin_adopted(self, session: Session, adopted: Partitions, now: float) -> None:
        """What else waits for the partitions that ``session`` has still goes there as well."""
        state = self._types.get(adopted.agent_type)
        for partition, _ in adopted.partitions:
            if state is not None and state.grants.holder(partition) is session:
                self._exchange.begin_grant(state, partition, session, now)
                self._deliveries.begin_grant(state, partition, now)

    def release_reserved(self, now: float) -> None:
        """What was reserved may be free: grant it to whom it is planned for."""
        for state in self._types:
            if state.workers:
                self.rebalance(state, now)

    def surrendered(self, session: Session, given_up: Partitions, now: float) -> None:
        """``session`` has given partitions up.

        Those that it did not hold are passed over, and those named before.
        """
        state = self._types.get(given_up.agent_type)
        if state is None:
            return
        ended = [
            partition
            for partition, grant in dict.fromkeys(given_up.partitions)
            if 0 <= partition < len(state.grants)
            and state.grants.is_valid(partition, grant, session)
        ]
        if ended:
            self._end_grants(state, session, ended)
            lane = session.lanes[state.name]
            for partition in ended:
                self._deliveries.end_grant(state, partition, lane, now)
            self._exchange.end_grants(state, session, set(ended), now)
            for partition in ended:
                self._grant(state, partition, now)
        self.tell_drained(session)

    def stop_serving(
        self, session: Session, state: AgentTypeState, now: float, *, is_lost: bool
    ) -> None:
        """``session`` serves the type no more: all that it had of it goes to those who stay.

        With ``is_lost`` it did not choose to.
        """
        del state.workers[session]
        lane = session.lanes.pop(state.name)
        session.outbox.forget(state.name)
        ended = list(state.grants.held_by(session))
        self._end_grants(state, session, ended)
        self._deliveries.close_lane(state, lane, ended, lost_at=now if is_lost else None)
        state.plan = nobody(len(state.grants))
        if ended:
            self._exchange.end_grants(state, session, set(ended), now)
        if state.workers:
            self.rebalance(state, now)

    def forget(self, session: Session) -> None:
        """``session`` is gone, and holds nothing."""
        self._held.pop(session, None)

    def tell_drained(self, session: Session) -> None:
        """Tell ``session``, once, when it asked to leave and holds nothing any more."""
        lanes = session.lanes.values()
        if (
            session.draining
            and not session.is_drained
            and not self.held_count(session)
            # Else it may still get what it claims.
            and (not session.claims.partitions or all(each.is_open for each in lanes))
        ):
            session.is_drained = True
            session.outbox.drain = True
            self._agenda.wake(session)

    def _grant(self, state: AgentTypeState, partition: int, now: float) -> None:
        """Give a free partition to whom it is planned for, with all that waited."""
        session = state.plan[partition]
        if session is None or self._reservations.is_reserved(state.name, partition):
            return
        state.grants.grant(partition, session)
        self._held[session] = self._held.get(session, 0) + 1
        self._exchange.begin_grant(state, partition, session, now)
        self._deliveries.begin_grant(state, partition, now)

    def _end_grants(self, state: AgentTypeState, session: Session, ended: list[int]) -> None:
        for partition in ended:
            state.grants.end(partition)
        self._held[session] = self._held.get(session, 0) - len(ended)
