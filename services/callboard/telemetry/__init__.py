"""Spans that follow an event or a call from its publisher through the host to its handlers."""
