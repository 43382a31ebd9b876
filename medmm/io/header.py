"""What the header of a DICOM file says of patient, study and image; pixel data are not touched."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medmm.errors import ImageError
from medmm.io import elements
from medmm.io.dataset import Source, open_dataset
from medmm.io.greyscale import FRAME_GROUPS, SHARED_GROUPS
from medmm.types import Laterality

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOP_CLASS, SOP_UID, STUDY_UID, SERIES_UID = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
STUDY_DATE, ACCESSION, MODALITY, MANUFACTURER, MODEL = 0x00080020, 0x00080050, 0x00080060, 0x00080070, 0x00081090
PATIENT_ID, BIRTH_DATE, SEX, AGE = 0x00100020, 0x00100030, 0x00100040, 0x00101010
VIEW, VIEW_CODE, CODE_MEANING, IMAGE_LATERALITY, LATERALITY = 0x00185101, 0x00540220, 0x00080104, 0x00200062, 0x00200060
BODY_PART = 0x00180015
PIXEL_SPACING, IMAGER_SPACING, SCANNED_SPACING = 0x00280030, 0x00181164, 0x00182010
SLICE_SPACING, THICKNESS, PIXEL_MEASURES = 0x00180088, 0x00180050, 0x00289110
ROWS, COLUMNS, FRAMES, PHOTOMETRIC = 0x00280010, 0x00280011, 0x00280008, 0x00280004
_SPACING_TAGS = (PIXEL_SPACING, IMAGER_SPACING, SCANNED_SPACING, SLICE_SPACING, THICKNESS)
DESCRIBING = (MODALITY, MANUFACTURER, MODEL, VIEW, VIEW_CODE, IMAGE_LATERALITY, LATERALITY, *_SPACING_TAGS)
IDENTIFYING = (SOP_CLASS, SOP_UID, STUDY_UID, SERIES_UID)
HEADER_TAGS = (
    *(*IDENTIFYING, *DESCRIBING, BODY_PART, STUDY_DATE, ACCESSION, PATIENT_ID, BIRTH_DATE, SEX, AGE),
    *(ROWS, COLUMNS, FRAMES, PHOTOMETRIC, SHARED_GROUPS, FRAME_GROUPS),
)
_MEDIA_SOP_CLASS, _MEDIA_SOP_UID = 0x00020002, 0x00020003
"""Anonymised files may have these in the file's meta information only."""
_SIDES = {"L": Laterality.LEFT, "R": Laterality.RIGHT, "B": Laterality.BILATERAL}
_VIEWS = (("postero", "PA"), ("antero-post", "AP"), ("anteropost", "AP"), ("lateral", "LATERAL"))
_DAYS_OF = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
_DATE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What the header of one file says. Identity is in here for keying and pairing only; it is left out of the repr.

    Attributes:
        study_uid, series_uid, sop_uid, sop_class: UIDs, None where missing.
        patient_id: As the file has it; to be turned into a key at once.
        accession: Accession number.
        study_date: Day of the study, None where missing or no date.
        age_years: Age in years, from Patient's Age or else from birth and study date; None if unknown.
        sex: ``F``, ``M``, ``O`` or None.
        modality: ``DX``, ``CR``, ``CT``, ...
        view: ``PA``, ``AP``, ``LATERAL``, ... as the header words it.
        laterality: Side of the imaged part, None if not said.
        device: Manufacturer and model.
        rows, columns, frames: Size in pixels; None where there is no image.
        spacing_mm: (row, column) spacing in millimetres, with the frames' spacing before it for a volume.
        body_part: Body Part Examined.
        photometric: Photometric Interpretation.
        syntax: Transfer Syntax UID.
        has_pixels: Whether pixel data follow the header.
    """

    study_uid: str | None = field(repr=False)
    series_uid: str | None = field(repr=False)
    sop_uid: str | None = field(repr=False)
    sop_class: str | None
    patient_id: str | None = field(repr=False)
    accession: str | None = field(repr=False)
    study_date: datetime.date | None = field(repr=False)
    age_years: float | None = field(repr=False)
    sex: str | None
    modality: str | None
    view: str | None
    laterality: Laterality | None
    device: str | None
    rows: int | None
    columns: int | None
    frames: int
    spacing_mm: tuple[float, ...] | None
    body_part: str | None
    photometric: str | None
    syntax: str
    has_pixels: bool


def read_header(path: str | Path) -> DicomHeader:
    """Read what a DICOM file says of itself; pixel data are not touched.

    Raises:
        ImageError: ``FILE_MISSING``, ``FILE_EMPTY``, ``FILE_UNREADABLE``; ``NOT_AN_IMAGE`` if it is no DICOM file;
            ``HEADER_INVALID`` if it cannot be parsed or rows, columns or frames are no numbers.
    """
    return header_of(open_dataset(Path(path), HEADER_TAGS, with_pixels=False))


def header_of(source: Source) -> DicomHeader:
    """What a parsed file, of which ``HEADER_TAGS`` were kept, says of itself; raises as :func:`read_header`."""
    dataset = source.dataset
    sex = (elements.text(dataset, SEX) or "").upper()
    rows, columns = elements.integer(dataset, ROWS), elements.integer(dataset, COLUMNS)
    frames = max(1, elements.integer(dataset, FRAMES, "IS") or 1)
    study_date = _date(elements.text(dataset, STUDY_DATE))
    return DicomHeader(
        study_uid=elements.text(dataset, STUDY_UID),
        series_uid=elements.text(dataset, SERIES_UID),
        sop_uid=elements.text(dataset, SOP_UID) or elements.text(dataset.file_meta, _MEDIA_SOP_UID),
        sop_class=elements.text(dataset, SOP_CLASS) or elements.text(dataset.file_meta, _MEDIA_SOP_CLASS),
        patient_id=elements.text(dataset, PATIENT_ID),
        accession=elements.text(dataset, ACCESSION),
        study_date=study_date,
        age_years=_age(elements.text(dataset, AGE), _date(elements.text(dataset, BIRTH_DATE)), study_date),
        sex=sex if sex in ("F", "M", "O") else None,
        modality=elements.text(dataset, MODALITY),
        view=view_of(source),
        laterality=laterality_of(source),
        device=device_of(source),
        rows=rows,
        columns=columns,
        frames=frames,
        spacing_mm=spacing_of(source, frames),
        body_part=elements.text(dataset, BODY_PART),
        photometric=elements.text(dataset, PHOTOMETRIC),
        syntax=source.syntax,
        has_pixels=source.has_pixels,
    )


def view_of(source: Source) -> str | None:
    """View Position, else what the view's code means."""
    view = elements.text(source.dataset, VIEW)
    if view:
        return view
    codes = elements.items(source.dataset, VIEW_CODE)
    meaning = (elements.text(codes[0], CODE_MEANING) or "").lower() if codes else ""
    return next((name for word, name in _VIEWS if word in meaning), None)


