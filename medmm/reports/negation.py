"""Whether a sentence states, denies or doubts a finding that it names.

Cues act on what stands in their scope, after NegEx (Chapman et al., J Biomed Inform 2001), with scopes that end at
conjunctions and verbs too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from medmm.reports.vocabulary import Match
from medmm.reports.vocabulary_file import CUES
from medmm.types import Status

_VERBS = frozenset(
    (
        "is", "are", "was", "were", "has", "have", "remain", "remains", "appear", "appears",
        "demonstrate", "demonstrates", "show", "shows",
    )
)  # fmt: skip
_AUXILIARIES = _VERBS | {"been", "be", "now", "currently"}
_ARTICLES = frozenset(("and", "a", "an", "the", "some"))
_LONGEST_HEDGE = 12
_NEAREST = 4


@dataclass
class Cues:
    """The cues of one sentence, each as its words ``[start, end)``, and the places where scopes end."""

    negation_before: list[tuple[int, int]] = field(default_factory=list)
    negation_after: list[tuple[int, int]] = field(default_factory=list)
    hedge_before: list[tuple[int, int]] = field(default_factory=list)
    hedge_after: list[tuple[int, int]] = field(default_factory=list)
    past: list[tuple[int, int]] = field(default_factory=list)
    """What stands behind these was so once, and is not said of this study: ``history of``."""
    breaks: list[int] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    """Commas and ``and`` behind which something is affirmed: ``no effusion, small nodule``."""


def find_cues(words: list[str], matches: list[Match]) -> Cues:
    """Sort out a sentence's cues; where several overlap, the longest holds."""
    cues = Cues()
    candidates = [match for match in matches if match.entry[0] in CUES and match.entry[0] != "affirmed"]
    taken = 0
    for match in sorted(candidates, key=lambda match: (match.start - match.end, -match.words.bit_count(), match.start)):
        if match.words & taken:
            continue
        kind = match.entry[0]
        taken |= match.words
        if kind == "break":
            cues.breaks.append(match.start)
        elif kind != "neutral":
            getattr(cues, kind).append((match.start, match.end))
    both = [span for span in cues.hedge_before if words[span[0]] in {"versus", "vs"}]
    cues.hedge_after.extend(both)
    cues.turns = _turns(words, {match.start for match in matches if match.entry[0] == "affirmed"}, cues)
    return cues


def status_of(mention: Match, words: list[str], cues: Cues) -> Status:
    """Say what the sentence says of the finding that ``mention`` names."""
    if any(mention.start - end <= _NEAREST and _reaches(end, mention.start, cues) for _, end in cues.past):
        return Status.UNMENTIONED
    inside = range(mention.start, mention.end)
    is_predicate = any(words[place] in _VERBS for place in inside)
    if not is_predicate and any(_reaches(end, mention.start, cues) for _, end in cues.negation_before):
        return Status.ABSENT
    for start, _ in cues.negation_after:
        if start >= mention.end and _reaches_back(mention.end, start, words, cues):
            return Status.ABSENT
    for _, end in cues.hedge_before:
        if mention.start - end <= _LONGEST_HEDGE and _reaches(end, mention.start, cues):
            return Status.UNCERTAIN
    for start, _ in cues.hedge_after:
        near = words[start] not in {"versus", "vs"} or start - mention.end <= _NEAREST
        if start >= mention.end and near and _reaches_back(mention.end, start, words, cues):
            return Status.UNCERTAIN
    return Status.PRESENT


def _turns(words: list[str], affirmed: set[int], cues: Cues) -> list[int]:
    turns = []
    for place, word in enumerate(words):
        if word not in {",", "and", "with"}:
            continue
        after = place if word == "with" else place + 1
        while after < len(words) and words[after] in _ARTICLES:
            after += 1
        if after not in affirmed:
            continue
        end = min((stop for stop in cues.breaks if stop > place), default=len(words))
        if word == "with" or "or" not in words[after:end]:
            turns.append(place)
    return turns


def _reaches(start: int, end: int, cues: Cues) -> bool:
    if start > end:
        return False
    return not any(start <= stop < end for stop in cues.breaks) and not any(start <= stop < end for stop in cues.turns)


def _reaches_back(start: int, end: int, words: list[str], cues: Cues) -> bool:
    if any(start <= stop < end for stop in cues.breaks):
        return False
    while end > start and words[end - 1] in _AUXILIARIES:
        end -= 1
    return not any(word in _VERBS for word in words[start:end])
