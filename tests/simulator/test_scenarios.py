"""What a reader should see of the order of events: one file each in ``scenarios``.

``CALLBOARD_TEST_WRITE=1`` writes what is seen into the files: read what has changed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.scenario import SEPARATOR, Scenario

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_goes_as_it_is_written(path: Path) -> None:
    """To the millisecond, and with every promise kept."""
    scenario = Scenario.read(path)
    seen = scenario.play()
    if os.environ.get("CALLBOARD_TEST_WRITE"):
        path.write_text(f"{scenario.head}{SEPARATOR}\n{seen}")
    assert seen == Scenario.read(path).seen


def test_there_are_scenarios() -> None:
    """A folder that has moved would pass without one."""
    assert len(FILES) >= 8


@pytest.mark.parametrize("line", ["w0 dances", "client0 publishes on orders/x: fly"])
def test_what_is_not_understood_is_no_scenario(line: str) -> None:
    """A step passed over would test nothing."""
    with pytest.raises(ValueError, match="not understood"):
        _ = Scenario(f"title\n\n1.0  {line}\n", "").story
