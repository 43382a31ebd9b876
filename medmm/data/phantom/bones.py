"""The skeleton from all sides: vertebrae with discs and arches, breastbone, cartilage, shoulder blades, arms."""

from __future__ import annotations

import numpy as np

from medmm.data.phantom import materials, tubes
from medmm.data.phantom.geometry import Points, Quadric, cylinder, ellipsoid, half_space, rotation
from medmm.data.phantom.scene import Component
from medmm.data.phantom.skeleton import Rib
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.subject import Patient
from medmm.data.phantom.thorax import LEFT, RIGHT, Thorax
from medmm.data.phantom.tubes import Tubes

SPONGY = materials.SPONGY_BONE - materials.SOFT
CORTEX = materials.CORTICAL_BONE - materials.SOFT
CARTILAGE = 0.06 * materials.WATER
"""About 60 HU more than soft tissue."""
VERTEBRAE, TRUE_RIBS = 15, 7
END_PLATE_MM = 1.6
SHELL = 0.8
"""Share of compact bone in the shell of a vertebra or breastbone."""


def spine_at(who: Patient, z: float) -> Points:
    """Middle (3,) of the spine at a height, in mm; the curve of ``skeleton.spine``."""
    x = who.scoliosis_mm * np.sin(np.pi * (z + 40) / 260)
    return np.array([x, -68 * who.depth - 8 * np.cos(np.pi * z / 300), z])


def spine(who: Patient) -> list[Component]:
    """C7 to L2: bodies with end plates, discs between them, arches around the canal, processes."""
    parts: list[Component] = []
    arches: list[tuple[Points, float]] = []
    pitch = 22.5 * who.height
    for k in range(VERTEBRAE):
        middle = spine_at(who, 148 * who.height - k * pitch)
        size = (0.82 + 0.022 * k) * who.height
        outer, inner = (_body(middle, size, pitch, shell) for shell in (0.0, END_PLATE_MM))
        parts.append(Component("vertebra", who.bone * SHELL * CORTEX, outer))
        parts.append(Component("marrow of a vertebra", who.bone * (0.8 * SPONGY - SHELL * CORTEX), inner))
        behind = middle - [0, 27 * size, 0]
        canal = cylinder(behind, (10 * size, 8.5 * size))
        front = cylinder(middle, (18 * size, 16 * size))
        ring = Solid((ellipsoid(behind, (15 * size, 13 * size, 0.36 * pitch)),), without=(canal, front))
        parts.append(Component("arch", who.bone * 0.45 * CORTEX, ring))
        for side in (RIGHT, LEFT):
            root = behind + [side * 11 * size, -3, 2]
            arches.append((np.stack([root, root + [side * 21 * size, -9, 4]]), 4.0 * size))
        tip = behind - [0, 12 * size, 2]
        arches.append((np.stack([tip, tip - [0, 15 * size, 11]]), 3.6 * size))
    bundle = tubes.join([tubes.along(path, radius) for path, radius in arches])
    return [*parts, Component("processes", who.bone * 0.4 * CORTEX, bundle)]


def column(who: Patient) -> tuple[Quadric, ...]:
    """A chain of ellipsoids that holds all vertebral bodies."""
    pitch = 22.5 * who.height
    chain = []
    for k in range(VERTEBRAE):
        size = (0.82 + 0.022 * k) * who.height
        chain.append(ellipsoid(spine_at(who, 148 * who.height - k * pitch), (21 * size, 19 * size, 0.9 * pitch)))
    return tuple(chain)


def _body(middle: Points, size: float, pitch: float, shell: float) -> Solid:
    """A vertebral body, less its shell."""
    high = 0.4 * pitch - shell
    faces = tuple(half_space(middle + [0, 0, sign * high], (0, 0, sign)) for sign in (1.0, -1.0))
    round_ = cylinder(middle, (18 * size - shell, 16 * size - shell))
    return Solid((ellipsoid(middle, (26 * size, 26 * size, pitch)),), (round_, *faces))


def breastbone_at(who: Patient, chest: Thorax, z: float) -> Points:
    """Middle (3,) of the breastbone at a height: before the lungs, in mm."""
    hull = chest.lungs[0].hull
    assert hull.middle is not None
    level = (z - hull.middle[2]) / hull.half_width(np.array([0, 0, 1.0]))
    lung = hull.middle[1] + hull.half_width(np.array([0, 1.0, 0])) * np.sqrt(max(1 - level**2, 0.0))
    return np.array([0.0, max(62 * who.depth, lung + 7.5), z])


