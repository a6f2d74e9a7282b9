"""The host: the service that routes, queues and places."""

from callboard.host.host import Host

__all__ = ["Host"]
