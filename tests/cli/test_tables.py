"""What commands show of what others wrote."""

from __future__ import annotations

import pytest

from callboard.cli.tables import console, printable, table


def test_what_steers_a_terminal_is_not_printed() -> None:
    """A topic's source may be any text; lines stay lines."""
    assert printable("a\x1b[2J\u009bb\nc ä") == "a\ufffd[2J\ufffdb\nc ä"


def test_what_looks_like_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither rich's tags nor its names of emoji mean anything in a table."""
    console().print(table("t", ("c",), [("[/red] [b]:smile:",)]))

    assert "[/red] [b]:smile:" in capsys.readouterr().out
