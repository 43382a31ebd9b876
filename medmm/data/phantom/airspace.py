"""Findings of the lung itself: consolidation, atelectasis, edema, nodule, mass, emphysema."""

from __future__ import annotations

import numpy as np

from medmm.data.phantom import materials, tubes
from medmm.data.phantom.disease import Facts
from medmm.data.phantom.geometry import Points, Quadric, ellipsoid, half_space, rotation
from medmm.data.phantom.pleura import Space
from medmm.data.phantom.scene import Component
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.thorax import Lung
from medmm.types import Zone

FILLED = materials.SOFT - materials.LUNG
"""What airless tissue adds where there was lung."""
HEIGHTS = {Zone.UPPER: (0.64, 0.84), Zone.MID: (0.36, 0.6), Zone.LOWER: (0.1, 0.32)}
"""Range of each zone as a share of the lung's height."""


def zone_of(lung: Lung, point: Points) -> Zone:
    """Third of the lung's height at which a point (3,) lies."""
    share = (point[2] - lung.floor_mm) / (lung.apex_mm - lung.floor_mm)
    return Zone.LOWER if share < 0.34 else Zone.MID if share < 0.62 else Zone.UPPER


def _inside(space: Space, parts: tuple[Quadric, ...], *limits: Quadric) -> Solid:
    return Solid(parts, (space.lung.hull, *space.limits, *limits), space.lung.cut)


def consolidation(
    space: Space, zone: Zone, grade: int, rng: np.random.Generator
) -> tuple[tuple[Component, ...], Facts]:
    """Airless lobules, denser inside, sometimes cut off by a fissure; the bronchi keep their air."""
    lung = space.lung
    size = (rng.uniform(26, 31), rng.uniform(32, 39), rng.uniform(40, 49))[grade]
    middle = space.pick(rng, HEIGHTS[zone], margin_mm=20)
    spots = rng.normal(0, 0.55, (7, 3)) * size * [1, 1, 0.8]
    halves = size * rng.uniform(0.45, 0.75, (7, 3)) * [1, 1.6, 1]
    halves[0] = size * rng.uniform(0.75, 1.0, 3) * [1, 1.6, 1]
    spots[0] = 0
    limits: tuple[Quadric, ...] = ()
    if rng.random() < 0.5:
        down = -1.0 if zone is Zone.UPPER or (zone is Zone.MID and rng.random() < 0.5) else 1.0
        limits = (
            half_space(middle + [0, 0, down * 0.45 * size], (rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15), down)),
        )
    outer = tuple(ellipsoid(middle + spot, half) for spot, half in zip(spots, halves, strict=True))
    inner = tuple(ellipsoid(middle + 0.9 * spot, 0.72 * half) for spot, half in zip(spots, halves, strict=True))
    parts = [
        Component("consolidation", 0.6 * FILLED, _inside(space, outer, *limits), "consolidation", seen_mm=5.0),
        Component("consolidation", 0.45 * FILLED, _inside(space, inner, *limits)),
    ]
    parts += _lobules(parts[0].shape, middle, size, rng)
    away = middle - space.move(lung.hilum)
    away /= max(float(np.linalg.norm(away)), 1.0)
    ends = middle + (away + rng.normal(0, 0.45, (4, 3)) * [1, 0.4, 1]) * size * 0.8
    starts = np.repeat((middle - 0.55 * size * away)[None], 4, 0) + rng.normal(0, 0.16, (4, 3)) * size
    t = np.linspace(0, 1, 5)[None, :, None]
    paths = starts[:, None] + t * (ends - starts)[:, None] + rng.normal(0, 0.6, (4, 5, 3))
    bronchi = tubes.branches(paths, np.linspace(3.1, 2.2, 4) * rng.uniform(0.85, 1.2, (4, 1)))
    held = parts[1].shape.amount((bronchi.start + bronchi.end) / 2) > 0
    parts.append(Component("air bronchogram", materials.AIR - materials.LUNG - 0.9 * FILLED, tubes.keep(bronchi, held)))
    return tuple(parts), Facts(zone_of(lung, middle))


