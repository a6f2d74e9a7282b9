"""What `.ci/cluster` does when something is not as it should be."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cluster
import machine
import parts
import pytest


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where state goes, and is not yet. Nothing is made of the machine, nor asked of Docker."""
    place = tmp_path / "state"
    for module in (cluster, machine):
        monkeypatch.setattr(module, "STATE", place)
    monkeypatch.setattr(machine, "_PROCESS", place / "node.json")
    monkeypatch.setattr(machine, "_SAVED_SYSCTLS", place / "sysctls.json")
    monkeypatch.setattr(machine, "NETWORK_NAMESPACE", tmp_path / "none")
    for name in ("make_network", "make_cgroups", "remove_network", "remove_cgroups", "stop_node"):
        monkeypatch.setattr(machine, name, lambda: None)
    monkeypatch.setattr(cluster, "LOGS", place / "logs")
    monkeypatch.setattr(cluster, "forget_images", lambda: None)
    return place


def test_a_process_that_was_written_down_in_part_is_none(state: Path) -> None:
    """A write that was broken off does not break the commands that come after it."""
    state.mkdir()
    for text in ("", '{"pid": 1', "1", "7 1234"):
        (state / "node.json").write_text(text)
        assert machine.node_process() is None


def test_the_process_of_another_boot_is_none(state: Path) -> None:
    """Numbers and times of processes begin anew with each boot."""
    state.mkdir()
    (state / "node.json").write_text(json.dumps({"pid": 1, "started": "1", "boot": "another"}))
    assert machine.node_process() is None


def test_settings_of_another_boot_are_not_put_back(state: Path) -> None:
    """The machine has set them anew, from files of its own."""
    state.mkdir()
    saved = {"boot": "another", "values": {"no/such/setting": "1"}}
    (state / "sysctls.json").write_text(json.dumps(saved))
    machine.restore_sysctls()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (state / "sysctls.json").write_text(json.dumps(saved | {"boot": boot}))
    with pytest.raises(FileNotFoundError):
        machine.restore_sysctls()


def test_a_node_may_end_while_down_waits_for_its_end(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it comes about, that is what is wanted."""
    looks: Iterator[list[int]] = iter([[7], []])
    monkeypatch.setattr(machine, "node_processes", lambda: next(looks))
    state.mkdir()
    cluster.down()
    assert not state.exists()


def test_up_without_docker_says_so_and_leaves_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made."""
    monkeypatch.setattr(cluster, "DOCKER", "no-such-docker")
    with pytest.raises(cluster.Failed, match="no-such-docker is missing"):
        cluster.up(Path("binaries"))
    assert not state.exists()


def test_a_cluster_half_made_is_taken_down(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails on the way; what the parts have said is kept."""

    def prepare(*_: object) -> None:
        (state / "logs").mkdir(parents=True)
        (state / "logs" / "etcd.log").write_text("no disk")

    def fail() -> None:
        raise OSError("no")

    kept = state.parent / "kept"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(kept))
    monkeypatch.setattr(cluster, "DOCKER", "true")
    monkeypatch.setattr(parts, "prepare", prepare)
    monkeypatch.setattr(machine, "make_network", fail)
    with pytest.raises(OSError, match=r"^no$"):
        cluster.up(Path("binaries"))
    assert not state.exists()
    assert (kept / "logs" / "etcd.log").read_text() == "no disk"


def test_one_at_a_time_works_on_a_machine() -> None:
    """A second one is told at once."""
    with machine.alone(), pytest.raises(BlockingIOError), machine.alone():
        pass
    with machine.alone():
        pass
