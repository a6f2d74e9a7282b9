"""What the operators' page says of a worker's settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from callboard.worker.settings import WorkerSettings

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
INSTEAD_OF_NONE = {
    "client_id": "a new one",
    "health_address": "none",
    "reconnect_timeout_s": "until it is stopped",
}


def test_each_setting_is_in_the_operators_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its option, its variable and its default."""
    settings = PAGE.read_text().partition("\n## Settings\n")[2].partition("\nThose of a host")[0]
    rows = re.findall(
        r"^\| `--([a-z-]+)` \| `CALLBOARD_(\w+)` \| ([^|]+) \|", settings, re.MULTILINE
    )
    for name in WorkerSettings.model_fields:
        monkeypatch.delenv(f"CALLBOARD_{name.upper()}", raising=False)
    defaults = WorkerSettings()

    assert sorted(rows) == sorted(
        (name.removesuffix("_s").replace("_", "-"), name.upper(), _told(name, value))
        for name, value in defaults
    )


def _told(name: str, value: object) -> str:
    return INSTEAD_OF_NONE[name] if value is None else str(value).removesuffix(".0")
