"""Types that every package shares. Numpy only, frozen, nothing of medmm but :mod:`medmm.errors` below it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import Reason

SECTIONS = ("indication", "technique", "comparison", "findings", "impression")
SPLITS = ("train", "val", "test")
ImageSource = Path | tuple[Path, ...]
"""What an image is read from: a file, a folder with the slices of one volume, or the slices themselves."""


class Status(StrEnum):
    """What a report says of a finding."""

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    UNMENTIONED = "unmentioned"


class Laterality(StrEnum):
    """The patient's side."""

    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"


class Zone(StrEnum):
    """Height in the lung."""

    UPPER = "upper"
    MID = "mid"
    LOWER = "lower"
    APICAL = "apical"
    BASAL = "basal"
    DIFFUSE = "diffuse"


class Severity(StrEnum):
    """Grade as reports word it; ``SMALL`` also stands for mild and minimal, ``LARGE`` for severe."""

    SMALL = "small"
    MODERATE = "moderate"
    LARGE = "large"


class Change(StrEnum):
    """What became of a finding since an earlier study."""

    NEW = "new"
    IMPROVED = "improved"
    WORSE = "worse"
    UNCHANGED = "unchanged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that a model gives, and its interval, None where validation had too few studies; in the data's unit."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open character range ``[start, end)`` in ``Report.raw``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding as a text or a truth table states it.

    Attributes:
        status: Present, absent, uncertain or unmentioned.
        laterality: The patient's side, None where not said.
        zone: Height in the lung, None where not said.
        severity: Grade, None where not said.
        span: Characters of the text that say so, None when no text is behind it.
        size_mm: Largest diameter in millimetres, None where not said.
        probability: A model's probability in [0, 1], None for a text.
        change: What became of it since an earlier study, None where not said.
    """

    status: Status
    laterality: Laterality | None = None
    zone: Zone | None = None
    severity: Severity | None = None
    span: Span | None = None
    size_mm: float | None = None
    probability: float | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class TextPart:
    """A section or a sentence: ``text == raw[start:end]``; ``section`` is the section that it lies in."""

    text: str
    start: int
    end: int
    section: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A radiology report.

    Attributes:
        raw: The text as it came, but for what ``repaired`` says; every offset refers to it.
        sections: Section name (one of ``SECTIONS``) to its text with offsets, in the order of the text.
        sentences: All sentences of all sections, in the order of the text.
        source_format: ``text``, ``openi_xml``, ...
        language: ISO 639-1 code; ``und`` where the text does not say.
        days_after: Days from the study to the report where both say their day; below 0 the report is the older one.
        repaired: Whether the source was UTF-8 read as another encoding (``OedÃ¨me``), undone in ``raw``.
    """

    raw: str
    sections: Mapping[str, TextPart] = field(default_factory=dict)
    sentences: tuple[TextPart, ...] = ()
    source_format: str = "text"
    language: str = "en"
    days_after: int | None = None
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image lies and what its header says; no pixels.

    Attributes:
        path: File on disk, or the folder of a volume's slices; of several files the first.
        sop_uid: SOP Instance UID, or the image's id in its layout.
        series_uid: Series Instance UID.
        modality: DICOM modality (``DX``, ``CR``, ``CT``, ...), None if unknown.
        view: ``PA``, ``AP``, ``AP Supine``, ``LATERAL``, ... as the source says, None if unknown.
        laterality: Image laterality of the header, None if not said.
        rows, columns, frames: Size in pixels.
        spacing_mm: (row, column) or (depth, row, column) spacing in millimetres, None if unknown.
        content_hash: SHA-256 of the file when a deep pass made it.
        body_part: Body Part Examined of the header, None if not said.
        slices: Files of a volume that consists of several, in their order along its normal; else empty.
    """

    path: Path
    sop_uid: str | None = None
    series_uid: str | None = None
    modality: str | None = None
    view: str | None = None
    laterality: Laterality | None = None
    rows: int | None = None
    columns: int | None = None
    frames: int = 1
    spacing_mm: tuple[float, ...] | None = None
    content_hash: str | None = None
    body_part: str | None = None
    slices: tuple[Path, ...] = ()

    @property
    def source(self) -> ImageSource:
        """What to read it from."""
        return self.slices or self.path


@dataclass(frozen=True, slots=True)
class Study:
    """What one patient had at one time: images and, perhaps, what was said of them.

    Attributes:
        study_id: Study Instance UID or the layout's id.
        patient_key: HMAC of the patient's id with a site's secret; never the id itself.
        images: One reference an image, in a stable order.
        report: The report, None where there is none.
        findings: Finding name to what is known of it: the truth where there is one, else read from the report.
        masks: Mask name to file.
        questions: Pairs of question and answer.
        sex: ``F``, ``M``, ``O`` or None.
        age_band: Ten years wide, as ``60-69``; None if unknown.
        device: Manufacturer and model, None if unknown.
        days: Days since the patient's first study, None if unknown.
        priors: Ids of earlier studies of the patient.
        split: ``train``, ``val`` or ``test`` once assigned, else None.
        values: Column of labels to its number, where it has one.
    """

    study_id: str
    patient_key: str
    images: tuple[ImageRef, ...] = ()
    report: Report | None = None
    findings: Mapping[str, Finding] = field(default_factory=dict)
    masks: Mapping[str, Path] = field(default_factory=dict)
    questions: tuple[tuple[str, str], ...] = ()
    sex: str | None = None
    age_band: str | None = None
    device: str | None = None
    days: int | None = None
    priors: tuple[str, ...] = ()
    split: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The study's name for logs and errors."""
        return study_tag(self.study_id)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A study, image or report that was set aside.

    Attributes:
        study_id: The id as the source gives it, or the file's path where there is no id.
        reason: Why.
        detail: One sentence without patient data.
        path: The file; may only be written to files of mode 0600.
    """

    study_id: str
    reason: Reason
    detail: str
    path: Path | None = None

    @property
    def tag(self) -> str:
        """The study's name for logs and errors."""
        return study_tag(self.study_id)


