"""What a view from the side or a section shows of the chest and a view from the front does not: flesh, fat, abdomen."""

from __future__ import annotations

import numpy as np

from medmm.data.phantom import materials, tubes, vessels
from medmm.data.phantom.geometry import Points, Quadric, bowl, cylinder, ellipsoid, half_space, rotation
from medmm.data.phantom.scene import Component
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.subject import Patient
from medmm.data.phantom.thorax import LEFT, RIGHT, Lung, Thorax

DIAPHRAGM_MM = 5.0
AIRWAY_WALL_MM = 1.6
MEDIASTINAL_FAT = 0.75
"""Share of fat in what fills the mediastinum between heart and vessels."""
FAT = materials.ADIPOSE - materials.SOFT


def flesh(who: Patient, chest: Thorax, grown_mm: float = 0.0) -> tuple[Quadric, ...]:
    """Muscles of the trunk with raised arms, which cover all ribs, shoulder blades and spinous processes.

    Args:
        who: The patient.
        chest: Gives the size of the rib cage.
        grown_mm: Thickness of the fat that is added all around.
    """
    hull = chest.lungs[0].hull
    scale, inner = who.height, chest.half_width_mm
    fat = np.array([0.9, 0.7, 0.4]) * grown_mm
    wide, deep = inner + 21.0, hull.half_width(np.array([0, 1.0, 0])) + 27.0
    parts = [
        ellipsoid((0, -14, -130 * scale), np.array([0.85 * wide, deep, 430 * scale]) + fat),
        ellipsoid((0, -22, 235 * scale), np.array([52 * who.width, 54, 150 * scale]) + 0.3 * fat),
    ]
    for side in (RIGHT, LEFT):
        for middle, half in (
            ((0.36 * wide, -12, -130 * scale), (0.64 * wide, 0.94 * deep, 430 * scale)),
            ((0.5 * inner, 58, 52 * scale), (58, 40, 54)),
            ((0.58 * inner, -80, 48 * scale), (62, 46, 112)),
            ((inner - 8, -24, 138 * scale), (62, 54, 54)),
            ((inner - 26, -20, 245 * scale), (42, 46, 125)),
        ):
            parts.append(ellipsoid((side * middle[0], *middle[1:]), np.array(half) + fat))
    return tuple(parts)


def breasts(who: Patient, chest: Thorax) -> tuple[Quadric, ...]:
    """Two on the front of the muscles."""
    hull = chest.lungs[0].hull
    front = hull.half_width(np.array([0, 1.0, 0])) + 9.0 + 0.5 * who.fat_mm
    thick = (0.5 if who.sex == "F" else 0.12) * (14 + 1.0 * who.fat_mm)
    place = 0.5 * chest.half_width_mm, front - 14, (-50 - 0.5 * who.fat_mm) * who.height
    half = (52 + 0.5 * who.fat_mm, 18 + thick, 52 + 0.5 * who.fat_mm)
    return tuple(ellipsoid((side * place[0], *place[1:]), half) for side in (RIGHT, LEFT))


def trunk(who: Patient, chest: Thorax) -> list[Component]:
    """Body of muscle in a coat of fat, with glands in women's breasts."""
    muscle, soft = flesh(who, chest), breasts(who, chest)
    skin = (*flesh(who, chest, who.fat_mm), *soft)
    parts = [
        Component("body", materials.SOFT, Solid(skin)),
        Component("fat", FAT, Solid(skin, without=muscle)),
    ]
    if who.sex == "F":
        glands = tuple(
            ellipsoid(one.middle + [0, 6, 0], 0.55 * np.array([one.half_width(axis) for axis in np.eye(3)]))
            for one in soft
            if one.middle is not None
        )
        parts.append(Component("glands", -0.7 * FAT, Solid(glands, without=muscle)))
    return parts


