"""Where the frames of a segmentation belong: to which segment, and on which plane of a stack (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io import elements
from medmm.io.greyscale import FRAME_GROUPS, SHARED_GROUPS
from medmm.io.grid import affine_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SEGMENT_IDENTIFICATION, _REFERENCED_SEGMENT = 0x0062000A, 0x0062000B
_PLANE_POSITION, _POSITION = 0x00209113, 0x00200032
_PLANE_ORIENTATION, _ORIENTATION = 0x00209116, 0x00200037
_MEASURES, _SPACING, _BETWEEN, _THICKNESS = 0x00289110, 0x00280030, 0x00180088, 0x00180050
_DERIVATION, _SOURCE_IMAGE, _SOP_UID, _FRAME_NUMBER = 0x00089124, 0x00082112, 0x00081155, 0x00081160
_ORGANIZATION, _TOTAL_COLUMNS = 0x00209311, 0x00480006
_SEGMENTS, _NUMBER = 0x00620002, 0x00620004
PLACE_TAGS = (SHARED_GROUPS, FRAME_GROUPS, _ORGANIZATION, _TOTAL_COLUMNS)
_SAME_DIRECTION = 1e-3
_SAME_PLANE = 0.01
"""Frames closer than this part of a pixel lie on one plane."""
_UNEVEN = 0.1
"""How far a plane may lie beside its even place, in steps: CT series in use are that uneven."""
_LARGEST_DIVISOR = 4
_MOST_PLANES = 100_000


@dataclass(frozen=True, slots=True)
class Places:
    """Where each frame belongs.

    Attributes:
        depth: Number of planes.
        planes: Plane of each frame, from 0.
        segments: Segment number of each frame; empty for a label map.
        known: Segment numbers that the object describes.
        source_uids: SOP Instance UIDs that frames were derived from.
        affine: 4x4 float64 that maps (d, h, w, 1) to RAS millimetres; None where frames have no position.
        notes: What was unusual.
    """

    depth: int
    planes: tuple[int, ...]
    segments: tuple[int, ...]
    known: tuple[int, ...]
    source_uids: tuple[str, ...] = field(repr=False)
    affine: npt.NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


def places_of(dataset: Dataset, frames: int, label_map: bool) -> Places:
    """Find the segment and the plane of each frame.

    Planes are ordered along the normal (row direction x column direction). Without positions, as on projections, the
    image that a frame was derived from stands for its plane.

    Args:
        dataset: The object's header.
        frames: Number of frames.
        label_map: Frames hold all segments; none is named.

    Raises:
        ImageError: ``HEADER_INVALID`` where the functional groups are missing or broken; ``DIMENSIONS_MISMATCH`` where
            the frames do not form one stack; ``SYNTAX_UNSUPPORTED`` for tiles of a slide.
    """
    if _TOTAL_COLUMNS in dataset or (elements.text(dataset, _ORGANIZATION) or "").startswith("TILED"):
        raise _fault("masks on tiles of a slide are not read", Reason.SYNTAX_UNSUPPORTED)
    shared = elements.items(dataset, SHARED_GROUPS)[:1]
    own = [[item] for item in elements.items(dataset, FRAME_GROUPS)[:frames]]
    if not own and frames == 1:
        own = [[]]
    if len(own) < frames:
        raise _fault("frames without functional groups", got=f"groups of {len(own)} of {frames} frames")
    groups = [one + shared for one in own]
    segments = () if label_map else tuple(_segment(one) for one in groups)
    sources = [_source(one) for one in groups]
    described = (elements.integer(item, _NUMBER) for item in elements.items(dataset, _SEGMENTS))
    known = tuple(number for number in described if number is not None)
    if segments and (absent := set(segments) - set(known)):
        raise _fault("frames show a segment that is not described", got=f"segment {min(absent)}")
    uids = tuple(dict.fromkeys(uid for one in sources for uid, _ in one))
    positions = [_numbers(one, _PLANE_POSITION, _POSITION, 3) for one in groups]
    if all(position is None for position in positions):
        planes = _by_source(sources, segments)
        return Places(max(planes) + 1, planes, segments, known, uids, None, _shared(segments, planes))
    if any(position is None for position in positions):
        raise _fault("some frames have no position")
    planes, depth, affine, notes = _stack(groups, np.array(positions))
    return Places(depth, planes, segments, known, uids, affine, (*notes, *_shared(segments, planes)))


def _shared(segments: Sequence[int], planes: Sequence[int]) -> tuple[str, ...]:
    """A note if several frames show one segment on one plane, as objects about several phases have them."""
    surplus = len(planes) - len(set(zip(segments or [0] * len(planes), planes, strict=True)))
    return (f"{surplus} x several frames of one segment on one plane: united.",) if surplus else ()


def _segment(groups: Sequence[Dataset]) -> int:
    for group in groups:
        for item in elements.items(group, _SEGMENT_IDENTIFICATION):
            number = elements.integer(item, _REFERENCED_SEGMENT)
            if number is not None:
                return number
    raise _fault("a frame does not say which segment it shows")


def _source(groups: Sequence[Dataset]) -> list[tuple[str, int]]:
    """SOP Instance UID and frame number of the images that a frame was derived from."""
    found = []
    for group in groups:
        for derivation in elements.items(group, _DERIVATION):
            for image in elements.items(derivation, _SOURCE_IMAGE):
                if uid := elements.text(image, _SOP_UID):
                    found.append((uid, elements.integer(image, _FRAME_NUMBER, "IS") or 1))
    return found


def _numbers(groups: Sequence[Dataset], sequence: int, tag: int, count: int) -> tuple[float, ...] | None:
    """The first such numbers in the frame's own or the shared groups; None where there are none."""
    for group in groups:
        for item in elements.items(group, sequence):
            values = elements.numbers(item, tag, "DS")
            if values:
                if len(values) != count or not np.isfinite(values).all():
                    raise elements.invalid(tag, f"{count} numbers")
                return tuple(values)
    return None


