"""`callboard dev`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic

import pytest

from cli.command import DEADLINE_S, SHOP, Commands, Running, run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with the module `agents`."""
    (tmp_path / "agents.py").write_text((SHOP / "shop.py").read_text())
    return tmp_path


@pytest.fixture
def dev(commands: Commands, project: Path) -> Running:
    """The project, running with two workers."""
    running = commands.start("dev", "agents:setup", "--address", "127.0.0.1:0", cwd=project)
    running.line("worker-1 | ready")
    running.line("worker-2 | ready")
    return running


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until_gone(pids: list[int]) -> None:
    """A process whose parent died may stay as a zombie that nobody reaps: that is gone."""

    def is_there(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    give_up_at = monotonic() + DEADLINE_S
    while left := [pid for pid in pids if is_there(pid)]:
        assert monotonic() < give_up_at, f"still there: {left}"
        os.sched_yield()


def address_of(dev: Running) -> str:
    return dev.line("listening on ").rpartition(" ")[2]


def test_it_runs_a_host_and_two_workers(dev: Running) -> None:
    """Lines of all processes come under their names, and calls are answered."""
    data = '{"text": "hello"}'
    result = run(
        *("call", "clerk/1", "--type-name", "Order", "--data", data),
        *("--host", address_of(dev)),
    )

    assert result.stdout == data + "\n"
    assert dev.line("listening on ").startswith("host     | ")
    assert dev.line("the host keeps events by the engine memory").startswith("dev      | ")
    assert len(children_of(dev.process.pid)) == 3


def test_a_change_starts_the_workers_again(dev: Running, project: Path) -> None:
    """When a file changes the workers run the new code; the host stays."""
    host, *workers = children_of(dev.process.pid)
    path = project / "agents.py"
    path.write_text(path.read_text().replace('say(f"{self.id} got', 'say(f"{self.id} NOW got'))
    dev.line("dev      | agents.py changed")
    dev.line("worker-1 | ready", times=2)
    dev.line("worker-2 | ready", times=2)
    run(
        *("publish", "orders", "--source", "1", "--type-name", "Order", "--data", '{"text": "a"}'),
        *("--host", address_of(dev)),
    )

    dev.line("clerk/1 NOW got a")
    assert children_of(dev.process.pid)[0] == host
    assert not set(workers) & set(children_of(dev.process.pid))
    assert not [line for line in dev.out if "exit code" in line]


def test_a_worker_that_fails_is_shown_and_starts_again_after_a_change(
    dev: Running, project: Path
) -> None:
    """A broken module ends the workers with their error; once mended they are back."""
    path = project / "agents.py"
    good = path.read_text()
    path.write_text("import nosuch\n")
    dev.line("worker-1 | FAILED_PRECONDITION: cannot load 'agents:setup': ModuleNotFoundError")
    dev.line("worker-1 ended (exit code 1); a change starts it again")
    dev.line("worker-2 ended (exit code 1); a change starts it again")
    path.write_text(good)

    dev.line("worker-1 | ready", times=2)
    dev.line("worker-2 | ready", times=2)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=lambda by: by.name)
def test_it_stops_everything_in_order(dev: Running, by: signal.Signals) -> None:
    """SIGTERM or Ctrl-C lets the workers leave, then the host stops; exit code 0."""
    children = children_of(dev.process.pid)
    dev.process.send_signal(by)

    assert dev.wait() == 0
    wait_until_gone(children)
    ended = [line for line in dev.out if "session ended" in line]
    assert len(ended) == 2
    assert not [line for line in dev.out if "UNAVAILABLE" in line]


def test_nothing_outlives_it(dev: Running) -> None:
    """Even when it is killed, its processes end."""
    children = children_of(dev.process.pid)
    assert len(children) == 3
    dev.process.kill()

    wait_until_gone(children)


def test_a_lost_host_ends_it(dev: Running) -> None:
    """When the host dies everything ends, with exit code 1."""
    host, *workers = children_of(dev.process.pid)
    os.kill(host, signal.SIGKILL)

    assert dev.wait() == 1
    assert dev.err == ["UNAVAILABLE: the host ended with exit code -9"]
    wait_until_gone(workers)


def test_a_host_that_does_not_start_ends_it(commands: Commands) -> None:
    """A busy port is shown by the host and ends everything with exit code 1."""
    _, address = commands.host()

    result = run("dev", "shop:setup", "--address", address)

    assert result.code == 1
    assert f"host     | UNAVAILABLE: cannot listen on {address}" in result.stdout
    assert result.complaint == "UNAVAILABLE: the host ended with exit code 1"
