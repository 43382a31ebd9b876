"""The slices that lie in a folder: what their headers say of their place and of their phase. No pixels are read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medmm.errors import ImageError, Reason
from medmm.io import elements
from medmm.io.dataset import PIXELS, Source, open_dataset
from medmm.io.geometry import PLANE_TAGS, Plane, frame_order, planes_of
from medmm.io.greyscale import FRAME_GROUPS, SHARED_GROUPS
from medmm.io.header import COLUMNS, FRAMES, MODALITY, ROWS, SERIES_UID, SOP_CLASS, SOP_UID, STUDY_UID
from medmm.io.segmentation import LABEL_MAP_CLASS, SEGMENTATION_CLASS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_FRAME_OF_REFERENCE, _IMAGE_TYPE, _DESCRIPTION, _INSTANCE = 0x00200052, 0x00080008, 0x0008103E, 0x00200013
_FRAME_CONTENT, _CARDIAC, _MR_ECHO, _MR_DIFFUSION = 0x00209111, 0x00189118, 0x00189114, 0x00189117
_MR_FRAME_TYPE, _CT_FRAME_TYPE, _GRADIENT = 0x00189226, 0x00189329, 0x00189089
_MASKS = (SEGMENTATION_CLASS, LABEL_MAP_CLASS)
_PHASE_TAGS: dict[str, tuple[tuple[int, ...], int]] = {
    "acquisition": ((0x00200012, 0x00209156), _FRAME_CONTENT),
    "temporal_position": ((0x00200100, 0x00209128), _FRAME_CONTENT),
    "echo_number": ((0x00180086,), 0),
    "echo_time_ms": ((0x00180081, 0x00189082), _MR_ECHO),
    "b_value": ((0x00189087,), _MR_DIFFUSION),
    "cardiac_phase_percent": ((0x00209241,), _CARDIAC),
    "trigger_time_ms": ((0x00181060, 0x00209153), _CARDIAC),
    "inversion_time_ms": ((0x00180082,), 0),
    "kvp": ((0x00180060,), 0),
}
"""What may tell volumes at the same place apart, in the order of trying: tags, and a frame's sequence they lie in."""
_BINARY = {0x00209128: "UL", 0x00209156: "US", 0x00209241: "FL", 0x00189087: "FD", 0x00189082: "FD", 0x00209153: "FD"}
"""Value representation of those that are no decimal strings, for files that name none."""
_TEXT_TAGS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "image_type": ((_IMAGE_TYPE, 0x00089007), (_MR_FRAME_TYPE, _CT_FRAME_TYPE)),
    "kernel": ((0x00181210,), ()),
    "stack": ((0x00209056,), (_FRAME_CONTENT,)),
    "gradient": ((_GRADIENT,), (_MR_DIFFUSION,)),
    "acquisition_time": ((0x00080032,), ()),
    "content_time": ((0x00080033,), ()),
}
_LOCALIZER = re.compile(r"locali[sz]er|\bscout|_scout|topogra|surview|scanogram|\bsurvey", re.IGNORECASE)
SLICE_TAGS = (
    *(SOP_CLASS, SOP_UID, STUDY_UID, SERIES_UID, MODALITY, ROWS, COLUMNS, FRAMES, _FRAME_OF_REFERENCE, _DESCRIPTION),
    *(_INSTANCE, *PLANE_TAGS, *(tag for tags, _ in (*_PHASE_TAGS.values(), *_TEXT_TAGS.values()) for tag in tags)),
)


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """One slice of a file, as its header describes it.

    Attributes:
        path: The file.
        frame: Which plane of the array that ``read_dicom`` gives it is.
        frames: Frames of the file.
        plane: Where it lies.
        shape: Rows and columns.
        series: UIDs of study, series and frame of reference.
        sop_uid: SOP Instance UID, None where missing.
        modality: DICOM modality.
        instance: Instance Number, or the frame's number.
        phase: What may tell it from others at the same place.
        is_localizer: Whether the header calls it a localizer.
    """

    path: Path = field(repr=False)
    frame: int
    frames: int
    plane: Plane
    shape: tuple[int, int]
    series: tuple[str | None, ...] = field(repr=False)
    sop_uid: str | None = field(repr=False)
    modality: str | None
    instance: int
    phase: Mapping[str, float | str | None]
    is_localizer: bool


def slices_in(files: Iterable[Path], left_out: Counter[Reason]) -> list[Slice]:
    """Read the headers of files.

    Args:
        files: The files; a ``DICOMDIR`` is passed over.
        left_out: Counts why files give no slice: ``NOT_AN_IMAGE``, ``NO_PIXELS`` for reports, plans and masks,
            ``GEOMETRY_MISSING`` where the header does not say where the pixels lie, and faults of the file.

    Returns:
        The slices in the order of the files.
    """
    found: list[Slice] = []
    for path in files:
        if path.name == "DICOMDIR":
            continue
        try:
            found.extend(slices_of(open_dataset(path, SLICE_TAGS, with_pixels=False), path))
        except ImageError as error:
            left_out[error.reason] += 1
    return found


