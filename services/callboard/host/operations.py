"""The operators' service: what tools ask of a host."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from callboard.wire.status import OPERATIONS
from callboard.wire.v1 import operations_pb2 as pb

if TYPE_CHECKING:
    from callboard.core.agent_types import AgentTypeState
    from callboard.core.broker import Broker
    from callboard.core.session import Session
    from callboard.host.host import Host


class Operations:
    """Answers operators from the broker's state."""

    def __init__(self, host: Host, broker: Broker) -> None:
        self._host = host
        self._broker = broker

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve on ``server``."""
        describe = grpc.unary_unary_rpc_method_handler(
            self.describe,
            request_deserializer=pb.DescribeRequest.FromString,
            response_serializer=pb.DescribeResponse.SerializeToString,
        )
        handlers = grpc.method_handlers_generic_handler(OPERATIONS, {"Describe": describe})
        server.add_generic_rpc_handlers((handlers,))

    async def describe(self, request: pb.DescribeRequest, context: object) -> pb.DescribeResponse:  # noqa: ARG002 (gRPC's signature)
        """What the host holds at this moment."""
        broker = self._broker
        counters = broker.counters
        return pb.DescribeResponse(
            host_id=self._host.id,
            version=version("callboard"),
            engine=self._host.engine.name,
            uptime_s=self._host.uptime_s,
            address=self._host.address,
            types=[
                self._type(state) for state in sorted(broker.types, key=lambda state: state.name)
            ],
            sessions=[self._session(session) for session in broker.sessions.values()],
            counters=pb.Counters(
                published=counters.published,
                unmatched=counters.unmatched,
                delivered=counters.delivered,
                accepted=counters.accepted,
                rejected=counters.rejected,
                released=counters.released,
                calls=counters.calls,
                calls_failed=counters.calls_failed,
            ),
        )

    def _type(self, state: AgentTypeState) -> pb.TypeDescription:
        oldest_at = state.queues.oldest_at()
        now = asyncio.get_running_loop().time()
        return pb.TypeDescription(
            name=state.name,
            sessions=len(state.workers),
            subscriptions=[
                pattern if kind == "type" else f"{pattern}*"
                for kind, pattern in self._broker.types.patterns(state.name)
            ],
            queued=state.queues.waiting_count,
            in_flight=sum(session.lanes[state.name].in_flight for session in state.workers),
            partitions_held=state.grants.held_count,
            oldest_age_s=0.0 if oldest_at is None else now - oldest_at,
        )

    def _session(self, session: Session) -> pb.SessionDescription:
        return pb.SessionDescription(
            session_id=session.id,
            client_id=session.client_id,
            agent=session.agent,
            types=sorted(session.lanes),
            in_flight=sum(lane.in_flight for lane in session.lanes.values()),
            partitions_held=self._broker.held_count(session),
            draining=session.draining,
        )
