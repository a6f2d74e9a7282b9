"""Plays stories, and cuts down those that fail."""

from __future__ import annotations

import logging
from collections import Counter

from callboard.core.errors import cause_of
from simulator.ledger import Broken, Ledger
from simulator.story import Story, story_of
from simulator.system import System
from simulator.virtual_time import Stuck, run

LOGGERS = ("asyncio", "callboard")


def play(story: Story) -> Ledger:
    """Play a story. Raises `Broken` when a promise was not kept."""
    system = System(story)
    try:
        run(system.run())
    except Stuck:
        msg = "nothing is left to happen, and the run has not ended"
        raise Broken(msg) from None
    except ExceptionGroup as group:
        cause = cause_of(group)
        if isinstance(cause, Broken):
            raise cause from None
        msg = f"a fault of its own: {cause!r}"
        raise Broken(msg) from cause
    return system.ledger


def play_seed(seed: int) -> Ledger:
    """Play the story of a seed; one that fails is told cut down."""
    story = story_of(seed)
    try:
        return play(story)
    except Broken as broken:
        shortest, reason = shrink(story, broken)
        msg = f"{reason}\n{shortest}"
        raise Broken(msg) from broken


def be_quiet() -> None:
    """Log nothing, and render no line that would be thrown away: that is a tenth of a run."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def play_seeds(seeds: range) -> tuple[Counter[str], str]:
    """What happened in the stories of some seeds, and what the first that failed says, if any."""
    be_quiet()
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            counts += play_seed(seed).counts
        except Broken as broken:
            return counts, str(broken)
        counts["seeds"] += 1
    return counts, ""


def shrink(story: Story, broken: Broken) -> tuple[Story, Broken]:
    """The shortest part of a story that fails too, and why, by leaving out ever fewer steps."""
    size = max(1, len(story.steps) // 2)
    while size:
        at = 0
        while at < len(story.steps):
            shorter = story.without(story.steps[at : at + size])
            try:
                play(shorter)
            except Broken as error:
                story, broken = shorter, error
            else:
                at += size
        size //= 2
    return story, broken
