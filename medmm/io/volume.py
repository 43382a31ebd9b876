"""A folder of DICOM slices to volumes with their place in the patient."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import DataError, ImageError, Reason, UsageError
from medmm.io import greyscale
from medmm.io.dataset import open_dataset
from medmm.io.dicom import IMAGE_TAGS, read_dicom
from medmm.io.geometry import stretch
from medmm.io.layout import layout_of
from medmm.io.resize import check_request, resize_area
from medmm.io.series import Stack, stacks_of
from medmm.io.slices import Slice, slices_in
from medmm.io.tree import files_of
from medmm.io.volume_grid import EVEN, KEEP, REFUSE, SHEAR, VolumeGrid, grid_of
from medmm.types import Image

_Plane = npt.NDArray[np.float32]
_WHOLE_PIXEL = 1e-4
"""Shifts this close to whole pixels move them as they are."""


def read_volumes(
    source: str | Path | Sequence[Path],
    size: int | None = None,
    window: str | None = None,
    *,
    tilt: str = SHEAR,
    spacing: str = EVEN,
) -> list[Image]:
    """Read the volumes that DICOM files make, whatever the files are called.

    Slices are sorted by their place along the normal and split by series, grid and orientation; by acquisition, phase,
    echo, b-value or trigger time where several lie at the same place. Localizers, duplicates, single odd slices and
    broken files are left out and named in ``notes``; so is every gap. Localizers are returned where there is nothing
    else. Frames of enhanced objects are slices like any others.

    Args:
        source: A folder, looked through with its subfolders, or the files themselves.
        size: Stretch rows and columns to so many pixels by area averaging; the affine follows.
        window: None gives the modality's units (HU for CT); ``auto`` gives [0, 1] by the window of the middle slice,
            else the volume's range, inverted for MONOCHROME1.
        tilt: What to do where the gantry was tilted: ``shear`` puts the slices onto a grid at right angles (each is
            shifted within its plane, linearly between pixels), ``keep`` leaves the pixels and gives an oblique affine,
            ``refuse`` leaves the stack out.
        spacing: What to do where slices are missing or uneven: ``even`` puts interpolated planes, which are named,
            between them, so that the affine is true everywhere; slices that lie on the even grid keep their values.
            ``keep`` leaves the slices with an affine that is true for the first and the last one; ``refuse`` leaves
            the stack out. A gap that lacks more than ten slices always splits the stack.

    Returns:
        One image a stack, float32 ``[1, D, H, W]``: D along the normal, H down and W along the rows of the slices as
        they are stored (:func:`medmm.io.geometry.to_canonical` turns them). ``affine`` maps (d, h, w, 1) to RAS mm.
        ``header`` has ``slices``, ``phase`` and ``slice_places_mm``, the slices' places along the normal.

    Raises:
        UsageError: An argument is not one of the above.
        DataError: There is no such folder, or no DICOM file.
        ImageError: There are DICOM files, but none of them is part of a volume; the reason is the most frequent one.
        ResourceError: As the decoders raise it.
    """
    check_request(size, window)
    _check("tilt", tilt, (SHEAR, KEEP, REFUSE))
    _check("spacing", spacing, (EVEN, KEEP, REFUSE))
    left_out: Counter[Reason] = Counter()
    slices = slices_in(_files(source), left_out)
    localizers = [part for part in slices if part.is_localizer]
    reader = _Reader(real_world=window is None)
    images: list[Image] = []
    for chosen in ([part for part in slices if not part.is_localizer], localizers):
        if not images:
            for stack in stacks_of(chosen, reader.digest):
                images += _volumes(stack, reader, left_out, size, window, tilt, spacing)
    notes = _notes(localizers, left_out)
    if not images:
        raise _nothing(left_out)
    return [replace(image, notes=(*image.notes, *notes)) for image in images]


def _files(source: str | Path | Sequence[Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        return list(source)
    folder = Path(source)
    if not folder.is_dir():
        raise DataError("there is no such folder", where="folder of DICOM slices", fix="Give a folder, not a file.")
    return files_of(folder)


def _check(name: str, got: str, known: tuple[str, ...]) -> None:
    if got not in known:
        raise UsageError(f"unknown {name}", got=repr(got), expected=" | ".join(known))


def _notes(localizers: list[Slice], left_out: Counter[Reason]) -> tuple[str, ...]:
    """What lies beside the volumes in the folder."""
    notes = []
    if localizers:
        sides = sorted({f"{part.shape[0]} x {part.shape[1]}" for part in localizers})
        notes.append(f"Localizers set apart: {len(localizers)} ({', '.join(sides)}).")
    if left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        notes.append(f"Files or slices of the folder left out: {reasons}.")
    return tuple(notes)


def _nothing(left_out: Counter[Reason]) -> DataError | ImageError:
    counts = {reason: count for reason, count in left_out.items() if reason is not Reason.NOT_AN_IMAGE}
    if not counts:
        fix = "Give the folder that the DICOM files lie in."
        got = f"{left_out.total()} other files"
        return DataError("no DICOM files", where="folder of DICOM slices", got=got, fix=fix)
    reason = max(counts, key=lambda key: (counts[key], key))
    got = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return ImageError(reason, "no file is part of a volume", where="folder of DICOM slices", got=got)


def _volumes(
    stack: Stack, reader: _Reader, left_out: Counter[Reason], size: int | None, window: str | None,
    tilt: str, spacing: str,
) -> list[Image]:  # fmt: skip
    """The volume of a stack, without the slices that cannot be decoded; none where it is refused or nothing is left."""
    broken: dict[int, Reason] = {}
    notes: tuple[str, ...] = ()
    while True:
        try:
            grid = grid_of(stack, tilt, spacing)
            array = _assembled(stack, grid, reader, size, broken)
        except ImageError as error:
            left_out[error.reason] += len(stack.slices)
            return []
        if not broken:
            break
        left_out.update(broken.values())
        notes = (f"{len(broken)} of {len(stack.slices)} slices cannot be read: " + ", ".join(
            f"slice {index} ({reason})" for index, reason in list(broken.items())[:8]) + ".",)  # fmt: skip
        stack = replace(stack, slices=tuple(part for index, part in enumerate(stack.slices) if index not in broken))
        broken = {}
        if not stack.slices:
            return []
    rows, columns = grid.shape[1:]
    affine = grid.affine if size is None else grid.affine @ stretch(rows / size, columns / size)
    header = _header(stack, reader)
    if window == "auto":
        array, header["window"], header["inverted"] = _shown(stack, array, exact=size is None)
    steps = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    return [Image(array[None], affine, steps, header, (*stack.notes, *notes, *grid.notes))]


def _assembled(
    stack: Stack, grid: VolumeGrid, reader: _Reader, size: int | None, broken: dict[int, Reason]
) -> npt.NDArray[np.float32]:
    """Fill the grid slice by slice; slices that cannot be read go into ``broken`` and leave their planes unset."""
    depth, rows, columns = grid.shape
    array = np.empty((depth, size or rows, size or columns), np.float32)
    held: dict[int, _Plane] = {}
    for plane, (below, weight) in enumerate(grid.parts):
        needed = (below,) if not weight else (below, below + 1)
        held = {index: values for index, values in held.items() if index in needed}
        for index in needed:
            if index not in held and index not in broken:
                try:
                    held[index] = _prepared(stack.slices[index], grid, index, reader, size)
                except ImageError as error:
                    broken[index] = error.reason
        if all(index in held for index in needed):
            array[plane] = held[below]
            if weight:
                array[plane] *= np.float32(1 - weight)
                array[plane] += np.float32(weight) * held[below + 1]
    return array


def _prepared(part: Slice, grid: VolumeGrid, index: int, reader: _Reader, size: int | None) -> _Plane:
    """A slice on the grid's rows and columns, at the size that was asked for."""
    values = reader.read(part)
    if grid.shifts is not None:
        down, right = (float(shift) for shift in grid.shifts[index])
        fill = float(values.min())
        values = _shifted(values, down, grid.shape[1], fill)
        values = _shifted(values.T, right, grid.shape[2], fill).T
    return resize_area(values, size)


