"""What happens in a run, as a list: made from a seed, and cut down when it fails.

A story says when what is done to the system from the outside. How long messages take, and what the
engine takes, is drawn from the seed too, for each line apart, so that a story with steps taken out
is still the same elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, TypeAlias

from callboard import Policy

LENGTH_S = 20.0
"""For how long things are done to the system; then it is left alone, and has to come to rest."""

TYPES = ("a", "b", "c", "d")
TOPICS = ("orders", "orders.paid", "news")
KEYS = ("x", "y", "z")
CLIENTS = ("client0", "client1")
"""Processes without agents; like workers they are replaced when they are gone."""

SUBSCRIBED = {
    "a": (("type", "orders"), ("prefix", "orders.")),
    "b": (("prefix", ""),),
    "c": (("type", "news"),),
    "d": (("type", "news"),),
}
"""By agent type the topics that it subscribes to."""

POLICIES = {
    "a": Policy(),
    "b": Policy(max_attempts=3, backoff_s=0.8),  # soon enough to wait, or so late as to go back
    "c": Policy(max_attempts=1),
    "d": Policy(max_attempts=4, backoff_s=0.8, max_concurrency=3),
}

IDLE_TIMEOUT_S = 1.5
MAX_INSTANCES = 4
"""How long an agent of a worker may be idle, and how many there may be: so that both matter."""

CLOSE_S = 0.5
"""The longest time that an agent takes to close."""

Kind: TypeAlias = Literal[
    "publish", "call", "stream", "join", "stop", "kill", "cut", "isolate", "crash", "lose", "full"
]


@dataclass(frozen=True)
class Step:
    """Something done from the outside.

    Attributes:
        at_s: When.
        args: By kind. publish: client, topic, key, plans, one an event. call: client, type, key,
            plan, seconds. stream: client, type, key, how many answers there are, after how many of
            them it is left, plan, seconds. join: name, types. stop, kill: name. cut: name, and
            after how many seconds its worker and the host find out, if nothing else tells them.
            isolate: the same, and for how many seconds no other line can be had. crash: the host,
            which another one replaces after so many seconds. full: the disk, for so many seconds.
            lose: name, of one that is killed and that no other replaces.
    """

    at_s: float
    kind: Kind
    args: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.at_s:7.3f} {self.kind} {' '.join(map(str, self.args))}"


@dataclass(frozen=True)
class Story:
    """A run.

    Attributes:
        latency_s: The longest delay of a message.
        commit_s: The longest time that the engine takes.
        window: The broker's windows, small so that they matter.
        room: How many events may be queued for a type before publishers wait.
        memory: How many bytes of events the host has at hand; 0: all.
    """

    seed: int
    latency_s: float
    commit_s: float
    window: int
    room: int
    steps: tuple[Step, ...]
    memory: int = 0

    def without(self, steps: Sequence[Step]) -> Story:
        """The same with less happening."""
        left_out = set(map(id, steps))
        return replace(self, steps=tuple(each for each in self.steps if id(each) not in left_out))

    def __str__(self) -> str:
        head = (
            f"seed {self.seed}: latency {self.latency_s:g} s, commits {self.commit_s:g} s, "
            f"window {self.window}, room {self.room}, memory {self.memory}"
        )
        return "\n".join((head, *map(str, self.steps)))


def story_of(seed: int) -> Story:
    """The story of a seed."""
    chance = Random(seed)
    steps = [Step(0.0, "join", ("w0", TYPES))]
    steps += [_join(chance, f"w{number}") for number in range(1, chance.randint(1, 4))]
    names = [*(step.args[0] for step in steps), *CLIENTS]
    steps += [_trouble(chance, chance.choice(names)) for _ in range(chance.choice((0, 1, 2, 8)))]
    if chance.random() < 0.3:
        steps += [_crash(chance) for _ in range(chance.choice((1, 1, 3)))]
    steps += [_traffic(chance) for _ in range(chance.randint(5, 25))]
    story = Story(
        seed=seed,
        latency_s=chance.choice((0.0, 0.01, 0.1, 0.5)),
        commit_s=chance.choice((0.0, 0.01, 0.2)),
        window=chance.choice((2, 6, 16)),
        room=chance.choice((1_000_000, 1_000_000, 1_000_000, 12, 3, 1)),
        steps=(),
    )
    if chance.random() < 0.1:
        steps.append(_poison(chance))
    story = replace(story, memory=chance.choice((0, 0, 600, 1_500, 6_000)))
    if chance.random() < 0.15:
        seconds = chance.choice((0.1, 3.0, 15.0)) * chance.random()
        steps.append(Step(chance.uniform(1.0, LENGTH_S), "full", (seconds,)))
    return replace(story, steps=tuple(sorted(steps, key=lambda step: step.at_s)))


def _join(chance: Random, name: str) -> Step:
    types = tuple(each for each in TYPES if chance.random() < 0.8) or TYPES
    return Step(chance.uniform(0, LENGTH_S / 2), "join", (name, types))


def _trouble(chance: Random, name: str) -> Step:
    at_s = chance.uniform(1.0, LENGTH_S)
    kind: Kind = chance.choice(("stop", "kill", "cut", "cut", "isolate"))
    finds_out = [chance.choice((0.0, 0.1, 3.0, 60.0)) * chance.random() for _ in range(2)]
    if kind == "cut":
        return Step(at_s, kind, (name, *finds_out))
    if kind == "isolate":
        seconds = chance.choice((2.0, 12.0, 40.0)) * chance.random()
        return Step(at_s, kind, (name, seconds, *finds_out))
    return Step(at_s, kind, (name,))


def _crash(chance: Random) -> Step:
    seconds = chance.choice((0.1, 3.0, 15.0)) * chance.random()
    return Step(chance.uniform(1.0, LENGTH_S), "crash", (seconds,))


def _traffic(chance: Random) -> Step:
    at_s = chance.uniform(1.0, LENGTH_S)
    client = chance.choice(CLIENTS)
    key = chance.choice(KEYS)
    if chance.random() < 0.6:
        plans = tuple(_plan(chance) for _ in range(chance.choice((1, 3, 12))))
        return Step(at_s, "publish", (client, chance.choice(TOPICS), key, plans))
    seconds = chance.choice((0.5, 5.0, 20.0))
    to = chance.choice(TYPES)
    if chance.random() < 0.6:
        return Step(at_s, "call", (client, to, key, _plan(chance), seconds))
    return Step(at_s, "stream", (client, to, key, *_counts(chance), _plan(chance), seconds))


def _poison(chance: Random) -> Step:
    """An event that ends its workers, maybe in its first moment, between others."""
    poison = chance.choice(('[["die"]]', '[["sleep",0.3],["die"]]'))
    plans = (_plan(chance), poison, _plan(chance))
    topic, key = chance.choice(TOPICS), chance.choice(KEYS)
    return Step(
        chance.uniform(1.0, LENGTH_S), "publish", (chance.choice(CLIENTS), topic, key, plans)
    )


def _counts(chance: Random) -> tuple[int, int]:
    """How many answers a stream has, and after how many it is left: seldom before its end."""
    count = chance.choice((0, 1, 3, 10, 40, 100))
    return count, chance.choice((1, 5, 35, 1000, 1000, 1000))


def _plan(chance: Random, depth: int = 2) -> str:
    """What a handler does, as JSON: a list of its steps."""
    return json.dumps(_steps(chance, depth), separators=(",", ":"))


def _steps(chance: Random, depth: int) -> list[Any]:
    kinds = chance.choices(
        ("sleep", "raise", "publish", "call", "stream"),
        (5, 1, 2, 2, 1),
        k=chance.choice((0, 0, 1, 1, 2)),
    )
    return [_step(chance, kind, depth) for kind in kinds if depth or kind in ("sleep", "raise")]


def _step(chance: Random, kind: str, depth: int) -> list[Any]:
    match kind:
        case "sleep":
            return [kind, round(chance.choice((0.0, 0.02, 0.5, 2.0)) * chance.random(), 3)]
        case "publish":
            inner = _steps(chance, depth - 1)
            return [kind, chance.choice(TOPICS), chance.choice(KEYS), inner]
        case "call":
            inner = _steps(chance, depth - 1)
            return [kind, chance.choice(TYPES), chance.choice(KEYS), inner]
        case "stream":
            inner = _steps(chance, depth - 1)
            return [
                kind,
                chance.choice(TYPES),
                chance.choice(KEYS),
                *_counts(chance),
                inner,
            ]
        case _:
            return [kind]
