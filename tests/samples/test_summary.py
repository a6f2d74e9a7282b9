"""Extractive summaries."""

from __future__ import annotations

import pytest

from callboard_samples.digest.prose import Prose, read_markdown
from callboard_samples.digest.summary import sentences, summarise, terms_of

LIGHTHOUSE = """\
# The lighthouse

The lighthouse at the cape guides ships past the reef. It was built of granite in 1874. Visitors
like the view.

The keeper of the lighthouse lit the lamp each evening and cleaned its great lens.
Bread was baked on Mondays.

Since 1986 the lamp of the lighthouse is electric, and no keeper lives at the cape. The lighthouse
at the cape guides ships past the reef.

- See also: boats.
- Tickets
"""


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Lind met Mrs. Berg. They spoke.", ["Dr. Lind met Mrs. Berg.", "They spoke."]),
        ("Use a queue, e.g. NATS. Or none.", ["Use a queue, e.g. NATS.", "Or none."]),
        ("Tools, files, etc. are here.", ["Tools, files, etc. are here."]),
        ("Bring tools, etc. Then go.", ["Bring tools, etc.", "Then go."]),
        ("J. R. R. Tolkien wrote it. We read it.", ["J. R. R. Tolkien wrote it.", "We read it."]),
        ("It takes 3.5 s. See Fig. 2 for more.", ["It takes 3.5 s.", "See Fig. 2 for more."]),
        ("Was it no. 5? No. Six.", ["Was it no. 5?", "No.", "Six."]),
        ('He said "Stop." She did.', ['He said "Stop."', "She did."]),
        ("(It rained.) We left.", ["(It rained.)", "We left."]),
        ("Wait... what? Yes.", ["Wait... what?", "Yes."]),
        ("Call `a.b. C` first. Then go.", ["Call `a.b. C` first.", "Then go."]),
        ("It runs on callboard.dev and v1.2. Yes.", ["It runs on callboard.dev and v1.2.", "Yes."]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_say(paragraph: str, expected: list[str]) -> None:
    """Abbreviations, initials, numbers, dots in names and code do not end one."""
    assert list(sentences(paragraph)) == expected


def test_terms_leave_out_what_says_nothing() -> None:
    """Stop words and case are gone, plurals meet singulars."""
    assert terms_of("The boats and a Boat's cities, the city; his class") == [
        "boat",
        "boat",
        "city",
        "city",
        "class",
    ]


def test_a_summary_says_what_the_text_is_about_in_its_order() -> None:
    """The heaviest sentences stand in reading order; asides are left out."""
    assert summarise(read_markdown(LIGHTHOUSE)) == (
        "The lighthouse at the cape guides ships past the reef.",
        "The keeper of the lighthouse lit the lamp each evening and cleaned its great lens.",
        "Since 1986 the lamp of the lighthouse is electric, and no keeper lives at the cape.",
    )


def test_a_repeated_sentence_is_said_once() -> None:
    """Neither the same sentence nor one that says the same in nearly the same words comes twice."""
    text = "The host routes every event to workers. " * 3 + (
        "The host routes every event to the workers quickly. "
        "Agents live on workers, not on the host."
    )

    assert summarise(read_markdown(text)) == (
        "The host routes every event to workers.",
        "Agents live on workers, not on the host.",
    )


def test_it_is_as_long_as_asked() -> None:
    """A shorter summary leaves out the lighter sentences."""
    prose = read_markdown(LIGHTHOUSE)

    assert summarise(prose, sentence_count=1) == (
        "The lighthouse at the cape guides ships past the reef.",
    )
    assert summarise(prose, sentence_count=0) == ()


@pytest.mark.parametrize(
    "paragraphs",
    [
        (),
        ("Too short.",),
        ("this has no end and so is not a whole sentence",),
        ("word " * 60 + ".",),
    ],
)
def test_without_a_whole_sentence_there_is_no_summary(paragraphs: tuple[str, ...]) -> None:
    """Fragments, introductions of lists and run-on lines are not quoted."""
    assert summarise(Prose("", (), paragraphs)) == ()


def test_the_same_text_gives_the_same_summary() -> None:
    """No chance, no hash order."""
    assert len({summarise(read_markdown(LIGHTHOUSE)) for _ in range(5)}) == 1
