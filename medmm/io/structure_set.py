"""RT Structure Sets: contours in patient coordinates, and masks of them on a volume's grid (PS3.3 A.19 and C.8.8.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io import elements
from medmm.io.coding import CHARACTER_SET, encodings_of, text_of
from medmm.io.dataset import open_dataset
from medmm.io.header import SERIES_UID, SOP_CLASS
from medmm.io.layout import check_size
from medmm.io.polygon import fill
from medmm.types import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STRUCTURE_SET_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_FRAMES, _FRAME_UID, _STUDIES, _SERIES = 0x30060010, 0x00200052, 0x30060012, 0x30060014
_IMAGES, _REFERENCED_UID = 0x30060016, 0x00081155
_ROIS, _NUMBER, _NAME, _ALGORITHM = 0x30060020, 0x30060022, 0x30060026, 0x30060036
_OBSERVATIONS, _OBSERVED_ROI, _INTERPRETED = 0x30060080, 0x30060084, 0x300600A4
_ROI_CONTOURS, _REFERENCED_ROI, _CONTOURS = 0x30060039, 0x30060084, 0x30060040
_GEOMETRIC_TYPE, _DATA = 0x30060042, 0x30060050
_TAGS = (SOP_CLASS, CHARACTER_SET, _FRAMES, _ROIS, _ROI_CONTOURS, _OBSERVATIONS)
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_LEAST_CORNERS = 3
_SAME_PLANE = 0.01
"""Contours closer than this part of the distance of two planes lie on one plane."""
_ROUNDING = 1e-3
_FARTHEST_MM = 1e6
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Region:
    """One region of interest.

    Attributes:
        number: ROI Number.
        name: ROI Name, as the maker worded it.
        interpreted: RT ROI Interpreted Type, such as ``ORGAN`` or ``GTV``; None where not given.
        algorithm: ``AUTOMATIC``, ``SEMIAUTOMATIC`` or ``MANUAL``; None where not given.
        contours: Closed planar contours, each ``[N, 3]`` float64, RAS millimetres.
        notes: Contours that enclose no area, by kind and number.
    """

    number: int
    name: str = field(repr=False)
    interpreted: str | None
    algorithm: str | None
    contours: tuple[npt.NDArray[np.float64], ...] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StructureSet:
    """The regions of an RT Structure Set.

    Attributes:
        regions: In the order of the object; those without contours too.
        frame_of_reference: Frame of Reference UID of the contours, None where not given.
        series_uid: Series Instance UID of the images that were contoured, None where not given.
        source_uids: SOP Instance UIDs of these images.
    """

    regions: tuple[Region, ...]
    frame_of_reference: str | None = field(repr=False)
    series_uid: str | None = field(repr=False)
    source_uids: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RegionMask:
    """A region on a volume's grid.

    Attributes:
        number: ROI Number.
        name: ROI Name.
        array: bool ``[D, H, W]``, on the volume's grid; D is 1 for a single slice.
        notes: What was left out, and why.
    """

    number: int
    name: str = field(repr=False)
    array: npt.NDArray[np.bool_] = field(repr=False)
    notes: tuple[str, ...] = ()


def read_structure_set(path: str | Path) -> StructureSet:
    """Read the contours of an RT Structure Set.

    Raises:
        ImageError: As :func:`medmm.io.dataset.open_dataset`; ``NOT_AN_IMAGE`` for an object of another kind;
            ``HEADER_INVALID`` where a region has no number, a contour's coordinates are no triples of numbers, or the
            file is cut short.
    """
    dataset = open_dataset(Path(path), _TAGS, with_pixels=False).dataset
    for tag in (_ROIS, _ROI_CONTOURS):
        elements.require_whole(dataset, tag)
    if _ROIS not in dataset and elements.text(dataset, SOP_CLASS) != STRUCTURE_SET_CLASS:
        got = elements.text(dataset, SOP_CLASS)
        raise _fault("the object is no structure set", Reason.NOT_AN_IMAGE, got, "an RT Structure Set")
    encodings = encodings_of(dataset)
    drawn: dict[int | None, list[Dataset]] = {}
    for item in elements.items(dataset, _ROI_CONTOURS):
        number = elements.integer(item, _REFERENCED_ROI, "IS")
        drawn.setdefault(number, []).extend(elements.items(item, _CONTOURS))
    observed = {
        elements.integer(item, _OBSERVED_ROI, "IS"): elements.text(item, _INTERPRETED)
        for item in elements.items(dataset, _OBSERVATIONS)
    }
    regions: dict[int, Region] = {}
    for item in elements.items(dataset, _ROIS):
        number = elements.integer(item, _NUMBER, "IS")
        if number is None or number in regions:
            raise _fault("ROI numbers are missing or come twice", Reason.HEADER_INVALID, number)
        name, algorithm = text_of(item, _NAME, encodings).strip(), elements.text(item, _ALGORITHM)
        contours, notes = _contours(drawn.get(number, []))
        regions[number] = Region(number, name, observed.get(number), algorithm, contours, notes)
    if not regions:
        raise _fault("the structure set has no regions", Reason.HEADER_INVALID, None, "a Structure Set ROI Sequence")
    return StructureSet(tuple(regions.values()), *_references(dataset))


def rasterise(structures: StructureSet, image: Image, names: Collection[str] | None = None) -> tuple[RegionMask, ...]:
    """Fill the contours of each region on the grid of a volume.

    Contours are mapped into the volume by the inverse of its affine, so oblique volumes are no different. A contour
    belongs to the plane that all of its points are nearest to; where several contours of different height come to lie
    on one plane, the nearest are taken. Contours of one height are combined by exclusive or (holes); the rule for
    pixels is that of :func:`medmm.io.polygon.fill`. What is left out is named in the notes.

    Args:
        structures: The contours.
        image: A volume or a single slice with an affine.
        names: Names of the regions to fill; None fills all of them.

    Raises:
        ImageError: ``DIMENSIONS_MISMATCH``: the image is no volume with an affine, or no contour of any region lies in
            it; ``TOO_LARGE``.
    """
    if image.affine is None:
        raise _fault("the image has no coordinates", Reason.DIMENSIONS_MISMATCH, None, "a volume with an affine")
    shape = (*(1,) * (4 - image.array.ndim), *image.array.shape[1:])
    chosen = [one for one in structures.regions if names is None or one.name in names]
    check_size(len(chosen) * int(np.prod(shape)), f"{len(chosen)} regions on the image's grid")
    inverse: npt.NDArray[np.float64] = np.linalg.inv(image.affine).astype(np.float64)
    masks = tuple(_mask(region, inverse, (shape[0], shape[1], shape[2])) for region in chosen)
    if any(region.contours for region in chosen) and not any(mask.array.any() for mask in masks):
        what = "no contour encloses a voxel of the image"
        raise _fault(what, Reason.DIMENSIONS_MISMATCH, None, "the series that the contours were drawn on")
    return masks


def _contours(items: list[Dataset]) -> tuple[tuple[npt.NDArray[np.float64], ...], tuple[str, ...]]:
    """Closed contours, and notes on the others."""
    found, others = [], Counter[str]()
    for item in items:
        kind = (elements.text(item, _GEOMETRIC_TYPE) or "without type").upper()
        values = np.array(elements.numbers(item, _DATA, "DS"))
        if len(values) % 3 or not np.all(np.abs(values) < _FARTHEST_MM):
            raise elements.invalid(_DATA, "x, y and z of each point")
        points = values.reshape(-1, 3) * _LPS_TO_RAS
        if kind not in _CLOSED:
            others[kind if kind.replace("_", "").isalpha() else "of unknown type"] += 1
        elif len(points) < _LEAST_CORNERS:
            others["CLOSED_PLANAR with fewer than three points"] += 1
        else:
            found.append(points)
    return tuple(found), tuple(f"{count} x {kind}: encloses no area." for kind, count in sorted(others.items()))


def _references(dataset: Dataset) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Frame of reference, series and images that the contours refer to."""
    frames = elements.items(dataset, _FRAMES)
    series = [
        one for frame in frames for study in elements.items(frame, _STUDIES) for one in elements.items(study, _SERIES)
    ]
    uids = (elements.text(image, _REFERENCED_UID) for one in series for image in elements.items(one, _IMAGES))
    return (
        next((uid for frame in frames if (uid := elements.text(frame, _FRAME_UID))), None),
        next((uid for one in series if (uid := elements.text(one, SERIES_UID))), None),
        tuple(dict.fromkeys(uid for uid in uids if uid)),
    )


