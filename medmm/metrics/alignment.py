"""Which words of a draft METEOR takes for which words of a reference.

Words match when they are equal, when their stems are, or when they are synonyms. Of all matches those are kept that,
in this order: cover each word at most once; cover most words, each weighted by how it matched; run in fewest chunks;
and lie closest to each other. The search keeps the best ``_BEAM`` partial alignments at each word, like METEOR 1.5's.

Source: Denkowski and Lavie, WMT 2014 (METEOR Universal), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

_BEAM = 40


class Match(NamedTuple):
    """A word of the reference that a word of the draft stands for; ``module`` is how they match, 0 for equal."""

    reference: int
    draft: int
    module: int


class _Path(NamedTuple):
    """A partial alignment; paths compare by their first three."""

    missed: float
    chunks: int
    distance: int
    used: int
    last: int
    matches: tuple[Match, ...]


Keys = Callable[[str], frozenset[str]]
"""What a word matches by in one module: two words match when they share a key."""


def align(
    reference: Sequence[str], draft: Sequence[str], modules: Sequence[Keys], weights: Sequence[float]
) -> list[Match]:
    """Align a draft with a reference.

    Args:
        reference: Words.
        draft: Words.
        modules: Ways to match, the best first; a pair of words that an earlier one matches is left to it.
        weights: What a match by each module is worth, in (0, 1].

    Returns:
        Matches in the order of the reference; no word of either side stands in two of them.
    """
    options = [[] for _ in reference] if not draft else _options(reference, draft, modules)
    fixed = _without_rival(options)
    paths = [_Path(0.0, 0, 0, 0, -1, ())]
    for place, choices in enumerate(options):
        if not choices:
            paths = [path._replace(last=-1) if path.last >= 0 else path for path in paths]
            continue
        grown: list[_Path] = []
        for path in paths:
            grown.extend(_with(path, match, weights) for match in choices if not path.used >> match.draft & 1)
            if place not in fixed:
                grown.append(path._replace(last=-1))
        grown.sort(key=lambda path: path[:3])
        paths = grown[:_BEAM]
    return list(paths[0].matches)


def chunks(matches: Sequence[Match]) -> int:
    """Number of runs of matches whose words follow each other on both sides; ``matches`` ordered by reference."""
    broken = sum(
        after.reference != before.reference + 1 or after.draft != before.draft + 1
        for before, after in zip(matches, matches[1:], strict=False)
    )
    return broken + 1 if matches else 0


def _with(path: _Path, match: Match, weights: Sequence[float]) -> _Path:
    return _Path(
        path.missed - int(weights[match.module]),
        path.chunks + (match.draft != path.last or path.last < 0),
        path.distance + abs(match.reference - match.draft),
        path.used | 1 << match.draft,
        match.draft + 1,
        (*path.matches, match),
    )


def _options(reference: Sequence[str], draft: Sequence[str], modules: Sequence[Keys]) -> list[list[Match]]:
    """All matches of each word of the reference, in the order of the draft."""
    found: list[dict[int, int]] = [{} for _ in reference]
    for module, keys in enumerate(modules):
        places: dict[str, list[int]] = {}
        for at, word in enumerate(draft):
            for key in keys(word):
                places.setdefault(key, []).append(at)
        for at, word in enumerate(reference):
            for key in keys(word):
                for place in places.get(key, ()):
                    found[at].setdefault(place, module)
    return [[Match(at, place, one[place]) for place in sorted(one)] for at, one in enumerate(found)]


def _without_rival(options: Sequence[Sequence[Match]]) -> frozenset[int]:
    """Words of the reference with one match, whose word of the draft has no other match either."""
    taken: Mapping[int, int] = _times(options)
    return frozenset(at for at, one in enumerate(options) if len(one) == 1 and taken[one[0].draft] == 1)


def _times(options: Sequence[Sequence[Match]]) -> dict[int, int]:
    times: dict[int, int] = {}
    for one in options:
        for match in one:
            times[match.draft] = times.get(match.draft, 0) + 1
    return times
