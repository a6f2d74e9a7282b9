"""The images under test, and how they were built."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BUILD_DEADLINE_S = 280


@dataclass(frozen=True)
class Images:
    """The images under test.

    Attributes:
        host: The host's name and tag.
        worker: The worker's.
        builder: The command that built them, up to what says which one.
    """

    host: str
    worker: str
    builder: tuple[str, ...]

    def build(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        """Build another one in the same way; paths are relative to the repository."""
        done = subprocess.run(
            [*self.builder, *arguments],
            capture_output=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            text=True,
            timeout=BUILD_DEADLINE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
