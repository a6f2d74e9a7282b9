"""The tally sample, in one process and over real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from callboard import AgentId
from callboard.local import LocalRuntime
from callboard_samples.command import SampleFailed
from callboard_samples.tally import agents, setup
from callboard_samples.tally.driver import Load, Run
from cli.command import Commands, environment

QUICK = Load(events=40, rate=4000, keys=4, work_s=0)
TIMEOUT_S = 40


@pytest.fixture
def commands() -> Iterator[Commands]:
    """Starts commands that end with the test."""
    commands = Commands()
    yield commands
    commands.kill()


def start_tally(*arguments: str) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen(
        [sys.executable, "-m", "callboard_samples.tally", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )


def run_tally(*arguments: str) -> tuple[int, str, str]:
    """Run the program; its exit code, output and errors."""
    with start_tally(*arguments) as program:
        out, err = program.communicate(timeout=TIMEOUT_S)
        return program.returncode, out, err


async def test_every_event_is_answered_by_the_agent_of_its_key() -> None:
    """Spread over as many agents as there are keys, and each of them in order."""
    async with LocalRuntime() as runtime:
        await setup(runtime)
        report = await Run(runtime, QUICK).count()
        for key in range(4):
            agent = AgentId(agents.COUNTER, str(key))
            await runtime.try_get_underlying_agent_instance(agent, agents.Counter)
        dead_letters = await runtime.dead_letters()

    assert report.is_complete
    assert (report.published, report.answered, report.duplicates, report.out_of_order) == (
        *(40, 40),
        *(0, 0),
    )
    assert report.by_worker == {"this process": 40}
    assert not dead_letters


async def test_what_is_not_answered_by_the_deadline_is_missing() -> None:
    """The run ends with a report and not with an error."""
    async with LocalRuntime() as runtime:
        await setup(runtime)
        load = Load(events=5, rate=1000, keys=1, work_s=1)
        report = await Run(runtime, load, deadline_s=0).count()

    assert (report.published, report.answered, report.missing) == (5, 0, 5)
    assert report.missing_numbers == [0, 1, 2, 3, 4]


async def test_without_an_agent_to_answer_it_does_not_begin() -> None:
    """An event that matches nobody is not lost: the error says what to start."""
    async with LocalRuntime() as runtime:
        with pytest.raises(SampleFailed, match="no worker has registered tally-counter yet: start"):
            await Run(runtime, QUICK).count()


@pytest.mark.parametrize(
    "wrong", [{"events": 0}, {"rate": -1}, {"rate": float("nan")}, {"keys": 0}, {"work_s": -1}]
)
def test_a_load_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """The text names the option."""
    with pytest.raises(SampleFailed, match=f"--{next(iter(wrong)).removesuffix('_s')} is "):
        Load(**wrong)


def test_it_runs_as_a_program_without_a_host() -> None:
    """It prints what it counted, and how far it is each second to the standard error."""
    code, out, err = run_tally("--events", "55", "--rate", "50", "--keys", "3", "--work", "0")

    assert code == 0, err
    assert out.startswith("published        55 of 55, ")
    assert "\nmissing          0\n" in out
    assert err.startswith("tally ")
    assert " of 55 published, " in err


def test_events_that_are_missing_are_told_and_exit_code_1() -> None:
    """The object on the last line of the standard output says the same as the error."""
    code, out, err = run_tally(
        *("--events", "3", "--rate", "1000", "--keys", "1", "--work", "1"),
        *("--deadline", "0", "--json"),
    )

    assert code == 1
    assert json.loads(out.splitlines()[-1])["missing_numbers"] == [0, 1, 2]
    assert err == "error: 3 of 3 events were not answered (0, 1, 2)\n"


def test_nothing_is_lost_while_workers_are_killed_and_leave(commands: Commands) -> None:
    """One is killed, one is asked to leave, one joins: every event is answered, in order."""
    _, address = commands.host()
    setup = "callboard_samples.tally:setup"
    killed, leaving, _ = [
        commands.start("worker", "--host", address, "--client-id", name, setup)
        for name in ("killed", "leaving", "staying")
    ]
    for worker in (killed, leaving):
        worker.line("ready")
    options = ("--events", "900", "--rate", "300", "--keys", "40", "--deadline", "20", "--json")
    with start_tally("--host", address, *options) as tally:
        assert tally.stderr is not None
        assert "tally" in tally.stderr.readline()
        killed.process.kill()
        leaving.terminate()
        commands.start("worker", "--host", address, "--client-id", "joining", setup)
        out, err = tally.communicate(timeout=TIMEOUT_S)

    report = json.loads(out.splitlines()[-1])
    assert (tally.returncode, report["missing"]) == (0, 0), err
    assert report["published"] == report["answered"] == 900
    assert report["out_of_order"] == 0
    assert {"killed", "leaving", "staying"} <= set(report["by_worker"])
    assert leaving.wait() == 0


def test_a_lost_host_ends_it_with_what_is_known(commands: Commands) -> None:
    """It does not wait for answers that cannot come."""
    host, address = commands.host()
    commands.worker(address, "callboard_samples.tally:setup")
    options = ("--events", "900", "--rate", "100", "--deadline", "60", "--json")
    with start_tally("--host", address, *options) as tally:
        assert tally.stderr is not None
        tally.stderr.readline()
        host.process.kill()
        out, err = tally.communicate(timeout=TIMEOUT_S)

    report = json.loads(out.splitlines()[-1])
    assert tally.returncode == 1
    assert 0 < report["published"] < 900
    assert report["failure"]
    assert err.splitlines()[-1].startswith("error: ")
