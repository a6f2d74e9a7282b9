"""When traces are exported, and what is said when they cannot be."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from callboard.core.errors import Unsupported
from callboard.telemetry import export
from callboard.telemetry.export import MisconfiguredTraces, Seldom, exporting
from cli.command import run
from telemetry.conftest import Exported

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PATIENCE_S = 10.0
SOMEWHERE = {ENDPOINT: "http://127.0.0.1:1"}


class Setting:
    """The environment, and the provider that was set in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.provider: TracerProvider | None = None
        for name in ("TRACES_EXPORTER", "SDK_DISABLED", "SERVICE_NAME", "RESOURCE_ATTRIBUTES"):
            monkeypatch.delenv(f"OTEL_{name}", raising=False)
        monkeypatch.setattr(trace, "set_tracer_provider", self._set)

    def _set(self, provider: TracerProvider) -> None:
        self.provider = provider

    def holds(self, **variables: str) -> None:
        """Set variables."""
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    """Nothing is set; loggers are as they were afterwards."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("opentelemetry")]
    filters = {name: list(logging.getLogger(name).filters) for name in names}
    yield Setting(monkeypatch)
    for name in names:
        logging.getLogger(name).filters[:] = filters[name]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {ENDPOINT: ""},
        {**SOMEWHERE, "OTEL_TRACES_EXPORTER": "none"},
        {**SOMEWHERE, "OTEL_SDK_DISABLED": "True"},
        {"OTEL_SERVICE_NAME": "shop"},
    ],
)
async def test_traces_are_exported_only_when_asked_for(
    setting: Setting, variables: dict[str, str]
) -> None:
    """A name alone asks for nothing, and what forbids wins."""
    setting.holds(**variables)

    async with exporting("callboard-host"):
        assert setting.provider is None


@pytest.mark.parametrize(
    "variables",
    [
        SOMEWHERE,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_TRACES_EXPORTER": "console"},
        {**SOMEWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
async def test_each_of_some_variables_asks_for_traces(
    setting: Setting, variables: dict[str, str]
) -> None:
    """The SDK reads the rest."""
    setting.holds(**variables, OTEL_RESOURCE_ATTRIBUTES="service.version=7,team=sales")

    async with exporting("callboard-host"):
        assert setting.provider is not None
        attributes = setting.provider.resource.attributes
        assert attributes["service.name"] == "callboard-host"
        assert (attributes["service.version"], attributes["team"]) == ("7", "sales")
        assert len(str(attributes["service.instance.id"])) == 36


async def test_the_sampler_is_the_environment_s(setting: Setting) -> None:
    """As all that the SDK reads by itself."""
    setting.holds(**SOMEWHERE, OTEL_TRACES_SAMPLER="parentbased_always_off")

    async with exporting("callboard-host"):
        assert setting.provider is not None
        with setting.provider.get_tracer("x").start_as_current_span("x") as span:
            assert not span.is_recording()


async def test_a_provider_that_the_program_has_set_stays(
    setting: Setting, exported: Exported
) -> None:
    """For example that of ``opentelemetry-instrument``."""
    setting.holds(**SOMEWHERE)

    async with exporting("callboard-host"):
        assert setting.provider is None


class Stuck(SpanProcessor):
    """Does not end before it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def shutdown(self) -> None:
        self.may_end.wait()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.may_end.wait()


async def test_no_exporter_keeps_a_process_from_its_end(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last spans have a time to leave."""
    monkeypatch.setattr(export, "FLUSH_TIMEOUT_S", 0.05)
    setting.holds(**SOMEWHERE)
    stuck = Stuck()

    try:
        async with asyncio.timeout(PATIENCE_S), exporting("callboard-host"):
            assert setting.provider is not None
            setting.provider.add_span_processor(stuck)
    finally:
        stuck.may_end.set()


async def test_handlers_that_hold_all_threads_do_not_keep_the_last_spans(setting: Setting) -> None:
    """Not even one thread of the loop's executor is needed for them to leave."""
    setting.holds(**SOMEWHERE)
    may_end, shut_down = threading.Event(), threading.Event()

    class Noting(SpanProcessor):
        def shutdown(self) -> None:
            shut_down.set()

    executor = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(executor)
    held = asyncio.create_task(asyncio.to_thread(may_end.wait))
    try:
        async with asyncio.timeout(PATIENCE_S), exporting("callboard-host"):
            assert setting.provider is not None
            setting.provider.add_span_processor(Noting())
            await asyncio.sleep(0)
        assert shut_down.wait(PATIENCE_S)
    finally:
        may_end.set()
        await held


@pytest.mark.parametrize(
    ("variables", "error", "text"),
    [
        (
            {**SOMEWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            MisconfiguredTraces,
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json': it is one of grpc, http/protobuf",
        ),
        (
            {**SOMEWHERE, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            Unsupported,
            "opentelemetry-exporter-otlp-proto-http",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            MisconfiguredTraces,
            "'zipkin', which is not installed: there are console, none, otlp",
        ),
    ],
)
async def test_what_cannot_be_exported_to_is_said(
    setting: Setting, variables: dict[str, str], error: type[Exception], text: str
) -> None:
    """With what there is instead."""
    setting.holds(**variables)

    with pytest.raises(error, match=text):
        async with exporting("callboard-host"):
            raise AssertionError


async def test_a_missing_extra_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable that makes it needed."""
    setting.holds(**SOMEWHERE)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(Unsupported, match=rf"{ENDPOINT} asks .* 'callboard\[otel\]'"):
        async with exporting("callboard-host"):
            raise AssertionError


def test_a_command_says_it_in_one_line() -> None:
    """And does nothing else."""
    result = run("host", env={**SOMEWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier pigeon"})

    assert result.code == 1
    assert result.complaint.startswith("INVALID_ARGUMENT: OTEL_EXPORTER_OTLP_PROTOCOL is")


def test_one_complaint_passes_in_a_while() -> None:
    """Of a collector that is not there."""
    record = logging.makeLogRecord({"msg": "no collector"})
    seldom, always = Seldom(3600), Seldom(0)

    assert [seldom.filter(record) for _ in range(3)] == [True, False, False]
    assert all(always.filter(record) for _ in range(3))
