"""How gRPC runs in every process that gets it by way of Callboard."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from callboard.wire import WITHOUT_EVENT_ENGINE

NAME = "GRPC_EXPERIMENTS"

WATCH = """if True:
    import importlib, os, sys

    class Watch:
        def find_spec(self, name, *_):
            if name == "grpc":
                print(os.environ.get("GRPC_EXPERIMENTS"))

    sys.meta_path.insert(0, Watch())
"""
"""Prints what gRPC is told when it is imported, which is when it asks."""

COMMAND = """if True:
    from callboard.cli import main

    main.app = lambda **_: importlib.import_module("callboard.cli.operators") and 0
    main.main()
"""


def run(program: str, **variables: str) -> tuple[str, str]:
    """What a process says, and complains of, in which nothing is set but ``variables``."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**{name: value for name, value in os.environ.items() if name != NAME}, **variables},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    "first",
    ["callboard.worker", "callboard.host", "callboard.wire.status", "callboard.bench.__main__"],
)
def test_grpc_is_told_to_run_without_its_event_engine(first: str) -> None:
    """Whichever part of Callboard a program imports first, it is said before gRPC is imported."""
    assert run(f"{WATCH}\nimport {first}") == (WITHOUT_EVENT_ENGINE, "")


def test_the_commands_run_grpc_without_its_event_engine() -> None:
    """Also those that need nothing of a host or a worker."""
    assert run(WATCH + COMMAND) == (WITHOUT_EVENT_ENGINE, "")


@pytest.mark.parametrize("value", ["event_engine_client", ""])
def test_grpc_is_told_what_the_variable_says_where_it_is_set(value: str) -> None:
    """Who sets it has the last word; empty, it is gRPC's own choice."""
    assert run(f"{WATCH}\nimport callboard.worker", **{NAME: value}) == (value, "")


def test_a_program_that_has_grpc_already_keeps_its_environment() -> None:
    """It would change nothing here, but children would have it."""
    program = f"import grpc, os, callboard.worker; print(os.environ.get({NAME!r}))"

    assert run(program) == ("None", "")


def test_this_version_of_grpc_knows_what_it_is_told() -> None:
    """One that has dropped a name would complain wherever a channel is opened."""
    program = """if True:
        import asyncio
        import callboard.worker, grpc.aio

        async def main():
            async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
                channel.get_state(try_to_connect=True)

        asyncio.run(main())
    """

    assert "Unknown experiment" not in run(program)[1]


def test_who_imports_the_package_alone_gets_neither_grpc_nor_the_setting() -> None:
    """Agents that are only defined need neither."""
    program = f"import callboard, os, sys; print('grpc' in sys.modules, {NAME!r} in os.environ)"

    assert run(program) == ("False False", "")
