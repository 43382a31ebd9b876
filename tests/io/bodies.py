"""A body that is known everywhere in space, to check that voxels lie where an affine says."""

from __future__ import annotations

import numpy as np

SHAPE = (16, 40, 32)
AFFINE = np.array([[0, 0, -1.5, 24.0], [0, -1.25, 0, 25.0], [2.5, 0, 0, -20.0], [0, 0, 0, 1]])
"""An axial stack as scanners store it: rows run to the patient's left, columns to the back, slices to the head."""


def values_at(points):
    """Smooth values, -600 to 600, at RAS millimetres ``[3, ...]``."""
    x, y, z = points
    return 400 * np.sin(x / 11) * np.cos(y / 9 + 0.3) + 200 * np.sin(z / 7)


def voxel_places(affine, shape):
    """RAS millimetres ``[3, D, H, W]`` of the centres of all voxels."""
    indices = np.stack([*np.indices(shape), np.ones(shape)])
    return np.tensordot(affine, indices, 1)[:3]


def body(shape=SHAPE, affine=AFFINE):
    """The body on a grid, int16 ``[D, H, W]``."""
    return np.rint(values_at(voxel_places(affine, shape))).astype(np.int16)
