"""Agents in one process, for tests and notebooks."""

from callboard.local.runtime import LocalRuntime

__all__ = ["LocalRuntime"]
