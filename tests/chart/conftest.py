"""What the tests of the chart need: helm, and files of golden renders."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from chart.rendering import Refused, tool


def _need(name: str, *arguments: str) -> None:
    try:
        tool(name, *arguments)
    except Refused as missing:
        reason = f"needs {name}, which `make chart` gets: {missing}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _helm() -> None:
    """Helm is there."""
    _need("helm", "version")


@pytest.fixture(scope="session")
def _helm_docs() -> None:
    """So is helm-docs."""
    _need("helm-docs", "--help")


class GoldenRender(SingleFileSnapshotExtension):
    """One YAML file for each case, in ``__snapshots__``."""

    _write_mode = WriteMode.TEXT
    file_extension = "yaml"

    def serialize(self, data: Any, **options: Any) -> str:
        """Manifests as helm orders them, free of what the YAML library of a helm decides."""
        return yaml.safe_dump_all(data, sort_keys=False, width=120)


@pytest.fixture
def golden(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Equals what was rendered when somebody last looked; ``--snapshot-update`` renews it."""
    return snapshot.use_extension(GoldenRender)
