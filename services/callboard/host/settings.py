"""What a host is told from outside: environment variables, and the command line over them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from callboard.core.broker import BrokerLimits
from callboard.engine.contract import Engine
from callboard.engine.memory import MemoryEngine
from callboard.engine.sqlite import SqliteEngine
from callboard.host.autogen.client import MESSAGE_BYTES
from callboard.host.host import DEFAULT_ADDRESS
from callboard.wire.endpoint import check_endpoint

_LIMITS = BrokerLimits()

ListenAddress = Annotated[
    str, AfterValidator(lambda value: check_endpoint(value, may_be_free=True))
]


PositiveSeconds = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
LeaseSeconds = Annotated[float, Field(ge=1, le=3600)]
"""Within a third of it a beat has to be answered; it travels in whole milliseconds."""


class HostSettings(BaseSettings):
    """The settings of a host; each is read from ``CALLBOARD_`` and its name in capitals.

    Attributes:
        address: Where to serve workers, as ``host:port``; port 0 takes a free one.
        operators_address: Where to serve tools; None is the next port up, or a free one for port 0.
        engine: Where events are kept.
        data: The directory in which the engine keeps them, if it outlives the process.
        partitions: As in `BrokerLimits`, like all below.
        delivery_window: Deliveries out by agent type and session.
        agent_share: Deliveries out for one agent; at most ``delivery_window``.
        ahead_s: How many seconds of work may be out for one agent, by how long its turns take.
        publish_window: Publishes that a session may have unacknowledged.
        max_types: Agent types that are kept, those without a worker included.
        type_retention_s: How long a durable agent type is kept without a worker.
        max_subscriptions: Subscriptions that are kept, of all workers together.
        max_event_bytes: The largest encoded event, call payload or reply payload.
        max_type_events: Events queued and out for one agent type, beyond which publishers wait.
        max_type_bytes: The same in bytes; None is a quarter of ``max_queued_bytes``: twice as much,
            which turns may bring there, leaves room for other types.
        max_queued_bytes: All events queued, out and waiting for room, together.
        memory_bytes: How much of what is queued the host has in memory, if its engine outlives it.
        max_exclusive_bytes: Events queued and out for one worker of AutoGen's.
        max_calls_waiting: Calls that may wait for one agent whose partition has no holder.
        max_open_calls: Calls that one worker may have open.
        max_unread_bytes: Calls and answers that may wait until one worker reads them.
        lease_s: How long a worker may be silent before it loses what it holds.
        lease_margin_s: How much longer the host waits before it gives that to others.
        call_timeout_s: The deadline of a call that names none.
        autogen_message_bytes: The largest message that workers of AutoGen read, encoded.
    """

    model_config = SettingsConfigDict(env_prefix="CALLBOARD_", extra="ignore", frozen=True)

    address: ListenAddress = DEFAULT_ADDRESS
    operators_address: ListenAddress | None = None
    engine: Literal["memory", "sqlite"] = "memory"
    data: Path = Path("callboard-data")
    partitions: PositiveInt = _LIMITS.partitions
    delivery_window: PositiveInt = _LIMITS.delivery_window
    agent_share: PositiveInt = _LIMITS.agent_share
    ahead_s: PositiveSeconds = _LIMITS.ahead_s
    publish_window: PositiveInt = _LIMITS.publish_window
    max_types: PositiveInt = _LIMITS.max_types
    type_retention_s: PositiveSeconds = _LIMITS.type_retention_s
    max_subscriptions: PositiveInt = _LIMITS.max_subscriptions
    max_event_bytes: PositiveInt = _LIMITS.max_event_bytes
    max_type_events: PositiveInt = _LIMITS.max_type_events
    max_type_bytes: PositiveInt | None = None
    max_queued_bytes: PositiveInt = _LIMITS.max_queued_bytes
    memory_bytes: PositiveInt = _LIMITS.memory_bytes
    max_exclusive_bytes: PositiveInt = _LIMITS.max_exclusive_bytes
    max_calls_waiting: PositiveInt = _LIMITS.max_calls_waiting
    max_open_calls: PositiveInt = _LIMITS.max_open_calls
    max_unread_bytes: PositiveInt = _LIMITS.max_unread_bytes
    lease_s: LeaseSeconds = _LIMITS.lease_s
    lease_margin_s: PositiveSeconds = _LIMITS.lease_margin_s
    call_timeout_s: PositiveSeconds = _LIMITS.call_timeout_s
    autogen_message_bytes: PositiveInt = MESSAGE_BYTES

    @model_validator(mode="after")
    def _agent_share_fits(self) -> Self:
        if self.agent_share > self.delivery_window:
            msg = (
                f"CALLBOARD_AGENT_SHARE is {self.agent_share}, "
                f"more than CALLBOARD_DELIVERY_WINDOW, {self.delivery_window}"
            )
            raise ValueError(msg)
        return self

    def new_engine(self) -> Engine:
        """Where events are kept; opened by the host."""
        match self.engine:
            case "memory":
                return MemoryEngine()
            case "sqlite":
                return SqliteEngine(self.data, publish_window=self.publish_window)

    @property
    def limits(self) -> BrokerLimits:
        """The bounds that the broker keeps."""
        return BrokerLimits(
            partitions=self.partitions,
            delivery_window=self.delivery_window,
            agent_share=self.agent_share,
            ahead_s=self.ahead_s,
            publish_window=self.publish_window,
            max_types=self.max_types,
            type_retention_s=self.type_retention_s,
            max_subscriptions=self.max_subscriptions,
            max_event_bytes=self.max_event_bytes,
            max_type_events=self.max_type_events,
            max_type_bytes=self.max_type_bytes or max(1, self.max_queued_bytes // 4),
            max_queued_bytes=self.max_queued_bytes,
            memory_bytes=self.memory_bytes,
            max_exclusive_bytes=self.max_exclusive_bytes,
            max_calls_waiting=self.max_calls_waiting,
            max_open_calls=self.max_open_calls,
            max_unread_bytes=self.max_unread_bytes,
            lease_s=self.lease_s,
            lease_margin_s=self.lease_margin_s,
            call_timeout_s=self.call_timeout_s,
        )
