"""Which worker runs which partition of an agent type.

Highest random weight (rendezvous hashing) with equal shares: every worker gets ``partitions /
workers``, rounded down or up; whoever decides decides the same; and a worker that comes back under
its name wants what it had. It is sticky: a partition moves only when its worker is gone or above
its share, so a join moves no more than the newcomer's share.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import shake_256
from struct import unpack


def weights_of(worker: str, agent_type: str, partitions: int) -> Sequence[int]:
    """How much ``worker`` wants each partition of ``agent_type``: a number of 32 bits for each.

    The same on every machine: big-endian words of SHAKE-256 over ``agent_type NUL worker``.
    """
    digest = shake_256(f"{agent_type}\0{worker}".encode()).digest(4 * partitions)
    return array("I", unpack(f">{partitions}I", digest))


def place(held: Sequence[int | None], weights: Sequence[Sequence[int]]) -> list[int | None]:
    """Decide who should hold each partition.

    Args:
        held: For each partition the worker that holds it, as an index into ``weights``; None when
            it is free or when its holder must give it up.
        weights: For each worker what `weights_of` says of it.

    Returns:
        For each partition the worker that should hold it; None throughout when there are no
        workers.
    """
    if not weights:
        return [None] * len(held)
    share, odd = divmod(len(held), len(weights))
    shares: list[list[int]] = [[] for _ in weights]
    for partition, worker in enumerate(held):
        if worker is not None:
            shares[worker].append(partition)
    # What the division leaves over goes first to those that hold more than their share already.
    above = [worker for worker, own in enumerate(shares) if len(own) > share]
    above.sort(key=lambda worker: (len(shares[worker]), *weights[worker]), reverse=True)
    limits = [share] * len(weights)
    for worker in above[:odd]:
        limits[worker] += 1
    odd -= len(above[:odd])
    plan: list[int | None] = [None] * len(held)
    for worker, own in enumerate(shares):
        if len(own) > limits[worker]:
            own.sort(key=weights[worker].__getitem__, reverse=True)
            del own[limits[worker] :]
        for partition in own:
            plan[partition] = worker
    _fill(plan, weights, [share - len(own) for own in shares], odd)
    return plan


def _fill(
    plan: list[int | None], weights: Sequence[Sequence[int]], room: list[int], odd: int
) -> None:
    """Give each free partition to whoever wants it most among those with room.

    Args:
        plan: What is decided; filled here.
        weights: As in `place`.
        room: How much each worker has left of its share; -1: it holds one more than that.
        odd: How many workers may yet take one more than their share.
    """
    open_to = [worker for worker, left in enumerate(room) if left > 0 or (left == 0 and odd)]
    for partition, worker in enumerate(plan):
        if worker is not None:
            continue
        best = open_to[0]
        for each in open_to:
            if weights[each][partition] > weights[best][partition]:
                best = each
        plan[partition] = best
        room[best] -= 1
        if room[best] < 0:
            odd -= 1
            open_to.remove(best)
            if not odd:
                open_to = [each for each in open_to if room[each] > 0]
        elif not room[best] and not odd:
            open_to.remove(best)