def slices_of(source: Source, path: Path) -> list[Slice]:
    """The slices of a parsed file, of which ``SLICE_TAGS`` were kept.

    Raises:
        ImageError: ``NO_PIXELS`` or ``GEOMETRY_MISSING``; ``HEADER_INVALID`` where numbers are none.
    """
    dataset = source.dataset
    rows, columns = elements.integer(dataset, ROWS), elements.integer(dataset, COLUMNS)
    if not source.has_pixels or not rows or not columns or elements.text(dataset, SOP_CLASS) in _MASKS:
        raise ImageError(Reason.NO_PIXELS, "the file holds no image", where="DICOM file", expected="pixel data")
    frames = max(1, elements.integer(dataset, FRAMES, "IS") or 1)
    planes = planes_of(dataset, frames)
    if planes is None:
        what = "the header does not say where the pixels lie"
        raise ImageError(Reason.GEOMETRY_MISSING, what, where="DICOM file", expected="position and orientation")
    order = frame_order(planes) or list(range(frames))
    places = {frame: place for place, frame in enumerate(order)}
    groups = elements.items(dataset, FRAME_GROUPS)
    series = tuple(elements.text(dataset, tag) for tag in (STUDY_UID, SERIES_UID, _FRAME_OF_REFERENCE))
    sop_uid, modality = elements.text(dataset, SOP_UID), elements.text(dataset, MODALITY)
    instance, is_localizer = _whole(dataset, _INSTANCE), _is_localizer(dataset)
    shared = elements.items(dataset, SHARED_GROUPS)[:1]
    return [
        Slice(
            path, places[frame], frames, plane, (rows, columns), series, sop_uid, modality,
            instance if frames == 1 else frame, _phase([*groups[frame : frame + 1], *shared, dataset]), is_localizer,
        )
        for frame, plane in enumerate(planes)
    ]  # fmt: skip


def pixel_digest(part: Slice) -> bytes | None:
    """The pixel data of a slice's file in short, as they are stored; None where they cannot be read."""
    try:
        dataset = open_dataset(part.path, SLICE_TAGS, with_pixels=True).dataset
    except ImageError:
        return None
    stored = next((raw for tag in PIXELS if (raw := elements.raw_bytes(dataset, tag)) is not None), None)
    return None if stored is None else hashlib.sha256(stored).digest()


def _whole(dataset: Dataset, tag: int) -> int:
    try:
        return elements.integer(dataset, tag, "IS") or 0
    except ImageError:
        return 0


def _is_localizer(dataset: Dataset) -> bool:
    """Value 3 of Image Type (PS3.3 C.8.2.1.1.1); where it is missing, or MR has no term for it, the description."""
    kind = elements.texts(dataset, _IMAGE_TYPE)
    words = list(kind)
    if len(kind) < 3 or elements.text(dataset, MODALITY) != "CT":
        words.append(elements.text(dataset, _DESCRIPTION) or "")
    return any(_LOCALIZER.search(word) for word in words)


def _phase(holders: list[Dataset]) -> dict[str, float | str | None]:
    """What a frame's groups, the shared groups and the dataset itself, in this order, say of the phase."""
    told: dict[str, float | str | None] = {}
    for name, (tags, sequence) in _PHASE_TAGS.items():
        items = list(_items(holders, (sequence,)))
        told[name] = next((value for item in items for tag in tags if (value := _number(item, tag)) is not None), None)
    for name, (text_tags, sequences) in _TEXT_TAGS.items():
        items = list(_items(holders, sequences))
        told[name] = next((text for item in items for tag in text_tags if (text := _text(item, tag))), None)
    return told


def _items(holders: list[Dataset], sequences: tuple[int, ...]) -> Iterator[Dataset]:
    for holder in holders[:-1]:
        for sequence in sequences:
            yield from elements.items(holder, sequence)[:1]
    yield holders[-1]


def _number(dataset: Dataset, tag: int) -> float | None:
    try:
        return elements.number(dataset, tag, _BINARY.get(tag, "DS"))
    except ImageError:
        return None


def _text(dataset: Dataset, tag: int) -> str | None:
    if tag == _GRADIENT:
        try:
            return " ".join(f"{part:.3f}" for part in elements.numbers(dataset, tag, "FD")) or None
        except ImageError:
            return None
    return "\\".join(elements.texts(dataset, tag)) or None
