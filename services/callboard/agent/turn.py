"""One turn, the agent that it is a turn of, and what arrives for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callboard.agent.cancellation import CancellationToken
from callboard.core.envelope import Envelope
from callboard.core.errors import CallboardError
from callboard.core.event import Delivery, TurnId
from callboard.core.frames import ACCEPTED, Outcome, Reply
from callboard.core.identity import AgentId
from callboard.core.turns import Mailbox

if TYPE_CHECKING:
    from callboard.agent.agent import Agent

CURRENT_TURN: ContextVar[Turn | None] = ContextVar("callboard_turn", default=None)
"""The turn whose handler runs. A task that the handler leaves behind still sees it, closed."""


@dataclass(frozen=True, slots=True)
class AgentFactory:
    """How the agents of one type come into being.

    Attributes:
        make: Gives an agent, or an awaitable of one.
        expected_class: What it must be an instance of; None: anything.
        makes_new: Whether each instance is made for this runtime, which closes it when it lets it
            go.
    """

    make: Callable[[], Any]
    expected_class: type | None = None
    makes_new: bool = True


class Incoming:
    """An event as it came, decoded once for all of this process's agents that it is for."""

    __slots__ = ("_decode", "_decoded", "content")

    def __init__(self, content: bytes, decode: Callable[[bytes], tuple[Envelope, Any]]) -> None:
        self.content = content
        self._decode = decode
        self._decoded: tuple[Envelope, Any] | None = None

    def decoded(self) -> tuple[Envelope, Any]:
        """What was sent about the message, and the message. Raises `InvalidMessage`."""
        if self._decoded is None:
            self._decoded = self._decode(self.content)
        return self._decoded


class Activation:
    """One agent that is active here.

    Its instance, its mailbox, the turns whose ends are not told yet.
    """

    __slots__ = (
        "agent_id",
        "ended",
        "instance",
        "is_served",
        "mailbox",
        "making",
        "partition",
        "turns",
    )

    def __init__(self, agent_id: AgentId, partition: int, max_calls_waiting: int) -> None:
        self.agent_id = agent_id
        self.partition = partition
        self.mailbox: Mailbox[Incoming] = Mailbox(max_calls_waiting)
        self.instance: Agent | None = None
        self.making: asyncio.Future[None] | None = None
        self.is_served = False
        self.turns: dict[TurnId, Turn] = {}
        self.ended: deque[Turn] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, runs, or is still to be told."""
        return self.mailbox.is_idle and not self.turns and not self.ended


class Turn:
    """One message being handled by one agent.

    Attributes:
        id: Names it to the host, as the parent of calls made in it.
        is_open: Whether its handler is still running.
        token: Cancelled when the result is no longer wanted.
    """

    __slots__ = (
        "_tell",
        "activation",
        "delivery",
        "error",
        "id",
        "is_cancelled",
        "is_open",
        "outcome",
        "reply",
        "task",
        "token",
        "unconfirmed",
    )

    def __init__(
        self,
        activation: Activation,
        id: TurnId,
        delivery: Delivery | None,
        tell: Callable[[Turn], None],
    ) -> None:
        self._tell = tell
        self.activation = activation
        self.id = id
        self.delivery = delivery
        self.token = CancellationToken()
        self.task: asyncio.Task[None] | None = None
        self.is_open = True
        self.is_cancelled = False
        self.unconfirmed = 0
        self.error: CallboardError | None = None
        self.outcome: Outcome = ACCEPTED
        self.reply: Reply | None = None

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
        if not self.is_open and not self.unconfirmed:
            self._tell(self)

    def cancel(self) -> None:
        """The result is no longer wanted: tell the handler by its token, then interrupt it."""
        self.token.cancel()
        if self.is_open and not self.is_cancelled and self.task is not None:
            self.is_cancelled = True
            self.task.cancel()
