"""How commands show what a host answers: as tables for people, as JSON for scripts."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 160
"""How wide tables are in a pipe: lines can be long there, and grep wants whole rows."""


def console() -> Console:
    """Where tables are shown. Text is shown as it is: what agents say may look like markup."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table with a line "none" when it has no rows."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    rows = list(rows)
    for at, column in enumerate(columns):
        are_numbers = bool(rows) and all(isinstance(row[at], int) for row in rows)
        made.add_column(column, justify="right" if are_numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*[printable(str(cell)) for cell in row])
    if not rows:
        made.add_row("none")
    return made


def printable(text: str) -> str:
    """``text`` without what would steer a terminal: it may be of whoever published."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text
    )


def plain(message: Message) -> dict[str, Any]:
    """A message as JSON values, every field there, bytes in base64.

    protobuf's own JSON has integers as text.
    """

    def value_of(value: Any) -> Any:
        match value:
            case Message():
                return plain(value)
            case bytes():
                return base64.b64encode(value).decode()
            case str() | int() | float():
                return value
        return [value_of(each) for each in value]

    return {
        field.name: value_of(getattr(message, field.name)) for field in message.DESCRIPTOR.fields
    }


def show_json(message: Message) -> None:
    """Print ``message`` as JSON."""
    typer.echo(json.dumps(plain(message), indent=2))
