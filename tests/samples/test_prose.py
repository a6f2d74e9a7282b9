"""Markdown reduced to prose."""

from __future__ import annotations

import pytest

from callboard_samples.digest.prose import read_markdown
from callboard_samples.digest.summary import summarise

PAGE = """\
---
layout: page
description: Not for readers.
---
<!-- A note
that nobody sees. -->
# The *harbour* of [Bergen](https://example.org/bergen) #

[![build](https://example.org/badge.svg)](https://example.org) ![map](map.png)

The harbour is **old**, _new_: see [its page][page] or <https://ab.no/a_b>.
It opens at `05:00. Sharp`.

Opening hours
-------------

| day | from |
| --- | ---- |
| Mon | 5    |

day | from
--- | ---
Tue | 6

```python
print("Code is left out.")
```

    indented = "So is this. Really."

* Boats under five metres pay nothing.
* [x] Boats over five metres
  pay by the metre.

1. First register.
   ~~~
   fenced in a list
   ~~~

> Quoted words are words.

***

Snake_case_names and 2 * 3 * 4 stay <b>whole</b>, \\*so do stars\\*.

[page]: https://example.org/page "A page"
"""


def test_what_is_left_are_paragraphs_and_list_items() -> None:
    """Front matter, comments, headings, code, tables, images and reference definitions are gone."""
    prose = read_markdown(PAGE)

    assert prose.paragraphs == (
        "The harbour is old, new: see its page or https://ab.no/a_b. It opens at `05:00. Sharp`.",
        "Boats under five metres pay nothing.",
        "Boats over five metres pay by the metre.",
        "First register.",
        "Quoted words are words.",
        "Snake_case_names and 2 * 3 * 4 stay whole, *so do stars*.",
    )


def test_headings_of_both_styles_are_kept_apart() -> None:
    """The first heading is the title; none has markup."""
    prose = read_markdown(PAGE)

    assert prose.title == "The harbour of Bergen"
    assert prose.headings == ("The harbour of Bergen", "Opening hours")


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("", ()),
        ("   \n\n\t\n", ()),
        ("```\nnever closed. Ever.\n", ()),
        ("````\n```\nstill code.\n```\n````\nText.", ("Text.",)),
        ("```\r\ncode\r\n```\r\nText.\r\n", ("Text.",)),
        ("\ufeffOne line\nand its end.", ("One line and its end.",)),
        ("Text.\n# Heading\nMore text.", ("Text.", "More text.")),
        ("# Only a heading", ()),
        ("Seen. <!-- never closed", ("Seen.",)),
        ("Plain text has\nlines.\n\nAnd paragraphs.", ("Plain text has lines.", "And paragraphs.")),
        ("- item\n\n    its second paragraph.\n", ("item", "its second paragraph.")),
    ],
)
def test_odd_texts(text: str, paragraphs: tuple[str, ...]) -> None:
    """Empty, unclosed, nested, from another system, or no Markdown at all."""
    assert read_markdown(text).paragraphs == paragraphs


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# C#", "C#"),
        ("## Closed ##", "Closed"),
        ("#", ""),
        ("#hashtag", ""),
        ("#  `a`  # ", "`a`"),
    ],
)
def test_titles(text: str, title: str) -> None:
    """A heading may be closed; what has no space after its mark is none."""
    assert read_markdown(text).title == title


@pytest.mark.parametrize(
    "text",
    [
        "*a",
        "_a ",
        "`",
        "`a ``",
        "[",
        "[a](",
        "![",
        "<a",
        "<!--",
        "# ",
        " ",
        ". ",
        "...",
        "~~a",
        "|-",
    ],
)
def test_endless_markup_is_read_in_time(text: str) -> None:
    """Time grows with the length of a text, not its square; the limit is the test's timeout."""
    summarise(read_markdown(text * 50_000))
    summarise(read_markdown("# " + text * 50_000))
