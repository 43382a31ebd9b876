"""Bones: ribs, clavicles, shoulder blades, spine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medmm.data.phantom.geometry import Points, Quadric, ellipsoid, rotation
from medmm.data.phantom.subject import Patient
from medmm.data.phantom.thorax import LEFT, RIGHT, Thorax

CLEAR_MM = 1.5
"""Fat and pleura between a rib and the lung."""
RIB_STEPS = 15
RIB_ENDS = (0.78, 0.8, 0.8, 0.8, 0.8, 0.8, 0.79, 0.74, 0.69, 0.62, 0.45, 0.33)
"""Share of the half circle from the spine at which each rib's bone ends."""


@dataclass(frozen=True)
class Rib:
    """One rib.

    Attributes:
        side: ``RIGHT`` or ``LEFT``.
        number: 1 to 12.
        path: Its axis (k, 3) from the spine to the front, in mm.
        radius_mm: Of its cross-section.
    """

    side: float
    number: int
    path: Points
    radius_mm: float


def ribs(who: Patient, chest: Thorax, rng: np.random.Generator) -> tuple[Rib, ...]:
    """Twelve pairs on the surface of the chest wall."""
    found = []
    for side in (RIGHT, LEFT):
        lung = chest.lung(side)
        assert lung.hull.middle is not None
        hull_x, hull_y, base = lung.hull.middle
        wide, deep = lung.hull.half_width(np.array([1.0, 0, 0])), lung.hull.half_width(np.array([0, 1.0, 0]))
        tall = lung.hull.half_width(np.array([0, 0, 1.0]))
        pitch = (lung.apex_mm - base) / 9.6
        tilt = np.tan(np.radians(who.lean_deg)) * side
        for number in range(1, 13):
            angle = np.linspace(0.09, RIB_ENDS[number - 1], RIB_STEPS)
            drop = (38 + 62 * min(number / 6, 1.0)) * who.rib_slope * who.height + rng.normal(0, 3)
            head = lung.apex_mm + 4 - (number - 1) * pitch * (0.97 + 0.012 * number) + rng.normal(0, 1.2)
            z = head - drop * angle**1.25
            level = np.clip((z - base) / tall, -0.25, 0.985)
            narrow = np.sqrt(1 - level**2)
            outer = side * (hull_x - tilt * np.maximum(z - base, 0) * 0.55) + wide * narrow + 5.5
            turn = np.pi * angle
            x = side * np.maximum(outer, 24) * np.sin(turn) ** 0.85
            y = hull_y - (deep * narrow + 5.5) * np.cos(turn) * np.where(angle < 0.5, 1.0, 0.97)
            found.append(Rib(side, number, np.stack([x, y, z], axis=1), (4.6 + 0.5 * min(number, 5) / 5) * who.height))
    return tuple(found)


def outside(ribs: tuple[Rib, ...], chest: Thorax) -> tuple[Rib, ...]:
    """The ribs, moved away from the lung's long axis, level by level, until they clear it by ``CLEAR_MM``."""
    return tuple(replace(rib, path=_cleared(rib, chest.lung(rib.side).hull)) for rib in ribs)


def _cleared(rib: Rib, hull: Quadric) -> Points:
    """The rib's axis (k, 3) outside the hull of its lung."""
    assert hull.middle is not None
    matrix, level = hull.matrix, rib.path[:, 2] - hull.middle[2]
    axis = hull.middle[:2] - np.outer(level, np.linalg.solve(matrix[:2, :2], matrix[:2, 2]))
    room = 1 - level**2 * (matrix[2, 2] - matrix[2, :2] @ np.linalg.solve(matrix[:2, :2], matrix[:2, 2]))
    away = rib.path[:, :2] - axis
    far = np.linalg.norm(away, axis=1)
    away = away / far[:, None]
    wall = np.sqrt(np.maximum(room, 0) / ((away @ matrix[:2, :2]) * away).sum(1))
    path = rib.path.copy()
    path[:, :2] = axis + away * np.maximum(far, wall + rib.radius_mm + CLEAR_MM)[:, None]
    return path


def clavicles(who: Patient, chest: Thorax, lift_mm: float) -> tuple[Points, ...]:
    """Axes (k, 3) of both clavicles, from the sternum outwards; ``lift_mm`` raises their outer ends."""
    wide, scale = chest.half_width_mm, who.height
    t = np.linspace(0, 1, 8)
    inner = 88 * scale
    paths = []
    for side in (RIGHT, LEFT):
        x = side * (17 + t * (wide + 18))
        y = (66 - 60 * t**1.6) * who.depth
        z = inner + (26 + lift_mm) * t**0.8 * scale + 7 * np.sin(2.2 * np.pi * t)
        paths.append(np.stack([x, y, z], axis=1))
    return tuple(paths)


def scapulae(who: Patient, chest: Thorax, out_mm: float) -> tuple[Quadric, ...]:
    """Blades and humeral heads; ``out_mm`` draws the blades off the lungs."""
    parts = []
    for side in (RIGHT, LEFT):
        x = side * (chest.half_width_mm + 2 + out_mm)
        turn = rotation(roll=side * 9, yaw=-side * 28)
        parts.append(ellipsoid((x, -92 * who.depth, 48 * who.height), (34 * who.height, 3.2, 66 * who.height), turn))
        parts.append(
            ellipsoid((x + side * 6, -100 * who.depth, 92 * who.height), (46, 5.0, 5.5), rotation(roll=-side * 22))
        )
        parts.append(
            ellipsoid((side * (chest.half_width_mm + 42 + 0.5 * max(out_mm, -10)), -10, 112 * who.height), (22, 22, 24))
        )
    return tuple(parts)


def spine(who: Patient) -> tuple[Quadric, ...]:
    """Vertebral bodies and spinous processes from C7 to L1."""
    parts = []
    pitch = 22.5 * who.height
    for k in range(15):
        z = 148 * who.height - k * pitch
        x = who.scoliosis_mm * np.sin(np.pi * (z + 40) / 260)
        grow = (0.82 + 0.022 * k) * who.height
        y = -68 * who.depth - 8 * np.cos(np.pi * z / 300)
        parts.append(ellipsoid((x, y, z), (18 * grow, 16 * grow, 0.49 * pitch)))
        parts.append(ellipsoid((x, y - 34, z - 8), (3.2, 14, 6.5)))
    return tuple(parts)
