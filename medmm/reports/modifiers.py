"""Side, zone, grade and size that a sentence gives to a finding it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from medmm.reports.vocabulary import Match
from medmm.reports.vocabulary_file import NO_CHANGE
from medmm.types import Change, Laterality, Severity, Zone

MODIFIERS = ("laterality", "zone", "severity")
_NUMBER, _UNIT = r"(?:\d+(?:[.,]\d+)?|\.\d+)", r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)\b"
_SIZE = re.compile(
    rf"(?<![\w.]){_NUMBER}(?:[ -]{{0,3}}(?:{_UNIT})?\s{{0,3}}(?:x|by|×|to|-|–|and)\s{{0,3}}{_NUMBER}){{0,3}}"
    rf"[ -]{{0,3}}{_UNIT}",
    re.IGNORECASE,
)
_LENGTH = re.compile(rf"({_NUMBER})(?:[ -]*({_UNIT}))?", re.IGNORECASE)
_EARLIER = re.compile(
    r"\b(?:previously|prior|formerly|from|was)(?:\s+(?:of|was|about|measured|measuring))*\s*$", re.IGNORECASE
)
_BOUND = re.compile(r"(?:\b(?:less|smaller|fewer) than|\bunder|<)\s*$", re.IGNORECASE)
_DISTANCE = re.compile(
    r"\s*(?:above|below|superior to|inferior to|proximal to|distal to|cephalad|caudal"
    r"|from (?:the|its) (?!prior|previous|last))",
    re.IGNORECASE,
)
_UNTIL_NOW = re.compile(r"\s*,? *(?:and )?(?:is )?now\b", re.IGNORECASE)
_REACH = 9
_SEVERITY_REACH = 4
_PREDICATE = frozenset(("is", "are", "was", "were", "remains", "remain", "appears", "appear", "now", ",", ":"))
_CHANGE_REACH = 10
_CHANGE_STOPS = frozenset((";", "with", "but", "however", "although"))
_STOPS = frozenset((",", ";", "with", "but", "however", "although"))


class Size(NamedTuple):
    """A length in a sentence: its largest number in millimetres and its characters."""

    mm: float
    start: int
    end: int


class Modifiers(NamedTuple):
    """What a sentence says of one mention."""

    laterality: Laterality | None = None
    zone: Zone | None = None
    severity: Severity | None = None


def find_sizes(sentence: str) -> list[Size]:
    """Find lengths such as ``8 mm``, ``5-7 mm`` and ``1.2 x 0.9 cm``.

    Those of an earlier study are left out, and so are distances and bounds such as ``less than 4 mm``.
    """
    sizes = []
    for match in _SIZE.finditer(sentence) if "m" in sentence or "M" in sentence else ():
        if _is_no_size(sentence, match):
            continue
        lengths = [(float(one[1].replace(",", ".")), one[2]) for one in _LENGTH.finditer(match[0])]
        if _EARLIER.search(sentence, max(0, match.start() - 30), match.start()):
            if " to " not in match[0]:
                continue
            lengths = lengths[-1:]  # from 4 mm to 7 mm
        unit, largest = lengths[-1][1], 0.0
        for number, own in reversed(lengths):  # a number without a unit has that of the next one
            unit = own or unit
            largest = max(largest, number * (10.0 if unit.lower().startswith("c") else 1.0))
        sizes.append(Size(round(largest, 3), match.start(), match.end()))
    return sizes


def _is_no_size(sentence: str, match: re.Match[str]) -> bool:
    """Whether a length is a bound, one of an earlier study, or how far something lies from something."""
    start, end = match.span()
    if _BOUND.search(sentence, max(0, start - 15), start) or _UNTIL_NOW.match(sentence, end):
        return True
    is_measured = "measur" in sentence[max(0, start - 30) : start].lower()  # a pneumothorax: 2 cm from the apex
    return not is_measured and _DISTANCE.match(sentence, end) is not None


def modifiers_of(mention: Match, mentions: Sequence[Match], words: list[str], matches: list[Match]) -> Modifiers:
    """Collect what belongs to ``mention``: words back to the last mention, else those up to the next one."""
    before = max((other.end for other in mentions if other.end <= mention.start), default=0)
    after = min((other.start for other in mentions if other.start >= mention.end), default=len(words))
    values: dict[str, str] = {}
    for kind in MODIFIERS:
        value = _nearest(mention, [match for match in matches if match.entry[0] == kind], words, (before, after))
        if value is not None:
            values[kind] = value
    if not before and _has_two_sides(mention, words, matches):
        values["laterality"] = "bilateral"
        values.pop("severity", None)
    return Modifiers(
        Laterality(values["laterality"]) if "laterality" in values else None,
        Zone(values["zone"]) if "zone" in values else None,
        Severity(values["severity"]) if "severity" in values else None,
    )


def _has_two_sides(mention: Match, words: list[str], matches: list[Match]) -> bool:
    """Whether each side has a grade of its own before the finding: ``small right and large left effusions``."""
    grades = [match for match in matches if match.entry[0] == "severity" and match.end <= mention.start]
    if len({match.entry[1] for match in grades}) < 2:  # noqa: PLR2004
        return False
    sides = [place for place in range(mention.start) if words[place] in {"left", "right"}][-2:]
    if len(sides) < 2 or words[sides[0]] == words[sides[1]] or mention.start - sides[1] > _SEVERITY_REACH:  # noqa: PLR2004
        return False
    between = set(range(sides[0] + 1, sides[1])) - {grade.start for grade in grades}
    return [words[place] for place in sorted(between)] == ["and"]


def change_of(mention: Match, mentions: Sequence[Match], words: list[str], matches: list[Match]) -> Change | None:
    """What became of ``mention`` since an earlier study; words that are part of the finding's name do not count."""
    said = [match for match in matches if match.entry[0] == "change"]
    if not said:
        return None
    before = max((other.end for other in mentions if other.end <= mention.start), default=0)
    after = min((other.start for other in mentions if other.start >= mention.end), default=len(words))
    best: tuple[tuple[int, int], str] | None = None
    for match in said:
        hidden = any(match.words & other.words == match.words != other.words for other in said)
        if hidden or match.words & mention.words:
            continue
        if match.end <= mention.start and match.start >= before:
            gap, rank = words[match.end : mention.start], 0
        elif match.start >= mention.end and match.end <= after:
            gap, rank = words[mention.end : match.start], 1
        elif match.start < mention.start < match.end:
            gap, rank = [], 0
        else:
            continue
        key = (rank, len(gap))
        if len(gap) <= _CHANGE_REACH and not _CHANGE_STOPS.intersection(gap) and (best is None or key < best[0]):
            best = (key, match.entry[1])
    return Change(best[1]) if best and best[1] != NO_CHANGE else None