def breastbone(who: Patient, chest: Thorax) -> list[Component]:
    """Manubrium and body, flat plates along the front of the chest."""
    heights = np.linspace(80, -48, 6) * who.height
    plates, marrow = [], []
    for k, z in enumerate(heights):
        middle = breastbone_at(who, chest, z)
        above, below = (breastbone_at(who, chest, z + step)[1] for step in (10.0, -10.0))
        turn = rotation(pitch=float(np.degrees(np.arctan2(below - above, 20.0))))
        half = np.array([26.0 if k == 0 else 17.0, 5.2, 15.5 * who.height])
        plates.append(ellipsoid(middle, half, turn))
        marrow.append(ellipsoid(middle, half - 1.4, turn))
    return [
        Component("sternum", who.bone * SHELL * CORTEX, Solid(tuple(plates))),
        Component("marrow of the sternum", who.bone * (0.7 * SPONGY - SHELL * CORTEX), Solid(tuple(marrow))),
    ]


def cartilage(who: Patient, chest: Thorax, ribs: tuple[Rib, ...]) -> Component:
    """From the ends of the first seven ribs to the breastbone."""
    paths = []
    for rib in ribs:
        if rib.number <= TRUE_RIBS and rib.path[-1, 1] > 0:
            height = (74 - 18.5 * (rib.number - 1)) * who.height
            goal = breastbone_at(who, chest, height) + [rib.side * 17, -2, 0]
            bend = (rib.path[-1] + goal) / 2 + [0, 5, -5]
            paths.append(np.stack([rib.path[-1], bend, goal]))
    return Component("cartilage", CARTILAGE, tubes.join([tubes.along(path, 5.0) for path in paths]))


def necks(who: Patient, ribs: tuple[Rib, ...]) -> list[tuple[Points, float]]:
    """From the heads of the ribs at the spine to where their shafts begin."""
    found = []
    for rib in ribs:
        first = rib.path[0]
        if abs(first[0]) < 0.5 * float(np.max(np.abs(rib.path[:, 0]))):  # the outer fragment of a broken rib has none
            head = spine_at(who, float(first[2])) + [rib.side * 19, -14, 0]
            found.append((np.stack([head, first]), 0.85 * rib.radius_mm))
    return found


def raised_arms(who: Patient, chest: Thorax) -> list[tuple[Points, float]]:
    """Shafts of both upper arms, which point up."""
    inner, scale = chest.half_width_mm, who.height
    path = np.array([[inner + 2, -16, 146 * scale], [inner - 20, -18, 230 * scale], [inner - 34, -18, 330 * scale]])
    return [(path * [side, 1, 1], 11.0) for side in (RIGHT, LEFT)]


def shoulder_blades(who: Patient, chest: Thorax) -> list[Component]:
    """Blades along the back of the rib cage, drawn out by the raised arms, with heads of the upper arms."""
    blade, heads = [], []
    for side in (RIGHT, LEFT):
        turn = rotation(yaw=side * 40, roll=side * 12)
        middle = np.array([side * (0.76 * chest.half_width_mm), -94 * who.depth, 42 * who.height])
        blade.append(ellipsoid(middle, (36 * who.height, 2.8, 62 * who.height), turn))
        ridge = middle + [side * 10, -6, 40 * who.height]
        blade.append(ellipsoid(ridge, (36, 4.5, 6.0), rotation(yaw=side * 45, roll=-side * 24)))
        heads.append(ellipsoid((side * (chest.half_width_mm + 2), -16, 140 * who.height), (22, 22, 23)))
    return [
        Component("scapula", 0.5 * who.bone * CORTEX, Solid(tuple(blade))),
        Component("head of the humerus", who.bone * SPONGY, Solid(tuple(heads))),
    ]


def organs(parts: list[Component]) -> dict[str, tuple[Solid | Tubes, ...]]:
    """Shapes of the bones by name, for a map of labels."""
    names = {
        "vertebrae": ("vertebra", "arch", "processes"),
        "sternum": ("sternum",),
        "scapulae": ("scapula",),
    }
    return {name: tuple(p.shape for p in parts if p.name in inside) for name, inside in names.items()}
