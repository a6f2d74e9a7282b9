"""What the host of this version can do."""

from __future__ import annotations

from typing import get_args

from callboard.host.settings import HostSettings


def has_durable_engine() -> bool:
    """Whether it can be killed and forgets nothing."""
    return "sqlite" in get_args(HostSettings.model_fields["engine"].annotation)


def has_type_bounds() -> bool:
    """Whether one type can be full while others have room."""
    return "max_type_bytes" in HostSettings.model_fields
