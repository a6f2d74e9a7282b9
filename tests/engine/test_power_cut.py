"""The SQLite engine on a machine that loses its power: what was not synced may be gone.

A writer is recorded: what it writes to which file, when it syncs, and what it says is kept. From
the record the disk is made as it may be after a cut at any moment: all that was synced is there, of
the rest any part, torn between sectors.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from callboard.engine.sqlite import SqliteEngine
from callboard.engine.sqlite_file import FILE_NAME
from callboard.wire.v1.cloudevent_pb2 import CloudEvent
from engine.commits import all_waiting
from engine.writer import REFUSED

HERE = Path(__file__).parent
CUTS = 100
COMMITS = 1500
"""Enough to begin its log anew: SQLite copies it into the file after 4 MiB."""

SECTOR = 512
HEAD = struct.Struct("<cqqi")


class Note(NamedTuple):
    """What the recorder has seen: see `recorder.c`."""

    kind: str
    path: str
    offset: int
    data: bytes


class File:
    """A file on a disk.

    Attributes:
        synced: What is in it whatever happens.
        later: What was written since.
        has_name: Whether its directory was synced since it was made.
        is_removed: It has been, and its directory was not synced since.
    """

    def __init__(self) -> None:
        self.synced = bytearray()
        self.later: list[Note] = []
        self.has_name = False
        self.is_removed = False

    def sync(self) -> None:
        """All that was written is there from here on."""
        for each in self.later:
            apply(self.synced, each)
        self.later.clear()

    def after(self, chance: Random) -> bytearray | None:
        """What a cut leaves; None: nothing."""
        if (self.is_removed or not self.has_name) and chance.random() < 0.5:
            return None
        for each in self.later:
            if chance.random() < 0.5:
                apply(self.synced, torn(each, chance))
        return self.synced


class Disk:
    """What a writer has done, and what a cut leaves of it."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        self.said = b""

    def do(self, note: Note) -> None:
        """The writer does this."""
        match note.kind:
            case "A":
                self.said += note.data
            case "C":
                self._files[note.path] = File()
            case "U":
                self._files[note.path].is_removed = True
            case "S" if note.path in self._files:
                self._files[note.path].sync()
            case "S":
                self._sync_names(note.path)
            case _:
                self._files[note.path].later.append(note)

    def cut(self, chance: Random, directory: Path) -> None:
        """Make ``directory`` as it may be when the power goes."""
        directory.mkdir()
        for path, file in self._files.items():
            content = file.after(chance)
            if content is not None:
                (directory / Path(path).name).write_bytes(content)

    def _sync_names(self, directory: str) -> None:
        for path, file in list(self._files.items()):
            if Path(path).parent == Path(directory):
                file.has_name = True
                if file.is_removed:
                    del self._files[path]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to preload."""
    compiler = shutil.which("cc")
    if compiler is None:
        missing = "there is no C compiler: install gcc (Debian: apt-get install gcc libc6-dev)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "recorder.c", "-ldl"],
        check=True,
    )
    return library


def record(recorder: Path, directory: Path, *options: str) -> list[Note]:
    """What a writer has done that was killed after `COMMITS`."""
    data = directory / "data"
    with subprocess.Popen(
        [sys.executable, "-m", "engine.writer", str(data), *options],
        cwd=HERE.parent,
        env=recorded(recorder, directory),
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        for _ in range(COMMITS):
            assert writer.stdout.readline()
        writer.kill()
    return list(read((directory / "log").read_bytes()))


def recorded(recorder: Path, directory: Path) -> dict[str, str]:
    """The environment of a writer to ``data`` in the directory that is recorded in ``log``."""
    return {
        **os.environ,
        "LD_PRELOAD": str(recorder),
        "RECORDER_DIRECTORY": str(directory / "data"),
        "RECORDER_LOG": str(directory / "log"),
    }


def read(log: bytes) -> Iterator[Note]:
    at = 0
    while at + HEAD.size <= len(log):
        kind, offset, count, path_count = HEAD.unpack_from(log, at)
        at += HEAD.size
        path = log[at : at + path_count].decode()
        at += path_count
        yield Note(kind.decode(), path, offset, log[at : at + count])
        at += count


def apply(content: bytearray, note: Note) -> None:
    if note.kind == "T":
        del content[note.offset :]
        content.extend(bytes(note.offset - len(content)))
        return
    content.extend(bytes(max(0, note.offset - len(content))))
    content[note.offset : note.offset + len(note.data)] = note.data


def torn(note: Note, chance: Random) -> Note:
    """Some of its sectors, or all."""
    sectors = len(note.data) // SECTOR
    if note.kind == "T" or not sectors or chance.random() < 0.5:
        return note
    return note._replace(data=note.data[: SECTOR * chance.randint(0, sectors)])


async def test_what_could_not_be_synced_is_not_there(recorder: Path, tmp_path: Path) -> None:
    """It was refused, though the log had all of it: the next host finds what was said before."""
    for _ in range(5):
        last = await asyncio.to_thread(fail_a_writer, recorder, tmp_path)
        engine = SqliteEngine(tmp_path / "data")
        kept = await engine.open()
        await engine.close()
        assert [each.answered // 2 for each in kept.origins] == [last]


def fail_a_writer(recorder: Path, directory: Path) -> int:
    """The number of the last commit that was kept before one could not be synced."""
    fails = directory / "fails"
    with subprocess.Popen(
        [sys.executable, "-m", "engine.writer", str(directory / "data")],
        cwd=HERE.parent,
        env={**recorded(recorder, directory), "RECORDER_FAILS": str(fails)},
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(20)]
        fails.touch()
        said += writer.stdout.readlines()
    fails.unlink()
    assert writer.returncode == REFUSED
    return int(said[-1])


async def why_not_kept(directory: Path, last: int) -> str | None:
    """What is wrong with what another host finds; None: nothing is."""
    engine = SqliteEngine(directory)
    try:
        kept = await engine.open()
        found = await all_waiting(engine)
    except Exception as error:  # noqa: BLE001 (whatever a file that is no file leads to)
        return repr(error)
    finally:
        await engine.close()
    number = max((each.answered for each in kept.origins), default=0) // 2
    if number not in (last, last + 1):
        return f"commit {last} was said to be kept, {number} is the last that is found"
    ids = [CloudEvent.FromString(each.event.content).id for each in found]
    wanted = [
        f"{each}.{part}" for each in (number - 1, number) if each > 0 for part in (0, 0, 1, 1)
    ]
    return None if ids == wanted else f"after commit {number} there is {ids}"


async def problems(notes: list[Note], directory: Path) -> list[str]:
    """What is wrong after some of many cuts, by seed."""
    said = []
    for seed in range(CUTS):
        chance = Random(seed)
        at = chance.randrange(len(notes)) + 1
        disk = Disk()
        for note in notes[:at]:
            disk.do(note)
        disk.cut(chance, directory / str(seed))
        lines = disk.said.split()
        last = int(lines[-1]) if lines else 0
        problem = await why_not_kept(directory / str(seed), last)
        if problem is not None:
            said.append(f"seed {seed}, after {at} of {len(notes)} notes: {problem}")
        shutil.rmtree(directory / str(seed), ignore_errors=True)
    return said


@pytest.mark.timeout(300)
async def test_a_machine_that_loses_its_power_has_kept_all_that_it_said(
    recorder: Path, tmp_path: Path
) -> None:
    """Whatever of the rest has reached the disk, each commit is there as a whole or not at all."""
    notes = record(recorder, tmp_path)
    copies = [each for each in notes if each.path.endswith(FILE_NAME) and each.kind == "W"]
    assert len(copies) > 20, "the log was copied into the file, in the record"
    assert await problems(notes, tmp_path) == []


@pytest.mark.timeout(300)
async def test_without_syncing_it_would_not(recorder: Path, tmp_path: Path) -> None:
    """The check can fail."""
    notes = record(recorder, tmp_path, "--unsafe")
    assert len(await problems(notes, tmp_path)) > CUTS // 2