def _shifted(values: _Plane, shift: float, rows: int, fill: float) -> _Plane:
    """Move a plane down by part of a row, linearly between its rows, into a plane of ``rows`` rows.

    A row reaches half a row to either side of its centre; beyond the outer ones lies ``fill``.
    """
    whole = round(shift)
    if abs(shift - whole) < _WHOLE_PIXEL:
        shift = float(whole)
        if not whole and rows == len(values):
            return values
    places = np.arange(rows) - shift
    inside = (places >= -0.5) & (places < len(values) - 0.5)
    places = np.clip(places, 0, len(values) - 1)
    above = np.minimum(places.astype(np.intp), len(values) - 1)
    part = (places - above).astype(np.float32)[:, None]
    moved = values[above]
    if part.any():
        moved *= 1 - part
        moved += part * values[np.minimum(above + 1, len(values) - 1)]
    moved[~inside] = fill
    return moved


def _header(stack: Stack, reader: _Reader) -> dict[str, Any]:
    about = dict(reader.header)
    about |= {"frames": len(stack.slices), "slices": len(stack.slices), "window": None, "phase": dict(stack.phase)}
    normal = stack.slices[0].plane.normal
    about["slice_places_mm"] = tuple(float(part.plane.position @ normal) for part in stack.slices)
    return about


