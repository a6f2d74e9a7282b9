"""The program that has a digest made: it publishes the files and waits for the collator."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from uuid import uuid4

from callboard import (
    AgentId,
    AgentRuntime,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    TopicId,
    TypeSubscription,
    try_get_known_serializers_for_type,
)
from callboard.core.errors import InvalidIdentifier, ResourceExhausted
from callboard_samples.command import SampleFailed
from callboard_samples.digest.agents import (
    COLLATOR,
    COMPLETE_TOPIC,
    FILE_TOPIC,
    SUMMARISER,
    Complete,
    Digest,
    Expect,
    FileText,
    GetDigest,
)

SUFFIXES = frozenset({".md", ".markdown", ".txt"})
DEFAULT_FOLDER = Path("docs")
DEFAULT_DEADLINE_S = 30.0
CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Report:
    """A digest, and how it came about.

    Attributes:
        collator: The agent that answered.
        digest: What it answered.
        publish_s: Seconds until the host had every file.
        total_s: Seconds until the digest was here.
    """

    collator: AgentId
    digest: Digest
    publish_s: float
    total_s: float

    @property
    def places(self) -> dict[str, str]:
        """Which worker ran which agent."""
        places = {f"{SUMMARISER}/{each.name}": each.worker for each in self.digest.summaries}
        return {**places, str(self.collator): self.digest.worker}

    @property
    def summarising_workers(self) -> list[str]:
        """The workers that summarised something."""
        return sorted({summary.worker for summary in self.digest.summaries})


def read_folder(folder: Path | None) -> dict[str, str]:
    """The texts of a folder and those below it, by the path from where the folder is.

    Args:
        folder: Where to look; None for ``docs`` here, and the README beside it.

    Raises:
        SampleFailed: There is no such folder, or no text in it, or one that cannot be read.
    """
    chosen = DEFAULT_FOLDER if folder is None else folder
    if not chosen.is_dir():
        msg = f"there is no folder {chosen}: name one that has {_kinds()} files with --folder"
        raise SampleFailed(msg)
    paths = sorted(path for path in chosen.rglob("*") if _is_text(path, chosen))
    if folder is None:
        paths = [path for path in [Path("README.md")] if path.is_file()] + paths
    texts = {path.relative_to(chosen.parent).as_posix(): _read(path) for path in paths}
    found = {name: text for name, text in texts.items() if text.strip()}
    if not found:
        msg = f"there is no {_kinds()} file with text in {chosen}"
        raise SampleFailed(msg)
    return found


async def make_digest(
    runtime: AgentRuntime, files: Mapping[str, str], *, deadline_s: float = DEFAULT_DEADLINE_S
) -> Report:
    """Publish ``files`` and get the digest of them.

    Raises:
        SampleFailed: Some were not summarised within ``deadline_s``; the text names them.
    """
    began = perf_counter()
    run = uuid4().hex[:8]
    collator = AgentId(COLLATOR, run)
    # No agent of this process handles a Digest, so nobody has told the runtime how to read one.
    runtime.add_message_serializer(try_get_known_serializers_for_type(Digest))
    is_complete = asyncio.Event()

    async def on_complete(
        _context: ClosureContext, _message: Complete, ctx: MessageContext
    ) -> None:
        if ctx.topic_id == TopicId(COMPLETE_TOPIC, run):
            is_complete.set()

    # An agent in this process hears the collator's event: nobody polls, no call is kept waiting.
    # Its type has the run in its name: agents of one type are spread over all who serve it.
    listener = f"digest-listener-{run}"
    subscription = TypeSubscription(COMPLETE_TOPIC, listener)
    await ClosureAgent.register_closure(
        runtime, listener, on_complete, subscriptions=lambda: [subscription]
    )
    try:
        # Answered before the first file leaves: the collator knows what it waits for.
        await runtime.send_message(Expect(list(files)), collator, timeout_s=CALL_TIMEOUT_S)
        for name, text in files.items():
            await _publish(runtime, FileText(run, name, text))
        published = perf_counter()
        with suppress(TimeoutError):
            await asyncio.wait_for(is_complete.wait(), deadline_s)
        digest = await runtime.send_message(GetDigest(), collator, timeout_s=CALL_TIMEOUT_S)
    finally:
        await runtime.remove_subscription(subscription.id)
    if digest.missing:
        msg = (
            f"{len(digest.missing)} of {len(files)} files were not summarised within "
            f"{deadline_s:g} s: {', '.join(digest.missing)}"
        )
        raise SampleFailed(msg)
    return Report(collator, digest, published - began, perf_counter() - began)


def check_workers(report: Report, wanted: int) -> None:
    """Raise `SampleFailed` unless at least ``wanted`` workers summarised files."""
    workers = report.summarising_workers
    if len(workers) >= wanted:
        return
    files = len(report.digest.summaries)
    if files < wanted:
        msg = (
            f"{files} file{'s' * (files != 1)} cannot keep {wanted} workers busy, since each file "
            f"has one agent, on one worker: name a folder with {wanted} files or more"
        )
    else:
        msg = (
            f"{files} files were summarised by {' and '.join(workers)} alone, wanted were {wanted} "
            "workers. Agents are placed by a hash of their ids: is there another worker, and are "
            "there more than a handful of files?"
        )
    raise SampleFailed(msg)


async def _publish(runtime: AgentRuntime, file: FileText) -> None:
    try:
        await runtime.publish_message(file, TopicId(FILE_TOPIC, file.name))
    except (InvalidIdentifier, ResourceExhausted) as error:
        msg = f"cannot publish {file.name}: {error}"
        raise SampleFailed(msg) from error


def _is_text(path: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not is_hidden and path.suffix.lower() in SUFFIXES and path.is_file()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {path} as UTF-8 text: {error}"
        raise SampleFailed(msg) from error


def _kinds() -> str:
    return " or ".join(sorted(SUFFIXES))
