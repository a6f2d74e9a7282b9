"""The SQLite engine: its file, those who are killed with it, and what it refuses."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from time import monotonic

import pytest

from callboard.core.backlogs import PageRequest
from callboard.core.commit import Commit
from callboard.core.errors import NotAllowedNow, Unavailable, Unsupported
from callboard.core.kept import Kept, KeptOrigin
from callboard.core.queues import AgentQueue
from callboard.engine import contract
from callboard.engine.sqlite import SqliteEngine
from callboard.engine.sqlite_file import FILE_NAME, VERSION
from callboard.wire.v1.cloudevent_pb2 import CloudEvent
from engine.commits import AGENT, EVENT, all_waiting, append, event, keep, told

TESTS = Path(__file__).parents[1]


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[tuple[SqliteEngine, Kept]]:
    engine = SqliteEngine(directory, publish_window=4)
    kept = await engine.open()
    try:
        yield engine, kept
    finally:
        await engine.close()


@contextmanager
def no_file_larger_than(count: int) -> Iterator[None]:
    """A disk that is full, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_whoever_is_killed_has_lost_nothing_that_it_was_told_is_kept(tmp_path: Path) -> None:
    """Commits that returned are found, one more maybe, each as a whole; positions go on rising."""
    chance = Random(7)
    last_position = 0
    for _ in range(6):
        last = await asyncio.to_thread(kill_a_writer, tmp_path, chance.randrange(2, 60))
        async with opened(tmp_path) as (engine, kept):
            (origin,) = kept.origins
            number = origin.answered // 2
            assert number in {last, last + 1}
            found = await all_waiting(engine)
        ids = [CloudEvent.FromString(each.event.content).id for each in found]
        wanted = [f"{each}.{part}" for each in (number - 1, number) for part in (0, 0, 1, 1)]
        assert ids == wanted
        assert found[0].position > last_position
        last_position = found[-1].position


def kill_a_writer(directory: Path, after: int) -> int:
    """The number of the last commit that returned, of which there are so many at least."""
    command = [sys.executable, "-m", "engine.writer", str(directory)]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(after)]
        writer.kill()
        said += writer.stdout.readlines()
    return int(said[-1])


def refuse_a_writer(directory: Path) -> str:
    """What it says."""
    command = [sys.executable, "-m", "engine.writer", str(directory)]
    ended = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, check=False, timeout=30
    )
    return ended.stderr


async def test_a_second_host_is_refused(tmp_path: Path) -> None:
    """Until the first one lets go; it goes on undisturbed."""
    async with opened(tmp_path) as (engine, _):
        with pytest.raises(NotAllowedNow, match=r"another host uses .*callboard\.db"):
            await SqliteEngine(tmp_path).open()
        assert "another host uses" in await asyncio.to_thread(refuse_a_writer, tmp_path)
        deliveries = await keep(engine, AGENT)
    async with opened(tmp_path) as (engine, _):
        assert told(await all_waiting(engine)) == told(deliveries)


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    async with opened(tmp_path):
        pass
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute(f"PRAGMA user_version = {VERSION + 1}")
    file.close()

    for _ in range(2):
        with pytest.raises(Unsupported, match=f"has version {VERSION + 1}, of a newer Callboard"):
            await SqliteEngine(tmp_path).open()


async def test_what_is_no_file_of_ours_is_one_error(tmp_path: Path) -> None:
    """A file of something else, or a directory that cannot be made."""
    (tmp_path / FILE_NAME).write_text("something else" * 100)

    with pytest.raises(Unavailable, match=r"cannot be kept in .*: file is not a database"):
        await SqliteEngine(tmp_path).open()
    with pytest.raises(Unavailable, match=r"cannot be kept in .*: Not a directory"):
        await SqliteEngine(tmp_path / FILE_NAME / "below").open()


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """The directory is made when it is missing; events are nobody else's business."""
    directory = tmp_path / "some" / "where"
    async with opened(directory) as (engine, _):
        await keep(engine, AGENT)
        modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes == {FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]


async def test_a_commit_that_the_disk_has_no_room_for_fails_as_a_whole(tmp_path: Path) -> None:
    """Nothing of it is found, and what was there before stays."""
    async with opened(tmp_path) as (engine, _):
        kept = await keep(engine, AGENT)
        large = event("x" * 100_000)
        with no_file_larger_than(200_000), pytest.raises(Unavailable, match="cannot be kept in"):
            await engine.commit(
                Commit(
                    appends=[append(n, AGENT, of="p", event=large) for n in range(1, 9)],
                    removed=[kept[0].position],
                )
            )
        assert told(await all_waiting(engine)) == told(kept)
        more = await keep(engine, AGENT)
    async with opened(tmp_path) as (engine, found):
        assert told(await all_waiting(engine)) == told([*kept, *more])
        assert found.origins == ()


