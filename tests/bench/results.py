"""What a run of the benchmarks has found: every value of every round."""

from __future__ import annotations

import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from hdrh.histogram import HdrHistogram

from bench.contenders import AUTOGEN_PYTHON
from callboard.bench.rows import Measured
from callboard.bench.stage import CALLBOARD

BARE = "gRPC"
"""Stands where a contender does, in the rows of gRPC alone."""

LONGEST_US = 600_000_000
DIGITS = 3


@dataclass
class Line:
    """One row of the catalogue.

    Attributes:
        group: Of the catalogue.
        name: Of the row.
        values: By contender and measure, one of each round in which it could be measured.
        failures: By contender, why not.
        latencies: By contender, of all rounds, in microseconds.
    """

    group: str
    name: str
    values: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    latencies: dict[str, Any] = field(default_factory=dict)

    def add(self, contender: str, at: int, measured: Measured) -> None:
        """Add what a round found."""
        measures = self.values.setdefault(contender, {})
        for measure, value in measured.values.items():
            measures.setdefault(measure, {})[at] = value
        if measured.latencies_ns:
            histogram = self.latencies.setdefault(contender, HdrHistogram(1, LONGEST_US, DIGITS))
            for latency_ns in measured.latencies_ns:
                histogram.record_value(max(1, latency_ns // 1000))

    @property
    def measures(self) -> list[str]:
        """All that were measured."""
        return list(dict.fromkeys(name for each in self.values.values() for name in each))

    def median(self, contender: str, measure: str) -> float | None:
        """The middle of the rounds; None: there was none."""
        rounds = self.values.get(contender, {}).get(measure)
        return statistics.median(rounds.values()) if rounds else None

    def ratio(self, measure: str) -> float | None:
        """The median of the rounds' ratios, Callboard's value to AutoGen's."""
        ours, theirs = (
            self.values.get(name, {}).get(measure, {}) for name in (CALLBOARD.name, "AutoGen")
        )
        ratios = [ours[at] / theirs[at] for at in ours if theirs.get(at)]
        return statistics.median(ratios) if ratios else None


@dataclass
class Results:
    """All rows, and the machine."""

    machine: Mapping[str, str]
    seconds: float
    rounds: int
    lines: dict[str, Line] = field(default_factory=dict)

    def line(self, group: str, name: str) -> Line:
        """The row of that name, made when there is none."""
        return self.lines.setdefault(name, Line(group, name))

    def of_group(self, group: str) -> list[Line]:
        """The rows of a group."""
        return [line for line in self.lines.values() if line.group == group]

    @property
    def groups(self) -> list[str]:
        """Those that have rows."""
        return list(dict.fromkeys(line.group for line in self.lines.values()))

    def as_json(self) -> dict[str, Any]:
        """All of it but the latencies."""
        return {
            "machine": dict(self.machine),
            "seconds": self.seconds,
            "rounds": self.rounds,
            "rows": [
                {
                    "group": line.group,
                    "name": line.name,
                    "values": {
                        contender: {name: list(rounds.values()) for name, rounds in found.items()}
                        for contender, found in line.values.items()
                    },
                    "ratios": {name: line.ratio(name) for name in line.measures},
                    "failures": line.failures,
                }
                for line in self.lines.values()
            ],
        }


def machine(*, with_autogen: bool) -> dict[str, str]:
    """What is measured, and on what."""
    found = {
        "Python": platform.python_version(),
        "processor": _processor(),
        **{name: version(name) for name in ("callboard", "grpcio", "protobuf")},
    }
    if with_autogen:
        packages = ("autogen-ext", "grpcio", "protobuf")
        script = f"from importlib.metadata import version\nfor n in {packages}: print(version(n))"
        said = subprocess.check_output([AUTOGEN_PYTHON, "-c", script], text=True).split()
        found |= {f"{name} (AutoGen's)": each for name, each in zip(packages, said, strict=True)}
    return found


def _processor() -> str:
    with open("/proc/cpuinfo") as file:  # noqa: PTH123 (Linux is asked for anyway)
        models: Iterable[str] = [line for line in file if line.startswith("model name")]
    names = [line.partition(":")[2].strip() for line in models]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
