"""What the documents name exists: files, tests, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("docs", "charts", "deploy", ".ci")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for each in FOLDERS for page in (ROOT / each).rglob("*.md"))]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    """Every relative link of a page leads to a file of the repository."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_guarantees_name_tests_that_exist() -> None:
    """Every test that stands beside a promise is there."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    text = (ROOT / "docs" / "guarantees.md").read_text()
    named = set(re.findall(r"::(test_\w+)", text))
    assert len(named) > 15
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []
    folders = set(re.findall(r"`(tests/[\w/.]+?)(?:::\w+)?`", text))
    assert [name for name in sorted(folders) if not (ROOT / name).exists()] == []


def test_architecture_names_files_that_exist() -> None:
    """Every source file that the life of an event passes is there."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = "agent|core|engine|host|local|telemetry|wire|worker"
    named = set(re.findall(rf"`((?:{packages})/\w+\.py)`", text))
    assert len(named) > 20
    missing = [name for name in named if not (ROOT / "services" / "callboard" / name).exists()]
    assert missing == []
