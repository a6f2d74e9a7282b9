"""gRPC's statuses and channel options: the one place that translates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from callboard.core.errors import CallboardError, Code, ProtocolViolation, error_of
from callboard.core.frames import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from grpc.aio import AioRpcError

CONNECT = "/callboard.v1.AgentHost/Connect"
OPERATIONS = "callboard.v1.Operations"

HOST_BROKE = "the host broke over a frame"
"""How the text begins of what a stream ends with when the host has a fault; another would too."""

KEEPALIVE_S = 20.0
"""After how long a silent connection is probed.

Well below what load balancers cut (350 s and more).
"""

KEEPALIVE_TIMEOUT_S = 10.0
"""How long a probe may go unanswered before the connection counts as lost."""


def status_of(error: CallboardError) -> grpc.StatusCode:
    """The gRPC status to end a call or stream with."""
    return next(status for status in grpc.StatusCode if status.value[0] == error.code)


def error_from(error: AioRpcError) -> CallboardError:
    """The error that a status stands for."""
    number = error.code().value[0]
    details = error.details() or error.code().name
    if number == Code.INVALID_ARGUMENT:
        return ProtocolViolation(details)
    return error_of(number, details)


def max_message_bytes(max_event_bytes: int) -> int:
    """The bound in gRPC for a frame.

    The largest event, or a full frame, and what stands around them.
    """
    return max_event_bytes + 2 * MAX_FRAME_BYTES


def server_options(max_event_bytes: int) -> list[tuple[str, int]]:
    """Options of a host's server.

    Names and defaults: gRPC's ``grpc_types.h`` and ``keepalive.md``.
    """
    return [
        (
            "grpc.so_reuseport",
            0,
        ),  # otherwise a second host binds the port and takes half the workers
        ("grpc.max_receive_message_length", max_message_bytes(max_event_bytes)),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients probe every 20 s; the default of 300 s would end them with "too_many_pings".
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]


def channel_options() -> list[tuple[str, int]]:
    """Options of a worker's channel. What a host may send is bounded by the host."""
    return [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # gRPC's own attempts to connect: the default begins at 1 s and grows to 120 s.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_retries", 0),  # a stream that carries a session must not be replayed
        (
            "grpc.use_local_subchannel_pool",
            1,
        ),  # a new channel is a new attempt, not another's backoff
    ]