def _by_source(sources: Sequence[list[tuple[str, int]]], segments: Sequence[int]) -> tuple[int, ...]:
    """Planes of frames without positions: one an image, else the frames of a segment in their order."""
    if all(len(one) == 1 for one in sources):
        order: dict[tuple[str, int], int] = {}
        return tuple(order.setdefault(one[0], len(order)) for one in sources)
    counts: dict[int, int] = {}
    planes = []
    for segment in segments or [0] * len(sources):
        planes.append(counts.get(segment, 0))
        counts[segment] = planes[-1] + 1
    return tuple(planes)


def _stack(
    groups: Sequence[Sequence[Dataset]], positions: npt.NDArray[np.float64]
) -> tuple[tuple[int, ...], int, npt.NDArray[np.float64], tuple[str, ...]]:
    """Planes of frames at ``positions`` ``[N, 3]`` mm, the number of planes, their affine, and notes."""
    orientation = _common(groups, _PLANE_ORIENTATION, _ORIENTATION, 6)
    spacing = _common(groups, _MEASURES, _SPACING, 2)
    row, column = orientation[:3], orientation[3:]
    if np.abs([row @ row - 1, column @ column - 1, row @ column]).max() > _SAME_DIRECTION:
        raise elements.invalid(_ORIENTATION, "two directions at a right angle")
    if spacing.min() <= 0:
        raise elements.invalid(_SPACING, "two lengths above 0")
    normal = np.cross(row, column)
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    new = np.diff(heights[order], prepend=-np.inf) > _SAME_PLANE * spacing.min()
    first = order[new]  # one frame of each plane
    between = _lengths(groups[0], _BETWEEN)
    notes: tuple[str, ...] = ()
    if len(first) == 1:
        length = between or _lengths(groups[0], _THICKNESS)
        if length is None:
            notes = ("The distance of planes is not given; 1 mm was assumed for the only one.",)
        step, places = normal * (length or 1.0), np.zeros(1, np.intp)
    else:
        places = _even(heights[first], between)
        step = (positions[first[-1]] - positions[first[0]]) / places[-1]
    planes = np.empty(len(order), np.intp)
    planes[order] = places[np.cumsum(new) - 1]
    if len(first) > 1:
        beside = positions - positions[first[0]] - planes[:, None] * step
        off = np.abs(np.stack([beside @ row / spacing[1], beside @ column / spacing[0]])).max()
        if off > _UNEVEN:
            raise _fault(
                "the frames do not form one stack", Reason.DIMENSIONS_MISMATCH, f"frames shifted by {off:.2f} pixels"
            )
    affine = affine_of(positions[first[0]], orientation, (spacing[0], spacing[1]), step)
    return tuple(int(plane) for plane in planes), int(places[-1]) + 1, affine, notes


def _common(groups: Sequence[Sequence[Dataset]], sequence: int, tag: int, count: int) -> npt.NDArray[np.float64]:
    """Numbers that all frames share."""
    found = _numbers(groups[0], sequence, tag, count)
    if found is None:
        raise elements.invalid(tag, f"{count} numbers")
    for one in groups[1:] if any(group and sequence in group[0] for group in groups) else ():
        other = _numbers(one, sequence, tag, count)
        if other is None or np.abs(np.subtract(other, found)).max() > _SAME_DIRECTION:
            what = "the frames differ in orientation or pixel size"
            raise _fault(what, Reason.DIMENSIONS_MISMATCH, expected="one stack of planes")
    return np.array(found)


def _lengths(groups: Sequence[Dataset], tag: int) -> float | None:
    """A length above 0 mm of the pixel measures; None where it is missing or broken: positions say more."""
    try:
        found = _numbers(groups, _MEASURES, tag, 1)
    except ImageError:
        return None
    return found[0] if found and found[0] > 0 else None


def _even(heights: npt.NDArray[np.float64], between: float | None) -> npt.NDArray[np.intp]:
    """Numbers of planes at ascending ``heights`` mm in an even stack, some of whose planes may be missing.

    The distance that the header gives is tried first, then the smallest one that was met and parts of it.
    """
    gaps = np.diff(heights)
    least, total = float(gaps.min()), float(heights[-1] - heights[0])
    for length in filter(None, (between, *(least / part for part in range(1, _LARGEST_DIVISOR + 1)))):
        if total / length > _MOST_PLANES:
            continue
        steps = np.maximum(np.rint(gaps / length), 1)
        places = np.concatenate([[0.0], np.cumsum(steps)])
        if np.abs(heights - heights[0] - places * (total / places[-1])).max() <= _UNEVEN * total / places[-1]:
            return places.astype(np.intp)
    got = f"distances from {least:.3f} to {gaps.max():.3f} mm"
    raise _fault("the planes are unevenly spaced", Reason.DIMENSIONS_MISMATCH, got)


def _fault(
    what: str, reason: Reason = Reason.HEADER_INVALID, got: object = None, expected: object = None
) -> ImageError:
    return ImageError(reason, what, where="DICOM segmentation", got=got, expected=expected)
