"""The branching lung: arteries and veins as tubes that leave the hilum, taper and fork; bronchi and trachea."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medmm.data.phantom import tubes
from medmm.data.phantom.geometry import Points
from medmm.data.phantom.thorax import Lung, Thorax
from medmm.data.phantom.tubes import Tubes

LEVELS = ((12, 6, 3.6, 1.6), (38, 5, 1.9, 1.0), (80, 4, 1.15, 0.65))
"""Of each order of branching: branches a lung, segments a branch, first and last radius in mm."""


@dataclass(frozen=True)
class Pattern:
    """How the vessels show.

    Attributes:
        calibre: Factor of all radii.
        upper: Factor of radii in the upper half.
        density: Share of the branches that are there.
    """

    calibre: float = 1.0
    upper: float = 1.0
    density: float = 1.0


def tree(lung: Lung, rng: np.random.Generator, pattern: Pattern) -> Tubes:
    """Vessels of one lung; segments outside it are left out."""
    targets = _targets(lung, rng, sum(level[0] for level in LEVELS))
    bundles: list[Tubes] = []
    starts, first = np.repeat(lung.hilum[None], LEVELS[0][0], 0), 0
    starts = starts + rng.normal(0, 1, starts.shape) * [2.5, 8, 9]
    for count, steps, thick, thin in LEVELS:
        ends = targets[first : first + count]
        first += count
        if bundles:
            starts = _fork_points(bundles[0], ends)
        share = 0.92 if not bundles else 0.8 if len(bundles) == 1 else 0.6
        paths = _paths(starts, starts + share * (ends - starts), steps, rng)
        taper = np.linspace(thick, thin, steps) * rng.uniform(0.8, 1.2, (count, 1)) * pattern.calibre
        high = paths[:, 1:, 2] > lung.height(0.5)
        bundles.append(tubes.branches(paths, np.where(high, pattern.upper, 1.0) * taper))
    whole = tubes.join(bundles)
    middle = (whole.start + whole.end) / 2
    seen = lung.solid.contains(middle) & (rng.random(len(whole)) < pattern.density)
    return tubes.keep(whole, seen)


def _targets(lung: Lung, rng: np.random.Generator, count: int) -> Points:
    """Points (count, 3) spread over the lung's space, the first ones farther out."""
    assert lung.hull.middle is not None
    half = np.array([lung.hull.half_width(axis) for axis in np.eye(3)])
    points = lung.hull.middle + rng.uniform(-1, 1, (14 * count, 3)) * half
    points = points[lung.solid.contains(points)][: 4 * count]
    if len(points) < count:
        points = np.concatenate(
            [points, np.repeat(lung.hilum[None], count - len(points), 0) + rng.normal(0, 30, (count - len(points), 3))]
        )
    far = np.linalg.norm(points - lung.hilum, axis=1)
    lead = np.argsort(-far)[: 2 * LEVELS[0][0]]
    lead = lead[rng.permutation(len(lead))[: LEVELS[0][0]]]
    rest = np.setdiff1d(np.arange(len(points)), lead)
    return np.concatenate([points[lead], points[rng.permutation(rest)[: count - len(lead)]]])


def _fork_points(trunk: Tubes, ends: Points) -> Points:
    """For each end the joint (m, 3) of the trunk that it forks off: the nearest one of those nearer to the hilum."""
    distance = np.linalg.norm(ends[:, None] - trunk.end[None], axis=2)
    distance += 25.0 * (
        np.linalg.norm(trunk.end[None] - trunk.start[0], axis=2)
        > np.linalg.norm(ends - trunk.start[0], axis=1)[:, None]
    )
    return trunk.end[np.argmin(distance, axis=1)]


def _paths(starts: Points, ends: Points, steps: int, rng: np.random.Generator) -> Points:
    """Gently bent paths (m, steps + 1, 3)."""
    t = np.linspace(0, 1, steps + 1)[None, :, None]
    length = np.linalg.norm(ends - starts, axis=1)[:, None, None]
    bend = rng.normal(0, 0.09, (len(starts), 1, 3)) * length
    wave = rng.normal(0, 0.035, (len(starts), 1, 3)) * length
    straight = starts[:, None] + t * (ends - starts)[:, None]
    return straight + bend * np.sin(np.pi * t) + wave * np.sin(3 * np.pi * t) + rng.normal(0, 0.25, straight.shape)


def airway(chest: Thorax) -> Tubes:
    """Trachea and main bronchi: air in soft tissue."""
    scale = chest.scale
    top = np.array([chest.middle_mm * 0.2, 2.0, 190 * scale])
    trachea = np.linspace(top, chest.carina, 6)
    parts = [tubes.along(trachea, 8.2 * scale)]
    for lung, drop in zip(chest.lungs, (0.0, 4.0), strict=True):
        bend = chest.carina + 0.5 * (lung.hilum - chest.carina) + np.array([0, 0, 4.0 - drop])
        parts.append(tubes.along(np.stack([chest.carina, bend, lung.hilum]), 6.0 * scale))
    return tubes.join(parts)