def _nearest(mention: Match, candidates: list[Match], words: list[str], limits: tuple[int, int]) -> str | None:
    """The value of the nearest of the modifiers of one kind between ``limits``; those before the mention come first."""
    before, after = limits
    kind = candidates[0].entry[0] if candidates else ""
    reach = _SEVERITY_REACH if kind == "severity" else _REACH
    best: tuple[tuple[int, int, int], str] | None = None
    for match in candidates:
        if match.end <= mention.start and match.start >= before:
            gap, rank = words[match.end : mention.start], 0
        elif match.start >= mention.end and match.end <= after:
            gap, rank = words[mention.end : match.start], 1
        elif mention.start <= match.start and match.end <= mention.end:
            gap, rank = [], 0
        else:
            continue
        if len(gap) > reach:
            continue
        if kind == "severity" and rank:  # a grade behind the finding is its predicate: "is small", ", small", ": small"
            if not _PREDICATE.issuperset(gap):
                continue
        elif any(word in _STOPS for word in gap) and not (gap == [","] and "than" in words[match.start : match.end]):
            continue
        key = (rank, len(gap), match.start - match.end)
        if best is None or key < best[0]:
            best = (key, match.entry[1])
        elif best[0][0] == rank and {best[1], match.entry[1]} == {"left", "right"} and "and" in words:
            best = (key, "bilateral")
    return best[1] if best else None
