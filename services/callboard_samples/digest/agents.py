"""The agents of the digest: one for each file that summarises it, one for each run that collates.

::

    driver ==Expect==> collator/<run>
    driver --FileText--> summariser/<file> --Summary--> collator/<run> --Complete--> driver
    driver ==GetDigest==> collator/<run>           (== is a call, -- an event)

No handler waits for an event. An agent takes one message at a time: a call to the collator that
waited for the last summary would keep that very summary from being handled. So calls are answered
at once from what is there, and the collator says by an event when it is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from callboard import (
    AgentRuntime,
    MessageContext,
    RoutedAgent,
    TopicId,
    event,
    rpc,
    type_subscription,
)
from callboard_samples.command import place_of
from callboard_samples.digest.prose import read_markdown
from callboard_samples.digest.summary import summarise

SUMMARISER = "summariser"
COLLATOR = "collator"

FILE_TOPIC = "digest.file"
SUMMARY_TOPIC = "digest.summary"
COMPLETE_TOPIC = "digest.complete"


@dataclass(frozen=True)
class FileText:
    """A file to summarise. Its name is its topic's source, and so becomes the agent's key."""

    run: str
    name: str
    text: str


@dataclass(frozen=True)
class Summary:
    """What a file says.

    Attributes:
        name: The file's name.
        title: Its first heading, or else its name.
        sentences: Empty when there are none in the file.
        worker: Where it was made.
        seconds: How long that took.
    """

    name: str
    title: str
    sentences: list[str]
    worker: str
    seconds: float


@dataclass(frozen=True)
class Expect:
    """A call: these files will come. It is made before they are published."""

    names: list[str]


@dataclass(frozen=True)
class Complete:
    """All expected summaries are there."""

    count: int


@dataclass(frozen=True)
class GetDigest:
    """A call: what have you got?"""


@dataclass(frozen=True)
class Digest:
    """The summaries that have arrived, in the order of the files expected."""

    worker: str
    summaries: list[Summary] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@type_subscription(FILE_TOPIC)
class Summariser(RoutedAgent):
    """Summarises one file: each has an instance of its own, on whichever worker it is placed."""

    def __init__(self, worker: str) -> None:
        super().__init__("Summarises a text by its own sentences.")
        self._worker = worker

    @event
    async def on_file(self, message: FileText, ctx: MessageContext) -> None:
        """Read, rank, publish."""
        began = perf_counter()
        prose = read_markdown(message.text)
        summary = Summary(
            name=message.name,
            title=prose.title or message.name,
            sentences=list(summarise(prose)),
            worker=self._worker,
            seconds=perf_counter() - began,
        )
        await self.publish_message(summary, TopicId(SUMMARY_TOPIC, message.run))


@type_subscription(SUMMARY_TOPIC)
class Collator(RoutedAgent):
    """Gathers the summaries of one run: its key is the run's name."""

    def __init__(self, worker: str) -> None:
        super().__init__("Puts summaries together.")
        self._worker = worker
        self._expected: list[str] = []
        self._summaries: dict[str, Summary] = {}

    @rpc
    async def expect(self, message: Expect, ctx: MessageContext) -> None:
        """Note what will come."""
        self._expected = message.names

    @event
    async def on_summary(self, message: Summary, ctx: MessageContext) -> None:
        """Keep a summary; tell when it was the last.

        By name, not in a list: an event may come twice, and then nothing must change.
        """
        self._summaries[message.name] = message
        if self._expected and not self._missing():
            complete = Complete(len(self._expected))
            await self.publish_message(complete, TopicId(COMPLETE_TOPIC, self.id.key))

    @rpc
    async def digest(self, message: GetDigest, ctx: MessageContext) -> Digest:
        """What is there by now."""
        return self._collected()

    def _collected(self) -> Digest:
        summaries = [self._summaries[name] for name in self._expected if name in self._summaries]
        return Digest(self._worker, summaries, self._missing())

    def _missing(self) -> list[str]:
        return [name for name in self._expected if name not in self._summaries]


async def setup(runtime: AgentRuntime) -> None:
    """Serve both agent types: ``callboard worker callboard_samples.digest:setup``."""
    worker = place_of(runtime)
    await Summariser.register(runtime, SUMMARISER, lambda: Summariser(worker))
    await Collator.register(runtime, COLLATOR, lambda: Collator(worker))
