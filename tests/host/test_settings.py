"""What a host is told by its environment."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from callboard.core.limits import BrokerLimits
from callboard.host.settings import HostSettings

ON_THE_COMMAND_LINE = {"address", "operators_address", "engine", "data"}
NOT_SET_FROM_OUTSIDE = {
    "max_call_bytes",
    "max_answers_waiting",
    "max_losses",
    "max_stream_credit",
    "max_unread_frames",
}


def test_each_limit_is_set_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says reaches the broker; what it does not say is the default."""
    names = {each.name for each in fields(BrokerLimits)} - NOT_SET_FROM_OUTSIDE
    wanted = {name: 300 + number for number, name in enumerate(sorted(names))}
    for name, value in wanted.items():
        monkeypatch.setenv(f"CALLBOARD_{name.upper()}", str(value))

    limits = HostSettings().limits

    assert {name: getattr(limits, name) for name in names} == wanted
    for name in names:
        monkeypatch.delenv(f"CALLBOARD_{name.upper()}")
    assert HostSettings().limits == BrokerLimits()


def test_each_variable_is_in_the_operators_page() -> None:
    """With its default; windows and shares stand in one row."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    settings = page.partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`CALLBOARD_[^|]+) \| ([^|]+) \|", settings, re.MULTILINE)
    told = {
        name: default
        for names, defaults in rows
        for name, default in zip(
            re.findall(r"CALLBOARD_(\w+)", names), defaults.split(", "), strict=True
        )
    }

    assert told == {
        name.upper(): "none" if field.default is None else str(field.default).removesuffix(".0")
        for name, field in HostSettings.model_fields.items()
        if name not in ON_THE_COMMAND_LINE
    }


@pytest.mark.parametrize("value", ["0", "0.0001", "3601", "inf"])
def test_a_lease_has_bounds(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """One of less than a millisecond would say that there is none."""
    monkeypatch.setenv("CALLBOARD_LEASE_S", value)

    with pytest.raises(ValueError, match="lease_s"):
        HostSettings()