@dataclass(frozen=True, slots=True)
class Image:
    """Pixels ready for use.

    Attributes:
        array: float32; ``[C, H, W]`` for a projection, ``[C, D, H, W]`` for a volume. In [0, 1] where a window was
            applied, else in the modality's units (HU for CT).
        affine: 4x4 float64 that maps (d, h, w, 1) to RAS millimetres; None for projections.
        spacing_mm: Millimetres between voxels along each spatial axis of ``array``; None if unknown.
        header: Header entries without identity (modality, view, photometric interpretation, syntax, window, ...).
        notes: What was unusual about the source, one sentence each.
    """

    array: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64] | None = None
    spacing_mm: tuple[float, ...] | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one study.

    Attributes:
        study_id: The study.
        findings: Finding name to status, with the model's probability where it has a finding head.
        report: Drafted report, None for other tasks.
        answer: Answer to a question, None for other tasks.
        masks: Mask name to array on the source's grid.
        abstained: Whether the model declines to answer.
        provenance: Versions and hashes that lead back to the weights, config and preprocessing.
        notes: What a reader should know of it, such as the images that the model did not see and why.
        values: Name to number, for runs that learned numbers.
        confidence: Calibrated probability in [0, 1] that the answer is right, None for other tasks.
    """

    study_id: str
    findings: Mapping[str, Finding] = field(default_factory=dict)
    report: str | None = None
    answer: str | None = None
    masks: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    abstained: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    values: Mapping[str, Estimate] = field(default_factory=dict)
    confidence: float | None = None


def study_tag(study_id: str) -> str:
    """Name a study in logs and errors: ``study#`` and the first eight hex digits of its id's SHA-256."""
    return "study#" + hashlib.sha256(study_id.encode()).hexdigest()[:8]
