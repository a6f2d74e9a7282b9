"""Extractive summaries: the sentences of a text that say most of it, in their order.

A term counts for more the more sentences of the text have it, and for less when nearly all have it
(tf-idf, with sentences in the place of documents). A sentence is worth its terms; taking one makes
what it said worth less in the others, so that the next one says something else. No model is needed,
and the same text always gives the same summary. Words must have spaces between them; the stop words
are English.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from callboard_samples.digest.prose import CODE_SPAN, Prose
from callboard_samples.digest.words import ABBREVIATIONS, DEPENDENT, MAY_END, STOP_WORDS

MIN_WORDS = 5
MAX_WORDS = 45

_TITLE_FACTOR = 1.5
"""How much more a term counts that the title or a heading has too."""

_OPENING_BONUS = 1.0
"""How much the first paragraph's sentences gain, since texts say first what they are about.

The second's gain half of it, the third's a third.
"""

_LENGTH_EXPONENT = 0.7
"""1 would rank by the average term, and short sentences win; 0 by the sum, and long ones win."""

_DEPENDENT_FACTOR = 0.6
"""How much a sentence counts whose beginning needs the one before: "This is why ..."."""

_LONE_FACTOR = 0.3
"""What a term counts that one sentence only has: the text is not about it."""

_SAID_FACTOR = 0.5
"""What a term still counts in other sentences once one that has it was taken."""

_ALIKE = 0.6
"""Two sentences that share this part of their terms say the same."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_STOPS = tuple(".!?\u2026")
_OPENING = "\"'([\u201c\u2018"
_CLOSING = "\"')]\u201d\u2019*"
_END = re.compile(r"(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019)\]*]*+(?=\s|\Z)")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+\Z")
_NUMBERED = re.compile(r"(?:no|nos|fig|figs|eq|sec|ch|vol|pp|p|art)\.\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    terms: AbstractSet[str]
    factor: float


def summarise(prose: Prose, *, sentence_count: int = 3) -> tuple[str, ...]:
    """The sentences that say most, at most ``sentence_count``, in reading order."""
    candidates = _candidates(prose)
    weights = _weights([sentence.terms for sentence in candidates], prose.headings)
    taken: list[int] = []
    open_to_choice = list(range(len(candidates)))
    while open_to_choice and len(taken) < sentence_count:
        best = max(open_to_choice, key=lambda index: (_worth(candidates[index], weights), -index))
        taken.append(best)
        open_to_choice = [
            index
            for index in open_to_choice
            if index != best and not _are_alike(candidates[index].terms, candidates[best].terms)
        ]
        for term in candidates[best].terms:
            weights[term] *= _SAID_FACTOR
    return tuple(candidates[index].text for index in sorted(taken))


def sentences(paragraph: str) -> Iterator[str]:
    """Split a paragraph. Abbreviations, initials, numbers and code spans do not end a sentence."""
    hidden = CODE_SPAN.sub(lambda span: "\0" * len(span[0]), paragraph)
    start = 0
    for end in _END.finditer(hidden):
        if _goes_on(hidden[start : end.end()], hidden[end.end() :].lstrip()):
            continue
        yield paragraph[start : end.end()].strip()
        start = end.end()
    if rest := paragraph[start:].strip():
        yield rest


def terms_of(text: str) -> list[str]:
    """The words of ``text`` that carry meaning, plurals as singulars."""
    words = (word.lower().replace("\u2019", "'") for word in _WORD.findall(text))
    return [_stem(word) for word in words if len(word) > 1 and word not in STOP_WORDS]


def _goes_on(so_far: str, rest: str) -> bool:
    """Whether what looks like the end of a sentence is none."""
    written = so_far.rsplit(maxsplit=1)[-1].lstrip(_OPENING)
    word = written.lower()
    if rest and rest[0].islower():
        return True
    if word in MAY_END:
        return False
    if word in ABBREVIATIONS:
        return bool(rest)
    if _INITIALS.match(written) and written.isupper():
        return rest[:1].isalpha()
    return bool(_NUMBERED.match(word) and rest[:1].isdigit())


def _candidates(prose: Prose) -> list[_Sentence]:
    """The sentences that can stand in a summary: whole ones, of readable length, each once."""
    found: list[_Sentence] = []
    seen: set[tuple[str, ...]] = set()
    for number, paragraph in enumerate(prose.paragraphs, 1):
        for text in sentences(paragraph):
            words = _WORD.findall(text)
            key = tuple(word.lower() for word in words)
            if not MIN_WORDS <= len(words) <= MAX_WORDS or not _is_whole(text) or key in seen:
                continue
            seen.add(key)
            factor = (1 + _OPENING_BONUS / number) * _plain_share(text)
            if key[0] in DEPENDENT:
                factor *= _DEPENDENT_FACTOR
            found.append(_Sentence(text, frozenset(terms_of(text)), factor))
    return found


def _is_whole(text: str) -> bool:
    return text.rstrip(_CLOSING)[-1:] in _STOPS


def _plain_share(text: str) -> float:
    """How much of a sentence is words, rather than code, numbers and signs."""
    outside = CODE_SPAN.sub("", text)
    return sum(map(len, _WORD.findall(outside))) / len(text)


def _weights(texts: Sequence[AbstractSet[str]], headings: Sequence[str]) -> dict[str, float]:
    counts = Counter(term for terms in texts for term in terms)
    titled = {term for heading in headings for term in terms_of(heading)}
    weights = {term: count * math.log(1 + len(texts) / count) for term, count in counts.items()}
    for term, count in counts.items():
        if term in titled:
            weights[term] *= _TITLE_FACTOR
        if count == 1:
            weights[term] *= _LONE_FACTOR
    return weights


def _worth(sentence: _Sentence, weights: dict[str, float]) -> float:
    total = math.fsum(weights[term] for term in sentence.terms)
    return sentence.factor * total / math.pow(max(1, len(sentence.terms)), _LENGTH_EXPONENT)


def _are_alike(one: AbstractSet[str], other: AbstractSet[str]) -> bool:
    return len(one & other) >= _ALIKE * max(1, min(len(one), len(other)))


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for suffix, instead, shortest in (("ies", "y", 5), ("sses", "ss", 6), ("s", "", 4)):
        if (
            word.endswith(suffix)
            and len(word) >= shortest
            and not word.endswith(("ss", "us", "is"))
        ):
            return word.removesuffix(suffix) + instead
    return word