def _shown(
    stack: Stack, array: npt.NDArray[np.float32], exact: bool
) -> tuple[npt.NDArray[np.float32], dict[str, Any], bool]:
    """Grey in [0, 1] by the window of the middle slice, else by the range of the volume; in place where it can be.

    Padding is black and no part of the range, where voxels are ``exact``, not means with their neighbours.
    """
    source = open_dataset(stack.slices[len(stack.slices) // 2].path, IMAGE_TAGS, with_pixels=True)
    layout = layout_of(source.dataset, source.syntax, source.big_endian)
    grey = greyscale.greyscale_of(source.dataset, layout)
    told: dict[str, Any]
    padding = _padding(grey) if exact else None
    absent = None if padding is None else (array >= padding[0]) & (array <= padding[1])
    if absent is not None and absent.all():
        absent = None
    if isinstance(grey.voi, greyscale.Window):
        told = {"function": grey.voi.function, "center": grey.voi.center, "width": grey.voi.width}
        array = grey.voi.apply(array)
    elif isinstance(grey.voi, greyscale.Table):
        told = {"function": "LUT"}
        for plane in array:
            plane[...] = grey.voi.display(plane)
    else:
        there: Any = True if absent is None else ~absent
        low = float(array.min(where=there, initial=np.inf))
        high = float(array.max(where=there, initial=-np.inf))
        told = {"function": "RANGE", "low": low, "high": high}
        array -= np.float32(low)
        array *= np.float32(1 / (high - low) if high > low else 0)
        np.clip(array, 0, 1, out=array)
    if grey.inverted and told.get("low", 0) != told.get("high", 1):
        np.subtract(1, array, out=array)
    if absent is not None:
        array[absent] = 0
    return array, told, grey.inverted


def _padding(grey: greyscale.Greyscale) -> tuple[float, float] | None:
    """Range of the padding after the modality LUT; None without any, or where each slice has its own rescale."""
    if grey.padding is None or grey.table is not None:
        return None
    slope, intercept = grey.rescale_of(0)
    ends = sorted(end * slope + intercept for end in grey.padding)
    room = abs(slope) / 4  # stored values are whole numbers
    return ends[0] - room, ends[1] + room


class _Reader:
    """Slices as values in the modality's units; the last file with several frames is kept, for its next slice."""

    def __init__(self, real_world: bool) -> None:
        self.real_world = real_world
        self.header: dict[str, Any] = {}
        self._path: Path | None = None
        self._frames: npt.NDArray[np.float32] | None = None

    def read(self, part: Slice) -> _Plane:
        """float32 ``[H, W]``; raises as ``read_dicom``."""
        if part.frames > 1 and self._path == part.path and self._frames is not None:
            return self._frames[part.frame]
        self._path, self._frames = None, None
        image = read_dicom(part.path, window=None, real_world=self.real_world)
        self.header = dict(image.header)
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
