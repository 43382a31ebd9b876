"""Slices laid onto the grid of a volume one by one, and one value for what none of them covers."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io.dicom import read_dicom
from medmm.io.resize import resize_area
from medmm.io.series import Stack
from medmm.io.slices import Slice
from medmm.io.volume_grid import VolumeGrid

_Plane = npt.NDArray[np.float32]
_WHOLE_PIXEL = 1e-4
"""Shifts this close to whole pixels move them as they are."""
_ALL = 1 - 1e-6
"""Part of a voxel from which on all of it counts as uncovered: weights are rounded."""


class SliceReader:
    """Slices as values in the modality's units; the last file with several frames is kept, for its next slice.

    Args:
        real_world: As for :func:`medmm.io.dicom.read_dicom`.

    Attributes:
        headers: What was said of each file that was read.
        notes: What was odd about each of them; of files with several frames nothing, for that is said of their stacks.
    """

    def __init__(self, real_world: bool) -> None:
        self.real_world = real_world
        self.headers: dict[Path, dict[str, Any]] = {}
        self.notes: dict[Path, tuple[str, ...]] = {}
        self._path: Path | None = None
        self._frames: npt.NDArray[np.float32] | None = None

    def read(self, part: Slice) -> _Plane:
        """float32 ``[H, W]``; raises as ``read_dicom``."""
        if part.frames > 1 and self._path == part.path and self._frames is not None:
            return self._frames[part.frame]
        self._path, self._frames = None, None
        image = read_dicom(part.path, window=None, real_world=self.real_world)
        self.headers[part.path] = dict(image.header)
        self.notes[part.path] = image.notes if part.frames == 1 else ()
        if part.frames == 1:
            return image.array[0]
        self._path, self._frames = part.path, image.array[0]
        return self._frames[part.frame]

    def digest(self, part: Slice) -> Hashable | None:
        """The pixels in short; None where they cannot be read."""
        try:
            return hashlib.sha256(self.read(part).tobytes()).digest()
        except ImageError:
            return None


class Assembly:
    """A volume put together.

    Args:
        stack: Its slices.
        grid: Where they go.
        reader: Reads them.
        size: Rows and columns are stretched to so many pixels; None keeps the grid's.

    Attributes:
        array: float32 ``[D, H, W]``; 0 where no slice lies, until :meth:`fill` is called.
        broken: Slices that cannot be read, by index, and why; their planes are not set.
        least: The least finite value of all slices, where they are shifted; inf where there is none.
    """

    def __init__(self, stack: Stack, grid: VolumeGrid, reader: SliceReader, size: int | None) -> None:
        depth, rows, columns = grid.shape
        self.array = np.empty((depth, size or rows, size or columns), np.float32)
        self.broken: dict[int, Reason] = {}
        self.least = float("inf")
        self._stack, self._grid, self._reader, self._size = stack, grid, reader, size
        held: dict[int, _Plane] = {}
        for target, (below, weight) in zip(self.array, grid.parts, strict=True):
            needed = (below,) if not weight else (below, below + 1)
            held = {index: values for index, values in held.items() if index in needed}
            for index in needed:
                if index not in held and index not in self.broken:
                    try:
                        held[index] = self._prepared(index)
                    except ImageError as error:
                        self.broken[index] = error.reason
            if all(index in held for index in needed):
                target[...] = _between(held, below, weight)

    def fill(self, value: float) -> None:
        """Give ``value``, if it is finite, to what no slice covers; what is covered in part gets a part of it."""
        if self._grid.shifts is None or not np.isfinite(value):
            return
        for plane, (below, weight) in enumerate(self._grid.parts):
            needed = (below,) if not weight else (below, below + 1)
            bare = _between({index: self._bare(index) for index in needed}, below, weight)
            some, target = bare > 0, self.array[plane]
            target[some] += np.float32(value) * bare[some]
            target[bare > _ALL] = value

    def _prepared(self, index: int) -> _Plane:
        """A slice on the grid's rows and columns, at the size that was asked for."""
        values = self._reader.read(self._stack.slices[index])
        if self._grid.shifts is not None:
            self.least = min(self.least, float(values.min(where=np.isfinite(values), initial=np.inf)))
            down, right = (float(shift) for shift in self._grid.shifts[index])
            values = shifted(values, down, self._grid.shape[1])
            values = shifted(values.T, right, self._grid.shape[2]).T
        return resize_area(values, self._size)

    def _bare(self, index: int) -> _Plane:
        """How much of each pixel a slice does not cover, 0 to 1."""
        assert self._grid.shifts is not None
        (rows, columns), (down, right) = self._stack.slices[index].shape, self._grid.shifts[index]
        inside = np.outer(_covered(down, self._grid.shape[1], rows), _covered(right, self._grid.shape[2], columns))
        return resize_area((~inside).astype(np.float32), self._size)


def _between(held: dict[int, _Plane], below: int, weight: float) -> _Plane:
    """The slice ``below``, or what lies between it and the next one."""
    if not weight:
        return held[below]
    plane = held[below] * np.float32(1 - weight)
    plane += np.float32(weight) * held[below + 1]
    return plane


def shifted(values: _Plane, shift: float, rows: int) -> _Plane:
    """Move a plane down by part of a row, linearly between its rows, into a plane of ``rows`` rows.

    A row reaches half a row to either side of its centre; beyond the outer ones lies 0.
    """
    shift = _snapped(shift)
    if not shift and rows == len(values):
        return values
    places = np.clip(np.arange(rows) - shift, 0, len(values) - 1)
    above = np.minimum(places.astype(np.intp), len(values) - 1)
    part = (places - above).astype(np.float32)[:, None]
    moved = values[above]
    if part.any():
        moved *= 1 - part
        moved += part * values[np.minimum(above + 1, len(values) - 1)]
    moved[~_covered(shift, rows, len(values))] = 0
    return moved


def _covered(shift: float, rows: int, of: int) -> npt.NDArray[np.bool_]:
    """Which of ``rows`` rows a plane of ``of`` rows covers after it was moved down by ``shift``."""
    places = np.arange(rows) - _snapped(shift)
    return np.asarray((places >= -0.5) & (places < of - 0.5))


def _snapped(shift: float) -> float:
    return float(round(shift)) if abs(shift - round(shift)) < _WHOLE_PIXEL else float(shift)
