"""The broker under model workers: any story keeps its promises."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callboard.core import deliveries
from callboard.core.errors import Code
from callboard.core.frames import CallFailure
from sim.world import KEYS, TOPICS, TYPES, Node, World, outcome_of

WORKERS = 4

numbers = st.integers(0, 2**16)
type_sets = st.sets(st.sampled_from(TYPES)).map(sorted)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a type that ends becomes dead letters in many steps."""
    monkeypatch.setattr(deliveries, "BURIED_AT_ONCE", 2)


class Stories(RuleBasedStateMachine):
    """Workers come and go, publish, run turns, call; frames and commits take their time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def node(self, number: int) -> Node | None:
        nodes = self.world.nodes
        return nodes[number % len(nodes)] if nodes else None

    @initialize()
    def begin_with_one(self) -> None:
        self.world.join(TYPES)

    @precondition(lambda self: len(self.world.nodes) < WORKERS)
    @rule(types=type_sets)
    def join(self, types: list[str]) -> None:
        self.world.join(types)

    @rule(number=numbers, types=type_sets)
    def register(self, number: int, types: list[str]) -> None:
        if node := self.node(number):
            self.world.register(node, types)

    @rule(number=numbers)
    def drain(self, number: int) -> None:
        if node := self.node(number):
            self.world.drain(node)

    @rule(number=numbers)
    def crash(self, number: int) -> None:
        if node := self.node(number):
            self.world.crash(node)

    @rule()
    def notice_loss(self) -> None:
        self.world.notice_loss()

    @rule(
        number=numbers,
        topic=st.sampled_from(TOPICS),
        key=st.sampled_from(KEYS),
        times=st.integers(1, 6),
    )
    def publish(self, number: int, topic: str, key: str, times: int) -> None:
        if node := self.node(number):
            turns = node.worker.turns
            for _ in range(times):
                turn = turns[number % len(turns)] if turns and number % 2 else None
                self.world.publish(node, topic, key, turn)

    @rule(number=numbers, name=st.sampled_from((*TYPES, "nobody")), key=st.sampled_from(KEYS))
    def call(self, number: int, name: str, key: str) -> None:
        if node := self.node(number):
            turns = node.worker.turns
            turn = turns[number % len(turns)] if turns else None
            self.world.call(node, (name, key), turn)

    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        if node := self.node(number):
            self.world.cancel(node, lambda calls: calls[number % len(calls)])

    @rule(number=numbers)
    def begin(self, number: int) -> None:
        if node := self.node(number):
            self.world.begin(node, lambda ready: ready[number % len(ready)])

    @rule(number=numbers, kind=numbers)
    def end(self, number: int, kind: int) -> None:
        node = self.node(number)
        if node and node.worker.turns:
            turn = node.worker.turns[number % len(node.worker.turns)]
            error = CallFailure(Code.UNKNOWN, "", "ValueError") if kind % 3 == 0 else None
            self.world.end(node, turn, outcome_of(kind), error)

    @rule(number=numbers, wait_s=st.sampled_from((0.0, 0.5, 5.0)))
    def fail(self, number: int, wait_s: float) -> None:
        node = self.node(number)
        if node and node.worker.turns:
            turn = node.worker.turns[number % len(node.worker.turns)]
            self.world.fail(node, turn, wait_s)

    @rule(number=numbers)
    def worker_writes(self, number: int) -> None:
        if node := self.node(number):
            self.world.worker_writes(node)

    @rule(number=numbers)
    def host_writes(self, number: int) -> None:
        if node := self.node(number):
            self.world.host_writes(node)

    @rule(number=numbers)
    def host_reads(self, number: int) -> None:
        if node := self.node(number):
            self.world.host_reads(node)

    @rule(number=numbers)
    def worker_reads(self, number: int) -> None:
        if node := self.node(number):
            self.world.worker_reads(node)

    @rule()
    def exchange(self) -> None:
        """All lines and the engine do what they can, once."""
        self.world.reading_begins()
        self.world.reading_ends()
        self.world.commit_begins()
        self.world.commit_ends()
        for node in list(self.world.nodes):
            self.world.worker_writes(node)
            self.world.host_reads(node)
            self.world.host_writes(node)
            self.world.worker_reads(node)

    @rule()
    def commit_begins(self) -> None:
        self.world.commit_begins()

    @rule()
    def commit_ends(self) -> None:
        self.world.commit_ends()

    @rule()
    def commit_fails(self) -> None:
        self.world.commit_fails()

    @rule()
    def engine_heals(self) -> None:
        self.world.engine_heals()

    @rule()
    def reading_fails(self) -> None:
        self.world.reading_fails()

    @rule()
    def reading_begins(self) -> None:
        self.world.reading_begins()

    @rule()
    def reading_ends(self) -> None:
        self.world.reading_ends()

    @rule(number=numbers)
    def replay(self, number: int) -> None:
        letters = self.world.letters
        self.world.replay(letters[number % 3 :: number % 3 + 1])

    @rule(number=numbers)
    def drop(self, number: int) -> None:
        letters = self.world.letters
        self.world.drop(letters[number % 3 :: number % 3 + 1])

    @rule(name=st.sampled_from(TYPES))
    def remove_type(self, name: str) -> None:
        self.world.remove_type(name)

    @rule(seconds=st.sampled_from((1.0, 5.0, 30.0)))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.settle_down()


TestStories = Stories.TestCase
TestStories.settings = settings(max_examples=60, stateful_step_count=60)


@pytest.mark.parametrize("seed", range(150))
def test_a_long_story_keeps_its_promises(seed: int) -> None:
    """Hundreds of steps from one seed: what was acknowledged is settled, in order, in one place."""
    tell(seed)


def test_the_stories_leave_events_behind() -> None:
    """What waits is read back from the engine in most of them, and they are about that, too."""
    assert sum(tell(seed).read_count for seed in range(10)) > 50


def tell(seed: int, steps: int = 400) -> World:
    """Play the story of ``seed`` to its end."""
    chance = Random(seed)
    world = World()
    world.join(TYPES)
    rare, common, most = 1, 4, 12
    deeds = [
        ("join", rare),
        ("register", rare),
        ("drain", rare),
        ("crash", rare),
        ("notice_loss", rare),
        ("publish", common),
        ("call", common),
        ("cancel", rare),
        ("begin", most),
        ("end", most),
        ("fail", most),
        ("worker_writes", most),
        ("host_reads", most),
        ("host_writes", most),
        ("worker_reads", most),
        ("commit_begins", common),
        ("commit_ends", common),
        ("commit_fails", rare),
        ("engine_heals", common),
        ("reading_begins", common),
        ("reading_ends", common),
        ("reading_fails", rare),
        ("pass_time", rare),
        ("replay", rare),
        ("drop", rare),
        ("remove_type", rare),
    ]
    names = [name for name, _ in deeds]
    weights = [weight for _, weight in deeds]
    for deed in chance.choices(names, weights, k=steps):
        act(world, deed, chance)
        world.check()
    world.settle_down()
    return world


def act(world: World, deed: str, chance: Random) -> None:
    """Do one thing, to a worker that chance picks if it takes one."""
    if deed == "notice_loss" or deed.startswith(("commit_", "engine_", "reading_")):
        getattr(world, deed)()
    elif deed == "pass_time":
        world.pass_time(chance.choice((0.5, 5.0, 30.0)))
    elif deed in ("replay", "drop"):
        letters = world.letters[-10:]
        getattr(world, deed)(chance.sample(letters, chance.randint(0, len(letters))))
    elif deed == "remove_type":
        world.remove_type(chance.choice(TYPES))
    elif deed == "join":
        if len(world.nodes) < WORKERS:
            world.join(chance.sample(TYPES, chance.randint(0, 3)))
    elif world.nodes:
        act_on(world, chance.choice(world.nodes), deed, chance)


def act_on(world: World, node: Node, deed: str, chance: Random) -> None:
    """Do one thing to a worker, often in a turn that it runs."""
    turns = node.worker.turns
    turn = chance.choice(turns) if turns and chance.random() < 0.7 else None
    match deed:
        case "register":
            world.register(node, chance.sample(TYPES, chance.randint(1, 3)))
        case "publish":
            topic, key = chance.choice(TOPICS), chance.choice(KEYS)
            for _ in range(chance.randint(1, 6)):
                world.publish(node, topic, key, turn)
        case "call":
            world.call(node, (chance.choice((*TYPES, "nobody")), chance.choice(KEYS)), turn)
        case "cancel" | "begin":
            getattr(world, deed)(node, chance.choice)
        case "end":
            if turn is not None:
                error = CallFailure(Code.UNKNOWN, "no") if chance.random() < 0.3 else None
                world.end(node, turn, outcome_of(chance.randrange(5)), error)
        case "fail":
            if turn is not None:
                world.fail(node, turn, chance.choice((0.0, 0.5, 5.0)))
        case _:
            getattr(world, deed)(node)