def _lobules(shape: Solid | tubes.Tubes, middle: Points, size: float, rng: np.random.Generator) -> list[Component]:
    """Filled acini, the coarse grain of air-space disease; only those wholly inside the consolidation are kept."""
    count = int(0.9 * size)
    centres = middle + rng.normal(0, 0.5, (count, 3)) * size * [1, 1.4, 0.9]
    radius = rng.uniform(3.5, 6.5, count)
    corners = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1], [0, 0, 0]])
    whole = (shape.amount(centres[:, None] + radius[:, None, None] * corners) > 0).all(axis=1)
    return [
        Component("filled acinus", 1.2 * FILLED, Solid((ellipsoid(centre, np.full(3, r)),)))
        for centre, r in zip(centres[whole], radius[whole], strict=True)
    ]


def atelectasis(space: Space, grade: int, rng: np.random.Generator) -> tuple[Component, ...]:
    """Airless plates above the dome: discs seen edge on."""
    found = []
    count = 1 + grade + int(rng.random() < 0.4)
    base = rng.uniform(0.07, 0.2)
    tilt = rng.normal(0, 12)
    for k in range(count):
        middle = space.pick(rng, (base + 0.07 * k, base + 0.07 * k + 0.04), margin_mm=18)
        half = (rng.uniform(22, 36), rng.uniform(22, 32), rng.uniform(1.9, 2.6) + 0.4 * grade)
        turn = rotation(roll=tilt + rng.normal(0, 7), pitch=rng.normal(0, 3))
        disc = _inside(space, (ellipsoid(middle, half, turn),))
        found.append(Component("plate atelectasis", FILLED, disc, "atelectasis", seen_mm=3.0))
    return tuple(found)


def edema(space: Space, grade: int, rng: np.random.Generator) -> tuple[Component, ...]:
    """Clouds around the hilum and septal lines near the wall (Kerley B)."""
    lung = space.lung
    count = 7 + 4 * grade
    found = []
    reach = np.array([16 + 5 * grade, 16, 24 + 6 * grade])
    heart = lung.hilum + [lung.side * 20, 0, -8]
    spots = heart + rng.normal(0, 1, (count, 3)) * reach
    sizes = rng.uniform(7, 13, count) + 1.5 * grade
    clouds = [
        ellipsoid(space.move(spot), size * rng.uniform(0.8, 1.2, 3)) for spot, size in zip(spots, sizes, strict=True)
    ]
    for first in range(0, count, 4):
        shape = _inside(space, tuple(clouds[first : first + 4]))
        found.append(Component("perihilar cloud", (0.28 + 0.05 * grade) * FILLED, shape, "edema", seen_mm=4.0))
    lines = []
    for _ in range(7 + 2 * grade):
        place = _at_wall(space, rng)
        turn = rotation(roll=rng.normal(0, 8), yaw=rng.normal(0, 10))
        lines.append(ellipsoid(place, (rng.uniform(8, 13), rng.uniform(9, 13), rng.uniform(0.8, 1.1)), turn))
    for line in lines:
        found.append(Component("septal line", FILLED, _inside(space, (line,)), "edema", seen_mm=3.0))
    return tuple(found)


def _at_wall(space: Space, rng: np.random.Generator) -> Points:
    """A point (3,) near the lateral wall in the lower half of the lung."""
    lung = space.lung
    assert lung.hull.middle is not None
    z = lung.height(rng.uniform(0.04, 0.42))
    level = (z - lung.hull.middle[2]) / lung.hull.half_width(np.array([0, 0, 1.0]))
    wide = lung.hull.half_width(np.array([1.0, 0, 0])) * np.sqrt(max(1 - level**2, 0.0))
    return space.move(
        np.array(
            [
                lung.hull.middle[0] + lung.side * (wide * rng.uniform(0.8, 0.88) - 4),
                lung.hull.middle[1] + rng.normal(0, 12),
                z,
            ]
        )
    )


