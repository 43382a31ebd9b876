"""Broken ribs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medmm.data.phantom import materials
from medmm.data.phantom.disease import Facts
from medmm.data.phantom.geometry import Points, ellipsoid
from medmm.data.phantom.scene import Component
from medmm.data.phantom.skeleton import Rib
from medmm.data.phantom.solids import Solid


def break_ribs(
    ribs: tuple[Rib, ...], side: float, grade: int, rng: np.random.Generator
) -> tuple[tuple[Rib, ...], tuple[Component, ...], Facts]:
    """Break one to three neighbouring ribs of a side: a gap, a step, and in healing fractures callus.

    Returns:
        The ribs, with each broken one replaced by its two fragments, callus and marks of the breaks, and which ribs.
    """
    healing = rng.random() < 0.6
    count = 2 + grade - (grade == 0 and rng.random() < 0.4)
    first = int(rng.integers(3, 10 - count))
    place = rng.uniform(0.07, 0.25)
    kept, added = [], []
    for rib in ribs:
        if rib.side != side or not first <= rib.number < first + count:
            kept.append(rib)
            continue
        inner, outer, middle = _fragments(rib, place + rng.normal(0, 0.015), healing, rng)
        kept += [replace(rib, path=inner), replace(rib, path=outer)]
        added.append(Component("fracture", 0.0, Solid((ellipsoid(middle, np.full(3, 11.0)),)), "rib_fracture"))
        half = np.array([21.0, 7.0, 7.5] if healing else [15.0, 6.5, 7.0]) * rng.uniform(0.9, 1.1)
        lump = Solid((ellipsoid(middle, half, _frame(outer[0] - inner[-2])),))
        added.append(Component("callus", materials.CORTICAL_BONE - materials.SOFT, lump))
    return tuple(kept), tuple(added), Facts(ribs=tuple(range(first, first + count)))


def _fragments(rib: Rib, place: float, healing: bool, rng: np.random.Generator) -> tuple[Points, Points, Points]:
    """Axes of both fragments, the outer one displaced and bent, and the middle of the break."""
    at = place * (len(rib.path) - 1)
    k, rest = int(at), at - int(at)
    middle = rib.path[k] + rest * (rib.path[k + 1] - rib.path[k])
    tangent = rib.path[k + 1] - rib.path[k]
    tangent = tangent / np.linalg.norm(tangent)
    gap = rng.uniform(0.5, 1.5) if healing else rng.uniform(5.0, 7.5)
    step = rng.choice([-1.0, 1.0]) * (rng.uniform(4, 7) if healing else rng.uniform(11.0, 15.0))
    inner = np.concatenate([rib.path[: k + 1], (middle - gap * tangent)[None]])
    outer = np.concatenate([(middle + gap * tangent)[None], rib.path[k + 1 :]])
    fade = np.linspace(1, 0.0, len(outer))[:, None] ** 1.5
    return _spread(inner), _spread(outer + fade * step * np.array([0.0, 0.0, 1.0])), middle


def _frame(along: Points) -> Points:
    """Rotation (3, 3) whose first column is the direction ``along`` (3,)."""
    first = along / np.linalg.norm(along)
    second = np.cross([0.0, 0.0, 1.0], first)
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def _spread(path: Points) -> Points:
    """The path without points closer than 3 mm to their neighbour, ends kept."""
    far = np.linalg.norm(np.diff(path, axis=0), axis=1) > 3.0
    inside = [p for p, ok in zip(path[1:-1], far[:-1] & far[1:], strict=True) if ok]
    return np.stack([path[0], *inside, path[-1]])
