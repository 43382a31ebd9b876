"""Settings of the data: where studies come from, and how patients are shared out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medmm import registry

Fraction = Annotated[float, Field(ge=0, le=1)]
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
    label: str | None = None
    question: str | None = None
    answer: str | None = None
    split: str | None = None
    """Holds train, val or test."""


class SplitConfig(Section):
    """How patients are shared out; used where the data bring no split of their own."""

    val: Fraction = 0.1
    """Share of patients for validation."""
    test: Fraction = 0.2
    """Share of patients for testing."""
    seed: int = 0
    """Orders the patients; apart from the run's seed, so that seeds can be compared on one split."""

    @model_validator(mode="after")
    def _some_training(self) -> SplitConfig:
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
    """CSV or Parquet with the reports of a ``dicom`` folder, joined by accession number."""
    accession_column: str = "accession"
    """Column of ``data.reports`` with the accession number."""
    report_column: str = "report"
    """Column of ``data.reports`` with the text."""
    columns: ColumnsConfig = ColumnsConfig()
    image_root: Path | None = None
    """Folder that image paths start from; the table's own folder if None."""
    mask_root: Path | None = None
    """Folder that mask paths start from; ``image_root`` if None."""
    where: dict[str, Cell | tuple[Cell, ...]] = Field(default_factory=dict)
    """Only rows with that value (or one of those values) in that column; several columns narrow further."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many studies, the first ones of the source."""
    splits: SplitConfig = SplitConfig()
    phantom: PhantomConfig = PhantomConfig()

    @field_validator("reader")
    @classmethod
    def _reader_known(cls, name: str) -> str:
        if name not in registry.READERS:
            raise ValueError(f"no reader '{name}'; expected one of {', '.join(registry.READERS)}")
        return name

    @model_validator(mode="after")
    def _path_given(self) -> DataConfig:
        if self.reader != "phantom" and self.path is None:
            raise ValueError(f"reader '{self.reader}' needs a path: --data {self.reader}:PATH")
        return self