async def test_refusals_are_known_for_two_windows(tmp_path: Path) -> None:
    """A publisher cannot ask for older ones, however many there were."""
    async with opened(tmp_path) as (engine, _):
        for number in range(1, 31):
            refused = append(number, of="p", is_refused=number <= 28)
            await engine.commit(Commit(appends=[refused]))
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        assert file.execute("SELECT count(*) FROM answer").fetchone() == (6,)
    file.close()
    async with opened(tmp_path) as (_, kept):
        assert kept.origins == (KeptOrigin("p", 30, tuple(range(23, 29))),)


async def test_answers_out_of_turn_are_known_for_two_windows(tmp_path: Path) -> None:
    """A publish that waits for room for long makes no list that grows."""
    async with opened(tmp_path) as (engine, _):
        waits = append(1, of="p")
        waits.session.origin.hold(1)
        for number in range(2, 31):
            later = append(number)
            later.session = waits.session
            await engine.commit(Commit(appends=[later]))
    async with opened(tmp_path) as (_, kept):
        assert kept.origins == (KeptOrigin("p", 0, (), tuple(range(23, 31))),)


async def test_numbers_that_only_a_liar_has_are_taken(tmp_path: Path) -> None:
    """They go beyond what SQLite has; no worker can stop a host by them."""
    async with opened(tmp_path) as (engine, _):
        await engine.commit(Commit(appends=[append(2**64 - 1, of="p", is_refused=True)]))
    async with opened(tmp_path) as (_, kept):
        assert kept.origins[0].answered == 2**63 - 1


async def test_an_event_is_kept_once_however_many_agents_it_is_for(tmp_path: Path) -> None:
    """And goes with the last of them."""
    async with opened(tmp_path) as (engine, _):
        large = event("x" * 1_000_000)
        targets = [(f"t{n}", "x") for n in range(200)]
        deliveries = await keep(engine, *targets, event=large)
        await engine.commit(Commit(removed=[each.position for each in deliveries[1:]]))
        assert len(await all_waiting(engine)) == 1
        await engine.commit(Commit(removed=[1]))
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        assert file.execute("SELECT count(*) FROM event").fetchone() == (0,)
    file.close()
    assert (tmp_path / FILE_NAME).stat().st_size < 2_000_000


async def test_a_hundred_thousand_events_are_found_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, none of them larger than the bounds."""
    monkeypatch.setattr(contract, "PAGE_BYTES", 1 << 20)
    large = event("x" * 200)
    async with opened(tmp_path) as (engine, _):
        for _ in range(50):
            appends = [append(n, AGENT, event=large) for n in range(1, 2001)]
            await engine.commit(Commit(appends=appends))

    began = monotonic()
    async with opened(tmp_path) as (engine, _):
        count, beyond = 0, 0
        while page := await engine.waiting(beyond=beyond):
            assert len(page) <= contract.PAGE_ITEMS
            assert sum(len(each.event.content) for each in page) <= contract.PAGE_BYTES
            count += len(page)
            beyond = page[-1].position
    took_s = monotonic() - began

    assert (count, beyond) == (100_000, 100_000)
    assert took_s < 10, f"{took_s:.1f} s"


async def test_it_is_used_while_it_is_open(tmp_path: Path) -> None:
    """Before and after that it says so; to close it twice is no mistake."""
    engine = SqliteEngine(tmp_path)
    with pytest.raises(NotAllowedNow, match="not open"):
        await engine.commit(Commit())
    await engine.open()
    await engine.close()
    await engine.close()
    with pytest.raises(NotAllowedNow, match="not open"):
        await engine.waiting()


async def test_a_page_of_large_events_for_an_agent_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are bounded, but one event fits in any case."""
    monkeypatch.setattr(contract, "BACKLOG_BYTES", len(EVENT.content) * 2)
    queue = AgentQueue(AGENT, 0)
    async with opened(tmp_path) as (engine, _):
        for text in ("", "", "x" * 100, "", ""):
            behind = append(1, AGENT, event=event(text))
            behind.behind = {AGENT: queue}
            await engine.commit(Commit(appends=[behind]))

        pages = [await engine.pages([PageRequest(queue, beyond, 9)]) for beyond in range(6)]
        several = await engine.pages([PageRequest(queue, beyond, 9) for beyond in (1, 4, 0)])

    positions = [[each.position for each in page] for (page,) in pages]
    assert positions == [[1, 2], [2], [3], [4, 5], [5], []]
    assert [[each.position for each in page] for page in several] == [[2], [], []]
