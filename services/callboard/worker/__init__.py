"""The worker: a process that holds agents and keeps a session with a host."""

from callboard.worker.runtime import WorkerRuntime

__all__ = ["WorkerRuntime"]
