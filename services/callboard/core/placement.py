"""Which worker runs which partition of an agent type.

Highest random weight (rendezvous hashing) with a cap of ceil(partitions / workers): every worker gets its
share, whoever decides decides the same, and a worker that comes back under its name gets what it had. It is
sticky: a partition moves only when its worker is gone or above the cap, so a join moves at most its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import shake_256
from struct import unpack


def weights_of(worker: str, agent_type: str, partitions: int) -> tuple[int, ...]:
    """How much ``worker`` wants each partition of ``agent_type``: a number of 32 bits for each."""
    digest = shake_256(f"{agent_type}\0{worker}".encode()).digest(4 * partitions)
    return unpack(f">{partitions}I", digest)


def place(held: Sequence[int | None], weights: Sequence[Sequence[int]]) -> list[int | None]:
    """Decide who should hold each partition.

    Args:
        held: For each partition the worker that holds it, as an index into ``weights``; None when free or
            when its holder must give it up.
        weights: For each worker what `weights_of` says of it.

    Returns:
        For each partition the worker that should hold it; None throughout when there are no workers.
    """
    count = len(weights)
    if not count:
        return [None] * len(held)
    cap = -(-len(held) // count)
    shares: list[list[int]] = [[] for _ in weights]
    for partition, worker in enumerate(held):
        if worker is not None:
            shares[worker].append(partition)
    plan: list[int | None] = [None] * len(held)
    for worker, share in enumerate(shares):
        if len(share) > cap:
            share.sort(key=weights[worker].__getitem__, reverse=True)
            del share[cap:]
        for partition in share:
            plan[partition] = worker
    room = [cap - len(share) for share in shares]
    for partition, worker in enumerate(plan):
        if worker is None:
            best = max(
                (candidate for candidate in range(count) if room[candidate]),
                key=lambda candidate: weights[candidate][partition],
            )
            room[best] -= 1
            plan[partition] = best
    return plan
