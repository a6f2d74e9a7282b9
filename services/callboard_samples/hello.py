"""Two agents greet each other five times each, and stop.

In one process::

    python -m callboard_samples.hello

In four, each in a terminal of its own::

    callboard host
    callboard worker callboard_samples.hello:ping
    callboard worker callboard_samples.hello:pong
    python -m callboard_samples.hello --host 127.0.0.1:50051
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass
from uuid import uuid4

from callboard import (
    AgentRuntime,
    ClosureAgent,
    ClosureContext,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    TypeSubscription,
    default_subscription,
    event,
)
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime
from callboard_samples.command import PATIENCE_S, SampleFailed, place_of, run

GREETINGS_EACH = 5
AGENT_TYPES = ("ping", "pong")
DEFAULT_DEADLINE_S = 15.0


@dataclass(frozen=True)
class Greeting:
    """What the agents say to each other.

    Attributes:
        author: The agent's type; empty for the event that starts the round.
        number: How many its author has published, this one included.
        worker: Where the author runs.
    """

    author: str = ""
    number: int = 0
    worker: str = ""


@default_subscription
class Greeter(RoutedAgent):
    """Answers a greeting with a greeting, until it has published five."""

    def __init__(self, worker: str) -> None:
        super().__init__("Greets whoever greets it.")
        self._worker = worker
        self._published = 0

    @event
    async def on_greeting(self, message: Greeting, ctx: MessageContext) -> None:
        """Never its own: an event does not come back to the agent that published it."""
        if self._published == GREETINGS_EACH:
            return
        self._published += 1
        # In a handler the default topic's source is the agent's key: the answer stays in the round.
        await self.publish_message(
            Greeting(self.type, self._published, self._worker), DefaultTopicId()
        )


async def ping(runtime: AgentRuntime) -> None:
    """Serve the first agent type: ``callboard worker callboard_samples.hello:ping``."""
    await _serve(runtime, "ping")


async def pong(runtime: AgentRuntime) -> None:
    """Serve the other: ``callboard worker callboard_samples.hello:pong``."""
    await _serve(runtime, "pong")


async def _serve(runtime: AgentRuntime, agent_type: str) -> None:
    worker = place_of(runtime)
    await Greeter.register(runtime, agent_type, lambda: Greeter(worker))


async def play(runtime: AgentRuntime, *, deadline_s: float = DEFAULT_DEADLINE_S) -> list[Greeting]:
    """Start a round and listen until both agents have said all; what they said, as it came in.

    Raises:
        SampleFailed: It took longer than ``deadline_s``.
    """
    # A topic source of its own gives the round agents of its own, however many rounds go on.
    round_id = uuid4().hex[:8]
    wanted = GREETINGS_EACH * len(AGENT_TYPES)
    heard: list[Greeting] = []
    all_heard = asyncio.Event()

    async def listen(_context: ClosureContext, message: Greeting, ctx: MessageContext) -> None:
        if message.author and ctx.topic_id == DefaultTopicId(source=round_id):
            heard.append(message)
            if len(heard) == wanted:
                all_heard.set()

    # A type of its own too: the agents of one type are spread over all that serve it.
    listener = f"hello-listener-{round_id}"
    subscription = TypeSubscription("default", listener)
    await ClosureAgent.register_closure(
        runtime, listener, listen, subscriptions=lambda: [subscription]
    )
    try:
        async with asyncio.timeout(deadline_s):
            await runtime.publish_message(Greeting(), DefaultTopicId(source=round_id))
            await all_heard.wait()
    except TimeoutError as error:
        msg = (
            f"heard {len(heard)} of {wanted} greetings within {deadline_s:g} s; "
            f"is there a worker for each of {' and '.join(AGENT_TYPES)}?"
        )
        raise SampleFailed(msg) from error
    finally:
        await runtime.remove_subscription(subscription.id)
    return heard


def show(heard: list[Greeting]) -> None:
    """Print what was said."""
    for greeting in heard:
        print(
            f"{greeting.author}: hello {greeting.number} of {GREETINGS_EACH}  ({greeting.worker})"
        )


async def main(host: str | None) -> None:
    """Play one round, with the workers at ``host`` or, without one, all in this process."""
    if host is not None:
        async with WorkerRuntime(host, reconnect_timeout_s=PATIENCE_S) as worker:
            show(await play(worker))
        return
    async with LocalRuntime() as runtime:
        await ping(runtime)
        await pong(runtime)
        show(await play(runtime))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m callboard_samples.hello", description=main.__doc__
    )
    parser.add_argument(
        "--host", metavar="ADDRESS", help="as host:port; without it, no host is needed"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(main(parse_arguments().host)))
