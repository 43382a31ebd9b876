"""The grid that a stack of slices is put on: even and at right angles, whatever the slices are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io.layout import check_size
from medmm.io.series import Stack
from medmm.io.slice_spacing import SliceSpacing

SHEAR, KEEP, REFUSE, EVEN = "shear", "keep", "refuse", "even"
_AT_A_SLICE = 0.02
"""Part of a step by which a plane of the grid may lie beside a slice and still be that slice."""
_FINER, _FINER_PART = 0.75, 0.2
"""A block of slices this much closer than usual, this large a part of all, sets the step: none of it is thrown away."""


@dataclass(frozen=True, eq=False, slots=True)
class VolumeGrid:
    """Where the voxels of a volume come from.

    Attributes:
        affine: 4x4, maps (d, h, w, 1) to RAS mm.
        shape: D, H, W.
        parts: For each plane the slice below it and the weight of the one above, 0 where the plane is a slice.
        shifts: float64 ``[N, 2]``, rows and columns by which each slice lies beside the grid; None where none does.
        notes: What was done to the slices.
    """

    affine: npt.NDArray[np.float64]
    shape: tuple[int, int, int]
    parts: tuple[tuple[int, float], ...]
    shifts: npt.NDArray[np.float64] | None
    notes: tuple[str, ...]


def grid_of(stack: Stack, tilt: str, spacing: str) -> VolumeGrid:
    """Plan a volume.

    Args:
        stack: The slices.
        tilt: ``shear`` puts the slices of a tilted gantry on a grid at right angles; ``keep`` leaves the pixels as they
            are and gives an oblique affine that is just as true; ``refuse`` raises.
        spacing: ``even`` puts planes between slices where they are missing or uneven; ``keep`` leaves the slices as
            they are, with an affine that is true at both ends only; ``refuse`` raises.

    Raises:
        ImageError: ``GEOMETRY_REFUSED``; ``TOO_LARGE``.
    """
    found, first = stack.spacing, stack.slices[0].plane
    rows, columns = stack.slices[0].shape
    notes = list(found.notes())
    if found.is_tilted and tilt == REFUSE:
        raise _refused("the gantry was tilted", f"slices up to {np.abs(found.beside_mm).max():.2f} mm beside the first")
    if not found.is_even and spacing == REFUSE:
        raise _refused("slices are missing or unevenly spaced", " ".join(notes))
    if found.is_even or spacing == KEEP:
        parts: tuple[tuple[int, float], ...] = tuple((index, 0.0) for index in range(len(stack.slices)))
        if not found.is_even:
            notes.append(f"Slices were kept as they are: they lie up to {_worst(found):.3f} mm beside the affine.")
    else:
        parts, said = _even_parts(found)
        notes.append(said)
    depth = len(parts)
    if depth > 1:
        step = (stack.slices[-1].plane.position - first.position) / (depth - 1)
    else:
        step = first.normal * (first.depth_mm or 1.0)
    shifts, origin = None, np.zeros(2)
    if found.is_tilted and tilt == SHEAR:
        step = first.normal * (step @ first.normal)
        shifts = found.beside_mm / np.array(first.spacing_mm)
        origin = np.floor(shifts.min(axis=0) + 1e-6)
        shifts = shifts - origin
        more = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
        rows, columns = rows + int(more[0]), columns + int(more[1])
        notes.append(_sheared(found, more))
    elif found.is_tilted:
        notes.append("The gantry was tilted: pixels were kept as they are, the affine's first axis is oblique.")
    check_size(depth * rows * columns, "DICOM series")
    affine = first.affine(step)
    affine[:3, 3] += affine[:3, 1] * origin[0] + affine[:3, 2] * origin[1]
    return VolumeGrid(affine, (depth, rows, columns), parts, shifts, tuple(notes))


def _even_parts(found: SliceSpacing) -> tuple[tuple[tuple[int, float], ...], str]:
    """Planes at even distances from the first slice to the last one."""
    steps = np.diff(found.along_mm)
    finer = steps[steps < _FINER * found.step_mm]
    usual = float(steps[~found.gaps].mean())
    if len(finer) >= max(2, _FINER_PART * len(steps)):
        usual = float(np.median(finer))
    depth = max(2, round(found.along_mm[-1] / usual) + 1)
    places = np.linspace(0, found.along_mm[-1], depth)
    below = np.clip(np.searchsorted(found.along_mm, places, side="right") - 1, 0, len(steps) - 1)
    weights = (places - found.along_mm[below]) / steps[below]
    near = np.minimum(weights, 1 - weights) * steps[below] <= _AT_A_SLICE * usual
    parts = tuple(
        (int(index) + (1 if at_slice and weight > 0.5 else 0), 0.0 if at_slice else float(weight))
        for index, weight, at_slice in zip(below, weights, near, strict=True)
    )
    between = [plane for plane, (_, weight) in enumerate(parts) if weight]
    said = f"{len(between)} of {depth} planes lie between slices and are interpolated: {_ranges(between)}."
    return parts, f"The grid is even, {places[1]:.3f} mm a step. {said}"


def _ranges(numbers: list[int]) -> str:
    """``3, 7 to 9``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join(told[:12]) + (f" and {len(told) - 12} more" if len(told) > 12 else "") or "none"


def _worst(found: SliceSpacing) -> float:
    return float(np.abs(found.along_mm - np.linspace(0, found.along_mm[-1], len(found.along_mm))).max())


def _sheared(found: SliceSpacing, more: npt.NDArray[np.intp]) -> str:
    beside = found.beside_mm[-1]
    degrees = float(np.degrees(np.arctan2(np.linalg.norm(beside), found.along_mm[-1])))
    return (
        f"The gantry was tilted by {degrees:.2f} degrees: slices were shifted within their planes onto a grid at right "
        f"angles with {more[0]} rows and {more[1]} columns more; "
        "what no slice covers has the padding value, or the volume's least."
    )


def _refused(what: str, got: str) -> ImageError:
    fix = "Read the folder with tilt='shear' and spacing='even', or 'keep', to use it nevertheless."
    return ImageError(Reason.GEOMETRY_REFUSED, what, where="DICOM series", got=got, expected="an even stack", fix=fix)