def nodule(space: Space, zone: Zone, grade: int, rng: np.random.Generator) -> tuple[tuple[Component, ...], Facts]:
    """A round calcified spot, in every other lung with smaller ones elsewhere."""
    size = (rng.uniform(13, 17), rng.uniform(18, 22), rng.uniform(23, 28))[grade]
    tiny, luck, company = rng.uniform(6, 10), rng.random(), rng.random()
    if grade == 0 and luck < 0.1:
        size = tiny
    adds = (1.0, 1.0, 0.9)[grade] * (materials.CORTICAL_BONE - materials.SOFT) + FILLED
    middle = space.pick(rng, HEIGHTS[zone], margin_mm=14)
    spots = [_spot(space, middle, size, adds, rng)]
    more = 1 + int(rng.integers(3)) if company < 0.5 else 0
    for _ in range(more):
        place = space.pick(rng, (0.1, 0.9), margin_mm=12)
        spots.append(_spot(space, place, max(size * rng.uniform(0.6, 0.95), 6.0), adds, rng))
    return tuple(spots), Facts(zone_of(space.lung, middle), round(size, 1), count=1 + more)


def _spot(space: Space, middle: Points, size: float, adds: float, rng: np.random.Generator) -> Component:
    half = 0.5 * size * rng.uniform(0.9, 1.0, 3) / np.array([0.95, 1, 0.95])
    return Component("nodule", adds, _inside(space, (ellipsoid(middle, half),)), "nodule")


def mass(space: Space, zone: Zone, grade: int, rng: np.random.Generator) -> tuple[tuple[Component, ...], Facts]:
    """A lobulated mass with calcified flecks and spicules."""
    size = (rng.uniform(34, 42), rng.uniform(43, 54), rng.uniform(55, 69))[grade]
    middle = space.pick(rng, HEIGHTS[zone], margin_mm=25)
    around = rng.normal(0, 1, (5, 3)) * [1, 0.6, 1]
    around *= 0.28 * size / np.linalg.norm(around, axis=1, keepdims=True)
    parts = (
        ellipsoid(middle, np.full(3, 0.4 * size)),
        *(ellipsoid(middle + a, np.full(3, size * rng.uniform(0.17, 0.24))) for a in around),
    )
    found = [Component("mass", 2.4 * FILLED, _inside(space, parts), "mass", seen_mm=2.0)]
    flecks = [
        ellipsoid(middle + spot, np.full(3, rng.uniform(2.2, 3.8)))
        for spot in rng.normal(0, 0.2, (5, 3)) * size * [1, 0.5, 1]
    ]
    found.append(Component("calcification", materials.CALCIUM - materials.SOFT, Solid(tuple(flecks), parts[:1])))
    rays = rng.normal(0, 1, (9, 3)) * [1, 0.3, 1]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    ends = middle + rays * size * rng.uniform(0.6, 0.8, (9, 1))
    paths = np.stack([middle + rays * 0.38 * size, (middle + rays * 0.38 * size + ends) / 2, ends], axis=1)
    spikes = tubes.branches(paths, np.tile([1.5, 0.8], (9, 1)))
    held = space.aerated.contains((spikes.start + spikes.end) / 2)
    found.append(Component("spicules", FILLED, tubes.keep(spikes, held)))
    return tuple(found), Facts(zone_of(space.lung, middle), round(size, 1))


def bullae(space: Space, grade: int, rng: np.random.Generator, density: float) -> tuple[Component, ...]:
    """Thin-walled bubbles in the upper lung; ``density`` is the surrounding lung's attenuation in 1/mm."""
    found = []
    for _ in range(2 + grade):
        size = rng.uniform(11, 17) + 3 * grade
        middle = space.pick(rng, (0.45, 0.85), margin_mm=0.5 * size)
        half = size * rng.uniform(0.85, 1.2, 3)
        outer, inner = ellipsoid(middle, half), ellipsoid(middle, half - 1.1)
        wall = Solid((outer,), (space.lung.hull, *space.limits), (inner, *space.lung.cut))
        found.append(Component("bulla", materials.AIR - density, _inside(space, (inner,)), "emphysema"))
        found.append(Component("bulla wall", materials.SOFT - density, wall))
    return tuple(found)
