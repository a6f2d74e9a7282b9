"""What benchmarks send: dataclasses, written as JSON."""

from __future__ import annotations

from dataclasses import dataclass

_TICK_BYTES = len('{"number":123456,"sent_ns":1234567890123456,"padding":""}')


@dataclass
class Tick:
    """An event.

    Attributes:
        number: From 0 in each run.
        sent_ns: By the monotonic clock, which all processes of a machine share.
        padding: Makes it as large as it is to be.
    """

    number: int
    sent_ns: int
    padding: str


@dataclass
class Question:
    """A call, and each of its answers.

    Attributes:
        count: How many answers a stream is to have.
        padding: Makes it as large as it is to be.
    """

    count: int
    padding: str


def padding_for(size_bytes: int) -> str:
    """Makes the JSON of a message about so large: a few bytes more or less, by its numbers."""
    return "x" * max(0, size_bytes - _TICK_BYTES)
