"""One turn, the agent that it is a turn of, and what arrives for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from callboard.agent.cancellation import CancellationToken
from callboard.agent.instantiation import MessageHandlerContext
from callboard.core.envelope import Envelope
from callboard.core.errors import CallboardError
from callboard.core.event import Delivery, Grant, TurnId
from callboard.core.frames import ACCEPTED, Outcome, Released, Reply
from callboard.core.identity import AgentId
from callboard.core.retry import DEFAULT_POLICY, Policy
from callboard.core.turns import Mailbox
from callboard.log import Logger

if TYPE_CHECKING:
    from callboard.agent.agent import Agent
    from callboard.agent.streaming import StreamCredit

log = Logger(__name__)

CURRENT_TURN: ContextVar[Turn | None] = ContextVar("callboard_turn", default=None)
"""The turn whose handler runs. A task that the handler leaves behind still sees it, ended."""


@dataclass(frozen=True, slots=True)
class AgentFactory:
    """How the agents of one type come into being.

    Attributes:
        make: Gives an agent, or an awaitable of one.
        expected_class: What it must be an instance of; None: anything.
        policy: How turns of events that fail are treated.
        makes_new: Whether each instance is made for this runtime, which closes it when it lets it
            go.
    """

    make: Callable[[], Any]
    expected_class: type | None = None
    makes_new: bool = True
    policy: Policy = DEFAULT_POLICY


class Incoming:
    """An event as it came, decoded once for all of this process's agents that it is for."""

    __slots__ = ("_decode", "_decoded", "_envelope", "_read", "content")

    def __init__(
        self,
        content: bytes,
        decode: Callable[[bytes], Envelope],
        read: Callable[[Envelope], Any],
    ) -> None:
        self.content = content
        self._decode = decode
        self._read = read
        self._envelope: Envelope | None = None
        self._decoded: tuple[Envelope, Any] | None = None

    def envelope(self) -> Envelope:
        """What was sent about the message. Raises `InvalidMessage`."""
        if self._envelope is None:
            self._envelope = self._decode(self.content)
        return self._envelope

    def decoded(self) -> tuple[Envelope, Any]:
        """What was sent about the message, and the message. Raises `InvalidMessage`."""
        if self._decoded is None:
            envelope = self.envelope()
            self._decoded = envelope, self._read(envelope)
        return self._decoded


@dataclass(frozen=True, slots=True)
class Release:
    """A delivery that goes back to the host, when all that ended before is told.

    Attributes:
        place: Where it was in the mailbox: see `GivenBack`.
    """

    place: int
    delivery: Delivery
    outcome: Released
    era: int
    unconfirmed: ClassVar[int] = 0


