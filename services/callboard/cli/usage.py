"""The error for a wrong command line."""

from __future__ import annotations

from typing import Any

import typer

UsageError: Any = typer.BadParameter.__bases__[0]
"""Click's; newer versions of typer have a click of their own inside."""
