"""`callboard dev`: a host and workers in one terminal."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

import watchfiles
from rich.console import Console
from rich.text import Text

from callboard.cli.child import run_child
from callboard.cli.settings import read_settings
from callboard.cli.signals import StopSignals
from callboard.core.errors import Unavailable, cause_of
from callboard.host.settings import HostSettings

_LISTENING = "listening on "
_DRAIN_TIMEOUT_S = 3
"""How long turns may go on when the workers start again; somebody waits for that."""

_DEBOUNCE_MS = 200
_STYLES = ("cyan", "green", "magenta", "yellow", "blue")


class Terminal:
    """Shows the lines of several processes, each under its name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._console = Console(highlight=False)
        self._width = max(len(name) for name in names)
        self._styles = {name: _STYLES[at % len(_STYLES)] for at, name in enumerate(names)}
        self.is_coloured = self._console.is_terminal and "NO_COLOR" not in os.environ

    def show(self, name: str, line: str) -> None:
        """Show one line of the process ``name``."""
        prefix = Text(f"{name:{self._width}} | ", style=self._styles.get(name, "bold"))
        self._console.print(prefix + Text.from_ansi(line.rstrip("\r")), soft_wrap=True)


class DevWorker:
    """One worker that starts again whenever a file changes."""

    def __init__(self, name: str, arguments: Sequence[str], terminal: Terminal) -> None:
        self.name = name
        self._arguments = ["worker", "--client-id", name, *arguments]
        self._terminal = terminal
        self._changed = asyncio.Event()

    def change(self) -> None:
        """A file has changed: finish the turns, and start anew."""
        self._changed.set()

    async def run(self) -> None:
        """Run until cancelled; then finish the turns and leave."""
        while True:
            self._changed.clear()
            async with run_child(
                self._arguments,
                lambda line: self._terminal.show(self.name, line),
                is_coloured=self._terminal.is_coloured,
            ) as process:
                await _first_of(process.wait(), self._changed.wait())
                code = process.returncode
            if not self._changed.is_set():
                how = f"killed by signal {-code}" if code and code < 0 else f"exit code {code}"
                self._terminal.show("dev", f"{self.name} ended ({how}); a change starts it again")
                await self._changed.wait()


def run(
    targets: Sequence[str],
    *,
    worker_count: int,
    address: str | None,
    log_level: str | None,
    log_format: str | None,
    debug: bool,
) -> None:
    """Run a host and workers until SIGTERM or SIGINT."""
    settings = read_settings(HostSettings, address=address)
    options = ["--debug"] * debug
    options += [f"--log-level={log_level}"] * (log_level is not None)
    options += [f"--log-format={log_format}"] * (log_format is not None)
    sys.path.insert(0, str(Path.cwd()))
    asyncio.run(_develop(targets, settings, worker_count, options))


async def _develop(
    targets: Sequence[str], settings: HostSettings, worker_count: int, options: Sequence[str]
) -> None:
    names = [f"worker-{number}" for number in range(1, worker_count + 1)]
    terminal = Terminal(["dev", "host", *names])
    terminal.show("dev", f"the host keeps events by the engine {settings.engine}")
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def show(line: str) -> None:
        terminal.show("host", line)
        if line.startswith(_LISTENING) and not listening.done():
            listening.set_result(line.removeprefix(_LISTENING).strip())

    with StopSignals() as signals:
        async with (
            run_child(
                ["host", "--address", settings.address, *options],
                show,
                is_coloured=terminal.is_coloured,
            ) as host,
            signals.cut_short(),
        ):
            await _first_of(host.wait(), asyncio.shield(listening))
            if host.returncode is not None:
                raise _host_ended(host.returncode)
            arguments = [
                *("--host", listening.result()),
                *("--drain-timeout", str(_DRAIN_TIMEOUT_S)),
                *options,
                "--",
                *targets,
            ]
            workers = [DevWorker(name, arguments, terminal) for name in names]
            try:
                async with asyncio.TaskGroup() as tasks:
                    for worker in workers:
                        tasks.create_task(worker.run(), name=worker.name)
                    tasks.create_task(_watch(targets, workers, terminal), name="watch")
                    raise _host_ended(await host.wait())
            except ExceptionGroup as group:
                raise cause_of(group) from group


async def _watch(targets: Iterable[str], workers: Sequence[DevWorker], terminal: Terminal) -> None:
    changes = watchfiles.awatch(
        *_roots(targets),
        watch_filter=watchfiles.PythonFilter(),
        debounce=_DEBOUNCE_MS,
        stop_event=asyncio.Event(),
    )
    async for changed in changes:
        paths = sorted({Path(path).name for _, path in changed})
        terminal.show("dev", f"{', '.join(paths)} changed: the workers start again")
        for worker in workers:
            worker.change()


def _roots(targets: Iterable[str]) -> set[Path]:
    """What to watch: the current directory, and where targets lie that are not installed."""
    installed = tuple(str(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))
    roots = {Path.cwd()}
    for target in targets:
        package = target.partition(":")[0].partition(".")[0]
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is not None:
            paths = map(Path, spec.submodule_search_locations or [spec.origin or ""])
            folders = (path if path.is_dir() else path.parent for path in paths)
            roots.update(path for path in folders if not str(path).startswith(installed))
    return roots


async def _first_of(*waits: object) -> None:
    """Return when one of them has; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in waits]  # type: ignore[call-overload]  # awaitables
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _host_ended(code: int) -> Unavailable:
    return Unavailable(f"the host ended with exit code {code}")