class Activation:
    """One agent that is active here.

    Attributes:
        grant: The one under which something was last taken in for it; None: of none that counts.
        era: Rises when what it has is cut off: others may have the agent.
        place: Its type and partition.
        instance: The agent; None as long as no message has made it.
        server_count: How many tasks run what is in the mailbox.
        making: Done when the instance that is being made is there, or cannot be made.
        closing: Done when the instance that there was is closed; None when none is being closed.
        is_made: Whether the instance was made for this runtime, which closes it.
        is_retired: Whether the instance is to be closed when the turn that it runs has ended.
        untold_count: Turns that have begun and whose ends are not told.
        ended: The turns of events among them that have ended, in order, and what was given back
            after them.
    """

    __slots__ = (
        "agent_id",
        "closing",
        "ended",
        "era",
        "grant",
        "instance",
        "is_made",
        "is_retired",
        "mailbox",
        "making",
        "place",
        "server_count",
        "untold_count",
    )

    def __init__(self, agent_id: AgentId, max_calls_waiting: int, max_concurrency: int) -> None:
        self.agent_id = agent_id
        self.grant: Grant | None = None
        self.era = 0
        self.place = (agent_id.type, 0)
        self.mailbox: Mailbox[Incoming] = Mailbox(max_calls_waiting, max_concurrency)
        self.instance: Agent | None = None
        self.making: asyncio.Future[None] | None = None
        self.closing: asyncio.Future[None] | None = None
        self.is_made = False
        self.is_retired = False
        self.server_count = 0
        self.untold_count = 0
        self.ended: deque[Turn | Release] = deque()

    @property
    def partition(self) -> int:
        """The slice of its type that it belongs to."""
        return self.place[1]

    @property
    def held(self) -> list[Delivery]:
        """Events that wait, that are given back, and whose turns have ended, that are to be told.

        None of those that were cut off: see `era`.
        """
        ended = [
            each.delivery
            for each in self.ended
            if each.delivery is not None and each.era == self.era
        ]
        return [*ended, *self.mailbox.held]

    def lift_fence(self, unanswered: Container[int]) -> None:
        """Another host is there: see `Mailbox.lift_fence`.

        What is told last is the release that the fence is for.
        """
        if not any(isinstance(each, Release) and each.era == self.era for each in self.ended):
            self.mailbox.lift_fence(unanswered)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, runs, is being made or closed, or is still to be told."""
        return (
            self.mailbox.is_idle
            and not self.untold_count
            and self.making is None
            and self.closing is None
        )


class TurnOwner(Protocol):
    """Who runs turns."""

    def tell(self, turn: Turn) -> None:
        """``turn`` has ended, and all that it published is confirmed or refused."""
        ...


class Turn:
    """One message being handled by one agent.

    Attributes:
        id: Names it to the host, as the parent of calls made in it.
        owner: Who runs it. A program may have several runtimes, which know nothing of each other.
        era: Of its agent when it began, for an event, of the runner for a call: when it is another,
            nobody is to hear how it ends.
        is_open: Whether it has not ended.
        is_dropped: Whether it ended with its runtime: nothing is told of it.
        place: Where its event was in the mailbox; 0 for a call.
        token: Cancelled when the result is no longer wanted.
        outcome: How its delivery ends; None when it does not, as another attempt follows.
        credit: How many answers the caller of a streamed call has room for; None for another turn.
    """

    __slots__ = (
        "_task",
        "activation",
        "credit",
        "delivery",
        "era",
        "error",
        "id",
        "is_cancelled",
        "is_dropped",
        "is_open",
        "outcome",
        "owner",
        "place",
        "reply",
        "token",
        "unconfirmed",
    )

    def __init__(
        self,
        activation: Activation,
        id: TurnId,
        delivery: Delivery | None,
        owner: TurnOwner,
    ) -> None:
        self._task: asyncio.Task[Any] | None = None
        self.activation = activation
        self.id = id
        self.delivery = delivery
        self.era = 0
        self.place = activation.mailbox.place_of(id)
        self.owner = owner
        self.token = CancellationToken()
        self.is_open = True
        self.is_dropped = False
        self.is_cancelled = False
        self.unconfirmed = 0
        self.error: CallboardError | None = None
        self.outcome: Outcome | None = ACCEPTED
        self.reply: Reply | None = None
        self.credit: StreamCredit | None = None

    def enter(self, task: asyncio.Task[Any] | None) -> None:
        """``task``, which runs it, has begun. Raises `CancelledError` when it need not go on.

        A task that is cancelled before its first step would never say how its turn ended. What is
        set here is seen by this turn alone: each runs in a context of its own.
        """
        CURRENT_TURN.set(self)
        MessageHandlerContext.enter(self.activation.agent_id)
        self._task = task
        if self.is_cancelled:
            raise asyncio.CancelledError

    def is_run_by(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether ``task`` is the one that runs it, and not one that its handler has started."""
        return task is self._task

    def begin_publish(self) -> None:
        """The handler has published something that the host has not confirmed."""
        self.unconfirmed += 1

    def end_publish(self, error: CallboardError | None) -> None:
        """The host has confirmed or refused it.

        A refusal fails the turn, also after its handler returned.
        """
        self.unconfirmed -= 1
        if error is not None and self.error is None:
            self.error = error
        if not self.is_open and not self.unconfirmed and not self.is_dropped:
            self.owner.tell(self)

    def cancel(self) -> None:
        """The result is no longer wanted: tell the handler by its token, then interrupt it."""
        try:
            self.token.cancel()
        except Exception as error:
            # What an agent's code linked to its token must not reach whoever brings the wish.
            agent_type = self.activation.agent_id.type
            log.warning("token's callback failed", agent_type=agent_type, exc_info=error)
        if self.is_open and not self.is_cancelled:
            self.is_cancelled = True
            if self._task is not None:
                self._task.cancel()
