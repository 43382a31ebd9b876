"""Solids: unions of quadrics, cut by others; the exact length of each ray inside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.geometry import Array, Interval, Points, Quadric, Stretches, View, Window

NOWHERE_MM = 1000.0
"""Where empty intervals are kept while sorting: outside every patient, near enough for float32."""


@dataclass(frozen=True)
class Solid:
    """The union of ``parts``, as far as it lies in all of ``within`` and in none of ``without``.

    Attributes:
        parts: At least one quadric.
        within: Quadrics that all must hold a point.
        without: Quadrics that none may hold a point.
    """

    parts: tuple[Quadric, ...]
    within: tuple[Quadric, ...] = ()
    without: tuple[Quadric, ...] = ()

    def contains(self, points: Points) -> npt.NDArray[np.bool_]:
        """Whether points (..., 3) lie in the solid."""
        inside = np.any([part.contains(points) for part in self.parts], axis=0)
        for part in self.within:
            inside &= part.contains(points)
        for part in self.without:
            inside &= ~part.contains(points)
        return inside

    def amount(self, points: Points) -> npt.NDArray[np.float64]:
        """How many times a point (..., 3) counts: 1 inside, 0 outside."""
        return self.contains(points).astype(float)

    def draw(self, view: View, image: Array, factor: float) -> None:
        """Add ``factor`` times the length of each ray inside the solid, in mm, to an image [rows, columns].

        The union is taken apart, so that each part costs no more than its own shadow: |A ∪ B ∪ C| is the sum of |A|,
        |B minus A| and |C minus (A ∪ B)|, where |A minus E| = |A| - |E ∩ A|.
        """
        for window, whole, near in self._taken_apart(view):
            length = np.maximum(whole.leave - whole.enter, 0)
            if near:
                length -= _union(near)
            image[window.slices] += np.float32(factor) * length

    def stretches(self, view: View) -> Iterator[Stretches]:
        """Where the rays are inside, in the view's coordinates, as pieces that count 1 or -1 and add up to 0 or 1."""
        for window, whole, near in self._taken_apart(view):
            yield from _pieces(view, window, whole, 1.0)
            if len(near) == 1:
                yield from _pieces(view, window, near[0], -1.0)
            elif near:
                starts, ends = _sorted_apart(near)
                yield from _pieces(view, window, Interval(starts[0], ends[-1]), -1.0)
                for end, start in zip(ends[:-1], starts[1:], strict=True):
                    yield from _pieces(view, window, Interval(end, start), 1.0)

    def _taken_apart(self, view: View) -> Iterator[tuple[Window, Interval, list[Interval]]]:
        """For each part its window, its intervals within the limits, and those of all that it loses there."""
        boxes = [part.window(view) for part in (*self.parts, *self.within, *self.without)]
        inside = boxes[len(self.parts) : len(self.parts) + len(self.within)]
        outside = list(zip(self.without, boxes[len(self.parts) + len(self.within) :], strict=True))
        for part, box in zip(self.parts, boxes, strict=False):
            window = box
            for limit in inside:
                window = window.meet(limit)
            if not window.empty:
                limits = [limit.interval(view, window) for limit in self.within]
                whole = _clip(part.interval(view, window), limits)
                near = [other.interval(view, window) for other, its in outside if not its.meet(window).empty]
                yield window, whole, [_clip(other, [whole]) for other in near]
            outside.append((part, box))


def _pieces(view: View, window: Window, interval: Interval, weight: float) -> Iterator[Stretches]:
    """The rays of a window that an interval is not empty for."""
    hit = interval.enter < interval.leave
    row, column = np.nonzero(hit)
    if len(row):
        place = (row + window.top) * view.columns + column + window.left
        yield Stretches(place, interval.enter[hit], interval.leave[hit], np.full(len(row), weight, np.float32))


def _clip(interval: Interval, limits: Sequence[Interval]) -> Interval:
    enter, leave = interval
    for limit in limits:
        enter, leave = np.maximum(enter, limit.enter), np.minimum(leave, limit.leave)
    return Interval(enter, leave)


def _union(intervals: Sequence[Interval]) -> Array:
    """Length in mm that is covered by at least one of the intervals of each ray.

    With starts and ends sorted apart, the covered stretch from the first start to the last end is broken exactly where
    the k-th end comes before the (k+1)-th start: there, as many intervals have ended as have begun.
    """
    if len(intervals) == 1:
        return np.maximum(intervals[0].leave - intervals[0].enter, 0)
    starts, ends = _sorted_apart(intervals)
    covered = ends[-1] - starts[0]
    for end, start in zip(ends[:-1], starts[1:], strict=True):
        covered -= np.maximum(start - end, 0)
    return covered


def _sorted_apart(intervals: Sequence[Interval]) -> tuple[list[Array], list[Array]]:
    """All starts and all ends of each ray in order; those of empty intervals stand at ``NOWHERE_MM``."""
    starts, ends = [], []
    for enter, leave in intervals:
        empty = enter >= leave
        starts.append(np.where(empty, np.float32(NOWHERE_MM), enter))
        ends.append(np.where(empty, np.float32(NOWHERE_MM), leave))
    _sort(starts)
    _sort(ends)
    return starts, ends


def _sort(values: list[Array]) -> None:
    """Sort each pixel's values over the list with Batcher's merge exchange (Knuth, TAOCP 3, 5.2.2, algorithm M)."""
    count = len(values)
    p = top = 1 << (count - 1).bit_length() - 1
    while p:
        q, r, d = top, 0, p
        while True:
            for i in range(count - d):
                if i & p == r:
                    low, high = values[i], values[i + d]
                    values[i], values[i + d] = np.minimum(low, high), np.maximum(low, high)
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
