"""Settings of the data: where studies come from, and how patients are shared out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medmm import registry

Fraction = Annotated[float, Field(ge=0, le=1)]
VoxelCount = Annotated[int, Field(ge=16, le=768)]
Millimetres = Annotated[float, Field(ge=0.2, le=20)]
SyntaxName = Literal[
    "implicit", "explicit", "deflated", "big_endian", "rle", "jpeg_lossless", "jpeg_ls", "jpeg_2000", "htj2k",
    "jpeg_baseline", "jpeg_extended", "jpeg_ls_near", "jpeg_2000_lossy", "htj2k_lossy",
]  # fmt: skip
_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
Cell = Annotated[str, Field(coerce_numbers_to_str=True)]


class Section(BaseModel):
    """Base of all parts of the config."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PhantomConfig(Section):
    """Studies generated on the spot."""

    studies: int = Field(default=1500, ge=1)
    """Number of studies; about 5 in 4 patients."""
    size: int = Field(default=256, ge=64, le=2048)
    """Rows and columns of a radiograph, in pixels."""
    modality: Literal["radiograph", "ct"] = "radiograph"
    """What is made of each study."""
    views: tuple[Literal["frontal", "lateral"], ...] = ("frontal",)
    """Radiographs of a study; ``lateral`` adds a second one to upright studies."""
    lateral_share: Fraction = 0.85
    """Share of the upright studies that have it."""
    volume_shape: tuple[VoxelCount, VoxelCount, VoxelCount] = (128, 128, 128)
    """Slices, rows and columns of a CT volume."""
    volume_spacing_mm: tuple[Millimetres, Millimetres] | None = None
    """Distance of CT slices, and of voxels in a slice; None: the chest fills the volume."""
    volume_format: Literal["nifti", "dicom"] = "nifti"
    """How CT volumes are written: a NIfTI file or a DICOM series a study."""
    syntaxes: tuple[SyntaxName, ...] = ()
    """Transfer syntaxes of DICOM files, taken in turn (``explicit``, ``jpeg_2000``, ``htj2k_lossy``, ...); empty: such
    as hospitals send, drawn for each study."""
    objects: tuple[Literal["report", "segmentation", "structure_set"], ...] = ()
    """What DICOM holds beside the images: ``report`` (SR instead of text), ``segmentation`` (SEG of the findings),
    ``structure_set`` (RTSTRUCT, of CT series)."""
    organs: bool = False
    """Masks of lungs and heart beside those of a radiograph's findings; CT has them in its label map."""
    layout: str | None = None
    """Layout of a public collection that ``medmm phantom`` writes (``openi``, ``mimic-cxr``, ...); None for its own."""

    @field_validator("views")
    @classmethod
    def _frontal_first(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        if views not in {("frontal",), ("frontal", "lateral")}:
            raise ValueError("expected [frontal] or [frontal, lateral]")
        return views

    @model_validator(mode="after")
    def _objects_fit(self) -> PhantomConfig:
        if self.layout is not None and (self.modality != "radiograph" or self.objects or self.syntaxes):
            raise ValueError("a layout says itself what its files are: leave modality, objects and syntaxes out")
        is_series = self.modality == "ct" and self.volume_format == "dicom"
        if "structure_set" in self.objects and not is_series:
            raise ValueError("a structure set needs modality=ct and volume_format=dicom")
        if self.modality == "ct" and not is_series and (self.objects or self.syntaxes):
            raise ValueError("objects and syntaxes are DICOM's: set volume_format=dicom")
        return self

    @field_validator("layout")
    @classmethod
    def _layout_known(cls, name: str | None) -> str | None:
        if name is not None and name not in registry.LAYOUTS:
            raise ValueError(f"no layout '{name}'; expected one of {', '.join(registry.LAYOUTS)}")
        return name


class ColumnsConfig(Section):
    """Which column of a table holds what; None where the table has no such column."""

    image: str | None = None
    """Image file, relative to ``data.image_root``."""
    report: str | None = None
    """Report text, or the path of a .txt or .xml file."""
    patient: str | None = None
    """Patient id; without it every study is its own patient."""
    study: str | None = None
    """Study id; rows of one study are its views. Without it every row is a study."""
    view: str | None = None
    mask: str | None = None
    """Mask file, relative to ``data.mask_root``."""
    label: str | tuple[str, ...] | None = None
    """Names of classes, or numbers; several columns as ``[age, bmi]``."""
    question: str | None = None
    answer: str | None = None
    split: str | None = None
    """Holds train, val or test."""

    @field_validator("label", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """Take ``[age, bmi]`` of the command line, where names of columns are words and no YAML, for two columns."""
        if not isinstance(given, str) or not (given.startswith("[") and given.endswith("]")):
            return given
        return tuple(name.strip() for name in given[1:-1].split(",") if name.strip())

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of labels."""
        return (self.label,) if isinstance(self.label, str) else self.label or ()


class SplitConfig(Section):
    """How patients are shared out; used where the data bring no split of their own."""

    val: Fraction = 0.1
    """Share of patients for validation."""
    test: Fraction = 0.2
    """Share of patients for testing."""
    folds: int | None = Field(default=None, ge=2, le=50)
    """Cut the patients into so many parts of one size and test on one of them; takes the place of ``test``."""
    fold: int = Field(default=0, ge=0)
    """Which of them, counted from 0."""
    seed: int = 0
    """Orders the patients; apart from the run's seed, so that seeds can be compared on one split."""

    @model_validator(mode="after")
    def _some_training(self) -> SplitConfig:
        if self.fold >= (self.folds or 1):
            raise ValueError(f"fold {self.fold} is none of {self.folds or 1} folds, which are counted from 0")
        if self.val + self.test >= 1:
            raise ValueError(
                f"val + test must be under 1, got {self.val + self.test:g}: no patient is left to train on"
            )
        return self


class DataConfig(Section):
    """Where studies come from."""

    reader: str = "phantom"
    """Name of the layout's reader."""
    path: Path | None = None
    """File or folder that the reader opens; None for phantom studies generated on the spot."""
    reports: Path | None = None
    """Reports of a ``dicom`` folder, joined by accession number: a CSV or Parquet file, or HL7 v2 or FHIR JSON messages
    (a file that ends in ``.hl7`` or ``.json``, or a folder of such files)."""
    accession_column: str = "accession"
    """Column of ``data.reports`` with the accession number."""
    report_column: str = "report"
    """Column of ``data.reports`` with the text."""
    report_date_column: str | None = None
    """Column of ``data.reports`` with the report's day: a report older than its images is named as a doubt."""
    columns: ColumnsConfig = ColumnsConfig()
    image_root: Path | None = None
    """Folder that image paths start from; the table's own folder if None."""
    mask_root: Path | None = None
    """Folder that mask paths start from; ``image_root`` if None."""
    where: dict[str, Cell | tuple[Cell, ...]] = Field(default_factory=dict)
    """Only rows with that value (or one of those values) in that column; several columns narrow further."""
    labels: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(default_factory=dict)
    """What the values of a mask's voxels stand for: ``{liver: 1, tumour: [2, 3]}``, or ``{1: liver}``. Without it the
    layout's own names, else a mask is binary: nonzero is foreground."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many studies, the first ones of the source."""
    splits: SplitConfig = SplitConfig()
    phantom: PhantomConfig = PhantomConfig()

    @field_validator("reader")
    @classmethod
    def _reader_known(cls, name: str) -> str:
        if name not in registry.READERS:
            known = ", ".join(registry.READERS)
            raise ValueError(f"no reader '{name}'{_meant(name)} Expected READER:PATH, READER one of {known}")
        return name

    @field_validator("labels", mode="before")
    @classmethod
    def _values_named(cls, given: object) -> object:
        """Take a lone value for a list, and value to name for name to values."""
        if not isinstance(given, Mapping):
            return given
        named: dict[object, list[object]] = {}
        for key, value in given.items():
            turned = str(key).isdecimal() and isinstance(value, str)
            name, values = (value, int(key)) if turned else (str(key), value)
            if name != "background" or values != 0:
                named.setdefault(name, []).extend(values if isinstance(values, list | tuple) else [values])
        return named

    @model_validator(mode="after")
    def _path_given(self) -> DataConfig:
        if self.reader != "phantom" and self.path is None:
            raise ValueError(f"reader '{self.reader}' needs a path: --data {self.reader}:PATH")
        return self


def _meant(reader: str) -> str:
    """What somebody may have meant who gave this for a reader: often it is the path, without its reader."""
    if near := difflib.get_close_matches(reader.lower(), registry.READERS, n=1):
        return f"; did you mean '{near[0]}'?"
    if reader.lower().removesuffix(".gz").endswith(_TABLES):
        return f"; a table is table:{reader}."
    if "/" in reader or Path(reader).is_dir():
        return f"; a folder of DICOM files is dicom:{reader}."
    return "."
