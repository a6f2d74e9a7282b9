"""Traces as a collector gets them: a host, two workers and a publisher, each a process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import pytest

from cli.command import Commands, Running, run
from telemetry.agents import ORDER_TREE
from telemetry.seen import Seen, Trace
from telemetry.sink import Sink, sink

TESTS = Path(__file__).parent.parent


class Company:
    """A host and two workers that export to a sink."""

    def __init__(self, to: Sink) -> None:
        self.sink = to
        self.commands = Commands()
        self.host, self.address = self.commands.host(env=to.environment)
        self.workers = [self._worker(setup) for setup in ("pricing", "audit")]

    def _worker(self, setup: str) -> Running:
        worker = self.commands.start(
            *("worker", "--host", self.address, "--client-id", f"worker-{setup}"),
            f"telemetry.agents:{setup}",
            cwd=TESTS,
            env=self.sink.environment,
        )
        worker.line("ready")
        return worker

    def run(self, *arguments: str) -> int:
        """Run a command to its end; the exit code."""
        to_host = (*arguments, "--host", self.address)
        return run(*to_host, cwd=TESTS, env=self.sink.environment).code


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    """All processes, for all tests here: each makes traces of its own."""
    with sink() as made:
        company = Company(made)
        yield company
        company.commands.kill()


def publish(company: Company, what: str) -> int:
    """Publish an order from one more process."""
    order = ("--type-name", "Order", "--data", f'{{"what": "{what}"}}')
    return company.run("publish", "orders", "--source", f"key-{what}", *order)


def has(name: str, *, key: str, spans: Sequence[Seen]) -> bool:
    """Whether a span of that name and agent is among these."""
    return any(s.name == name and s.attributes.get("gen_ai.agent.id", key) == key for s in spans)


def test_an_event_is_one_trace_over_four_processes(company: Company) -> None:
    """Fan-out to two workers, a publish in a turn, an author's span, and a call in it."""
    assert publish(company, "good") == 0

    found = Trace(
        company.sink.trace_with(
            lambda spans: (
                len(spans) == len(ORDER_TREE)
                and has("process audit", key="audit/key-good", spans=spans)
            )
        )
    )

    assert found.tree() == sorted(ORDER_TREE)
    assert Counter(span.service for span in found.spans) == {
        "callboard-cli": 1,
        "callboard-host": 3,
        "callboard-worker": 7,
    }
    assert found.linked(found.one("process audit")) == ["publish orders"]
    assert found.linked(found.one("process archive")) == ["publish quotes"]
    assert found.one("route orders").attributes["callboard.route.fan_out"] == 2
    assert found.one("process audit").attributes["messaging.client.id"] == "worker-audit"
    assert found.one("process pricing").attributes["messaging.client.id"] == "worker-pricing"
    assert not [span.name for span in found.spans if "key-" in span.name]
    assert not [span.name for span in found.spans if span.error is not None]


def test_a_handler_that_raises_is_seen_in_the_trace(company: Company) -> None:
    """Its span has failed, with the exception; the others have not."""
    assert publish(company, "fail") == 0

    found = Trace(
        company.sink.trace_with(
            lambda spans: (
                len(spans) == len(ORDER_TREE)
                and has("process audit", key="audit/key-fail", spans=spans)
            )
        )
    )

    failed = found.one("process audit")
    assert (failed.error, failed.exceptions) == ("ValueError: out of paper", ("ValueError",))
    assert failed.attributes["error.type"] == "ValueError"
    assert [span.name for span in found.spans if span.error is not None] == ["process audit"]


@pytest.mark.parametrize(("what", "code", "error"), [("hello", 0, None), ("refuse", 1, "KeyError")])
def test_a_call_is_one_trace_over_three_processes(
    company: Company, what: str, code: int, error: str | None
) -> None:
    """Its end is the same everywhere."""
    order = ("--type-name", "Order", "--data", f'{{"what": "{what}"}}')

    assert company.run("call", f"desk/{what}", *order) == code

    found = Trace(
        company.sink.trace_with(
            lambda spans: (
                len(spans) == 3
                and has("call desk", key="", spans=spans)
                and any(s.attributes.get("gen_ai.agent.id") == f"desk/{what}" for s in spans)
            )
        )
    )
    assert found.tree() == [
        "call desk CLIENT",
        "call desk CLIENT > route desk INTERNAL",
        "call desk CLIENT > route desk INTERNAL > process desk SERVER",
    ]
    assert {span.attributes.get("error.type") for span in found.spans} == {error}


def test_a_process_says_what_it_is(company: Company) -> None:
    """Name, version, and an id of its own."""
    assert publish(company, "named") == 0
    company.sink.trace_with(
        lambda spans: (
            has("process audit", key="audit/key-named", spans=spans)
            and has("publish orders", key="", spans=spans)
            and has("route orders", key="", spans=spans)
        )
    )

    ids = {
        (each["service.name"], each["service.version"], each["service.instance.id"])
        for each in company.sink.resources
    }
    services = Counter(name for name, _, _ in ids)
    assert (services["callboard-host"], services["callboard-worker"]) == (1, 2)
    assert services["callboard-cli"] >= 1


def test_a_tool_s_call_is_a_span_and_no_stream_is(company: Company) -> None:
    """What operators ask is unary. A stream's span would end long after what hangs below it."""
    assert company.run("status") == 0

    (span,) = company.sink.trace_with(lambda spans: spans[0].name.endswith("/Describe"))
    assert (span.kind, span.service) == ("SERVER", "callboard-host")
    assert not [name for name in company.sink.names if "Connect" in name]


def test_spans_of_the_last_moment_leave_with_their_process() -> None:
    """However rarely batches are sent, at the end all are."""
    commands = Commands()
    with sink() as to:
        env = {**to.environment, "OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_SERVICE_NAME": "mine"}
        host, address = commands.host(env=env)
        order = ("--source", "x", "--type-name", "Order", "--data", "{}", "--host", address)
        try:
            assert run("publish", "orders", *order, env=env).code == 0
            host.terminate()
            assert host.wait() == 0
        finally:
            commands.kill()
        found = Trace(to.trace_with(lambda spans: len(spans) == 2))

    assert found.tree() == [
        "publish orders PRODUCER",
        "publish orders PRODUCER > route orders INTERNAL",
    ]
    assert {span.service for span in found.spans} == {"mine"}


def test_without_a_collector_a_process_ends_in_time_and_says_little() -> None:
    """The exporter alone would take 5.6 s and complain at every attempt."""
    commands = Commands()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    host, address = commands.host(env=env)
    order = ("--source", "x", "--type-name", "Order", "--data", "{}", "--host", address)
    try:
        done = run("publish", "orders", *order, env=env)
        host.terminate()
        began = monotonic()
        assert host.wait() == 0
        took_s = monotonic() - began
    finally:
        commands.kill()

    assert (done.code, done.stdout) == (0, "published 1 event to orders/x\n")
    complaints = [line for line in done.stderr.splitlines() if "127.0.0.1:1" in line]
    assert len(complaints) <= 2, done.stderr
    assert "the last traces were not exported in time" in done.stderr
    assert took_s < 5
