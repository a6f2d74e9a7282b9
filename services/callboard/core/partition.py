"""Which slice of all agents an agent belongs to."""

from __future__ import annotations

from zlib import crc32

DEFAULT_PARTITIONS = 256


def partition_of(agent_type: str, key: str, partitions: int) -> int:
    """The partition of an agent, 0 to ``partitions`` - 1; the same in every language and release.

    ``crc32(utf8(type + "/" + key)) % partitions``, with the CRC-32 of zlib and PNG.
    """
    return crc32(f"{agent_type}/{key}".encode()) % partitions
