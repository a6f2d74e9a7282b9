"""The images at work: a host and workers, each in a container with a read-only root."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from images.built import Images
from images.docker import Network, docker, run

AGENTS = Path(__file__).parent / "agents"
SOON_S = 10.0
"""A container that does not listen to SIGTERM takes the 30 s that `docker stop` is told to wait."""


def test_a_round_of_greetings(images: Images, network: Network) -> None:
    """A host, two workers and a program, each in a container, play hello; all leave with 0."""
    with (
        network.host(images.host) as host,
        network.worker(images.worker, "callboard_samples.hello:ping") as ping,
        network.worker(images.worker, "callboard_samples.hello:pong") as pong,
    ):
        program = ("python", "-m", "callboard_samples.hello", "--host", "callboard-host:50051")
        heard = run(images.worker, *program, network=network.name)
        assert heard.count("ping: hello") == heard.count("pong: hello") == 5
        for each in (ping, pong, host):
            ending = each.stop()
            assert ending.code == 0
            assert ending.seconds < SOON_S


def test_python_is_the_first_process_and_no_user_of_the_system(
    images: Images, network: Network
) -> None:
    """Signals reach Python itself; the process has neither root's rights nor its number."""
    with (
        network.host(images.host) as host,
        network.worker(images.worker, "callboard_samples.hello:ping") as worker,
    ):
        for container in (host, worker):
            command = container.execute("cat", "/proc/1/cmdline").split("\0")
            assert command[:2] == ["/opt/callboard/bin/python", "/opt/callboard/bin/callboard"]
            status = container.execute("cat", "/proc/1/status").splitlines()
            fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
            assert set(fields["Uid"].split()) == set(fields["Gid"].split()) == {"65532"}
            assert int(fields["CapEff"], 16) == 0


def test_a_host_stops_with_workers_connected(images: Images, network: Network) -> None:
    """SIGTERM ends it with 0 and without waiting for anybody."""
    with (
        network.host(images.host) as host,
        network.worker(images.worker, "callboard_samples.hello:ping"),
    ):
        ending = host.stop()
        assert ending.code == 0
        assert ending.seconds < SOON_S


def test_a_worker_finishes_its_turn_before_it_leaves(images: Images, network: Network) -> None:
    """SIGTERM in the middle of a call: the caller gets its reply, and the worker ends with 0."""
    agents = f"--volume={AGENTS}:/app:ro"
    call = ("callboard", "call", "slow/one", "--type-name=float", "--data=2.0")
    with (
        network.host(images.host),
        network.worker(images.worker, "slow:Slow", options=(agents,)) as worker,
        ThreadPoolExecutor() as threads,
    ):
        reply = threads.submit(run, images.worker, *call, network=network.name)
        worker.line("at work")
        ending = worker.stop()
        assert reply.result() == '"done"\n'
        assert ending.code == 0
        assert ending.seconds < SOON_S


def test_a_worker_without_a_host_says_where_it_looked(images: Images, network: Network) -> None:
    """It ends with 1, and names the address that the image sets."""
    options = ("--env=CALLBOARD_CONNECT_TIMEOUT_S=0.5",)
    agents = "callboard_samples.hello:ping"
    with network.container(images.worker, agents, options=options) as worker:
        assert "callboard-host:50051" in worker.line("UNAVAILABLE")
        assert docker("wait", worker.name) == "1\n"
