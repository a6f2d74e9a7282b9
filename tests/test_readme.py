"""The README says what is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_example_prints_what_stands_below_it(tmp_path: Path) -> None:
    """The first block of Python is a whole program; the first block of text is its output."""
    example = tmp_path / "example.py"
    example.write_text(blocks("python")[0], encoding="utf-8")

    program = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )

    assert (program.stdout, program.stderr) == (blocks("text")[0], "")


def test_the_commands_are_targets() -> None:
    """Every ``make`` command of the README is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z-]+)\b", README))

    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_links_lead_to_files() -> None:
    """Every relative link names a file of this repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
