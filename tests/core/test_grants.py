"""Grants: who may run which partition."""

from __future__ import annotations

import pytest

from callboard.core.event import Grant
from callboard.core.grants import Grants, Serials


@pytest.fixture
def grants() -> Grants[str]:
    return Grants(4, Serials(7))


def test_a_partition_is_free_then_held_then_leaving_then_free(grants: Grants[str]) -> None:
    """Each state says who may get something new, and who may still end something."""
    assert (grants.holder(0), grants.open_to(0), grants.grant_of(0)) == (None, None, None)
    grants.grant(0, "w")
    assert (grants.holder(0), grants.open_to(0), grants.grant_of(0)) == ("w", "w", Grant(7, 1))
    assert grants.ask(0) == Grant(7, 1)
    assert (grants.holder(0), grants.open_to(0), grants.is_leaving(0)) == ("w", None, True)
    assert grants.is_valid(0, Grant(7, 1), "w")
    grants.end(0)
    assert (grants.holder(0), grants.grant_of(0), grants.is_leaving(0)) == (None, None, False)


def test_serials_rise_over_all_types() -> None:
    """No two grants of an epoch are alike."""
    serials = Serials(7)
    one: Grants[str] = Grants(1, serials)
    other: Grants[str] = Grants(1, serials)
    numbers = []
    for _ in range(2):
        for each in (one, other):
            each.grant(0, "w")
            numbers.append(each.grant_of(0))
            each.end(0)
    assert numbers == [Grant(7, 1), Grant(7, 2), Grant(7, 3), Grant(7, 4)]


def test_only_a_free_partition_is_granted(grants: Grants[str]) -> None:
    """Whoever would grant twice has lost count."""
    grants.grant(0, "w")
    with pytest.raises(ValueError, match="partition 0 is held"):
        grants.grant(0, "v")


def test_a_holder_is_asked_once(grants: Grants[str]) -> None:
    """And a free partition has nobody to ask."""
    assert grants.ask(0) is None
    grants.grant(0, "w")
    assert grants.ask(0) is not None
    assert grants.ask(0) is None


@pytest.mark.parametrize(
    ("grant", "session"),
    [(None, "w"), (Grant(7, 1), "w"), (Grant(6, 2), "w"), (Grant(7, 3), "w"), (Grant(7, 2), "v")],
)
def test_what_names_another_grant_is_not_valid(
    grants: Grants[str], grant: Grant | None, session: str
) -> None:
    """A former one, another epoch's, one to come, another session's."""
    grants.grant(0, "w")
    grants.end(0)
    grants.grant(0, "w")
    assert grants.is_valid(0, Grant(7, 2), "w")
    assert not grants.is_valid(0, grant, session)


def test_who_holds_what(grants: Grants[str]) -> None:
    """Leaving partitions included."""
    one, other = "one", "other"
    for partition, session in enumerate((one, other, one)):
        grants.grant(partition, session)
    grants.ask(2)
    assert list(grants.held_by(one)) == [0, 2]
    assert (grants.held_count, len(grants)) == (3, 4)
