"""The host: the service that routes, queues and places."""

import callboard.wire  # noqa: F401 (before gRPC, which it tells how to run)
from callboard.host.host import Host

__all__ = ["Host"]
