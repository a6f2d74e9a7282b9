"""Words that a summary treats in their own way."""

from __future__ import annotations

_STOP_WORDS = """
a about above after again all also although always am among an and another any are aren't as at
be because been before being below between both but by can can't cannot could did do does
doesn't doing don't done down during each either else even ever every few first for from further
had has have having he her here hers him his how however i if in into is isn't it it's its
itself just last least less let like made make makes many may me might more most much must my
neither never next no none nor not nothing now of off often on once one only onto or other
others our out over own per rather s same see several she should since so some still such take
takes than that that's the their them then there therefore these they this those though through
thus to too two under until up upon us use used uses using very via was we well were what when
where whether which while who whom whose why will with within without would yes yet you your
"""
_DEPENDENT = """
also and but consequently furthermore he hence her however instead it its moreover nor or
otherwise she so such that their then therefore these they this those thus
"""
_ABBREVIATIONS = """
al. approx. bzw. ca. capt. cf. col. d.h. dept. dr. e.g. ed. eds. esp. est. etc. gen. gov. i.e.
incl. jr. max. min. mr. mrs. ms. mt. prof. resp. rev. sen. sgt. sr. st. usw. v. viz. vs. z.b.
"""

STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Say nothing about what a text is about."""

DEPENDENT = frozenset(_DEPENDENT.split())
"""Begin sentences that need the one before."""

ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
"""Their full stop does not end a sentence."""

MAY_END = frozenset({"etc.", "jr.", "sr.", "usw."})
"""Abbreviations that end one when a capital follows."""
