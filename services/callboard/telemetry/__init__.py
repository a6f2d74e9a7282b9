"""Traces: where a process's tracer is found, what spans are made of, how they are exported.

Only `active` and `export` may be imported by whoever does not know whether there are any: the
others import OpenTelemetry, which takes about 110 ms.
"""
