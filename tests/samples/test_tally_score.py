"""How the tally keeps count."""

from __future__ import annotations

import pytest

from callboard_samples.tally.score import Report, Score, percentile


def scored(*numbers: int, events: int = 4) -> Report:
    """The report of a run of ``events`` of one key whose answers came in this order."""
    score = Score("run", events)
    for number in range(events):
        score.sent(number, due=float(number), now=number + 0.25)
        score.acknowledged(number)
    for at, number in enumerate(numbers):
        score.answered(number, key="k", worker=f"w{number % 2}", now=10.25 + at)
    return score.report()


def test_all_answered_is_complete() -> None:
    """Rates and times are told from when events left, lateness from when they were due."""
    report = scored(0, 1, 2, 3)

    assert report.is_complete
    assert (report.published, report.answered, report.missing) == (4, 4, 0)
    assert (report.duplicates, report.out_of_order) == (0, 0)
    assert report.by_worker == {"w0": 2, "w1": 2}
    assert (report.rate, report.behind_s, report.seconds) == (1.0, 0.25, 13.0)
    assert (report.p50_s, report.p99_s, report.max_s) == (10.0, 10.0, 10.0)


def test_a_second_answer_is_a_duplicate_and_no_disorder() -> None:
    """A redelivery repeats a suffix: only first answers are judged by their order."""
    report = scored(0, 1, 2, 1, 2, 3)

    assert report.is_complete
    assert (report.answered, report.duplicates, report.out_of_order) == (4, 2, 0)


def test_an_earlier_event_answered_for_the_first_time_is_out_of_order() -> None:
    """Each that was overtaken counts once."""
    assert scored(3, 0, 1, 2).out_of_order == 3
    assert scored(0, 2, 1, 3).out_of_order == 1


def test_keys_have_each_their_order() -> None:
    """Nothing is said of the order of events of different keys."""
    score = Score("run", 2)
    for number, key in ((1, "b"), (0, "a")):
        score.sent(number, due=0.0, now=0.0)
        score.answered(number, key=key, worker="w", now=1.0)

    assert score.report().out_of_order == 0


def test_what_is_missing_is_counted_and_the_first_twenty_named() -> None:
    """An event is missing when the host has acknowledged it and nobody answered."""
    report = scored(1, events=30)

    assert not report.is_complete
    assert report.missing == 29
    assert report.missing_numbers == [0, *range(2, 21)]


def test_what_the_host_refused_is_not_missing_but_not_complete() -> None:
    """The first reason is told."""
    score = Score("run", 2)
    score.sent(0, due=0.0, now=0.0)
    score.sent(1, due=0.0, now=0.0)
    score.refused("full")
    score.refused("still full")
    score.answered(1, key="k", worker="w", now=1.0)
    score.acknowledged(1)  # may come after the answer

    report = score.report()
    assert score.is_settled
    assert not report.is_complete
    assert (report.published, report.missing, report.failure) == (1, 0, "full")


def test_a_run_that_never_began_has_a_report() -> None:
    """All is zero."""
    report = Score("run", 3).report()

    assert (report.rate, report.p99_s, report.seconds, report.published) == (0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize(("percent", "wanted"), [(1, 1.0), (50, 2.0), (51, 3.0), (100, 4.0)])
def test_percentiles_are_values_that_were_measured(percent: int, wanted: float) -> None:
    """Nearest rank, without interpolation."""
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == wanted
