"""`callboard worker`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic

import pytest

from cli.command import SHOP, Commands, Running, run
from cli.conftest import Shop


def call(address: str, agent: str, text: str) -> str:
    result = run(
        *("call", agent, "--type-name", "Order", "--data", f'{{"text": "{text}"}}'),
        *("--host", address),
    )
    assert result.code == 0, result.stderr
    return result.stdout.strip()


def publish(address: str, key: str, text: str) -> None:
    result = run(
        *("publish", "orders", "--source", key, "--type-name", "Order"),
        *("--data", f'{{"text": "{text}"}}', "--host", address),
    )
    assert result.code == 0, result.stderr


def wait_until_it_leaves(worker: Running, address: str) -> None:
    while '"draining": true' not in run("status", "--host", address, "--json").stdout:
        assert worker.process.poll() is None


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """What holds a turn until it is written."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_it_serves_what_a_setup_function_registers(commands: Commands) -> None:
    """`module:setup` runs with the runtime, from the current directory; it prints "ready"."""
    _, address = commands.host()
    worker = commands.worker(address, "shop:setup", "--log-level", "warning")

    assert call(address, "clerk/1", "hello") == '{"text": "hello"}'
    assert worker.out == ["ready"]
    assert worker.err == []


def test_it_serves_agent_classes(commands: Commands) -> None:
    """A class is served as the type it declares, or its name, with its docstring as description."""
    _, address = commands.host()
    commands.worker(address, "shop:Clerk", "shop:Stamper")

    assert call(address, "clerk/1", "hello") == '{"text": "hello"}'
    stamped = "Stamper stamped it: Has neither a declared type nor a constructor."
    assert call(address, "Stamper/1", "it") == f'{{"text": "{stamped}"}}'


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("shop", "INVALID_ARGUMENT: invalid name 'shop': it is written module:attribute"),
        ("nosuch:setup", "cannot load 'nosuch:setup': no module 'nosuch' in "),
        ("shop.nosuch:setup", "cannot load 'shop.nosuch:setup': no module 'shop.nosuch' in "),
        ("shop:nosuch", "cannot load 'shop:nosuch': 'shop' has no attribute 'nosuch'"),
        ("shop:plain", "cannot load 'shop:plain': it is a plain function; give "),
        ("shop:SHOP", "cannot load 'shop:SHOP': "),
        ("shop:asyncio", "cannot load 'shop:asyncio': it is of class module; give "),
        ("shop:NoAgent", "cannot load 'shop:NoAgent': it is a class, but no agent; give "),
        ("shop:two_arguments", "cannot load 'shop:two_arguments': it is called with the runtime"),
        ("shop:Porter", "cannot load 'shop:Porter': an agent class is made without arguments"),
    ],
    ids=lambda value: value.partition(" ")[0],
)
def test_what_cannot_be_run_is_one_line(target: str, complaint: str) -> None:
    """A name with nothing fit to run behind it is told before a host is looked for."""
    result = run("worker", target)

    assert result.code in {1, 2}
    assert complaint in result.complaint


def test_an_error_in_the_authors_module_shows_the_authors_lines(tmp_path: Path) -> None:
    """A module that fails is told with its own lines; --debug shows the whole traceback."""
    (tmp_path / "agents.py").write_text("import orders\n")
    (tmp_path / "orders.py").write_text("import json\n\njson.loads('{')\n")

    result = run("worker", "agents:setup", cwd=tmp_path)
    debugged = run("worker", "agents:setup", "--debug", cwd=tmp_path)

    trace = result.stderr.splitlines()
    assert (result.code, debugged.code) == (1, 1)
    assert trace[:4] == [
        f'  File "{tmp_path}/agents.py", line 1, in <module>',
        "    import orders",
        f'  File "{tmp_path}/orders.py", line 3, in <module>',
        "    json.loads('{')",
    ]
    assert trace[-1].startswith(
        "FAILED_PRECONDITION: cannot load 'agents:setup': JSONDecodeError: "
    )
    assert not any("callboard" in line for line in trace[:-1])
    assert "Traceback" in debugged.stderr
    assert "loader.py" in debugged.stderr


def test_a_missing_module_of_the_authors_module_is_told_with_its_line(tmp_path: Path) -> None:
    """An import that fails inside the module is not mistaken for a wrong module name."""
    (tmp_path / "agents.py").write_text("import nosuch\n")

    result = run("worker", "agents:setup", cwd=tmp_path)

    first, *_, last = result.stderr.splitlines()
    assert first == f'  File "{tmp_path}/agents.py", line 1, in <module>'
    assert last.endswith("ModuleNotFoundError: No module named 'nosuch'")


def test_a_syntax_error_shows_its_line(tmp_path: Path) -> None:
    """A module that is no Python is told with the line that is wrong."""
    (tmp_path / "agents.py").write_text("async def setup(runtime)\n    pass\n")

    result = run("worker", "agents:setup", cwd=tmp_path)

    assert result.code == 1
    assert f'File "{tmp_path}/agents.py", line 1' in result.stderr
    assert "async def setup(runtime)" in result.stderr
    assert "cannot load 'agents:setup': SyntaxError: " in result.stderr.splitlines()[-1]


