"""Side, zone, grade and size that a sentence gives to a finding it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from medmm.reports.vocabulary import Match
from medmm.types import Laterality, Severity, Zone

MODIFIERS = ("laterality", "zone", "severity")
_SIZE = re.compile(
    r"(\d+(?:\.\d+)?)(?:\s*(?:mm|cm)?\s*(?:x|by|×)\s*(\d+(?:\.\d+)?))?(?:\s*(?:mm|cm)?\s*(?:x|by|×)\s*(\d+(?:\.\d+)?))?"
    r"[ -]*(mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)\b",
    re.IGNORECASE,
)
_REACH = 9
_SEVERITY_REACH = 4
_PREDICATE = frozenset(("is", "are", "was", "were", "remains", "remain", "appears", "appear", "now", ",", ":"))
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
    """Find lengths such as ``8 mm`` and ``1.2 x 0.9 cm``."""
    sizes = []
    for match in _SIZE.finditer(sentence) if "m" in sentence else ():
        largest = max(float(number) for number in match.groups()[:3] if number)
        factor = 10.0 if match[4].lower().startswith("c") else 1.0
        sizes.append(Size(round(largest * factor, 3), match.start(), match.end()))
    return sizes


def modifiers_of(mention: Match, mentions: Sequence[Match], words: list[str], matches: list[Match]) -> Modifiers:
    """Collect what belongs to ``mention``: words back to the last mention, else those up to the next one."""
    before = max((other.end for other in mentions if other.end <= mention.start), default=0)
    after = min((other.start for other in mentions if other.start >= mention.end), default=len(words))
    values: dict[str, str] = {}
    for kind in MODIFIERS:
        value = _nearest(mention, [match for match in matches if match.entry[0] == kind], words, (before, after))
        if value is not None:
            values[kind] = value
    return Modifiers(
        Laterality(values["laterality"]) if "laterality" in values else None,
        Zone(values["zone"]) if "zone" in values else None,
        Severity(values["severity"]) if "severity" in values else None,
    )


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
        elif any(word in _STOPS for word in gap):
            continue
        key = (rank, len(gap), match.start - match.end)
        if best is None or key < best[0]:
            best = (key, match.entry[1])
        elif best[0][0] == rank and {best[1], match.entry[1]} == {"left", "right"} and "and" in words:
            best = (key, "bilateral")
    return best[1] if best else None
