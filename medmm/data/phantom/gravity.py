"""What lying on the back does to a chest that was drawn upright: fluid runs to the back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medmm.data.phantom.geometry import Points, Quadric, half_space
from medmm.data.phantom.pleura import Space
from medmm.data.phantom.scene import Component
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.voxels import Grid, fill

STEP_MM = 4.0
"""Voxels in which volumes are compared."""
TRIES = 14
"""Halvings of the range in which the fluid's level is sought: 0.01 mm."""
ACROSS, ALONG = 11.0, 26.0
"""1 mm over its lowest point the surface is so many mm wide to each side, across and along the body."""


def layered(space: Space, upright: Component, level: bool = False) -> tuple[Space, Component]:
    """The same volume of fluid as an upright effusion, run to the back: a crescent, thicker towards the base.

    Args:
        space: The lung's space without the fluid.
        upright: The fluid, upright.
        level: Whether its surface is flat, as it is under air.
    """
    lung = space.lung
    middle = lung.hull.middle
    assert middle is not None
    deep = lung.hull.half_width(np.array([0, 1.0, 0]))
    goal = _volume(upright.shape, space)
    lowest = np.array([middle[0] - 6 * lung.side, middle[1] - deep - 30, lung.height(0.75)])
    low, high = 0.0, 2 * deep + 30
    for _ in range(TRIES):
        bottom = lowest + [0, (low + high) / 2, 0]
        surface = half_space(bottom, (0, -1, 0)) if level else trough(bottom, (ACROSS, ALONG))
        fluid = Solid((lung.hull,), space.limits, (surface, *lung.cut))
        low, high = ((low + high) / 2, high) if _volume(fluid, space) < goal else (low, (low + high) / 2)
    return replace(space, limits=(*space.limits, surface)), replace(upright, shape=fluid)


def trough(bottom: Points, half: tuple[float, float]) -> Quadric:
    """Inside of a paraboloid that opens to the front: 1 mm before its rearmost point, ``half`` mm wide in x and z."""
    matrix = np.diag([1 / half[0] ** 2, 0.0, 1 / half[1] ** 2])
    lean = np.array([0.0, -0.5, 0.0])
    return Quadric(matrix, -matrix @ bottom + lean, float(bottom @ matrix @ bottom - 2 * lean @ bottom))


def _volume(shape: object, space: Space) -> float:
    """Cubic millimetres of a solid in a lung's space."""
    assert isinstance(shape, Solid)
    middle = space.lung.hull.middle
    assert middle is not None
    half = [space.lung.hull.half_width(axis) for axis in np.eye(3)]
    sides = [int(np.ceil(2 * reach / STEP_MM)) + 1 for reach in half]
    filled = fill(shape, Grid(middle, (STEP_MM, STEP_MM), (sides[2], sides[1], sides[0])), subrays=1)
    return 0.0 if filled is None else float(filled.share.sum(dtype=float)) * STEP_MM**3