def mediastinum(who: Patient, chest: Thorax) -> list[Component]:
    """Heart, great vessels and airways in fat."""
    middle = chest.middle_mm
    spine = cylinder((0.0, -72 * who.depth, 0.0), (21 * who.width, 24.0))
    gullet = ellipsoid((4 + 0.5 * middle, -44 * who.depth, 40 * who.height), (8, 5.5, 230))
    space = ellipsoid((middle * 0.7, -5, 30 * who.height), (18 * who.width, 74 * who.depth, 128 * who.height))
    fat = Solid((space,), without=(*chest.heart, *chest.vessels, spine, gullet, *_under_domes(chest)))
    air = vessels.airway(chest)
    wall = Solid((space,))
    inside = wall.contains((air.start + air.end) / 2)
    outer = tubes.Tubes(air.start, air.end, air.radius + AIRWAY_WALL_MM, air.cut_start, air.cut_end, air.weight)
    return [
        Component("heart", materials.BLOOD - materials.SOFT, Solid(chest.heart)),
        Component("great vessels", materials.BLOOD - materials.SOFT, Solid(chest.vessels, without=chest.heart)),
        Component("mediastinal fat", MEDIASTINAL_FAT * FAT, fat),
        Component("airway wall", -MEDIASTINAL_FAT * FAT, tubes.keep(outer, inside)),
        Component("bronchial wall", materials.SOFT - materials.LUNG * who.lung_density, tubes.keep(outer, ~inside)),
        Component("airway", materials.AIR - materials.SOFT, air),
    ]


def abdomen(who: Patient, chest: Thorax) -> list[Component]:
    """Fat around liver, spleen and stomach below the domes."""
    deep = chest.lungs[0].hull.half_width(np.array([0, 1.0, 0]))
    hollow = ellipsoid((0, -4, -185 * who.height), (chest.half_width_mm - 4, deep - 3, 150))
    spine = ellipsoid((0, -78 * who.depth, -180 * who.height), (38, 38, 200))
    parts = []
    for lung, keep_out in zip(chest.lungs, _organs(who, chest), strict=True):
        side = half_space((0, 0, 0), (-lung.side, 0, 0))
        around = Solid((hollow,), (_lowered(lung), side), (spine, *chest.heart, *keep_out))
        parts.append(Component("abdominal fat", FAT, around))
    return parts


def _organs(who: Patient, chest: Thorax) -> tuple[tuple[Quadric, ...], tuple[Quadric, ...]]:
    """Liver; its left lobe, stomach and spleen."""
    right, left = chest.floor_mm
    inner, depth = chest.half_width_mm, who.depth
    liver = ellipsoid((0.46 * inner, 4, right - 84), (0.5 * inner, 84 * depth, 78), rotation(roll=-8))
    lobe = ellipsoid((-0.05 * inner, 38 * depth, left - 58), (0.45 * inner, 38, 40))
    stomach = ellipsoid((-0.46 * inner, 16, left - 52), (42, 44, 42))
    spleen = ellipsoid((-0.68 * inner, -44 * depth, left - 66), (26, 42, 44), rotation(yaw=25))
    return (liver, lobe), (lobe, liver, stomach, spleen)


def _lowered(lung: Lung) -> Quadric:
    """What lies below a hemidiaphragm, without the muscle itself."""
    matrix = lung.dome.matrix
    top = np.array([lung.side, 0, 0]) * _dome_x(lung) + [0, _dome_y(lung), lung.floor_mm - DIAPHRAGM_MM]
    half = (1 / np.sqrt(matrix[0, 0]), 1 / np.sqrt(matrix[1, 1]))
    return bowl(top, half, up=False)


def _dome_x(lung: Lung) -> float:
    return float(-lung.dome.vector[0] / lung.dome.matrix[0, 0] * lung.side)


def _dome_y(lung: Lung) -> float:
    return float(-lung.dome.vector[1] / lung.dome.matrix[1, 1])


def _under_domes(chest: Thorax) -> tuple[Quadric, ...]:
    return tuple(lung.dome for lung in chest.lungs)


def surface_y(parts: tuple[Quadric, ...], x: float, z: float, front: bool) -> float:
    """Find y in mm of the foremost or rearmost point of a union at (x, z)."""
    ends = [_crossing(part, np.array([x, 0.0, z]), front) for part in parts]
    return max(ends) if front else min(ends)


def _crossing(part: Quadric, at: Points, front: bool) -> float:
    curve = part.matrix[1, 1]
    slope = part.matrix[1] @ at + part.vector[1]
    value = at @ part.matrix @ at + 2 * part.vector @ at + part.constant
    root = slope**2 - curve * value
    if root < 0:
        return -np.inf if front else np.inf
    return float((-slope + (1 if front else -1) * np.sqrt(root)) / curve)
