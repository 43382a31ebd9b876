"""A folder of DICOM slices to volumes with their place in the patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medmm.errors import DataError, ImageError, Reason, UsageError
from medmm.io.geometry import stretch
from medmm.io.resize import check_request
from medmm.io.series import Stack, stacks_of
from medmm.io.slices import Slice, slices_in
from medmm.io.tree import files_of
from medmm.io.volume_assembly import Assembly, SliceReader
from medmm.io.volume_display import display_of, show
from medmm.io.volume_grid import EVEN, KEEP, REFUSE, SHEAR, VolumeGrid, grid_of
from medmm.types import Image


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of :func:`read_volumes`, checked.

    Raises:
        UsageError: One is not among those that it knows.
    """

    size: int | None
    window: str | None
    tilt: str
    spacing: str

    def __post_init__(self) -> None:
        check_request(self.size, self.window)
        tilt, spacing = ("tilt", self.tilt, (SHEAR, KEEP, REFUSE)), ("spacing", self.spacing, (EVEN, KEEP, REFUSE))
        for name, got, known in (tilt, spacing):
            if got not in known:
                raise UsageError(f"unknown {name}", got=repr(got), expected=" | ".join(known))


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
            else the volume's range; the presentation LUT follows, or its shape, or MONOCHROME1 inverts.
        tilt: What to do where the gantry was tilted: ``shear`` puts the slices onto a grid at right angles (each is
            shifted within its plane, linearly between pixels; what no slice covers has the padding value of the header,
            else the volume's least), ``keep`` leaves the pixels and gives an oblique affine, ``refuse`` leaves the
            stack out.
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
    request = _Request(size, window, tilt, spacing)
    left_out: Counter[Reason] = Counter()
    slices = slices_in(_files(source), left_out)
    images = _images(slices, request, left_out)
    if not images:
        raise _nothing(left_out)
    notes = _notes([part for part in slices if part.is_localizer], left_out)
    return [replace(image, notes=(*image.notes, *notes)) for image in images]


def _images(slices: list[Slice], request: _Request, left_out: Counter[Reason]) -> list[Image]:
    """The volumes of slices that are no localizers; of localizers where there is nothing else."""
    reader = SliceReader(real_world=request.window is None)
    for are_localizers in (False, True):
        stacks = stacks_of([part for part in slices if part.is_localizer is are_localizers], reader.digest)
        images = [image for stack in stacks for image in _volumes(stack, reader, left_out, request)]
        if images:
            return images
    return []


def _files(source: str | Path | Sequence[Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        return [Path(one) for one in source]
    folder = Path(source)
    if not folder.is_dir():
        raise DataError("there is no such folder", where="folder of DICOM slices", fix="Give a folder, not a file.")
    return files_of(folder)


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


def _volumes(stack: Stack, reader: SliceReader, left_out: Counter[Reason], request: _Request) -> list[Image]:
    """The volume of a stack, without the slices that cannot be decoded; none where it is refused or nothing is left."""
    notes = stack.notes
    while stack.slices:
        try:
            grid = grid_of(stack, request.tilt, request.spacing)
        except ImageError as error:
            left_out[error.reason] += len(stack.slices)
            return []
        assembly = Assembly(stack, grid, reader, request.size)
        broken = assembly.broken
        if not broken:
            return [_image(replace(stack, notes=notes), grid, assembly, reader, request)]
        left_out.update(broken.values())
        named = ", ".join(f"slice {index} ({reason})" for index, reason in list(broken.items())[:8])
        notes = (*notes, f"{len(broken)} of {len(stack.slices)} slices cannot be read: {named}.")
        stack = replace(stack, slices=tuple(part for index, part in enumerate(stack.slices) if index not in broken))
    return []


def _image(stack: Stack, grid: VolumeGrid, assembly: Assembly, reader: SliceReader, request: _Request) -> Image:
    """A volume with its place, shown if it is to be shown, and everything that is said of it."""
    rows, columns = grid.shape[1:]
    array, size = assembly.array, request.size
    affine = grid.affine if size is None else grid.affine @ stretch(rows / size, columns / size)
    header = _header(stack, reader)
    read = (note for part in stack.slices for note in reader.notes.get(part.path, ()))
    notes = [*stack.notes, *dict.fromkeys(read), *grid.notes]
    if grid.shifts is not None or request.window == "auto":
        display, told = display_of(stack, reader.headers)
        padding = display.padding(reader.real_world)
        assembly.fill(assembly.least if padding is None else padding)
        if request.window == "auto":
            notes.extend(told)
            header["windows"] = display.grey.windows
            header["window"], header["inverted"] = show(array, display, exact=size is None)
    steps = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    return Image(array[None], affine, steps, header, tuple(notes))


def _header(stack: Stack, reader: SliceReader) -> dict[str, Any]:
    """What is said of the volume; where its slices say different things, the last one's words."""
    paths = [part.path for part in stack.slices if part.path in reader.headers]
    about = dict(reader.headers[paths[-1]])
    about |= {"frames": len(stack.slices), "slices": len(stack.slices), "window": None, "phase": dict(stack.phase)}
    normal = stack.slices[0].plane.normal
    about["slice_places_mm"] = tuple(float(part.plane.position @ normal) for part in stack.slices)
    return about