def test_a_setup_that_raises_shows_the_authors_lines(shop: Shop) -> None:
    """What a setup function raises ends the worker with its line and its reason."""
    result = run("worker", "shop:failing", "--host", shop.address)

    first, *_, last = result.stderr.splitlines()
    assert result.code == 1
    assert first.startswith(f'  File "{SHOP}/shop.py", line ')
    assert last.startswith(
        "FAILED_PRECONDITION: cannot set up 'shop:failing': InvalidIdentifier: invalid topic type"
    )


def test_no_host_is_one_line_after_the_connect_timeout(nobody: str) -> None:
    """Without a host the worker gives up after the connect timeout, naming the address."""
    began = monotonic()
    result = run("worker", "shop:setup", "--host", nobody, "--connect-timeout", "0.5")

    assert result.code == 1
    assert result.complaint == f"UNAVAILABLE: no host at {nobody}: gave up after 0.5 s"
    assert monotonic() - began >= 0.5


def test_it_waits_for_a_host_that_comes_later(commands: Commands, nobody: str) -> None:
    """Until the connect timeout the worker tries again; the environment names the host."""
    worker = commands.start(
        "worker", "shop:setup", "--log-level", "debug", env={"CALLBOARD_HOST": nobody}
    )
    worker.error("connecting")
    host = commands.start("host", "--address", nobody, "--operators-address", "127.0.0.1:0")
    host.line("listening on ")

    worker.line("ready")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=lambda by: by.name)
def test_it_finishes_its_turns_when_asked_to_leave(
    commands: Commands, fifo: Path, by: signal.Signals
) -> None:
    """SIGTERM lets a turn that runs come to its end, and the event counts as accepted."""
    host, address = commands.host()
    worker = commands.worker(address, "shop:setup")
    publish(address, "1", f"hold {fifo}")
    worker.line("clerk/1 got hold")
    worker.process.send_signal(by)
    wait_until_it_leaves(worker, address)
    with fifo.open("w") as held:
        held.write("go on")

    assert worker.wait() == 0
    assert worker.out[-1] == "clerk/1 finished"
    assert '"accepted": 1' in run("status", "--host", address, "--json").stdout
    assert host.process.poll() is None


def test_turns_that_take_too_long_are_given_up(commands: Commands, fifo: Path) -> None:
    """A turn that outlasts the drain timeout is cancelled; the worker leaves with exit code 0."""
    _, address = commands.host()
    worker = commands.worker(address, "shop:setup", "--drain-timeout", "0.2")
    publish(address, "1", f"hold {fifo}")
    worker.line("clerk/1 got hold")
    worker.terminate()

    assert worker.wait() == 0
    assert worker.error("drain timed out")


def test_a_second_ctrl_c_does_not_wait(commands: Commands, fifo: Path) -> None:
    """Ctrl-C twice ends a worker whose turn goes on, with exit code 130."""
    _, address = commands.host("--log-level", "info")
    worker = commands.worker(address, "shop:setup", "--client-id", "slow")
    publish(address, "1", f"hold {fifo}")
    worker.line("clerk/1 got hold")
    worker.interrupt()
    wait_until_it_leaves(worker, address)
    worker.interrupt()

    assert worker.wait() == 130


@pytest.mark.parametrize("target", ["shop:setup", "shop:endless"])
def test_it_can_be_stopped_before_it_is_ready(
    commands: Commands, shop: Shop, nobody: str, target: str
) -> None:
    """SIGTERM ends a worker that looks for its host, or sets up, with exit code 0."""
    address = nobody if target == "shop:setup" else shop.address
    worker = commands.start("worker", target, "--host", address, "--log-level", "debug")
    if target == "shop:endless":
        worker.line("setting up")
    else:
        worker.error("connecting")
    worker.terminate()

    assert worker.wait() == 0


def test_it_can_be_stopped_while_it_loads(commands: Commands, tmp_path: Path) -> None:
    """SIGTERM ends a worker whose modules take long to import, with exit code 0 and no word."""
    (tmp_path / "heavy.py").write_text("import time\nprint('loading')\ntime.sleep(60)\n")
    worker = commands.start("worker", "heavy:setup", cwd=tmp_path)
    worker.line("loading")
    worker.terminate()

    assert worker.wait() == 0
    assert worker.err == []


def test_a_lost_host_is_one_line(commands: Commands) -> None:
    """A worker whose host stays away for longer than it may look says so and ends with code 1."""
    host, address = commands.host()
    worker = commands.worker(
        address, "shop:setup", "--log-level", "error", "--reconnect-timeout", "0.2"
    )
    host.process.kill()

    assert worker.wait() == 1
    assert len(worker.err) == 1
    assert worker.err[0].startswith("UNAVAILABLE: ")
    assert address in worker.err[0]


def test_logs_never_hold_what_a_message_holds(commands: Commands) -> None:
    """The traceback of a handler that failed shows no local variables, in either format."""
    _, address = commands.host()
    for log_format in ("console", "json"):
        worker = commands.worker(address, "shop:setup", "--log-format", log_format)
        publish(address, "1", "fail")
        worker.line("clerk/1 got fail")
        worker.terminate()
        worker.wait()
        logged = "\n".join(worker.err)
        assert "ValueError: 11" in logged
        assert "secret fail" not in logged
