"""Fluid and air between lung and chest wall."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medmm.data.phantom import materials, tubes
from medmm.data.phantom.geometry import Points, Quadric, bowl
from medmm.data.phantom.scene import Component
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.thorax import Lung
from medmm.data.phantom.tubes import Tubes

VISCERAL_PLEURA_MM = 1.6
SUNK = 0.85
"""How far behind its middle a collapsed lung rests in a patient on the back, as a share of its half depth."""


@dataclass(frozen=True)
class Space:
    """What of a lung's space holds lung.

    Attributes:
        lung: The chest's space for it.
        limits: Quadrics that the lung cannot leave: fluid's surface, its own collapsed hull.
        squeeze: Map of the expanded lung's points onto the collapsed one's: (anchor (3,), factors (3,)), or None.
    """

    lung: Lung
    limits: tuple[Quadric, ...] = ()
    squeeze: tuple[Points, Points] | None = None

    @property
    def aerated(self) -> Solid:
        """The lung itself."""
        return Solid((self.lung.hull,), self.limits, self.lung.cut)

    def move(self, points: Points) -> Points:
        """Where points (..., 3) of the expanded lung lie now."""
        if self.squeeze is None:
            return points
        anchor, factors = self.squeeze
        return anchor + (points - anchor) * factors

    def pick(
        self, rng: np.random.Generator, heights: tuple[float, float], margin_mm: float = 0.0, tries: int = 300
    ) -> Points:
        """A point (3,) of the aerated lung that heart, spine and dome leave clear on a frontal radiograph.

        Args:
            rng: Source of the choice.
            heights: Range as a share of the lung's height, 0 at the dome; widened where fluid leaves nothing.
            margin_mm: Clearance to both sides; smaller where there is no such place.
            tries: Candidates for each relaxation.
        """
        lung = self.lung
        assert lung.hull.middle is not None
        wide, deep = lung.hull.half_width(np.array([1.0, 0, 0])), lung.hull.half_width(np.array([0, 1.0, 0]))
        aerated = self.aerated
        for low, high, margin in (
            (*heights, margin_mm),
            (*heights, 0.6 * margin_mm),
            (0.5 * heights[0], 0.5 + 0.5 * heights[1], 0.6 * margin_mm),
            (0.0, 1.0, 0.4 * margin_mm),
            (-0.2, 1.0, 0.0),
        ):
            share = rng.uniform([-1, -0.55, low], [1, 0.55, high], (tries, 3))
            points = lung.hull.middle + share * [wide, deep, 0]
            points[:, 2] = lung.height(share[:, 2])
            points = self.move(points)
            good = np.flatnonzero(aerated.contains(points) & lung.clear(points, margin))
            if len(good):
                return points[good[0]]
        return lung.hilum + np.array([lung.side * 25, 0, 30])

    def move_tubes(self, bundle: Tubes) -> Tubes:
        """Vessels of the expanded lung as they run now."""
        if self.squeeze is None:
            return bundle
        cuts = [n / self.squeeze[1] for n in (bundle.cut_start, bundle.cut_end)]
        first, last = (n / np.linalg.norm(n, axis=1, keepdims=True) for n in cuts)
        return tubes.Tubes(self.move(bundle.start), self.move(bundle.end), bundle.radius, first, last, bundle.weight)


def effusion(space: Space, grade: int, rng: np.random.Generator) -> tuple[Space, Component]:
    """Fluid at the base: its surface is a bowl, higher at the wall than in the middle (the meniscus)."""
    lung = space.lung
    assert lung.hull.middle is not None
    tall = lung.apex_mm - lung.floor_mm
    level = lung.floor_mm + (rng.uniform(-24, -14), rng.uniform(0, 22), rng.uniform(0.18, 0.42) * tall)[grade]
    middle = lung.hull.middle[0] - lung.side * rng.uniform(4, 16)
    surface = bowl(
        (middle, lung.hull.middle[1] + rng.uniform(-4, 14), level), (rng.uniform(8.2, 10.0), rng.uniform(13.0, 17.0))
    )
    fluid = Solid((lung.hull,), without=(surface, *lung.cut))
    added = Component("effusion", materials.WATER - materials.SOFT, fluid, "pleural_effusion", seen_mm=6.0)
    return replace(space, limits=(*space.limits, surface)), added


def pneumothorax(
    space: Space, grade: int, rng: np.random.Generator, supine: bool = False
) -> tuple[Space, tuple[Component, ...]]:
    """Air over a lung that has drawn back towards its root; the visceral pleura shows as a line.

    Args:
        space: The lung's space.
        grade: 0 to 2.
        rng: Source of the shape.
        supine: The patient lies on the back: air gathers in front, the lung sinks back.
    """
    lung = space.lung
    assert lung.hull.middle is not None
    shrink = (rng.uniform(0.84, 0.89), rng.uniform(0.72, 0.8), rng.uniform(0.5, 0.66))[grade]
    factors = np.array([shrink, 0.5 + 0.5 * shrink, shrink + 0.02])
    anchor = np.array(
        [lung.hilum[0], lung.hilum[1], lung.floor_mm + rng.uniform(0.0, 0.12) * (lung.apex_mm - lung.floor_mm)]
    )
    if supine:
        anchor[1] = lung.hull.middle[1] - SUNK * lung.hull.half_width(np.array([0, 1.0, 0]))
    squeeze = (anchor, factors)
    moved = squeezed(lung.hull, squeeze)
    inner = shrunk(moved, VISCERAL_PLEURA_MM)
    collapsed = replace(space, limits=(*space.limits, moved), squeeze=squeeze)
    air = Solid((lung.hull,), space.limits, without=(moved, *lung.cut))
    pleura = Solid((moved,), (*space.limits, lung.hull), (inner, *lung.cut))
    return collapsed, (
        Component("pleural air", materials.AIR - materials.SOFT, air, "pneumothorax", seen_mm=12.0),
        Component("visceral pleura", materials.SOFT - materials.LUNG, pleura),
    )


def squeezed(hull: Quadric, squeeze: tuple[Points, Points]) -> Quadric:
    """The ellipsoid that a map about an anchor turns ``hull`` into."""
    assert hull.middle is not None
    assert hull.spread is not None
    anchor, factors = squeeze
    middle = anchor + (hull.middle - anchor) * factors
    matrix = hull.matrix / np.outer(factors, factors)
    return Quadric(
        matrix, -matrix @ middle, float(middle @ matrix @ middle - 1), middle, hull.spread * np.outer(factors, factors)
    )


def shrunk(hull: Quadric, by_mm: float) -> Quadric:
    """The ellipsoid about ``by_mm`` inside another one."""
    assert hull.middle is not None
    half = 1 / np.sqrt(np.linalg.eigvalsh(hull.matrix))
    factor = 1 - by_mm / float(np.mean(half))
    return squeezed(hull, (hull.middle, np.full(3, factor)))
