"""Which words of a draft METEOR takes for which words of a reference.

Words match when they are equal, when their stems are, or when they are synonyms. Of all matches those are kept that,
in this order: cover each word at most once; cover most words; run in fewest chunks; and lie closest to each other. The
search keeps the best ``_BEAM`` partial alignments at each word and gives the very alignments of METEOR 1.5, whose ways
differ from its paper: a match worth less than 1 counts nothing for coverage, unless it is the only one that its words
have; a run counts once it has ended; and of several matches that a word may have, each is charged the distances of
those before it, and none the distances of all.

Source: Denkowski and Lavie, WMT 2014 (METEOR Universal), sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

_BEAM = 40
_OPEN = -1
"""The end of a run where no run has begun."""


class Match(NamedTuple):
    """A word of the reference that a word of the draft stands for; ``module`` is how they match, 0 for equal."""

    reference: int
    draft: int
    module: int


class _Path(NamedTuple):
    """A partial alignment; paths compare by their first three, the smaller the better."""

    missed: int
    chunks: int
    distance: int
    used: int
    end: int
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
        weights: What a match by each module is worth, in (0, 1]; only those worth 1 count while searching.

    Returns:
        Matches in the order of the reference; no word of either side stands in two of them.
    """
    options = _options(reference, draft, modules)
    fixed = _without_rival(options)
    gains = [int(weight) for weight in weights]
    paths = [_Path(0, 0, 0, 0, _OPEN, ())]
    for place, choices in enumerate(options):
        if not choices and len(paths) == 1:
            paths = [_closed(paths[0])]
            continue
        grown: list[_Path] = []
        for path in sorted(paths, key=_order)[:_BEAM]:
            grown.extend(_extended(path, choices, gains, place in fixed))
        paths = grown
    return list(min((_closed(path) for path in sorted(paths, key=_order)[:_BEAM]), key=_order).matches)


def chunks(matches: Sequence[Match]) -> int:
    """Number of runs of matches whose words follow each other on both sides; ``matches`` ordered by reference."""
    broken = sum(
        after.reference != before.reference + 1 or after.draft != before.draft + 1
        for before, after in zip(matches, matches[1:], strict=False)
    )
    return broken + 1 if matches else 0


def _order(path: _Path) -> tuple[int, int, int]:
    return path[:3]


def _extended(path: _Path, choices: Sequence[Match], gains: Sequence[int], is_fixed: bool) -> Iterator[_Path]:
    """A path with each match of the next word that it may take, and without any."""
    distance = path.distance
    for match in choices:
        if path.used >> match.draft & 1:
            continue
        gap = abs(match.reference - match.draft)
        yield _Path(
            path.missed - gains[match.module],
            path.chunks + (path.end not in (_OPEN, match.draft)),
            distance + gap if is_fixed else distance,
            path.used | 1 << match.draft,
            match.draft + 1,
            (*path.matches, match),
        )
        distance += gap
    if not is_fixed:
        yield _closed(path)._replace(distance=distance)


def _closed(path: _Path) -> _Path:
    """A path whose last run has ended: only then does the run count."""
    return path if path.end == _OPEN else path._replace(chunks=path.chunks + 1, end=_OPEN)


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
    return [
        [Match(at, place, module) for module, place in sorted((module, place) for place, module in one.items())]
        for at, one in enumerate(found)
    ]


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
