"""Scenarios: what is done to the system, and what is seen of it, in texts that need no code.

A file has a title, a paragraph, what is done, a line of dashes, and what is seen. What is done::

    1.0  client0 publishes on orders/x: sleep 2, raise; nothing
    1.5  client1 calls a/x within 5 s: call b/y (sleep 1)
    2.0  w1 joins, serving a b
    3.0  w0 is lost | is killed | stops | is cut off for 20 s
    3.0  the host crashes for 2 s

Events are separated by semicolons; what the handler of each does, by commas; one that is to "die"
ends its process. What is seen begins with the second at which it is, names events and calls by the
order in which they come up, and processes by their names, with a dash for each that has taken the
place of another. One that was killed, or ended itself, or has stopped is replaced, one that was
lost is not. Beside what is told of there are always two clients, and a bystander that serves type
"b", which gets all events, and type "d"; each is told of if the text speaks of it. So is how agents
are made and closed, if it speaks of instances.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simulator.story import Kind, Step, Story
from simulator.system import System
from simulator.virtual_time import run

SEPARATOR = "-" * 20


@dataclass(frozen=True)
class Scenario:
    """One file.

    Attributes:
        head: All above what is seen.
        seen: What was seen when it was written.
    """

    head: str
    seen: str

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """Raises `ValueError` for a file that is not one."""
        head, separator, seen = path.read_text().partition(f"{SEPARATOR}\n")
        if not separator:
            msg = f"{path.name} has no line {SEPARATOR}"
            raise ValueError(msg)
        return cls(head, seen)

    @property
    def story(self) -> Story:
        """What is done."""
        steps = [Step(0.0, "join", ("bystander", ("b", "d")))]
        for line in self.head.splitlines():
            match = re.fullmatch(r"(\d+\.\d+)  (.+)", line)
            if match is not None:
                steps.append(_step(float(match[1]), match[2]))
        return Story(
            seed=0, latency_s=0.01, commit_s=0.01, window=4, room=1_000_000, steps=tuple(steps)
        )

    def play(self) -> str:
        """What is seen. Raises `Broken` when a promise was not kept."""
        system = System(self.story)
        run(system.run())
        told_by_word = {"b/": " b/", "d/": " d/", "instance": " is (made|closed) in "}
        untold = [pattern for word, pattern in told_by_word.items() if word not in self.head]
        lines = _readable(system.ledger.notes)
        return "".join(
            f"{line}\n" for line in lines if not any(re.search(each, line) for each in untold)
        )


def _step(at_s: float, text: str) -> Step:
    for pattern, kind in PATTERNS.items():
        match = re.fullmatch(pattern, text)
        if match is not None:
            return Step(at_s, kind, tuple(_arguments(kind, match.groups())))
    msg = f"not understood: {text!r}"
    raise ValueError(msg)


PATTERNS: dict[str, Kind] = {
    r"(\w+) publishes on ([\w.]+)/(\w+): (.+)": "publish",
    r"(\w+) calls (\w+)/(\w+) within ([\d.]+) s: (.+)": "call",
    r"(\w+) joins, serving ([\w ]+)": "join",
    r"(\w+) is killed": "kill",
    r"(\w+) is lost": "lose",
    r"(\w+) stops": "stop",
    r"(\w+) is cut off for ([\d.]+) s": "isolate",
    r"the host crashes for ([\d.]+) s": "crash",
}


def _arguments(kind: str, found: tuple[str, ...]) -> Iterator[object]:
    match kind, found:
        case "publish", (client, topic, key, plans):
            yield from (client, topic, key, tuple(_plan(each) for each in plans.split(";")))
        case "call", (client, agent_type, key, seconds, plan):
            yield from (client, agent_type, key, _plan(plan), float(seconds))
        case "join", (name, types):
            yield from (name, tuple(types.split()))
        case "isolate", (name, seconds):
            yield from (name, float(seconds), 0.0, 0.0)
        case "crash", (seconds,):
            yield float(seconds)
        case _:
            yield from found


def _plan(text: str) -> str:
    return json.dumps(list(_steps(text)), separators=(",", ":"))


def _steps(text: str) -> Iterator[list[object]]:
    for part in re.split(r",(?![^(]*\))", text):
        match part.strip().split(maxsplit=2):
            case ["nothing"]:
                pass
            case ["raise" | "die" as what]:
                yield [what]
            case ["sleep", seconds]:
                yield ["sleep", float(seconds)]
            case [("call" | "publish") as kind, address, *inner]:
                where, _, key = address.partition("/")
                yield [kind, where, key, list(_steps(inner[0][1:-1])) if inner else []]
            case _:
                msg = f"not understood: {part!r}"
                raise ValueError(msg)


def _readable(notes: list[str]) -> Iterator[str]:
    """``notes`` with names that say something."""
    names: dict[str, str] = {}
    counts = {"e": 0, "c": 0}
    processes: dict[str, list[str]] = {}

    def message(match: re.Match[str]) -> str:
        if match[0] not in names:
            counts[match[1]] += 1
            what = "event" if match[1] == "e" else "call"
            names[match[0]] = f"{what} {counts[match[1]]}"
        return names[match[0]]

    def process(match: re.Match[str]) -> str:
        known = processes.setdefault(match[1], [])
        if match[0] not in known:
            known.append(match[0])
        return match[1] + "'" * known.index(match[0])

    for note in notes:
        line = re.sub(r"\('(\w+)', '(\w+)'\)", r"\1/\2", note)
        line = re.sub(r"\b([ec])(\.\d+)+", message, line)
        yield re.sub(r"(\w+)#\d+", process, line)
