"""The chest without its bones: trunk, lungs, heart, mediastinum, domes, airways, as solids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.geometry import Points, Quadric, bowl, cylinder, ellipsoid, rotation
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.subject import Patient

RIGHT, LEFT = 1.0, -1.0
"""Signs of x on the patient's sides."""
BEAM = np.array([0.0, 1.0, 0.0])
"""From back to front."""


@dataclass(frozen=True)
class Shape:
    """What diseases and breathing change in the chest's form.

    Attributes:
        heart_share: Heart width over inner chest width.
        inspiration_mm: Lowering of both domes.
        dome_lift_mm: Extra height of the (right, left) dome.
        dome_curve: 1 for usual domes, less for flattened ones.
        inflation: Factor of the lungs' width and depth.
        mediastinum_shift_mm: Displacement of heart and trachea towards the patient's right.
    """

    heart_share: float
    inspiration_mm: float = 0.0
    dome_lift_mm: tuple[float, float] = (0.0, 0.0)
    dome_curve: float = 1.0
    inflation: float = 1.0
    mediastinum_shift_mm: float = 0.0


@dataclass(frozen=True)
class Lung:
    """One lung before any disease of the pleura.

    Attributes:
        side: ``RIGHT`` or ``LEFT``.
        hull: Ellipsoid that the chest wall gives it.
        dome: The hemidiaphragm with what lies below.
        neighbours: Heart, vessels, mediastinum and spine, which dent it.
        hilum: Root of the lung (3,) in mm.
        apex_mm, floor_mm: z of its top and of the dome's top.
    """

    side: float
    hull: Quadric
    dome: Quadric
    neighbours: tuple[Quadric, ...]
    hilum: Points
    apex_mm: float
    floor_mm: float

    @property
    def cut(self) -> tuple[Quadric, ...]:
        """All that the hull loses."""
        return (self.dome, *self.neighbours)

    @property
    def solid(self) -> Solid:
        """The lung's space."""
        return Solid((self.hull,), without=self.cut)

    def height(self, share: Any) -> Any:
        """Height z in mm of a share (0 at the dome, 1 at the apex) of the lung's height."""
        return self.floor_mm + share * (self.apex_mm - self.floor_mm)

    def clear(self, points: Points, margin_mm: float = 0.0) -> npt.NDArray[np.bool_]:
        """Whether points (n, 3) lie in the lung and no organ lies before or behind them on a frontal radiograph."""
        inside = self.hull.contains(points)
        for step in (-margin_mm, margin_mm) if margin_mm else (0.0,):
            moved = points + np.array([step, 0, 0])
            inside &= self.hull.contains(moved) & ~self.dome.meets(moved - np.array([0, 0, abs(step)]), BEAM)
            for part in self.neighbours:
                inside &= ~part.meets(moved, BEAM)
        return inside


@dataclass(frozen=True)
class Thorax:
    """The chest's soft parts; quadrics in mm of the patient frame, see :class:`Shape` for what forms them.

    Attributes:
        lungs: Right and left.
        heart: Atrium, ventricle and base; their union is the heart.
        vessels: Aortic arch, pulmonary trunk, descending aorta.
        trunk: Torso, shoulders, neck, arms and breasts; their union is the body.
        half_width_mm: Half the inner width of the chest.
        floor_mm: z of the right and left dome.
        scale: Height factor of the patient.
        carina: Where the trachea divides (3,).
        middle_mm: x of the displaced mediastinum.
    """

    lungs: tuple[Lung, Lung]
    heart: tuple[Quadric, ...]
    vessels: tuple[Quadric, ...]
    trunk: tuple[Quadric, ...]
    half_width_mm: float
    floor_mm: tuple[float, float]
    scale: float
    carina: Points
    middle_mm: float

    def lung(self, side: float) -> Lung:
        """The lung of a side."""
        return self.lungs[0] if side > 0 else self.lungs[1]

    @property
    def heart_share(self) -> float:
        """Largest heart width over largest inner chest width, as measured on a frontal radiograph."""
        ends = []
        for part in self.heart:
            assert part.middle is not None
            half = part.half_width(np.array([1.0, 0, 0]))
            ends += [part.middle[0] - half, part.middle[0] + half]
        return (max(ends) - min(ends)) / (2 * self.half_width_mm)


def build(who: Patient, shape: Shape, projection: str, scapula_mm: float) -> Thorax:
    """Form a patient's chest."""
    half_width = 134.0 * who.width
    apex = 124.0 * who.height
    floor_left = -100 * who.height - shape.inspiration_mm - who.right_dome_mm / 2
    floors = (floor_left + who.right_dome_mm + shape.dome_lift_mm[0], floor_left + shape.dome_lift_mm[1])
    middle = shape.mediastinum_shift_mm
    heart = _heart(who, shape, half_width, floors, middle)
    vessels = _vessels(who, middle)
    mediastinum = (
        ellipsoid((middle * 0.7, -5, 30 * who.height), (19 * who.width, 78 * who.depth, 175 * who.height)),
        cylinder((0.0, -72 * who.depth, 0.0), (13 * who.width, 22.0)),
    )
    neighbours = (*heart, *vessels, *mediastinum)
    lungs = tuple(
        _lung(who, shape, side, half_width, apex, floor, neighbours, middle)
        for side, floor in zip((RIGHT, LEFT), floors, strict=True)
    )
    carina = np.array([middle, -22.0 * who.depth, 22.0 * who.height])
    trunk = _trunk(who, half_width, projection, scapula_mm)
    return Thorax((lungs[0], lungs[1]), heart, vessels, trunk, half_width, floors, who.height, carina, middle)


