"""What the host of this version can do."""

from __future__ import annotations

from callboard.host.settings import HostSettings


def has_type_bounds() -> bool:
    """Whether one type can be full while others have room."""
    return "max_type_bytes" in HostSettings.model_fields
