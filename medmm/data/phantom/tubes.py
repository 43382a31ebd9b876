"""Tubes along polylines: ribs, vessels, bronchi, wires. Hundreds of them are projected at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.geometry import Array, Interval, Points, Stretches, View

PATCHES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
"""Sides in pixels of the squares in which segments are evaluated together."""
STEEP = 1.0e-3
"""Least slope of a cutting plane along the beam; flatter planes are tilted to it."""


@dataclass(frozen=True)
class Tubes:
    """Cylinders mitred at the joints: each segment ends at the plane that halves the bend, so segments share no volume.

    Attributes:
        start, end: Ends (n, 3) of the segments' axes, in mm.
        radius: (n,) in mm.
        cut_start, cut_end: Unit normals (n, 3) of the planes through ``start`` and ``end``, along the tube.
        weight: (n,) factor of each segment's attenuation.
    """

    start: Points
    end: Points
    radius: Points
    cut_start: Points
    cut_end: Points
    weight: Points

    def __len__(self) -> int:
        return len(self.radius)

    def amount(self, points: Points) -> npt.NDArray[np.float64]:
        """Sum of the weights of the segments that hold each point (..., 3)."""
        total = np.zeros(points.shape[:-1])
        for a, b, r, p, q, w in zip(
            self.start, self.end, self.radius, self.cut_start, self.cut_end, self.weight, strict=True
        ):
            axis = (b - a) / np.linalg.norm(b - a)
            offset = points - a
            along = offset @ axis
            near = (offset**2).sum(-1) - along**2 <= r * r
            total += w * (near & (offset @ p >= 0) & ((points - b) @ q <= 0))
        return total

    def draw(self, view: View, image: Array, factor: float) -> None:
        """Add ``factor`` times weight times length inside to an image [rows, columns]."""
        if not len(self):
            return
        a, b = view.project(self.start), view.project(self.end)
        places, lengths = [], []
        for chosen, rows, columns in _patches(view, a, b, self._reach()):
            enter, leave = self._spans(view, chosen, a[chosen], b[chosen], rows, columns)
            length = np.maximum(leave - enter, 0)
            length *= (self.weight[chosen] * factor).astype(np.float32)[:, None, None]
            hit = length != 0
            places.append((rows[:, :, None] * view.columns + columns[:, None, :])[hit])
            lengths.append(length[hit])
        if places:
            total = np.bincount(np.concatenate(places), np.concatenate(lengths), image.size)
            image += total.reshape(image.shape).astype(np.float32)

    def _reach(self) -> Points:
        """Distance (n,) from the axis' ends within which all of a mitred segment lies, across the axis."""
        axis = self.end - self.start
        axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
        bend = np.minimum(np.abs((axis * self.cut_start).sum(1)), np.abs((axis * self.cut_end).sum(1)))
        return self.radius / np.maximum(bend, 0.3)

    def stretches(self, view: View) -> Iterator[Stretches]:
        """Where the rays are inside, in the view's coordinates; what is held by two segments comes twice."""
        if not len(self):
            return
        a, b = view.project(self.start), view.project(self.end)
        for chosen, rows, columns in _patches(view, a, b, self._reach()):
            enter, leave = self._spans(view, chosen, a[chosen], b[chosen], rows, columns)
            hit = enter < leave
            weight = np.broadcast_to(self.weight[chosen].astype(np.float32)[:, None, None], hit.shape)[hit]
            start = np.broadcast_to(a[chosen, 2].astype(np.float32)[:, None, None], hit.shape)[hit]
            place = (rows[:, :, None] * view.columns + columns[:, None, :])[hit]
            yield Stretches(place, start + enter[hit], start + leave[hit], weight)

    def _spans(
        self,
        view: View,
        chosen: npt.NDArray[np.intp],
        a: Points,
        b: Points,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
    ) -> Interval:
        """Where [n, rows, columns] the rays are in the chosen segments, in mm along the beam from each one's start.

        a and b are the segments' ends in the view's coordinates.
        """
        axis = (b - a) / np.linalg.norm(b - a, axis=1, keepdims=True)
        u = ((columns - (view.columns - 1) / 2) * view.spacing_mm - a[:, :1]).astype(np.float32)[:, None, :]
        v = ((rows - (view.rows - 1) / 2) * view.spacing_mm - a[:, 1:2]).astype(np.float32)[:, :, None]
        nu, nv, nw = (axis[:, k].astype(np.float32)[:, None, None] for k in range(3))
        curve = np.maximum(1 - nw * nw, np.float32(1e-4))
        along = u * nu + v * nv
        centre = along * (nw / curve)
        radius = self.radius[chosen].astype(np.float32)[:, None, None]
        half = centre * centre - (u * u + v * v - along * along - radius * radius) / curve
        inside = half > 0
        half = np.sqrt(np.maximum(half, 0))
        enter, leave = centre - half, centre + half
        for normals, sign, point in ((self.cut_start, -1.0, np.zeros_like(a)), (self.cut_end, 1.0, b - a)):
            n = sign * normals[chosen] @ view.axes.T
            n[:, 2] = np.where(np.abs(n[:, 2]) < STEEP, np.where(n[:, 2] < 0, -STEEP, STEEP), n[:, 2])
            slope = n[:, 2].astype(np.float32)[:, None, None]
            level = (n * point).sum(1).astype(np.float32)[:, None, None]
            gu, gv = (n[:, k].astype(np.float32)[:, None, None] for k in range(2))
            at = (level - u * gu - v * gv) / slope
            rising = slope > 0
            leave = np.where(rising, np.minimum(leave, at), leave)
            enter = np.where(rising, enter, np.maximum(enter, at))
        return Interval(enter, np.where(inside, leave, enter))


