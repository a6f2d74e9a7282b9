"""Install it, send it events, scale it, follow an event, remove it. The tests run in this order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e.load import answered, finish_load, start_load, wait_for_answers
from e2e.release import CHART, NAME, WORKERS, Release, wait_until

pytestmark = pytest.mark.timeout(300)

EVENTS = 5_000
RATE = 150


def test_helm_test_sends_an_event_and_gets_the_answer(release: Release) -> None:
    """Both pods of `helm test` succeed, and say what came back."""
    said = release.helm("test", NAME, "--logs")
    assert "an event there and back in" in said
    assert "pong: hello 5 of 5" in said


def test_the_host_tells_what_it_holds(release: Release) -> None:
    """`callboard status` in the host's pod, as the chart's notes have it."""
    said = release.kubectl("exec", f"{NAME}-host-0", "--", "callboard", "status")
    assert "tally-counter" in said
    assert release.workers()[0] in said


def test_nothing_is_lost_while_workers_are_scaled(release: Release) -> None:
    """5,000 events at a steady rate, while `kubectl scale` goes from 1 to 3 to 2."""
    assert len(release.workers()) == 1
    before = release.now()
    start_load(release, "load-scale", events=EVENTS, rate=RATE)
    wait_for_answers(release, "load-scale", EVENTS // 5)
    release.scale(3)
    three = release.workers()
    wait_for_answers(release, "load-scale", EVENTS // 2)
    release.scale(2)
    assert answered(release, "load-scale") < EVENTS, "the load ended before the last scaling"
    report = finish_load(release, "load-scale")
    assert report["published"] == report["answered"] == EVENTS
    assert report["missing"] == 0
    assert set(report["by_worker"]) == set(three), "each of the three had its share"
    assert list(release.endings(before).values()) == [0], "the one that left was drained"


def test_events_wait_while_there_is_no_worker(release: Release) -> None:
    """Scaled to none, the host keeps what is published; the next worker gets it."""
    release.scale(0)
    start_load(release, "load-none", events=300, rate=150)
    wait_until(lambda: "300 of 300 published" in release.log("load-none"), "300 events")
    assert answered(release, "load-none") == 0
    release.scale(2)
    assert finish_load(release, "load-none")["answered"] == 300


def test_nothing_is_lost_when_workers_are_killed(release: Release) -> None:
    """Both of them, one after the other, by SIGKILL while events flow: exit code 137, no drain."""
    start_load(release, "load-kill", events=2_000, rate=RATE)
    for number, worker in enumerate(release.ready_workers(), start=1):
        wait_for_answers(release, "load-kill", number * 400)
        release.kill(worker)
    assert number == 2
    assert answered(release, "load-kill") < 2_000, "the load ended before the last kill"
    report = finish_load(release, "load-kill")
    assert report["published"] == report["answered"] == 2_000
    assert report["missing"] == 0


def test_an_upgrade_keeps_the_scale_and_loses_nothing(release: Release) -> None:
    """Every worker's pod is replaced while events flow, and none added; the host's stays."""
    before, replaced, host = release.now(), release.workers(), release.host()
    assert release.updated_hosts() == 1
    start_load(release, "load-upgrade", events=2_000, rate=RATE)
    wait_for_answers(release, "load-upgrade", 200)
    change = "--set=log.level=debug"  # of each pod
    release.helm("upgrade", NAME, str(CHART), "--reuse-values", change, "--wait", "--timeout=2m")
    release.kubectl("rollout", "status", f"deployment/{WORKERS}", "--timeout=60s")
    wait_until(lambda: not set(release.workers()) & set(replaced), "the old pods' end")
    assert len(release.workers()) == len(replaced) == 2
    assert answered(release, "load-upgrade") < 2_000, "the load ended before the upgrade"
    report = finish_load(release, "load-upgrade")
    assert report["answered"] == 2_000
    assert release.endings(before) == dict.fromkeys(replaced, 0)
    assert release.host() == host, "its events would be gone"
    assert release.updated_hosts() == 0


def test_jaeger_shows_the_way_of_one_event(release: Release) -> None:
    """Published by one pod, routed by another, handled by a third: one trace."""
    query = {"service": "load-scale", "operation": "publish tally.item", "limit": "1"}
    wait_until(lambda: bool(release.traces(**query)), "a trace in Jaeger")
    event = next(
        tags(span)["cloudevents.event_id"]
        for span in release.traces(**query)[0]["spans"]
        if span["operationName"] == "publish tally.item"
    )
    by_id = {"service": "load-scale", "tags": json.dumps({"cloudevents.event_id": event})}
    (trace,) = release.traces(**by_id)

    pods = {name: tags(process).get("k8s.pod.name") for name, process in trace["processes"].items()}
    spans = {span["operationName"]: span for span in trace["spans"]}
    publish = spans["publish tally.item"]
    route = spans["route tally.item"]
    process = spans["process tally-counter"]
    assert pods[publish["processID"]] == "load-scale"
    assert pods[route["processID"]] == f"{NAME}-host-0"
    assert str(pods[process["processID"]]).startswith(WORKERS)
    assert parent(publish) is None
    assert parent(route) == publish["spanID"]
    assert parent(process) == route["spanID"]
    assert tags(publish)["span.kind"] == "producer"
    assert tags(process)["span.kind"] == "consumer"
    below = [span["operationName"] for span in trace["spans"] if parent(span) == process["spanID"]]
    assert [name.split()[0] for name in below] == ["publish"], "the agent's answer"


def test_workers_come_back_after_the_host_was_lost(release: Release) -> None:
    """They end, Kubernetes starts them again, and they find the new host; nobody has to help.

    The new host is what the last upgrade said.
    """
    release.replace_host()
    assert release.updated_hosts() == 1
    workers = release.workers()

    def are_back() -> bool:
        said = release.kubectl("exec", f"{NAME}-host-0", "--", "callboard", "status")
        return all(worker in said for worker in workers)

    wait_until(are_back, "the workers' sessions")
    assert "pong: hello 5 of 5" in release.helm("test", NAME, "--logs")


def test_uninstall_leaves_nothing(release: Release) -> None:
    """No object of the release is left but the pods of `helm test`, which helm keeps."""
    release.helm("uninstall", NAME, "--wait", "--timeout=2m")
    kinds = "all,configmaps,secrets,serviceaccounts,persistentvolumeclaims"
    selector = f"--selector=app.kubernetes.io/instance={NAME}"
    kept = [f"pod/{NAME}-test-hello", f"pod/{NAME}-test-roundtrip"]

    def left() -> list[str]:
        return release.kubectl("get", kinds, selector, "--output=name").split()

    wait_until(lambda: sorted(left()) == kept, "the end of all objects")
    release.kubectl("delete", "pods", f"{selector},app.kubernetes.io/component=test")
    assert not left()


def tags(part: Any) -> dict[str, Any]:
    """The attributes of a span or of the process that made it."""
    return {tag["key"]: tag["value"] for tag in part["tags"]}


def parent(span: Any) -> str | None:
    """The span's parent."""
    parents = [r["spanID"] for r in span["references"] if r["refType"] == "CHILD_OF"]
    return parents[0] if parents else None
