"""What workers and other clients of a host are told from outside."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from callboard.agent.deactivation import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_MAX_INSTANCES
from callboard.core.identity import check_key
from callboard.wire.endpoint import check_endpoint
from callboard.worker.runtime import (
    DEFAULT_CONNECT_TIMEOUT_S,
    DEFAULT_DRAIN_TIMEOUT_S,
    DEFAULT_HOST_ADDRESS,
    WorkerRuntime,
)


def _checked_client_id(value: str) -> str:
    check_key("client id", value)
    return value


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ListenAddress = Annotated[
    str, AfterValidator(lambda value: check_endpoint(value, may_be_free=True))
]
HostAddress = Annotated[
    str, AfterValidator(lambda value: check_endpoint(value.removeprefix("http://").rstrip("/")))
]


class ClientSettings(BaseSettings):
    """How to reach a host; each is read from ``CALLBOARD_`` and its name in capitals.

    Attributes:
        host: The host, as ``host:port``.
        connect_timeout_s: Seconds to look for it; 0 gives up at once.
    """

    model_config = SettingsConfigDict(env_prefix="CALLBOARD_", extra="ignore", frozen=True)

    host: HostAddress = DEFAULT_HOST_ADDRESS
    connect_timeout_s: Seconds = DEFAULT_CONNECT_TIMEOUT_S

    def runtime(self) -> WorkerRuntime:
        """A runtime that is not started yet."""
        return WorkerRuntime(
            self.host,
            connect_timeout_s=self.connect_timeout_s,
            reconnect_timeout_s=self.connect_timeout_s,
        )


class WorkerSettings(ClientSettings):
    """The settings of a worker.

    Attributes:
        reconnect_timeout_s: Seconds to look again for a host that was lost; None: until it is
            stopped. Other clients look as long as they do at first.
        drain_timeout_s: Seconds that turns may go on once the worker is asked to leave.
        client_id: Names the worker over restarts, so that its agents come back to it; None makes
            a new name for each process.
        idle_timeout_s: Seconds that an agent may be idle before it is closed; 0: for ever.
        max_instances: Agents that there may be before those idle longest are closed.
        health_address: Where to answer probes, as ``host:port``; port 0 takes a free one, None
            answers none. See `callboard.worker.health`.
    """

    reconnect_timeout_s: Seconds | None = None
    drain_timeout_s: Seconds = DEFAULT_DRAIN_TIMEOUT_S
    client_id: Annotated[str, AfterValidator(_checked_client_id)] | None = None
    idle_timeout_s: Seconds = DEFAULT_IDLE_TIMEOUT_S
    max_instances: Annotated[int, Field(ge=0)] = DEFAULT_MAX_INSTANCES
    health_address: ListenAddress | None = None

    def runtime(self) -> WorkerRuntime:
        """A runtime that is not started yet."""
        return WorkerRuntime(
            self.host,
            client_id=self.client_id,
            connect_timeout_s=self.connect_timeout_s,
            reconnect_timeout_s=self.reconnect_timeout_s,
            drain_timeout_s=self.drain_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
            max_instances=self.max_instances,
        )
