"""One event and one call, there and back over a host: shows that it does what it is there for.

::

    python -m callboard_samples.roundtrip --host 127.0.0.1:50051

It needs no worker: it opens two sessions, serves an agent in one and uses it from the other. The
agent's type is its own and ends with its session, so that nothing is left at the host, and any
number of round trips can be made at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar
from uuid import uuid4

from callboard import (
    AgentId,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
)
from callboard.worker import WorkerRuntime
from callboard_samples.command import SampleFailed, run

DEFAULT_DEADLINE_S = 10.0
DRAIN_TIMEOUT_S = 1.0
"""How long a session may take to leave; a host that does not answer is not waited for."""


@dataclass(frozen=True)
class There:
    """What travels to the agent.

    Attributes:
        answer_to: The topic type for the answer to an event; a call is answered with its reply.
    """

    text: str
    answer_to: str = ""


@dataclass(frozen=True)
class Back:
    """What the agent makes of it."""

    text: str


class Echo(RoutedAgent):
    """Sends back what it gets, by the way by which it came."""

    durable: ClassVar[bool] = False  # its type ends with the session

    @event
    async def on_event(self, message: There, ctx: MessageContext) -> None:
        """An event for an event."""
        await self.publish_message(Back(message.text), TopicId(message.answer_to, self.id.key))

    @rpc
    async def on_call(self, message: There, ctx: MessageContext) -> Back:
        """A reply for a call."""
        return Back(message.text)


@dataclass(frozen=True, slots=True)
class Times:
    """How long each took, in seconds: to open both sessions, the event, the call."""

    sessions_s: float
    event_s: float
    call_s: float


async def go(host: str, *, deadline_s: float = DEFAULT_DEADLINE_S) -> Times:
    """Make one round trip over the host at that address.

    Raises:
        SampleFailed: It was not done within ``deadline_s``, or brought back something else; the
            text says how far it came.
        CallboardError: The host is not there, or refused something.
    """
    step = "opening two sessions"

    def now_comes(next_step: str) -> None:
        nonlocal step
        step = next_step

    try:
        async with asyncio.timeout(deadline_s):
            return await _go(host, deadline_s, now_comes)
    except TimeoutError as error:
        msg = f"no round trip over {host} within {deadline_s:g} s: it got as far as {step}"
        raise SampleFailed(msg) from error


async def _go(host: str, deadline_s: float, now_comes: Callable[[str], None]) -> Times:
    name = uuid4().hex[:8]
    began = perf_counter()
    async with (
        _session(host, deadline_s) as far,
        _session(host, deadline_s) as near,
    ):
        opened = perf_counter()
        now_comes("registering an agent")
        echo = await _serve_echo(far, name)
        heard = await _listen(near, name)
        text = f"round trip {name}"

        now_comes("publishing an event and waiting for the answer")
        published = perf_counter()
        there = There(text, answer_to=f"roundtrip.back.{name}")
        await near.publish_message(there, TopicId(f"roundtrip.there.{name}", name))
        _check(await heard, text)
        answered = perf_counter()

        now_comes("calling the agent")
        _check(await near.send_message(There(text), echo, timeout_s=deadline_s), text)
        times = Times(opened - began, answered - published, perf_counter() - answered)
        now_comes("leaving")
    return times


def _session(host: str, deadline_s: float) -> WorkerRuntime:
    return WorkerRuntime(host, connect_timeout_s=deadline_s, drain_timeout_s=DRAIN_TIMEOUT_S)


async def _serve_echo(runtime: WorkerRuntime, name: str) -> AgentId:
    """Serve an agent that hears of ``roundtrip.there``; its id."""
    agent_type = f"roundtrip-echo-{name}"
    await Echo.register(runtime, agent_type, lambda: Echo("Sends back what it gets."))
    await runtime.add_subscription(TypeSubscription(f"roundtrip.there.{name}", agent_type))
    return AgentId(agent_type, name)


async def _listen(runtime: WorkerRuntime, name: str) -> asyncio.Future[Back]:
    """Hear of ``roundtrip.back``; ends with the first answer."""
    heard: asyncio.Future[Back] = asyncio.get_running_loop().create_future()

    async def listen(_context: ClosureContext, message: Back, _ctx: MessageContext) -> None:
        if not heard.done():
            heard.set_result(message)

    listener = f"roundtrip-listener-{name}"
    subscription = TypeSubscription(f"roundtrip.back.{name}", listener)
    await ClosureAgent.register_closure(
        runtime, listener, listen, subscriptions=lambda: [subscription]
    )
    return heard


def _check(back: Back, text: str) -> None:
    if back != Back(text):
        msg = f"sent {text!r}, and {back!r} came back"
        raise SampleFailed(msg)


async def main(host: str, deadline_s: float) -> None:
    """Publish an event to an agent of this program and call it, both over a host."""
    times = await go(host, deadline_s=deadline_s)
    print(
        f"{host}: two sessions in {_ms(times.sessions_s)}, "
        f"an event there and back in {_ms(times.event_s)}, a call in {_ms(times.call_s)}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m callboard_samples.roundtrip", description=main.__doc__
    )
    parser.add_argument("--host", metavar="ADDRESS", required=True, help="as host:port")
    parser.add_argument(
        "--deadline",
        type=float,
        default=DEFAULT_DEADLINE_S,
        metavar="SECONDS",
        help="how long all of it may take; default: %(default)g",
    )
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    sys.exit(run(main(arguments.host, arguments.deadline)))
