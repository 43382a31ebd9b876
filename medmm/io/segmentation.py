"""DICOM Segmentation and Label Map Segmentation objects to masks (PS3.3 A.51 and C.8.20)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io import codecs, elements
from medmm.io.coding import CHARACTER_SET, Code, code_of, codes_of, encodings_of, text_of
from medmm.io.dataset import Source, open_dataset
from medmm.io.frame_places import PLACE_TAGS, Places, places_of
from medmm.io.grid import place
from medmm.io.header import SERIES_UID, SOP_CLASS
from medmm.io.layout import LAYOUT_TAGS, Layout, check_size, layout_of
from medmm.types import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SEGMENTATION_CLASS, LABEL_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
_SURFACES = "1.2.840.10008.5.1.4.1.1.66.5"
_KIND, _FRACTIONAL_KIND, _LARGEST_FRACTION = 0x00620001, 0x00620010, 0x0062000E
_SEGMENTS, _NUMBER, _LABEL = 0x00620002, 0x00620004, 0x00620005
_ALGORITHM, _ALGORITHM_NAME = 0x00620008, 0x00620009
_CATEGORY, _TYPE, _REGION = 0x00620003, 0x0062000F, 0x00082218
_REFERENCED_SERIES, _INSTANCES, _REFERENCED_UID = 0x00081115, 0x0008114A, 0x00081155
FRAME_OF_REFERENCE = 0x00200052
_TAGS = (
    *(SOP_CLASS, SERIES_UID, CHARACTER_SET, _KIND, _FRACTIONAL_KIND, _LARGEST_FRACTION, _SEGMENTS),
    *(_REFERENCED_SERIES, FRAME_OF_REFERENCE, *PLACE_TAGS, *LAYOUT_TAGS),
)
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: what it shows and where.

    Attributes:
        number: Segment Number.
        label: Segment Label, as the maker worded it.
        category: Segmented Property Category, such as *Anatomical Structure*; None where not given.
        type: Segmented Property Type, such as *Liver*; None where not given.
        regions: Anatomic Regions, from the first named to the last.
        algorithm: ``AUTOMATIC``, ``SEMIAUTOMATIC`` or ``MANUAL``; None where not given.
        algorithm_name: Who or what drew it; None where not given.
        array: ``[D, H, W]``; bool for a binary segment or a label map, float32 in [0, 1] for a fractional one.
    """

    number: int
    label: str = field(repr=False)
    category: Code | None
    type: Code | None
    regions: tuple[Code, ...]
    algorithm: str | None
    algorithm_name: str | None
    array: npt.NDArray[Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """All segments of an object, on one grid.

    Attributes:
        kind: ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
        fraction: ``PROBABILITY`` or ``OCCUPANCY`` for a fractional one, else None.
        segments: In the order of the object.
        affine: 4x4 float64 that maps (d, h, w, 1) to RAS millimetres; None for masks on projections.
        frame_of_reference: Frame of Reference UID, None where not given.
        series_uid: Series Instance UID of the images that were segmented, None where not given.
        source_uids: SOP Instance UIDs of these images, each once, in the order of the object.
        notes: What was unusual about the object, one sentence each.
    """

    kind: str
    fraction: str | None
    segments: tuple[Segment, ...]
    affine: npt.NDArray[np.float64] | None
    frame_of_reference: str | None = field(repr=False)
    series_uid: str | None = field(repr=False)
    source_uids: tuple[str, ...] = field(repr=False)
    notes: tuple[str, ...] = ()


def read_segmentation(path: str | Path, numbers: Collection[int] | None = None) -> Segmentation:
    """Read the masks of a DICOM Segmentation or Label Map Segmentation object.

    Frames are put where their plane positions say, whatever their order; planes without a frame are empty.

    Args:
        path: The file.
        numbers: Segment numbers to read; None reads all of them.

    Raises:
        ImageError: The file gives no masks; its ``reason`` says why. ``NOT_AN_IMAGE`` is an object of another kind,
            ``DIMENSIONS_MISMATCH`` frames that do not lie on one grid, ``TOO_LARGE`` one that would not fit into
            memory.
    """
    source = open_dataset(Path(path), _TAGS, with_pixels=True)
    dataset = source.dataset
    kind = _kind(dataset)
    layout = layout_of(dataset, source.syntax, source.big_endian)
    if layout.samples != 1 or layout.is_float or layout.signed:
        raise _refused("no mask is stored like this", f"{layout.samples} samples a pixel, {layout.bits_stored} bits")
    described = _described(dataset, kind, numbers)
    shown = [number for number, _ in described]
    places = places_of(dataset, layout.frames, kind == "LABELMAP")
    masks, notes = _masks(source, layout, kind, shown, places)
    series = elements.items(dataset, _REFERENCED_SERIES)
    fraction = elements.text(dataset, _FRACTIONAL_KIND) if kind == "FRACTIONAL" else None
    uids = [elements.text(item, _REFERENCED_UID) for one in series for item in elements.items(one, _INSTANCES)]
    listed = dict.fromkeys([uid for uid in uids if uid] + list(places.source_uids))
    encodings = encodings_of(dataset)
    return Segmentation(
        kind=kind,
        fraction=fraction,
        segments=tuple(
            _segment(item, number, masks[index], encodings) for index, (number, item) in enumerate(described)
        ),
        affine=places.affine,
        frame_of_reference=elements.text(dataset, FRAME_OF_REFERENCE),
        series_uid=next((uid for one in series if (uid := elements.text(one, SERIES_UID))), None),
        source_uids=tuple(listed),
        notes=(*places.notes, *notes),
    )


def on_grid(mask: Segmentation, image: Image) -> Segmentation:
    """Lay all segments onto the grid of the image that they were drawn on, voxel for voxel.

    Args:
        mask: The segments.
        image: A volume or a slice with an affine, or a projection without one.

    Returns:
        The same with the arrays ``[D, H, W]`` of the volume (``[H, W]`` of the slice or projection) and its affine. The
        planes of the image may be in another order, and more or fewer than the segmentation's, as long as every
        plane that is not empty has its counterpart.

    Raises:
        ImageError: ``DIMENSIONS_MISMATCH``: a segment does not lie on the image's voxels.
    """
    shape = tuple(image.array.shape[1:])
    check_size(len(mask.segments) * int(np.prod(shape)), "segments on the image's grid")
    placed = [replace(one, array=place(one.array, mask.affine, shape, image.affine)) for one in mask.segments]
    return replace(mask, segments=tuple(placed), affine=image.affine)


def _kind(dataset: Dataset) -> str:
    """Segmentation Type; refuses objects of other kinds."""
    found = elements.text(dataset, SOP_CLASS)
    kind = elements.text(dataset, _KIND) or ("LABELMAP" if found == LABEL_MAP_CLASS else "")
    if found == _SURFACES:
        raise _refused("surface segmentations are not read", "Surface Segmentation Storage", Reason.SYNTAX_UNSUPPORTED)
    if found not in (SEGMENTATION_CLASS, LABEL_MAP_CLASS) and not kind:
        raise _refused("the object is no segmentation", found, Reason.NOT_AN_IMAGE)
    if kind not in _KINDS:
        raise _refused("the segmentation type is missing or unknown", kind or None, Reason.HEADER_INVALID)
    return kind


def _described(dataset: Dataset, kind: str, numbers: Collection[int] | None) -> list[tuple[int, Dataset]]:
    """Segment numbers that are asked for, with their items; 0 is the background of a label map."""
    found: dict[int, Dataset] = {}
    for item in elements.items(dataset, _SEGMENTS):
        number = elements.integer(item, _NUMBER)
        if number is None or number < 0 or number in found:
            raise _refused("segment numbers are missing or come twice", number, Reason.HEADER_INVALID)
        if number or kind != "LABELMAP":
            found[number] = item
    if not found:
        raise _refused("the segmentation describes no segment", None, Reason.HEADER_INVALID)
    if numbers is not None and (absent := sorted(set(numbers) - set(found))):
        raise _refused("the segmentation has no such segment", absent, Reason.HEADER_INVALID)
    return [(number, item) for number, item in found.items() if numbers is None or number in numbers]


def _segment(item: Dataset, number: int, array: npt.NDArray[Any], encodings: list[str] | None) -> Segment:
    return Segment(
        number=number,
        label=text_of(item, _LABEL, encodings).strip(),
        category=code_of(item, _CATEGORY, encodings),
        type=code_of(item, _TYPE, encodings),
        regions=codes_of(item, _REGION, encodings),
        algorithm=elements.text(item, _ALGORITHM),
        algorithm_name=text_of(item, _ALGORITHM_NAME, encodings).strip() or None,
        array=array,
    )


def _masks(
    source: Source, layout: Layout, kind: str, shown: list[int], places: Places
) -> tuple[list[npt.NDArray[Any]], tuple[str, ...]]:
    """Masks ``[D, H, W]`` of the segments in ``shown``, and notes."""
    size = len(shown) * places.depth * layout.rows * layout.columns
    check_size(size, f"{len(shown)} segments of {places.depth} planes, {layout.rows} x {layout.columns} pixels")
    dtype = np.float32 if kind == "FRACTIONAL" else np.bool_
    shape = (places.depth, layout.rows, layout.columns)
    masks: list[npt.NDArray[Any]] = [np.zeros(shape, dtype) for _ in shown]
    largest = _largest(source.dataset, layout) if kind == "FRACTIONAL" else 1.0
    unknown: set[int] = set()
    for index, frame in enumerate(codecs.decode(source.dataset, layout)):
        plane = places.planes[index]
        if kind == "LABELMAP":
            present = np.unique(frame.values)
            unknown.update(int(value) for value in present)
            for mask, number in zip(masks, shown, strict=True):
                if number in present:
                    mask[plane] |= frame.values == number
            continue
        if places.segments[index] not in shown:
            continue
        target = masks[shown.index(places.segments[index])][plane]
        if kind == "BINARY":
            target |= frame.values != 0
        else:
            np.maximum(target, np.minimum(frame.values / np.float32(largest), 1), out=target)
    surplus = unknown - set(places.known) - {0}
    if not surplus:
        return masks, ()
    told = "1 value that no segment describes; it was" if len(surplus) == 1 else (
        f"{len(surplus)} values that no segment describes; they were"
    )  # fmt: skip
    return masks, (f"The label map has {told} left out.",)


def _largest(dataset: Dataset, layout: Layout) -> float:
    """Maximum Fractional Value, which stands for 1 (PS3.3 C.8.20.2.3)."""
    value = elements.integer(dataset, _LARGEST_FRACTION)
    if value is None or value < 1:
        return float(layout.stored_range[1])
    return float(value)


def _refused(what: str, got: object, reason: Reason = Reason.SYNTAX_UNSUPPORTED) -> ImageError:
    expected = "a DICOM Segmentation or Label Map Segmentation"
    return ImageError(reason, what, where="DICOM segmentation", got=got, expected=expected)
