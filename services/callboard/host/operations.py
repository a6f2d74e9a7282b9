"""The operators' service: what tools ask of a host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from callboard.core.errors import CallboardError
from callboard.host.dead_letter_operations import DeadLetterOperations
from callboard.log import Logger
from callboard.wire.status import OPERATIONS, status_of
from callboard.wire.v1 import operations_pb2 as pb

if TYPE_CHECKING:
    from callboard.core.agent_types import AgentTypeState
    from callboard.core.session import Session
    from callboard.host.host import Host
    from callboard.host.switchboard import Switchboard

log = Logger(__name__)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Operations:
    """Answers operators from the broker's state, and does what they ask for."""

    def __init__(self, host: Host, switchboard: Switchboard) -> None:
        self._host = host
        self._switchboard = switchboard
        self._broker = switchboard.broker
        self._dead_letters = DeadLetterOperations(switchboard, host.engine)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve on ``server``."""
        dead_letters = self._dead_letters
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Describe": _unary(self.describe, pb.DescribeRequest),
            "Types": _unary(self.list_types, pb.TypesRequest),
            "RemoveType": _unary(self.remove_type, pb.RemoveTypeRequest),
            "DeadLetters": _unary(dead_letters.page, pb.DeadLettersRequest),
            "DeadLetter": _unary(dead_letters.one, pb.DeadLetterRequest),
            "ReplayDeadLetters": _unary(dead_letters.replay, pb.ReplayDeadLettersRequest),
            "DropDeadLetters": _unary(dead_letters.drop, pb.DropDeadLettersRequest),
        }
        handlers = grpc.method_handlers_generic_handler(OPERATIONS, methods)
        server.add_generic_rpc_handlers((handlers,))

    async def list_types(self, _: pb.TypesRequest) -> pb.TypesResponse:
        """The agent types."""
        return pb.TypesResponse(types=self._types())

    async def remove_type(self, request: pb.RemoveTypeRequest) -> pb.RemoveTypeResponse:
        """Forget a type that has no workers."""
        state = self._broker.types.get(request.name)
        waiting = 0 if state is None else state.queues.waiting_count
        now = asyncio.get_running_loop().time()
        await self._switchboard.keep(self._broker.remove_type(request.name, now))
        log.info("agent type removed", type=request.name, dead_letters=waiting)
        return pb.RemoveTypeResponse(dead_letters=waiting)

    async def describe(self, _: pb.DescribeRequest) -> pb.DescribeResponse:
        """What the host holds at this moment."""
        broker = self._broker
        counters = broker.counters
        return pb.DescribeResponse(
            host_id=self._host.id,
            version=version("callboard"),
            engine=self._host.engine.name,
            uptime_s=self._host.uptime_s,
            address=self._host.address,
            types=self._types(),
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
                replayed=counters.replayed,
                dropped=counters.dropped,
            ),
        )

    def _types(self) -> list[pb.TypeDescription]:
        return [
            self._type(state) for state in sorted(self._broker.types, key=lambda each: each.name)
        ]

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
            durable=not state.session_only,
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


def _unary(
    answer: Callable[[Request], Awaitable[Response]], request: type[Request]
) -> grpc.RpcMethodHandler[Request, Response]:
    """A method of the service; an error of ours becomes its status."""

    async def handle(
        asked: Request, context: grpc.aio.ServicerContext[Request, Response]
    ) -> Response:
        try:
            return await answer(asked)
        except CallboardError as error:
            await context.abort(status_of(error), str(error))

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
