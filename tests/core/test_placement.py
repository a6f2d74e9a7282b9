"""Placement: equal shares, few moves, the same decision everywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.core.placement import place, weights_of

WEIGHTS = [12627691, 3876589087, 3741818276, 1538815019]


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[int | None], list[tuple[int, ...]]]:
    """Some partitions, held anyhow, and some workers."""
    partitions = draw(st.integers(1, 40))
    workers = draw(st.integers(1, 50))
    holders = st.none() | st.integers(0, workers - 1)
    held = draw(st.lists(holders, min_size=partitions, max_size=partitions))
    weights = [tuple(weights_of(f"w{n}", "a", partitions)) for n in range(workers)]
    return held, weights


@given(situations())
def test_shares_are_equal(situation: tuple[list[int | None], list[tuple[int, ...]]]) -> None:
    """Every partition has a worker; shares differ by at most one."""
    held, weights = situation
    plan = place(held, weights)

    shares = [plan.count(worker) for worker in range(len(weights))]
    assert None not in plan
    assert max(shares) - min(shares) <= 1


@given(situations())
def test_no_more_moves_than_needed(
    situation: tuple[list[int | None], list[tuple[int, ...]]],
) -> None:
    """What is held stays, but for what its worker holds above its share."""
    held, weights = situation
    plan = place(held, weights)

    moved = sum(old is not None and old != new for old, new in zip(held, plan, strict=True))
    share, odd = divmod(len(held), len(weights))
    counts = sorted((held.count(worker) for worker in range(len(weights))), reverse=True)
    allowed = [share + 1] * odd + [share] * (len(weights) - odd)
    assert moved == sum(max(count - limit, 0) for count, limit in zip(counts, allowed, strict=True))


@given(situations())
def test_deciding_again_changes_nothing(
    situation: tuple[list[int | None], list[tuple[int, ...]]],
) -> None:
    """A plan carried out is its own plan."""
    held, weights = situation
    plan = place(held, weights)
    assert place(plan, weights) == plan


@given(situations(), st.randoms(use_true_random=False))
def test_the_order_of_workers_does_not_matter(
    situation: tuple[list[int | None], list[tuple[int, ...]]], chance: object
) -> None:
    """Whoever decides decides the same."""
    held, weights = situation
    order = list(range(len(weights)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    renamed = [None if worker is None else order.index(worker) for worker in held]

    plan = place(renamed, [weights[worker] for worker in order])

    assert [order[worker] for worker in plan if worker is not None] == place(held, weights)


def test_a_join_moves_no_more_than_the_newcomer_s_share() -> None:
    """All that moves goes to the newcomer."""
    weights = [weights_of(f"w{number}", "a", 256) for number in range(40)]
    plan: list[int | None] = [None] * 256
    for count in range(1, 41):
        before, plan = plan, place(plan, weights[:count])
        moved = {(old, new) for old, new in zip(before, plan, strict=True) if old != new}
        assert all(new == count - 1 for _, new in moved)
        assert plan.count(count - 1) in (256 // count, 256 // count + 1)


def test_a_worker_that_comes_back_wants_what_it_had() -> None:
    """Most of it: only the leftovers of the division may differ."""
    weights = [weights_of(f"w{number}", "a", 256) for number in range(4)]
    before = place([None] * 256, weights)
    without = place([None if worker == 3 else worker for worker in before], weights[:3])

    after = place(without, weights)

    again = sum(old == new == 3 for old, new in zip(before, after, strict=True))
    assert again > 30


def test_without_workers_nobody_holds_anything() -> None:
    """There is nothing to decide."""
    assert place([None] * 3, []) == [None] * 3


def test_weights_are_these() -> None:
    """They are part of the protocol between hosts: a change moves every partition."""
    assert list(weights_of("worker-1", "shop", 4)) == WEIGHTS
    assert list(weights_of("worker-1", "shop", 2)) == WEIGHTS[:2]
