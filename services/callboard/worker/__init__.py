"""The worker: a process that holds agents and keeps a session with a host."""

import callboard.wire  # noqa: F401 (before gRPC, which it tells how to run)
from callboard.worker.runtime import WorkerRuntime

__all__ = ["WorkerRuntime"]
