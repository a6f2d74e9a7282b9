"""Where a host serves, as text."""

from __future__ import annotations

import re
from contextlib import suppress

import grpc.aio

from callboard.core.errors import InvalidIdentifier, Unavailable

_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):(?P<port>[0-9]{1,5})\Z")
_MAX_PORT = 65535


def check_endpoint(value: str, *, may_be_free: bool = False) -> str:
    """Give ``value`` back when it is ``host:port``; IPv6 hosts stand in brackets.

    gRPC itself takes much more: without a port it would look for HTTPS.

    Args:
        value: The text, for example ``127.0.0.1:50051``.
        may_be_free: Whether port 0 is allowed, which asks the system for a free one.

    Raises:
        InvalidIdentifier: It is something else.
    """
    match = _HOST_AND_PORT.match(value)
    lowest = 0 if may_be_free else 1
    if match is None or not lowest <= int(match["port"]) <= _MAX_PORT:
        msg = f"invalid address {value!r}: it is written host:port, port {lowest} to {_MAX_PORT}"
        raise InvalidIdentifier(msg)
    return value


def bind(server: grpc.aio.Server, address: str) -> int:
    """Have ``server`` listen on ``address``; the port.

    Raises:
        Unavailable: It cannot; gRPC says no more than that.
    """
    with suppress(RuntimeError):
        port = server.add_insecure_port(address)
        if port:
            return port
    msg = f"cannot listen on {address}: the address is in use, or not one of this machine"
    raise Unavailable(msg)
