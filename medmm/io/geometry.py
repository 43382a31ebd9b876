"""Where pixels lie in the patient: DICOM planes (PS3.3 C.7.6.2 and C.7.6.16) to affines in RAS millimetres.

DICOM's patient coordinates are LPS; planes are kept in them, affines are RAS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError
from medmm.io import elements
from medmm.io.greyscale import FRAME_GROUPS, SHARED_GROUPS
from medmm.io.grid import affine_of
from medmm.io.header import MODALITY, PIXEL_MEASURES, PIXEL_SPACING, SLICE_SPACING, THICKNESS
from medmm.io.layout import check_frames
from medmm.io.slice_spacing import SliceSpacing, slice_spacing_of
from medmm.types import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medmm.io.layout import Layout

_Vector = npt.NDArray[np.float64]
POSITION, ORIENTATION = 0x00200032, 0x00200037
PLANE_POSITION, PLANE_ORIENTATION, FRAME_OFFSETS = 0x00209113, 0x00209116, 0x3004000C
PLANE_TAGS = (
    *(POSITION, ORIENTATION, PIXEL_SPACING, SLICE_SPACING, THICKNESS),
    *(FRAME_OFFSETS, SHARED_GROUPS, FRAME_GROUPS),
)
PROJECTIONS = ("CR", "DX", "MG", "RF", "XA", "IO", "PX", "RG", "RTIMAGE")
"""Modalities whose pixels are sums along rays: they lie on no plane of the patient."""
_SAME_DIRECTION = 1e-3
"""Direction cosines that differ by less are the same: half a pixel at the far edge of 512."""
_LARGEST_MM = 1e6


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """Where one slice lies, in LPS millimetres (PS3.3 C.7.6.2.1.1).

    Attributes:
        position: float64 ``[3]``, centre of the first pixel.
        right: float64 ``[3]``, unit vector of increasing column index.
        down: float64 ``[3]``, unit vector of increasing row index, at a right angle to ``right``.
        spacing_mm: Millimetres between rows and between columns.
        depth_mm: Spacing Between Slices, else Slice Thickness, None where neither is given.
    """

    position: _Vector
    right: _Vector
    down: _Vector
    spacing_mm: tuple[float, float]
    depth_mm: float | None = None

    @property
    def normal(self) -> _Vector:
        """float64 ``[3]``, the unit vector that rows, columns and it form a right-handed system with."""
        return np.cross(self.right, self.down)

    def is_parallel(self, other: Plane) -> bool:
        """Whether rows and columns run as those of ``other`` do."""
        ours, theirs = np.concatenate([self.right, self.down]), np.concatenate([other.right, other.down])
        return bool(np.abs(ours - theirs).max() < _SAME_DIRECTION)

    def affine(self, step: _Vector) -> npt.NDArray[np.float64]:
        """The affine, (d, h, w, 1) to RAS mm, of a stack that begins here; ``step`` is LPS mm from plane to plane."""
        return affine_of(self.position, np.concatenate([self.right, self.down]), self.spacing_mm, step)


def planes_of(dataset: Dataset, frames: int) -> list[Plane] | None:
    """Where each frame lies; None where the header does not say it, or for a projection.

    The functional groups of an enhanced object go before the elements of the dataset itself. The frames of an RT dose
    lie along the normal (Grid Frame Offset Vector, PS3.3 C.8.8.3.2).

    Raises:
        ImageError: ``TOO_LARGE``: there are frames without end.
    """
    check_frames(frames)
    if elements.text(dataset, MODALITY) in PROJECTIONS:
        return None
    shared = elements.items(dataset, SHARED_GROUPS)[:1]
    groups = elements.items(dataset, FRAME_GROUPS)
    if len(groups) < frames:
        groups = []
    if frames > 1 and not groups:
        return _offset_planes(dataset, frames)
    planes = []
    for frame in range(frames):
        holders = [*groups[frame : frame + 1], *shared, dataset]
        plane = _plane_of(*(_macro(holders, tag) for tag in (PLANE_POSITION, PLANE_ORIENTATION, PIXEL_MEASURES)))
        if plane is None:
            return None
        planes.append(plane)
    return planes


def _macro(holders: Sequence[Dataset], tag: int) -> Dataset:
    """The first item of a functional group's sequence: the frame's, else the shared one, else the dataset itself."""
    for holder in holders[:-1]:
        found = elements.items(holder, tag)
        if found:
            return found[0]
    return holders[-1]


def _plane_of(position: Dataset, orientation: Dataset, measures: Dataset) -> Plane | None:
    place, cosines = _numbers(position, POSITION, 3), _numbers(orientation, ORIENTATION, 6)
    spacing = _numbers(measures, PIXEL_SPACING, 2)
    if place is None or cosines is None or spacing is None or min(spacing) <= 0:
        return None
    right, down = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if not all(0.9 < length < 1.1 for length in lengths) or abs(right @ down) > 0.01:
        return None
    right = right / lengths[0]
    down = down - (down @ right) * right
    depths = (_numbers(measures, tag, 1) for tag in (SLICE_SPACING, THICKNESS))
    depth = next((abs(float(found[0])) for found in depths if found is not None and found[0]), None)
    return Plane(place, right, down / np.linalg.norm(down), (float(spacing[0]), float(spacing[1])), depth)


def _offset_planes(dataset: Dataset, frames: int) -> list[Plane] | None:
    first = _plane_of(dataset, dataset, dataset)
    offsets = _numbers(dataset, FRAME_OFFSETS, frames)
    if first is None or offsets is None:
        return None
    along = (first.position + (offset - offsets[0]) * first.normal for offset in offsets)
    return [Plane(place, first.right, first.down, first.spacing_mm, first.depth_mm) for place in along]


def _numbers(dataset: Dataset, tag: int, count: int) -> _Vector | None:
    """So many finite numbers, None where they are missing or broken: grey values do not depend on them."""
    try:
        values = np.array(elements.numbers(dataset, tag, "DS")[:count])
    except ImageError:
        return None
    return values if len(values) == count and bool((np.abs(values) < _LARGEST_MM).all()) else None


def spacing_of_planes(planes: Sequence[Plane]) -> SliceSpacing:
    """Order and spacing of parallel planes along their normal; see :func:`medmm.io.slice_spacing.slice_spacing_of`."""
    first = planes[0]
    axes = np.stack([first.normal, first.down, first.right])
    return slice_spacing_of(np.stack([axes @ plane.position for plane in planes]), min(first.spacing_mm))


def frame_order(planes: Sequence[Plane]) -> list[int] | None:
    """Indices of frames sorted along the normal; None where they are no single stack."""
    first = planes[0]
    if not all(plane.is_parallel(first) and plane.spacing_mm == first.spacing_mm for plane in planes):
        return None
    found = spacing_of_planes(planes)
    return None if found.has_repeats else list(found.order)


def place_frames(
    array: npt.NDArray[np.float32], dataset: Dataset, layout: Layout, spacing_mm: tuple[float, ...] | None
) -> tuple[Image, tuple[str, ...]]:
    """Give a decoded image its place in the patient; frames are sorted along the normal.

    Args:
        array: ``[H, W]`` or ``[D, H, W]``, perhaps stretched to another size than the header's.
        dataset: Has the elements of ``PLANE_TAGS``.
        layout: The size that the header gives.
        spacing_mm: What is known of the spacing without the planes.

    Returns:
        The image, ``[1, H, W]`` or ``[1, D, H, W]``, with affine and spacing but without header, and what to note.
        The affine is None where the header does not say where the pixels lie, and for projections. It is exact for a
        tilted gantry too: its first column then is not at a right angle to the others.
    """
    planes = planes_of(dataset, layout.frames)
    if planes is None:
        return Image(array[None], spacing_mm=spacing_mm), ()
    notes: tuple[str, ...] = ()
    first, step = planes[0], planes[0].normal * (planes[0].depth_mm or 1.0)
    if len(planes) > 1:
        order = frame_order(planes)
        if order is None:
            told = "The frames are of several stacks or phases and stay as stored; read_volumes takes them apart."
            return Image(array[None], spacing_mm=spacing_mm), (told,)
        if order != sorted(order):
            array = array[order]
        found = spacing_of_planes(planes)
        first, last = planes[order[0]], planes[order[-1]]
        step = (last.position - first.position) / (len(planes) - 1)
        spacing_mm = (float(np.linalg.norm(step)), *(spacing_mm or first.spacing_mm)[-2:])
        notes = (*found.notes(), *(("The gantry was tilted: the planes' axis is oblique.",) if found.is_tilted else ()))
    affine = first.affine(step) @ stretch(layout.rows / array.shape[-2], layout.columns / array.shape[-1])
    return Image(array[None], affine=affine, spacing_mm=spacing_mm), notes


def stretch(rows: float, columns: float, planes: float = 1.0) -> npt.NDArray[np.float64]:
    """From indices of a resized volume to those of its source: outer edges stay, centres lie half a voxel inside.

    Args:
        rows: Voxels of the source that one voxel covers along H.
        columns: The same along W.
        planes: The same along D.
    """
    matrix = np.diag([planes, rows, columns, 1.0])
    matrix[:3, 3] = (np.diag(matrix)[:3] - 1) / 2
    return matrix


def to_canonical(image: Image) -> Image:
    """Turn a volume so that D, H and W grow to the patient's head, front and right, as ``read_nifti`` gives it.

    Only axes are swapped and reversed, no voxel changes its value. A volume without an affine stays as it is.
    """
    if image.affine is None or image.array.ndim != 4:
        return image
    from nibabel import orientations

    turn = orientations.io_orientation(image.affine[:, [2, 1, 0, 3]])
    if np.isnan(turn).any():
        return image
    volumes: Any = image.array.T  # [W, H, D, C]
    turned = orientations.apply_orientation(volumes, turn).T
    moved = image.affine[:, [2, 1, 0, 3]] @ orientations.inv_ornt_aff(turn, volumes.shape[:3])
    affine = moved[:, [2, 1, 0, 3]]
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    return Image(np.ascontiguousarray(turned), affine, spacing, image.header, image.notes)