def _mask(region: Region, inverse: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> RegionMask:
    depth, rows, columns = shape
    mask = np.zeros(shape, np.bool_)
    left = Counter[str]()
    planes: dict[int, list[tuple[float, npt.NDArray[np.float64]]]] = {}
    for contour in region.contours:
        points = contour @ inverse[:3, :3].T + inverse[:3, 3]
        height = float(points[:, 0].mean())
        plane = int(np.floor(np.clip(height, -1, depth) + 0.5))
        if not 0 <= plane < depth:
            left["above or below the volume"] += 1
        elif np.abs(points[:, 0] - plane).max() > 0.5 + _ROUNDING:
            left["not parallel to the planes"] += 1
        else:
            planes.setdefault(plane, []).append((height - plane, points[:, 1:]))
    for plane, contours in planes.items():
        nearest = min(contours, key=lambda one: abs(one[0]))[0]
        chosen = [points for offset, points in contours if abs(offset - nearest) <= _SAME_PLANE]
        left["on a plane with nearer ones"] += len(contours) - len(chosen)
        mask[plane] = fill(chosen, rows, columns)
    notes = tuple(_left_out(count, why) for why, count in sorted(left.items()) if count)
    return RegionMask(region.number, region.name, mask, (*region.notes, *notes))


def _left_out(count: int, why: str) -> str:
    return f"{count} {'contour' if count == 1 else 'contours'} {why}: left out."


def _fault(what: str, reason: Reason, got: object = None, expected: object = None) -> ImageError:
    return ImageError(reason, what, where="DICOM structure set", got=got, expected=expected)