def _patches(
    view: View, a: Points, b: Points, reach: Points
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Visible segments by size, with the pixel rows (n, side) and columns (n, side) that cover them."""
    middle = np.array([(view.columns - 1) / 2, (view.rows - 1) / 2])
    low = np.floor((np.minimum(a, b)[:, :2] - reach[:, None]) / view.spacing_mm + middle).astype(np.int64)
    high = np.ceil((np.maximum(a, b)[:, :2] + reach[:, None]) / view.spacing_mm + middle).astype(np.int64)
    size = np.array([view.columns, view.rows])
    low, high = np.maximum(low, 0), np.minimum(high, size - 1)
    side = np.max(high - low, axis=1) + 1
    seen = np.all(high >= low, axis=1)
    found, least = [], 0
    for patch in PATCHES:
        chosen = np.flatnonzero(seen & (side > least) & (side <= patch))
        least = patch
        if len(chosen):
            span = np.arange(patch)
            first = np.minimum(low[chosen], np.maximum(size - patch, 0))
            rows, columns = first[:, 1:] + span, first[:, :1] + span
            found.append((chosen, *_inside(view, rows, columns)))
    return found


def _inside(
    view: View, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The same patches cut to the image, which a patch larger than the image overhangs."""
    return rows[:, : view.rows], columns[:, : view.columns]


def along(path: Points, radius: float | Points, weight: float = 1.0) -> Tubes:
    """One tube along a polyline.

    Args:
        path: Points (k + 1, 3) in mm, no two neighbours alike.
        radius: In mm; one number or one a segment (k,).
        weight: Factor of its attenuation.
    """
    return branches(path[None], np.broadcast_to(np.asarray(radius, float), (1, len(path) - 1)), weight)


def branches(paths: Points, radius: Points, weight: float = 1.0) -> Tubes:
    """Many tubes of equally many segments: paths (m, k + 1, 3) and radius (m, k), both in mm."""
    step = np.diff(paths, axis=1)
    tangent = step / np.linalg.norm(step, axis=2, keepdims=True)
    cuts = np.concatenate([tangent[:, :1], tangent[:, :-1] + tangent[:, 1:], tangent[:, -1:]], axis=1)
    cuts /= np.linalg.norm(cuts, axis=2, keepdims=True)
    flat = [x.reshape(-1, 3) for x in (paths[:, :-1], paths[:, 1:], cuts[:, :-1], cuts[:, 1:])]
    return Tubes(flat[0], flat[1], radius.reshape(-1), flat[2], flat[3], np.full(radius.size, weight))


def join(bundles: Sequence[Tubes]) -> Tubes:
    """All segments of several bundles as one."""
    fields = ("start", "end", "radius", "cut_start", "cut_end", "weight")
    return Tubes(*(np.concatenate([getattr(b, name) for b in bundles]) for name in fields))


def keep(tubes: Tubes, chosen: npt.NDArray[np.bool_]) -> Tubes:
    """The chosen segments only."""
    fields = ("start", "end", "radius", "cut_start", "cut_end", "weight")
    return Tubes(*(getattr(tubes, name)[chosen] for name in fields))
