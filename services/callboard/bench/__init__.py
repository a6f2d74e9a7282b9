"""Loads on a host that are measured: for `callboard bench`, and for the project's own benchmarks.

A run has a `stage.Stage` with workers and publishers, each a process of its own (`programs`) that
obeys orders over a pipe. `rows` says what is measured. What such a process does to a runtime is
behind the protocol `side.Side`, and all beside that needs the standard library alone: so the same
load, the same counting and the same clock measure another runtime in an environment without this
project's dependencies.
"""
