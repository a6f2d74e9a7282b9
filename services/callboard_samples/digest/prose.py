"""Markdown and plain text, reduced to what was written as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}\s(?P<text>.*)\Z")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*\Z")
_RULE = re.compile(r" {0,3}([-*_])(\s*\1){2,}\s*\Z")
_TABLE_DIVIDER = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*\Z")
_REFERENCE = re.compile(r" {0,3}\[[^\]]+\]:\s")
_LIST_ITEM = re.compile(r"\s*([-*+]|\d{1,3}[.)])\s+(\[[ xX]\]\s+)?")
_QUOTE = re.compile(r"\s*>\s?")

# What spans text has a bound: where its end is missing, the search for it must not go on for ever.
_INLINE = (
    (re.compile(r"!\[[^\[\]]{0,500}\](\([^()]{0,500}\)|\[[^\[\]]{0,500}\])"), ""),  # images
    (re.compile(r"\[\s{0,9}\]\([^()]{0,500}\)"), ""),  # what is left of an image in a link
    (re.compile(r"\[([^\[\]]{1,500})\](\([^()]{0,500}\)|\[[^\[\]]{0,500}\])"), r"\1"),  # links
    (re.compile(r"<((https?|mailto):[^>\s]{1,500})>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>]{0,500}>"), ""),  # HTML tags
    (re.compile(r"(?<![\w*])(\*{1,3})(?=\S)(.{1,500}?)(?<=\S)\1(?![\w*])"), r"\2"),
    (re.compile(r"(?<![\w_])(_{1,3})(?=\S)(.{1,500}?)(?<=\S)\1(?![\w_])"), r"\2"),
    (re.compile(r"~~(.{1,500}?)~~"), r"\1"),
)
CODE_SPAN = re.compile(r"(?<!`)(?P<ticks>`{1,9})(?!`).{1,500}?(?<!`)(?P=ticks)(?!`)")
_LITERAL = re.compile(r"\\(?P<escaped>[!-/:-@\[-`{-~])|" + CODE_SPAN.pattern)
"""An escaped sign, or a code span: neither holds markup."""


@dataclass(frozen=True, slots=True)
class Prose:
    """What a text says in sentences.

    Attributes:
        title: Its first heading; empty when it has none.
        headings: All its headings, the title included.
        paragraphs: Its paragraphs and list items, each on one line, without markup. Code spans keep
            their backquotes: what is in them is no prose.
    """

    title: str
    headings: tuple[str, ...]
    paragraphs: tuple[str, ...]


def read_markdown(text: str) -> Prose:
    """Take headings, code, tables, links and other markup off. Plain text passes as it is."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").expandtabs(4)
    text = _COMMENT.sub("", _FRONT_MATTER.sub("", text))
    headings: list[str] = []
    paragraphs: list[str] = []
    for block in _blocks(list(_without_code(text.split("\n")))):
        first = block[0]
        if heading := _HEADING.match(first):
            headings.append(_plain(_without_closing_marks(heading["text"])))
        elif len(block) > 1 and _UNDERLINE.match(block[-1]):
            headings.append(_plain(" ".join(block[:-1])))
        elif not _is_table(block):
            paragraph = _plain(" ".join(line.strip() for line in block))
            if paragraph:
                paragraphs.append(paragraph)
    return Prose(headings[0] if headings else "", tuple(headings), tuple(paragraphs))


def _without_code(lines: list[str]) -> Iterator[str]:
    """The lines outside fenced and indented code, with an empty line for each that is left out."""
    fence = ""
    in_list = False
    for before, line in pairwise(["", *lines]):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark["mark"].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            yield ""
            continue
        if mark:
            fence = mark["mark"]
            yield ""
            continue
        if line.strip():
            in_list = bool(_LIST_ITEM.match(line)) or (in_list and line.startswith(" "))
        is_code = line.startswith("    ") and not in_list and not before.strip(" >")
        yield "" if is_code or (_RULE.match(line) and not before.strip()) else line


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Lines that belong together: a paragraph, a list item, a table, an underlined heading."""
    block: list[str] = []
    for raw in lines:
        line = _QUOTE.sub("", raw) if _QUOTE.match(raw) else raw
        item = _LIST_ITEM.match(line)
        is_boundary = not line.strip() or item or _HEADING.match(line) or _REFERENCE.match(line)
        if block and (is_boundary or _HEADING.match(block[0])):
            yield block
            block = []
        if _REFERENCE.match(line) or not line.strip():
            continue
        block.append(line[item.end() :] if item else line)
        if len(block) > 1 and _UNDERLINE.match(line):
            yield block
            block = []
    if block:
        yield block


def _without_closing_marks(heading: str) -> str:
    """``# Heading #`` is closed, ``# C#`` is not."""
    text = heading.rstrip().rstrip("#")
    return text if not text or text.endswith(" ") else heading


def _is_table(block: list[str]) -> bool:
    if any(_TABLE_DIVIDER.match(line) for line in block):
        return True
    return all(line.strip().startswith("|") for line in block)


def _plain(text: str) -> str:
    """One line without inline markup; what is in code spans is left alone."""
    literals: list[str] = []

    def keep(literal: re.Match[str]) -> str:
        literals.append(literal["escaped"] or literal[0])
        return f"\0{len(literals) - 1}\0"

    text = _LITERAL.sub(keep, text.replace("\0", ""))
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\0(\d+)\0", lambda mark: literals[int(mark[1])], text)
    return " ".join(text.split())
