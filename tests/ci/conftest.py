"""Puts the scripts of `.ci/cluster` where tests can import them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / ".ci" / "cluster"))
