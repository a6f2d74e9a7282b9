"""The long form of the test that nothing is lost: ``make soak SEED=7 MINUTES=10``."""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest

from e2e.load import answered, finish_load, start_load, wait_for_answers
from e2e.release import WORKERS, Release, wait_until

RATE = 100
MINUTES = float(os.environ.get("MINUTES", "5"))
SEED = int(os.environ.get("SEED", "1"))
MOST_WORKERS = 5


@pytest.mark.timeout(MINUTES * 60 + 300)
def test_nothing_is_lost_whatever_happens_to_workers(release: Release) -> None:
    """Under a steady load workers are scaled, none included, replaced, deleted and killed."""
    events = int(MINUTES * 60 * RATE)
    start_load(release, "load-soak", events=events, rate=RATE)
    wait_for_answers(release, "load-soak", RATE)
    random = Random(SEED)
    # The last tenth is left alone, so that what waits can be handled before the deadline.
    counts: Counter[str] = Counter()
    while (done := answered(release, "load-soak")) < events * 0.9:
        action = random.choice([scale, delete, kill, replace])
        counts[action.__name__] += 1
        print(f"{done} of {events} answered: {action.__name__} {action(release, random)}")
    release.scale(2)
    report = finish_load(release, "load-soak")
    print(dict(counts), report)
    assert report["answered"] == report["published"] == events


def scale(release: Release, random: Random) -> str:
    """To any number, none included."""
    replicas = random.randint(0, MOST_WORKERS)
    release.scale(replicas)
    if replicas == 0:
        release.scale(1)
    return f"to {replicas}"


def delete(release: Release, random: Random) -> str:
    """One of the workers: it drains, another is started."""
    pod = random.choice(release.workers())
    release.kubectl("delete", "pod", pod)
    return pod


def kill(release: Release, random: Random) -> str:
    """One of the workers, by SIGKILL; Kubernetes starts it again in its pod, later each time."""
    wait_until(lambda: bool(release.ready_workers()), "a worker to kill")
    pod = random.choice(release.ready_workers())
    release.kill(pod)
    return pod


def replace(release: Release, _random: Random) -> str:
    """All of them, one after the other."""
    release.kubectl("rollout", "restart", f"deployment/{WORKERS}")
    release.kubectl("rollout", "status", f"deployment/{WORKERS}", "--timeout=120s")
    return "all"
