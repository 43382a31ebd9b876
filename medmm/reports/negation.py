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
_LIST_MARKS = frozenset((",", ";", "or", "nor", "no", "without"))
_CLAUSE_ENDS = frozenset((",", ";", "and"))
_UNDECIDED = frozenset(("excluded", "out", "confirmed", "ensured"))
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
    negation_end: list[tuple[int, int]] = field(default_factory=list)
    """Answers such as the ``none`` of ``effusion: none``: the words ``[start, end)`` whose findings they deny."""
    hedge_end: list[tuple[int, int]] = field(default_factory=list)
    """As ``negation_end``, of answers that doubt."""
    persists: list[tuple[int, int]] = field(default_factory=list)
    """Where a side is named on which a finding that was denied just before is there: ``; left persists``."""
    breaks: list[int] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    """Commas and ``and`` behind which something is affirmed: ``no effusion, small nodule``."""


def find_cues(words: list[str], matches: list[Match]) -> Cues:
    """Sort out a sentence's cues; where several overlap, the longest holds."""
    cues = Cues()
    candidates = [match for match in matches if match.entry[0] in CUES and match.entry[0] != "affirmed"]
    candidates = [match for match in candidates if not _is_answer(match) or _ends_clause(match, words)]
    taken = 0
    for match in sorted(candidates, key=_precedence):
        kind = match.entry[0]
        if kind == "persists":
            cues.persists.append((match.start, match.end))
            continue
        if match.words & taken:
            continue
        taken |= match.words
        if _is_answer(match):
            getattr(cues, kind).append(_answered(match, words, matches))
        elif kind == "break":
            cues.breaks.append(match.start)
        elif kind != "neutral":
            getattr(cues, kind).append((match.start, match.end))
    both = [span for span in cues.hedge_before if words[span[0]] in {"versus", "vs"}]
    cues.hedge_after.extend(both)
    cues.turns = _turns(words, {match.start for match in matches if match.entry[0] == "affirmed"}, cues)
    return cues


def _is_answer(match: Match) -> bool:
    return match.entry[0].endswith("_end")


def _ends_clause(match: Match, words: list[str]) -> bool:
    return match.end == len(words) or words[match.end] in _CLAUSE_ENDS


def _precedence(match: Match) -> tuple[int, int, bool, int]:
    """The longest first; of two as long, an answer."""
    return match.start - match.end, -match.words.bit_count(), not _is_answer(match), match.start


def _answered(match: Match, words: list[str], matches: list[Match]) -> tuple[int, int]:
    """The words that an answer speaks of: back to a colon, and to a comma unless a list of findings is answered."""
    end = match.start
    has_colon = end > 0 and words[end - 1] == ":"
    end -= has_colon
    is_list = has_colon and any(other.entry[0] == "finding" and other.end == end for other in matches)
    stops = {":", ";"} if is_list else {":", ";", ","}
    start = end
    while start > 0 and words[start - 1] not in stops:
        start -= 1
    return start, end


def side_left(mention: Match, mentions: list[Match], words: list[str], cues: Cues) -> str | None:
    """The side on which a denied finding is said to be there: ``effusion has resolved on the right; left persists``."""
    for start, end in cues.persists:
        if start >= mention.end and not any(mention.end <= other.start < end for other in mentions):
            return next(word for word in reversed(words[start:end]) if word in {"left", "right"})
    return None


def status_of(mention: Match, words: list[str], cues: Cues) -> Status:
    """Say what the sentence says of the finding that ``mention`` names."""
    if any(mention.start - end <= _NEAREST and _reaches(end, mention.start, cues) for _, end in cues.past):
        return Status.UNMENTIONED
    inside = range(mention.start, mention.end)
    is_predicate = any(words[place] in _VERBS for place in inside)
    if any(start <= mention.start and mention.end <= end for start, end in cues.negation_end):
        return Status.ABSENT
    is_denied = not is_predicate and any(_reaches(end, mention.start, cues) for _, end in cues.negation_before)
    if _is_undecided(mention, words, cues, is_denied):
        return Status.UNCERTAIN
    if is_denied:
        return Status.ABSENT
    for start, _ in cues.negation_after:
        if start >= mention.end and _reaches_back(mention.end, start, words, cues):
            return Status.ABSENT
    if any(start <= mention.start and mention.end <= end for start, end in cues.hedge_end):
        return Status.UNCERTAIN
    for _, end in cues.hedge_before:
        if mention.start - end <= _LONGEST_HEDGE and _reaches(end, mention.start, cues):
            return Status.UNCERTAIN
    for start, _ in cues.hedge_after:
        near = words[start] not in {"versus", "vs"} or start - mention.end <= _NEAREST
        if start >= mention.end and near and _reaches_back(mention.end, start, words, cues):
            return Status.UNCERTAIN
    return Status.PRESENT


def _is_undecided(mention: Match, words: list[str], cues: Cues, is_denied: bool) -> bool:
    """Whether right behind the finding stands what takes its denial back: ``no pneumothorax can be excluded``."""
    behind = cues.hedge_after + cues.negation_after if is_denied else cues.hedge_after
    return any(0 <= start - mention.end <= 1 and words[end - 1] in _UNDECIDED for start, end in behind)


def _turns(words: list[str], affirmed: set[int], cues: Cues) -> list[int]:
    turns = []
    for place, word in enumerate(words):
        if word not in {",", "and", "with"}:
            continue
        after = place if word == "with" else place + 1
        while after < len(words) and words[after] in _ARTICLES:
            after += 1
        if word == "," and _states(words, after, affirmed):
            turns.append(place)
            continue
        if after not in affirmed:
            continue
        end = min((stop for stop in cues.breaks if stop > place), default=len(words))
        if word == "with" or "or" not in words[after:end]:
            turns.append(place)
    return turns


def _states(words: list[str], start: int, affirmed: set[int]) -> bool:
    """Whether the clause at ``start`` affirms something of its own: ``no pneumothorax, the effusion is small``."""
    for place in range(start, len(words)):
        if words[place] in _LIST_MARKS:
            return False
        if words[place] in _VERBS:
            return place + 1 in affirmed and words[place + 1] not in _LIST_MARKS
    return False


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
