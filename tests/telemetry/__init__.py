"""Traces: as a program's own exporter sees them, and as a collector gets them from processes."""
