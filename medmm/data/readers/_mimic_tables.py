"""The tables of MIMIC-CXR and MIMIC-CXR-JPG, each of which may be missing: metadata, split, and labels.

Of half a million rows only what a study needs stays in memory, a few hundred bytes a study.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from sys import intern

from medmm.data.readers._chexpert import OBSERVATIONS, observed
from medmm.data.readers._common import compact_day, split_name
from medmm.data.readers._rows import Row, Table, open_table
from medmm.errors import Reason
from medmm.types import Finding, Rejection

_LABELS = ("chexpert", "negbio")  # the first that is there counts
_KINDS = (".csv.gz", ".csv")
_OPTIONAL = ("ViewCodeSequence_CodeMeaning", *OBSERVATIONS)


@dataclass(frozen=True, slots=True)
class Shot:
    """What the metadata say of an image."""

    view: str | None
    rows: int | None
    columns: int | None


@dataclass(slots=True)
class Facts:
    """What the tables say of a study.

    Attributes:
        day: Its date, shifted for each patient by the collection's makers; None if unknown.
        splits: Splits of its images; None among them for one of another name.
        shots: Image id to what is said of it.
        findings: As the labeler read them from the report.
    """

    day: date | None = None
    splits: tuple[str | None, ...] = ()
    shots: dict[str, Shot] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)


class Tables:
    """The tables that lie in the first of some folders that has them.

    Args:
        folders: Where to look.

    Raises:
        DataError: A table lacks a column or cannot be read.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        found = {name: _table(folders, name) for name in ("metadata", "split", *_LABELS)}
        self._metadata, self._split = found["metadata"], found["split"]
        self._labels = next((found[name] for name in _LABELS if found[name] is not None), None)
        for table, columns in (
            (self._metadata, ("dicom_id", "study_id", "StudyDate", "ViewPosition", "Rows", "Columns")),
            (self._split, ("dicom_id", "study_id", "split")),
            (self._labels, ("study_id", "No Finding")),
        ):
            if table is not None:
                table.require({name: name for name in columns}, optional=_OPTIONAL)
        self._findings: dict[tuple[str, ...], dict[str, Finding]] = {}
        self._shots: dict[Shot, Shot] = {}
        self.studies: dict[str, Facts] = {}

    @property
    def has_metadata(self) -> bool:
        """Whether the tables name every image."""
        return self._metadata is not None

    @property
    def has_split(self) -> bool:
        """Whether the official split is there."""
        return self._split is not None

    def load(self) -> Iterator[Rejection]:
        """Read all tables; yield the rows that cannot be used."""
        parts = (
            ("metadata", self._metadata, self._shot),
            ("split", self._split, self._part),
            ("labels", self._labels, self._label),
        )
        for name, table, take in parts:
            for number, row in () if table is None else table.rows():
                if row is None or not row["study_id"] or not take(row):
                    detail = f"row {number} of the table of {name} cannot be used"
                    yield Rejection(f"{name} row {number}", Reason.ROW_INVALID, detail)

    def _facts(self, row: Row) -> Facts:
        return self.studies.setdefault("s" + row["study_id"], Facts())

    def _shot(self, row: Row) -> bool:
        if not row["dicom_id"]:
            return False
        facts = self._facts(row)
        view = row["ViewPosition"] or row.get("ViewCodeSequence_CodeMeaning", "")
        shot = Shot(intern(view) or None, _whole(row["Rows"]), _whole(row["Columns"]))
        facts.shots[row["dicom_id"]] = self._shots.setdefault(shot, shot)
        facts.day = facts.day or compact_day(row["StudyDate"])
        return True

    def _part(self, row: Row) -> bool:
        facts, part = self._facts(row), split_name(row["split"])
        if part not in facts.splits:
            facts.splits = (*facts.splits, part)
        return True

    def _label(self, row: Row) -> bool:
        found = observed(row)
        if found is None:
            return False
        key = tuple(f"{name} {finding.status}" for name, finding in found.items())
        self._facts(row).findings = self._findings.setdefault(key, found)
        return True


def _table(folders: Sequence[Path], name: str) -> Table | None:
    """The table of that name, whatever the release: ``mimic-cxr-2.0.0-NAME.csv.gz``, also unpacked."""
    for folder in folders:
        for kind in _KINDS:
            paths = sorted(folder.glob(f"mimic-cxr-*-{name}{kind}"))
            if paths:
                return open_table(paths[-1], "data.path")
    return None


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
