"""The whole system under stories of trouble: it keeps its promises, and the simulator notices.

``make simulate SEEDS=1000000`` plays more of them.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callboard.agent.turn_runner import TurnRunner
from callboard.core.broker import Broker
from simulator.faults import (
    FAULTS,
    Fault,
    an_agent_gets_its_own_events,
    another_host_finds_no_fence,
    what_has_begun_once_has_begun_for_ever,
    what_never_began_counts_as_lost,
)
from simulator.ledger import Broken
from simulator.play import LOGGERS, be_quiet, play, shrink
from simulator.story import TYPES, Step, Story, story_of

SEEDS = int(os.environ.get("CALLBOARD_TEST_SEEDS", "100"))
AT_MOST = 1000
"""Seeds that a fault may take to be noticed."""

NOTICED_BY = {
    another_host_finds_no_fence: 3_150,
    what_never_began_counts_as_lost: 390,
    what_has_begun_once_has_begun_for_ever: 410,
}
"""From which seed on faults are played that hundreds of stories do not notice."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    be_quiet()
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.timeout(60 + SEEDS)
def test_promises_are_kept() -> None:
    """In every story; see the ledger for what is promised."""
    for seed in range(SEEDS):
        play(story_of(seed))


def play_until_broken(first: int) -> None:
    for seed in range(first, first + AT_MOST):
        play(story_of(seed))


@pytest.mark.parametrize("seed", [84, 890, 3771, 9555, 102_743])
def test_promises_are_kept_where_they_were_broken_once(seed: int) -> None:
    """What is behind waited for room kept for nobody, came after what was full and lost, or brought
    along what was full."""
    play(story_of(seed))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_noticed(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a thousand stories; most within a few."""
    fault(monkeypatch)
    with pytest.raises(Broken):
        play_until_broken(NOTICED_BY.get(fault, 0))


STORIES_THAT_FAILED = [
    # A runtime that was cancelled told of a call's turn that had not ended, and then told nobody
    # who waited for the host that it was lost.
    Story(
        seed=345,
        latency_s=0.5,
        commit_s=0.2,
        window=16,
        room=1_000_000,
        steps=(
            Step(
                10.944,
                "publish",
                (
                    "client1",
                    "news",
                    "y",
                    (
                        "[]",
                        '[["sleep",0.004],["sleep",1.431]]',
                        '[["sleep",0.02],["call","b","x",[["publish","orders","x",[]],["sleep",0.5]]]]',
                    ),
                ),
            ),
            Step(13.76, "kill", ("w0",)),
        ),
    ),
]


@pytest.mark.parametrize("story", STORIES_THAT_FAILED, ids=str)
def test_a_story_that_failed_once_does_not_again(story: Story) -> None:
    """Kept as they were cut down: seeds tell other stories when their making changes."""
    play(story)


HOST_LOST_WHILE_A_TURN_WAITS = Story(
    seed=0,
    latency_s=0.5,
    commit_s=0.01,
    window=4,
    room=1_000_000,
    steps=(
        Step(0.0, "join", ("w0", ("a",))),
        Step(0.0, "join", ("bystander", ("b", "d"))),
        Step(2.0, "publish", ("client0", "orders", "x", ('[["sleep",3.0]]',))),
        Step(4.0, "kill", ("w0",)),
        Step(6.2, "crash", (0.1,)),
    ),
)
"""Seeds seldom tell of that: a host is lost in the moment in which it is asked."""


def test_a_turn_that_waits_for_a_lost_host_to_know_begins_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is told of it anew; otherwise it would wait for ever."""
    ledger = play(HOST_LOST_WHILE_A_TURN_WAITS)
    assert ledger.counts["turns that wait for the host to know"] == 1
    monkeypatch.setattr(TurnRunner, "begun", lambda _: [])
    with pytest.raises(Broken, match=r"no rest: .*w0 is busy"):
        play(HOST_LOST_WHILE_A_TURN_WAITS)


HOST_LOST_WHEN_A_WORKER_HAS_REGISTERED = Story(
    seed=6,
    latency_s=0.5,
    commit_s=0.2,
    window=16,
    room=1_000_000,
    steps=(
        Step(0.0, "join", ("w0", TYPES)),
        Step(0.5, "crash", (12.0,)),
        Step(1.5, "publish", ("client0", "orders", "x", ("[]",))),
    ),
)
"""What is published comes to the next host before the worker does."""


def test_what_a_worker_was_told_that_it_is_subscribed_to_outlives_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine knows of it by then; were it answered before, the event would be for nobody."""
    play(HOST_LOST_WHEN_A_WORKER_HAS_REGISTERED)
    original = Broker.register

    def register(self: Any, session: Any, registration: Any, now: float) -> Any:
        errors = original(self, session, registration, now)
        declared = self._agenda.commit.declared.pop(session, None)
        if declared is not None:
            self._open_lanes(session, declared, now)
        return errors

    monkeypatch.setattr(Broker, "register", register)
    with pytest.raises(Broken, match="was acknowledged and is lost"):
        play(HOST_LOST_WHEN_A_WORKER_HAS_REGISTERED)


def test_a_story_that_fails_is_cut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the steps without which it does not."""
    an_agent_gets_its_own_events(monkeypatch)
    story = story_of(0)
    with pytest.raises(Broken, match="which is not for it") as caught:
        play(story)
    shortest, reason = shrink(story, caught.value)
    assert len(shortest.steps) == 1 < len(story.steps)
    assert "which is not for it" in str(reason)
    with pytest.raises(Broken, match="which is not for it"):
        play(shortest)


def test_a_seed_is_played_the_same_in_every_process() -> None:
    """Whatever addresses and hashes are there."""
    command = [sys.executable, "-m", "simulator", "--first", "3", "--seeds", "5", "--notes"]
    notes = [
        subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert notes[0].count("\n") > 200
    assert notes[0] == notes[1]