def laterality_of(source: Source) -> Laterality | None:
    """Image Laterality, else the series' Laterality."""
    sides = (elements.text(source.dataset, tag) for tag in (IMAGE_LATERALITY, LATERALITY))
    return next((_SIDES[side] for side in sides if side in _SIDES), None)


def device_of(source: Source) -> str | None:
    """Manufacturer and model."""
    parts = (elements.text(source.dataset, tag) for tag in (MANUFACTURER, MODEL))
    return " ".join(part for part in parts if part) or None


def spacing_of(source: Source, frames: int) -> tuple[float, ...] | None:
    """Millimetres between pixels: (row, column), or (frame, row, column) for several frames; None if not known.

    Pixel Spacing may be calibrated and goes before the spacing at the detector or the scanned film (PS3.3 10.7.1.3).
    """
    groups = elements.items(source.dataset, SHARED_GROUPS)[:1] + elements.items(source.dataset, FRAME_GROUPS)[:1]
    measures = [item for group in groups for item in elements.items(group, PIXEL_MEASURES)]
    holder = measures[0] if measures else source.dataset
    plane = next((found for tag in (PIXEL_SPACING, IMAGER_SPACING, SCANNED_SPACING)
                  if (found := _lengths(holder, tag, 2))), None)  # fmt: skip
    if frames == 1 or plane is None:
        return plane if frames == 1 else None
    depth = _lengths(holder, SLICE_SPACING, 1) or _lengths(holder, THICKNESS, 1)
    return (*depth, *plane) if depth else None


def _lengths(dataset: Dataset, tag: int, count: int) -> tuple[float, ...] | None:
    """So many lengths above 0; None where they are missing or broken, since they do not touch the grey values."""
    try:
        values = elements.numbers(dataset, tag, "DS")[:count]
    except ImageError:
        return None
    return tuple(values) if len(values) == count and all(0 < value < float("inf") for value in values) else None


def _date(text: str | None) -> datetime.date | None:
    digits = (text or "").replace(".", "")  # ACR-NEMA wrote 1993.08.22
    if len(digits) != _DATE_DIGITS or not digits.isdecimal():
        return None
    try:
        return datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def _age(text: str | None, birth: datetime.date | None, study: datetime.date | None) -> float | None:
    """Years out of an age string such as 045Y or 006M (PS3.5 6.2), else between the two dates."""
    if text and text[-1:] in _DAYS_OF and text[:-1].isdecimal():
        return int(text[:-1]) * _DAYS_OF[text[-1]] / _DAYS_OF["Y"]
    if birth is not None and study is not None and study >= birth:
        return (study - birth).days / _DAYS_OF["Y"]
    return None
