"""Shapes as voxels: how much of each voxel lies inside, exact along the long axis, by sub-rays across it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.geometry import Array, Points, Stretches, View, Window
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.tubes import Tubes

SUBRAYS, MOST_SUBRAYS = 2, 6
"""Rays a voxel along each of the axes across, and at most, for thin tubes; along the rays the share inside is exact."""
HALF, QUARTER = 0.5, 0.24
UP = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
"""Axes of the rays: columns grow to the patient's right, rows to the front, the beam to the head."""


@dataclass(frozen=True)
class Grid:
    """Voxels along the patient's axes.

    Attributes:
        middle: Point (3,) in RAS mm in the middle of the volume.
        spacing_mm: Distance of slices, and of voxels within a slice.
        shape: Number of slices (to the head), rows (to the front), columns (to the right).
    """

    middle: Points
    spacing_mm: tuple[float, float]
    shape: tuple[int, int, int]

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """4x4: (d, h, w, 1) of a voxel's centre to RAS millimetres."""
        thick, fine = self.spacing_mm
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = thick, fine, fine, 1
        affine[:3, 3] = self.middle - affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return affine

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return self.spacing_mm[0] * self.spacing_mm[1] ** 2 / 1000

    def rays(self, subrays: int) -> View:
        """Rays through the volume from below, ``subrays`` squared of them through each column of voxels."""
        _, rows, columns = self.shape
        return View(self.middle, UP, self.spacing_mm[1] / subrays, rows * subrays, columns * subrays)


@dataclass(frozen=True)
class Filled:
    """Part of a volume and how much of each voxel there lies in a shape.

    Attributes:
        box: Slices of the volume.
        share: ``[d, h, w]`` float32 from 0 to 1; more where parts of the shape overlap that count twice.
    """

    box: tuple[slice, slice, slice]
    share: Array


def fill(shape: Solid | Tubes, grid: Grid, subrays: int | None = None) -> Filled | None:
    """Voxels of a shape; None where it lies outside the volume.

    A ray that is inside from ``enter`` to ``leave`` adds a step up and a step down, each spread over two voxels so that
    the running sum along the ray is the length inside each voxel. All rays of a shape share one running sum.

    Args:
        shape: The shape.
        grid: The voxels.
        subrays: Rays a voxel along each axis across; None: two, more where a thin tube could run between them.
    """
    depth = grid.shape[0]
    subrays = subrays or _enough(shape, grid)
    pieces = [_in_voxels(piece, grid, subrays) for piece in shape.stretches(grid.rays(subrays))]
    pieces = [piece for piece in pieces if len(piece.place)]
    if not pieces:
        return None
    place, enter, leave, weight = (np.concatenate(list(values)) for values in zip(*pieces, strict=True))
    row, column = np.divmod(place, grid.shape[2])
    window = Window(int(row.min()), int(row.max()) + 1, int(column.min()), int(column.max()) + 1)
    first, last = int(enter.min()), min(int(leave.max()) + 1, depth)
    high, wide, steps = window.bottom - window.top, window.right - window.left, last - first + 2
    flat = (row - window.top) * wide + column - window.left
    total = np.zeros(steps * high * wide)
    for at, sign in ((enter, 1.0), (leave, -1.0)):
        voxel = np.minimum(at.astype(np.int64), depth)
        over = at - voxel
        index = (voxel - first) * (high * wide) + flat
        total += np.bincount(index, sign * weight * (1 - over), len(total))
        total += np.bincount(index + high * wide, sign * weight * over, len(total))
    share = np.cumsum(total.reshape(steps, high, wide), axis=0)[: last - first]
    share *= 1 / subrays**2
    return Filled((slice(first, last), *window.slices), share.astype(np.float32))


def holds(shapes: Iterator[Solid | Tubes] | tuple[Solid | Tubes, ...], grid: Grid) -> npt.NDArray[np.bool_]:
    """``[D, H, W]``: voxels of which at least half lies in one of the shapes.

    Of a solid so small that it fills no voxel, the voxels that are at least half as full as its fullest one; of tubes
    so thin, a quarter, since a wire that runs where four voxels meet fills each to a quarter.
    """
    mask = np.zeros(grid.shape, bool)
    for shape in shapes:
        filled = fill(shape, grid)
        if filled is not None:
            full = max(float(filled.share.max()), 1e-3)
            least = QUARTER * full if isinstance(shape, Tubes) and full < HALF else HALF * min(full, 1.0)
            mask[filled.box] |= filled.share >= least
    return mask


def _enough(shape: Solid | Tubes, grid: Grid) -> int:
    """So many rays that the thinnest tube is hit."""
    if isinstance(shape, Solid) or not len(shape):
        return SUBRAYS
    return int(np.clip(np.ceil(grid.spacing_mm[1] / float(shape.radius.min())), SUBRAYS, MOST_SUBRAYS))


def _in_voxels(piece: Stretches, grid: Grid, subrays: int) -> Stretches:
    """Pieces of rays with the place of the voxels' column and distances in voxels, cut to the volume."""
    depth, _, columns = grid.shape
    row, column = np.divmod(piece.place, columns * subrays)
    place = row // subrays * columns + column // subrays
    step, middle = np.float32(grid.spacing_mm[0]), np.float32(depth / 2)
    ends = [np.clip(at / step + middle, 0, depth) for at in (piece.enter, piece.leave)]
    kept = ends[0] < ends[1]
    return Stretches(place[kept], ends[0][kept], ends[1][kept], piece.weight[kept])