def _lung(
    who: Patient,
    shape: Shape,
    side: float,
    half_width: float,
    apex: float,
    floor: float,
    neighbours: tuple[Quadric, ...],
    middle: float,
) -> Lung:
    base = -52.0 * who.height - 0.5 * shape.inspiration_mm
    wide = half_width * (0.535 if side > 0 else 0.515) * shape.inflation
    deep = 92.0 * who.depth * shape.inflation
    turn = rotation(roll=-side * who.lean_deg)
    tall = (apex - base) / np.cos(np.radians(who.lean_deg))
    hull = ellipsoid((side * (half_width - wide - 0.5), -4.0, base), (wide, deep, tall), turn)
    width, depth = 8.6 * (half_width / 134.0) / shape.dome_curve**0.5, 12.5 / shape.dome_curve**0.3
    dome = bowl((side * 0.49 * half_width, 8.0, floor), (width, depth), up=False)
    hilum = np.array(
        [side * 30.0 * who.width + 0.6 * middle, -6.0 * who.depth, (4.0 if side > 0 else 14.0) * who.height]
    )
    own = tuple(part for part in neighbours if _near(part, side))
    return Lung(side, hull, dome, own, hilum, apex, floor)


def _near(part: Quadric, side: float) -> bool:
    """Whether a neighbour reaches beyond the midline on that side."""
    if part.middle is None:
        return True
    return float(part.middle[0]) * side + part.half_width(np.array([1.0, 0, 0])) > 8


def _heart(
    who: Patient, shape: Shape, half_width: float, floors: tuple[float, float], middle: float
) -> tuple[Quadric, ...]:
    """Atrium on the right, ventricle with its apex to the left and down, base above; the width is exact."""
    width = 2 * half_width * shape.heart_share
    left, right = width * who.heart_left, width * (1 - who.heart_left)
    low = float(np.mean(floors))
    tall = 40.0 * who.height * (width / 118.0) ** 0.6
    across = np.array([1.0, 0, 0])
    turn = rotation(roll=-30.0 + 14.0 * (who.heart_left - 0.6) / 0.14 - 6)
    ventricle = ellipsoid((0, 0, 0), (0.55 * left + 17, 44.0 * who.depth, 0.42 * left + 14), turn)
    reach = ventricle.half_width(across)
    ventricle = ellipsoid(
        (middle - left + reach, 32.0 * who.depth, low + 0.72 * tall),
        (0.55 * left + 17, 44.0 * who.depth, 0.42 * left + 14),
        turn,
    )
    size = 0.55 * right + 14
    atrium = ellipsoid(
        (middle + right - size, 26.0 * who.depth, low + 1.0 * tall), (size, 38.0 * who.depth, 1.15 * tall)
    )
    base = ellipsoid(
        (middle - 0.12 * width, 22.0 * who.depth, low + 1.5 * tall), (0.24 * width + 9, 36.0 * who.depth, 1.3 * tall)
    )
    return (ventricle, atrium, base)


def _vessels(who: Patient, middle: float) -> tuple[Quadric, ...]:
    knob = 15.0 * who.knob
    arch = ellipsoid((middle - 13 - 0.75 * knob, -14 * who.depth, 50 * who.height), (knob, 30, 1.25 * knob))
    trunk = ellipsoid((middle - 22, 8 * who.depth, 16 * who.height), (17, 26, 27))
    cava = ellipsoid((middle + 16, 12 * who.depth, 45 * who.height), (11, 20, 70 * who.height))
    descending = ellipsoid(
        (middle * 0.5 - 19 - 3 * who.knob, -52 * who.depth, -40 * who.height), (13.0 * who.knob, 15, 125)
    )
    return (arch, trunk, cava, descending)


def _trunk(who: Patient, half_width: float, projection: str, scapula_mm: float) -> tuple[Quadric, ...]:
    wide, deep = half_width + 20 + 0.9 * who.fat_mm, 98 * who.depth + 0.6 * who.fat_mm
    scale = who.height
    parts = [
        ellipsoid((0, -4, -130 * scale), (wide, deep, 430 * scale)),
        ellipsoid((0, -22, 235 * scale), (54 * who.width + 0.3 * who.fat_mm, 58, 150 * scale)),
    ]
    for side in (RIGHT, LEFT):
        lift = 8.0 + 0.5 * scapula_mm if projection == "PA" else -6.0
        parts.append(
            ellipsoid(
                (side * (half_width + 6), -18, 122 * scale + lift),
                (78 + 0.4 * who.fat_mm, 54 + 0.4 * who.fat_mm, 44),
                rotation(roll=side * 24),
            )
        )
        if projection == "AP":
            parts.append(
                ellipsoid((side * (wide + 46), -20, 0), (38 + 0.3 * who.fat_mm, 42, 190), rotation(roll=-side * 6))
            )
        breast = (0.5 if who.sex == "F" else 0.15) * (14 + 1.0 * who.fat_mm)
        place = (side * 0.54 * wide, deep - 16, (-62 - 0.5 * who.fat_mm) * scale)
        parts.append(ellipsoid(place, (58 + 0.6 * who.fat_mm, 16 + breast, 56 + 0.6 * who.fat_mm)))
    return tuple(parts)
