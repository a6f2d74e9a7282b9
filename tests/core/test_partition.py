"""Partitions: the same in every language and release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.partition import DEFAULT_PARTITIONS, partition_of

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("partition_vectors.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    "row", VECTORS, ids=lambda r: f"{r['type']}/{r['key'][:12]}%{r['partitions']}"
)
def test_agents_are_in_these_partitions(row: dict[str, Any]) -> None:
    """The file is for workers in other languages to be tested with; it never changes."""
    assert partition_of(row["type"], row["key"], row["partitions"]) == row["partition"]


def test_the_hash_is_the_crc_32_of_zlib_and_png() -> None:
    """The check value of that algorithm."""
    assert crc32(b"123456789") == 0xCBF43926
    assert partition_of("a", "x", 2**32) == crc32(b"a/x")


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_partition_is_in_range(agent_type: str, key: str) -> None:
    """0 to partitions - 1."""
    assert 0 <= partition_of(agent_type, key, DEFAULT_PARTITIONS) < DEFAULT_PARTITIONS


def test_keys_spread() -> None:
    """Ten thousand keys fill every partition, none with more than thrice its share."""
    counts = [0] * DEFAULT_PARTITIONS
    for number in range(10_000):
        counts[partition_of("shop", f"customer-{number}", DEFAULT_PARTITIONS)] += 1

    assert min(counts) > 0
    assert max(counts) < 3 * 10_000 / DEFAULT_PARTITIONS
