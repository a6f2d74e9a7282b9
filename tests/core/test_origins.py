"""Origins: a publish that comes twice is known, and nothing of it is for ever."""

from __future__ import annotations

from callboard.core.errors import Code
from callboard.core.frames import Refusal
from callboard.core.kept import KeptOrigin
from callboard.core.origins import KEPT_S, Origins
from callboard.core.session import Session

WINDOW = 4


def session(incarnation: str = "i", name: str = "w") -> Session:
    return Session(name, name, incarnation=incarnation)


def joined(origins: Origins, incarnation: str = "i", confirmed: int = 0) -> Session:
    made = session(incarnation)
    made.origin = origins.join(incarnation, made, confirmed)
    return made


def refusal(number: int) -> Refusal:
    return Refusal(number, Code.RESOURCE_EXHAUSTED, "full")


def test_sessions_of_one_incarnation_have_one_origin() -> None:
    """Also when the former one is over before the next begins."""
    origins = Origins()
    first = joined(origins)
    first.origin.last = 1
    second = joined(origins)
    origins.leave(first, 1.0)
    origins.leave(second, 2.0)
    third = joined(origins)

    assert first.origin is second.origin is third.origin
    assert third.origin.session is third
    assert joined(origins, "other").origin is not third.origin


def test_sessions_without_an_incarnation_have_nothing_in_common() -> None:
    """Those of other protocols; nothing is kept of them."""
    origins = Origins()
    one, other = joined(origins, ""), joined(origins, "")

    assert one.origin is not other.origin
    one.origin.last = 1
    origins.leave(one, 1.0)
    assert origins.next_deadline() is None


def test_an_origin_is_forgotten_an_hour_after_its_last_session_has_ended() -> None:
    """To the second, and not while a session is there."""
    origins = Origins()
    first = joined(origins)
    first.origin.last = 7
    origins.leave(first, 100.0)
    assert origins.next_deadline() == 100.0 + KEPT_S

    origins.expire(100.0 + KEPT_S - 1)
    back = joined(origins)
    assert back.origin.last == 7
    assert origins.next_deadline() is None
    origins.expire(1e9)
    assert joined(origins).origin is back.origin

    origins.leave(joined(origins), 1e9)
    origins.expire(1e9 + KEPT_S)
    assert joined(origins).origin.last == 0


def test_nothing_is_kept_of_who_has_published_nothing() -> None:
    """Programs that only call come and go by the thousand."""
    origins = Origins()
    first = joined(origins)

    origins.leave(first, 1.0)

    assert origins.next_deadline() is None
    assert joined(origins).origin is not first.origin


def test_the_end_of_a_session_that_has_been_replaced_changes_nothing() -> None:
    """Answers go to the newer one still."""
    origins = Origins()
    first, second = joined(origins), joined(origins)

    origins.leave(first, 1.0)

    assert second.origin.session is second
    assert origins.next_deadline() is None


def test_an_answer_goes_to_the_session_that_is_there() -> None:
    """Or waits for one."""
    origins = Origins()
    first = joined(origins)
    origin = first.origin
    assert origin.answer(1, None, WINDOW) is first
    assert first.outbox.published_through == 1
    origins.leave(first, 1.0)

    assert origin.answer(2, refusal(2), WINDOW) is None

    assert origin.answered == 2
    assert origin.refused_beyond(0) == [refusal(2)]
    assert not first.outbox.publishes_refused


def test_refusals_are_known_for_as_long_as_their_publisher_may_not_have_heard_of_them() -> None:
    """And no longer: a publisher of which all is refused must not fill the memory."""
    origin = joined(Origins()).origin
    for number in range(1, 1001):
        origin.answer(number, refusal(number), WINDOW)

    assert [each.number for each in origin.refused_beyond(0)] == list(range(993, 1001))
    for number in range(1001, 1009):
        origin.answer(number, None, WINDOW)
    assert not origin.refused_beyond(0)


def test_what_an_earlier_host_has_answered_is_behind() -> None:
    """A host that was replaced knows nothing of it, and hears numbers that begin far above 1."""
    origin = joined(Origins(), confirmed=10_000).origin

    assert (origin.last, origin.answered) == (10_000, 10_000)


def test_what_a_publisher_has_not_heard_of_stays_answered() -> None:
    """It may have heard of less than there is, never of more."""
    origins = Origins()
    first = joined(origins)
    first.origin.last, first.origin.answered = 9, 8
    origins.leave(first, 1.0)

    back = joined(origins, confirmed=5)

    assert (back.origin.last, back.origin.answered) == (9, 8)


def test_a_publisher_whose_name_was_taken_is_known_for_as_long_as_it_is_remembered() -> None:
    """By its incarnation, also when it has no session any more."""
    origins = Origins()
    first = joined(origins)
    assert not origins.is_replaced("i")

    first.origin.is_replaced = True
    origins.leave(first, 1.0)

    assert origins.is_replaced("i")
    assert not origins.is_replaced("j")
    origins.expire(1.0 + KEPT_S)
    assert not origins.is_replaced("i")


def test_what_an_earlier_host_has_answered_out_of_turn_is_known() -> None:
    """It is told of as before, and not taken again; what is not answered is."""
    origins = Origins()
    origins.restore([KeptOrigin("i", 4, (3, 7), (6, 7))], 0.0)
    origin = joined(origins, confirmed=2).origin

    assert [number for number in range(1, 10) if not origin.has(number)] == [5, 8, 9]
    assert [each.number for each in origin.refused_beyond(2)] == [3]
    told = [(number, refusal is not None) for number, refusal in origin.beyond]
    assert told == [(6, False), (7, True)]


def test_who_leaves_before_it_says_anything_is_known_by_what_an_earlier_host_has_answered() -> None:
    """Its first publish waited for room: all that was answered is beyond it."""
    origins = Origins()
    origins.restore([KeptOrigin("i", 0, (3,), (2, 3))], 0.0)
    origins.leave(joined(origins), 1.0)

    back = joined(origins).origin
    assert [number for number in range(1, 5) if not back.has(number)] == [1, 4]
    assert [number for number, _ in back.beyond] == [2, 3]
