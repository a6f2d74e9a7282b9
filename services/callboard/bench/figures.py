"""Figures: what several rounds came to, and how they are written."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Spread:
    """Attributes: median, lowest, highest: of the rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """That of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def value_text(measure: str, value: float) -> str:
    """A value as tables have it; its unit, the last word of the measure, says how exactly."""
    match measure.rpartition(" ")[2]:
        case "ms":
            return f"{value:,.2f}"
        case "us" | "MiB" | "KiB":
            return f"{value:,.1f}"
    return f"{value:,.0f}"


def size_text(size_bytes: int) -> str:
    """A size, for people."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor and not size_bytes % factor:
            return f"{size_bytes // factor} {unit}"
    return f"{size_bytes} B"
