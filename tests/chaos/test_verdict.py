"""The verdict on a chaos run finds what it looks for, in journals made up for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.journal import Journal, Turn, read_journal
from chaos.verdict import ABOUT_TO_BEGIN_NS, Evidence, Life, Verdict, judge

S = 1_000_000_000


def turns(process: str, *spans: tuple[float, float | None, int]) -> list[Turn]:
    """Turns of one agent in one process: (began, ended, number), in seconds."""
    return [
        Turn(
            process,
            place,
            "agent",
            "ann",
            number,
            int(began * S),
            None if ended is None else int(ended * S),
            ended is not None,
        )
        for place, (began, ended, number) in enumerate(spans)
    ]


def events(*numbers: int) -> frozenset[tuple[str, str, int]]:
    """Events for that agent."""
    return frozenset(("ann", "agent", number) for number in numbers)


def found(verdict: Verdict) -> list[str]:
    """The first words of what was found."""
    return [complaint.partition(":")[0] for complaint in verdict.complaints]


def test_a_run_in_good_order_passes() -> None:
    """Each event once, one after the other."""
    verdict = judge(Evidence(events(1, 2, 3), turns("a", (0, 1, 1), (1, 2, 2), (2, 3, 3))))
    assert not verdict.complaints
    assert verdict.counts["turns"] == 3
    assert verdict.counts["redeliveries"] == 0


def test_an_event_that_nobody_handled_is_lost() -> None:
    """Acknowledged is what counts; a turn that was cancelled has not handled it."""
    cut = turns("a", (0, 1, 1))[0]._replace(is_handled=False)
    assert found(judge(Evidence(events(1), [cut]))) == ["lost"]
    assert found(judge(Evidence(events(1, 2), turns("a", (0, 1, 1))))) == ["lost"]
    assert not judge(Evidence(events(1), turns("a", (0, 1, 1)), unknown=events(2))).complaints


def test_what_was_given_up_has_begun() -> None:
    """Nobody is blamed for what happens to others."""
    cut = turns("a", (0, 1, 1))[0]._replace(is_handled=False)
    assert not judge(Evidence(events(1), [cut], dead=events(1))).complaints
    assert found(judge(Evidence(events(1, 2), turns("a", (0, 1, 1)), dead=events(2)))) == ["blamed"]


def test_an_event_that_was_refused_is_not_handled() -> None:
    """What its publisher was told did not get through."""
    assert found(judge(Evidence(events(1), turns("a", (0, 1, 1), (1, 2, 2))))) == ["invented"]
    assert not judge(
        Evidence(events(1), turns("a", (0, 1, 1), (1, 2, 2)), unknown=events(2))
    ).complaints


@pytest.mark.parametrize(
    ("numbers", "is_order"),
    [
        ((1, 2, 3), True),
        ((1, 2, 2, 3), True),
        ((1, 2, 1, 2, 3), True),
        ((1, 2, 3, 2, 2, 3), True),
        ((1, 3, 2), False),
        ((2, 1, 3), False),
        ((1, 2, 3, 1, 3), False),
    ],
)
def test_order_is_that_of_the_numbers_but_for_suffixes_repeated(
    numbers: tuple[int, ...], *, is_order: bool
) -> None:
    """A redelivery begins anywhere before, and leaves nothing out from there."""
    spans = [(place, place + 0.5, number) for place, number in enumerate(numbers)]
    verdict = judge(Evidence(events(1, 2, 3), turns("a", *spans)))
    assert not verdict.complaints if is_order else "disorder" in found(verdict)


def test_a_dead_letter_leaves_a_hole() -> None:
    """And so does an event that may never have come."""
    spans = turns("a", (0, 1, 1), (1, 2, 3))
    assert found(judge(Evidence(events(1, 2, 3), spans))) == ["lost", "disorder"]
    assert found(judge(Evidence(events(1, 2, 3), spans, dead=events(2)))) == ["blamed"]
    assert not judge(Evidence(events(1, 3), spans, unknown=events(2))).complaints


def test_turns_of_one_agent_that_overlap_are_found() -> None:
    """In one process, or in two; two agents may."""
    first, second = turns("a", (0, 2, 1), (1, 3, 2))
    assert found(judge(Evidence(events(1, 2), [first, second]))) == ["overlap"]
    elsewhere = second._replace(process="b", place=0)
    assert found(judge(Evidence(events(1, 2), [first, elsewhere]))) == ["overlap"]
    other = second._replace(agent="other", number=1)
    both = events(1) | {("ann", "other", 1)}
    assert not judge(Evidence(both, [first, other])).complaints


def test_a_turn_ends_with_its_process() -> None:
    """At the kill, not before."""
    journals = turns("a", (0, None, 1)) + turns("b", (5, 6, 1))
    for killed_s, complaints in ((4, []), (5.5, ["overlap"])):
        lives = {"a": Life(int(killed_s * S))}
        verdict = judge(Evidence(events(1), journals, lives=lives))
        assert [each for each in found(verdict) if each == "overlap"] == complaints
    assert "overlap" in found(judge(Evidence(events(1), journals)))


def test_only_a_turn_that_was_stopped_may_overlap() -> None:
    """One that began before the stop, in the process that was stopped."""
    journals = turns("a", (0, 9, 1)) + turns("b", (5, 6, 1))
    for stop, is_excused in (((1, 8), True), ((9.5, 12), False)):
        stops = ((int(stop[0] * S), int(stop[1] * S)),)
        verdict = judge(Evidence(events(1), journals, lives={"a": Life(stops=stops)}))
        assert found(verdict) == ([] if is_excused else ["overlap"])
        assert verdict.counts["overlaps after SIGSTOP"] == is_excused


def test_a_process_that_goes_on_begins_no_turn_beyond_the_one_it_was_about_to() -> None:
    """That of the very moment of the stop is excused, at once after it; a second one is not."""
    lives = {"a": Life(stops=((1 * S, 8 * S),))}
    late_s = ABOUT_TO_BEGIN_NS / S
    successor = turns("b", (5, 10, 2))
    for spans, complaints in (
        ([(0, 0.5, 1), (8.01, 8.02, 2)], []),
        ([(0, 0.5, 1), (8.01, 8.02, 2), (8.02, 8.03, 3)], ["overlap"]),
        ([(0, 0.5, 1), (8.01 + late_s, 8.02 + late_s, 2)], ["overlap"]),
    ):
        verdict = judge(Evidence(events(1, 2, 3), turns("a", *spans) + successor, lives=lives))
        assert [each for each in found(verdict) if each == "overlap"] == complaints


def test_what_a_stopped_process_was_about_to_begin_does_not_count_for_the_order() -> None:
    """Its successor has gone on from there meanwhile."""
    lives = {"a": Life(stops=((1 * S, 8 * S),))}
    stale = turns("a", (0, 0.5, 1), (8.01, 8.02, 2))
    successor = turns("b", (5, 6, 2), (6, 7, 3), (9, 10, 4))
    known = events(1, 2, 3, 4)
    assert not judge(Evidence(known, stale + successor, lives=lives)).complaints
    assert found(judge(Evidence(known, stale + successor))) == ["disorder"]


def test_a_kill_that_left_nothing_proves_nothing() -> None:
    """It is to strike while a turn is under way."""
    lives = {"a": Life(2 * S)}
    assert found(judge(Evidence(events(1), turns("a", (0, 1, 1)), lives=lives))) == ["idle kill"]


def test_a_kill_is_followed_by_a_redelivery() -> None:
    """Of what was left, elsewhere, later."""
    killed = turns("a", (0, None, 1))
    lives = {"a": Life(2 * S)}
    again = judge(Evidence(events(1), killed + turns("b", (3, 4, 1)), lives=lives))
    assert not again.complaints
    assert again.counts["begun again after kills"] == 1
    assert "no redelivery" in found(judge(Evidence(events(1), killed, lives=lives)))
    buried = judge(Evidence(events(1), killed, dead=events(1), lives=lives))
    assert found(buried) == ["no redelivery"]


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Turns that ended, that were cancelled and that are under way, and a line cut short."""
    journal = Journal(tmp_path)
    with journal.turn("agent", "ann", 1):
        pass
    with pytest.raises(KeyError), journal.turn("agent", "ann", 2):
        raise KeyError
    under_way = journal.turn("agent", "ann", 3)
    under_way.__enter__()
    (file,) = tmp_path.iterdir()
    first, second, third = read_journal("a", file.read_text() + "begin 12")
    assert (first.number, first.is_handled) == (1, True)
    assert (second.number, second.is_handled) == (2, False)
    assert (third.number, third.ended_ns) == (3, None)
    assert first.ended_ns is not None
    assert first.began_ns <= first.ended_ns <= second.began_ns
