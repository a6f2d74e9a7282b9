"""`callboard publish --file`: a file, or a pipe, of CloudEvents."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from callboard.cli.event_line import read_event
from callboard.cli.settings import read_settings
from callboard.core.errors import CallboardError, InvalidMessage
from callboard.telemetry.export import exporting
from callboard.worker.runtime import WorkerRuntime
from callboard.worker.settings import ClientSettings

_CHUNK_BYTES = 1 << 18


class EventRefused(CallboardError):
    """An event of a file was not published. Mend that line; those before it are at the host."""

    def __init__(self, error: CallboardError, where: str, published_count: int) -> None:
        super().__init__(f"{where}: {error}; published {_counted(published_count)}")
        self.code = error.code  # type: ignore[misc]  # that of the reason, not of the class


class EventFile:
    """The lines of a file. Life: `open`, iterate once, `close`.

    Attributes:
        name: How it was named; the standard input for ``-``.
        size_bytes: None for what has no size, such as a pipe.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = "standard input" if name == "-" else name
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.read_bytes = 0

    @classmethod
    def open(cls, name: str) -> EventFile:
        """Open ``name``. Raises `InvalidMessage` when that cannot be read."""
        try:
            return cls(name, 0 if name == "-" else os.open(name, os.O_RDONLY))
        except OSError as error:
            msg = f"cannot read {name}: {error.strerror}"
            raise InvalidMessage(msg) from error

    async def batches(self) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """Lines that are not blank with their numbers from 1, as many at a time as are there."""
        rest, number = b"", 0
        while chunk := await _in_thread(lambda: os.read(self._descriptor, _CHUNK_BYTES)):
            self.read_bytes += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            batch = [(number + at, line) for at, line in enumerate(lines, 1) if line.strip()]
            number += len(lines)
            yield batch
        if rest.strip():
            yield [(number + 1, rest)]


class Pipeline:
    """Publishes events without waiting for each, at most a publish window of them under way.

    Attributes:
        published_count: Events that the host has confirmed.
    """

    def __init__(self, runtime: WorkerRuntime) -> None:
        self._runtime = runtime
        self._window = runtime.welcome.publish_window
        self._under_way: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._refused: tuple[int, CallboardError] | None = None
        self.published_count = 0

    async def publish(self, lines: Sequence[tuple[int, bytes]], type_name: str) -> bool:
        """Publish one event a line. False when one was refused: those after it are not begun."""
        for number, line in lines:
            while len(self._under_way) >= self._window:
                await self._confirm_oldest()
            if self._refused is not None:
                return False
            try:
                event = read_event(line, type_name=type_name)
                self._under_way.append((number, self._runtime.publish_event(event)))
            except CallboardError as error:
                self._note(number, error)
                return False
        return True

    async def finish(self) -> tuple[int, CallboardError] | None:
        """Wait until all are confirmed; the first refusal with its line, or None."""
        while self._under_way:
            await self._confirm_oldest()
        return self._refused

    async def _confirm_oldest(self) -> None:
        number, future = self._under_way.popleft()
        try:
            await future
            self.published_count += 1
        except CallboardError as error:
            self._note(number, error)

    def _note(self, number: int, error: CallboardError) -> None:
        if self._refused is None or number < self._refused[0]:
            self._refused = (number, error)


def run(name: str, *, type_name: str, **given: object) -> None:
    """Publish every event of a file; returns when the host has them all."""
    settings = read_settings(ClientSettings, **given)
    file = EventFile.open(name)
    count = asyncio.run(_publish(settings, file, type_name))
    typer.echo(f"published {_counted(count)}")


async def _publish(settings: ClientSettings, file: EventFile, type_name: str) -> int:
    async with exporting("callboard-cli"), settings.runtime() as runtime:
        pipeline = Pipeline(runtime)
        with _progress(file) as show:
            async for batch in file.batches():
                if not await pipeline.publish(batch, type_name):
                    break
                show(pipeline.published_count)
            refused = await pipeline.finish()
            show(pipeline.published_count)
    if refused is not None:
        number, error = refused
        raise EventRefused(error, f"line {number} of {file.name}", pipeline.published_count)
    return pipeline.published_count


@contextmanager
def _progress(file: EventFile) -> Iterator[Callable[[int], None]]:
    """Draws a bar on the standard error if somebody watches; takes how many are published."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield lambda _: None
        return
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]} events"),
        TimeElapsedColumn(),
    ]
    if file.size_bytes is not None:
        columns.insert(2, TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("publishing", total=file.size_bytes, count=0)
        yield lambda count: progress.update(task, completed=file.read_bytes, count=count)


async def _in_thread(work: Callable[[], bytes]) -> bytes:
    """Run ``work`` in a thread that nothing waits for: a read of a pipe cannot be called off."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()

    def resolve(result: bytes | OSError) -> None:
        if future.done():
            return
        if isinstance(result, OSError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def target() -> None:
        try:
            result: bytes | OSError = work()
        except OSError as error:
            result = error
        try:
            loop.call_soon_threadsafe(resolve, result)
        except RuntimeError:
            return  # the loop was closed meanwhile

    threading.Thread(target=target, name="read events", daemon=True).start()
    return await future


def _counted(count: int) -> str:
    return f"{count} event" if count == 1 else f"{count} events"
