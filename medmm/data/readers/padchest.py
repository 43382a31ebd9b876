"""PadChest: ``PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv``, a row an image, its study's report in Spanish.

Reports are stemmed, lower-case words without headings, so a model that shall write them needs
``target.whole_text=true``. Images lie in ``ImageDir/ImageID`` below ``data.image_root``, or all in one folder. Lists
are Python literals, read by :func:`ast.literal_eval` and never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.data.readers._common import age_band, compact_day, patient_key, sex_code, timelines
from medmm.data.readers._files import Presence, file_within, root_folder, source_path
from medmm.data.readers._grouping import Groups
from medmm.data.readers._padchest_labels import (
    findings_of,
    list_of_texts,
    mentions_by_sentence,
    mentions_of,
    sentences_of_texts,
)
from medmm.data.readers._rows import Row, Table, open_table
from medmm.errors import DataError, Reason, StudyError
from medmm.types import Finding, ImageRef, Rejection, Report, Study

TABLE = "PADCHEST_*.csv*"
LANGUAGE = "es"
_REQUIRED = ("ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Report", "Labels")
_LISTS = ("Labels", "Localizations", "LabelsLocalizationsBySentence")
_OTHERS = ("StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Modality_DICOM", "Manufacturer_DICOM", *_LISTS)
_KEPT = tuple(dict.fromkeys((*_REQUIRED, *_OTHERS)))
_NAME = re.compile(r"[\w.\-]+")  # a file's or folder's name that cannot lead out of its folder
_EXCLUDED = "EXCLUDE"  # Projection of images that the collection's makers take out
_NO_TEXT = frozenset({"", "none"})


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from the table, or from the folder that holds it.

    A row whose lists are no literals, that does not name an image, or whose image the collection excludes is set
    aside; so is a missing image. A study without report is yielded without one.

    Raises:
        DataError: There is no such table, it lacks a column, or none of the images is there.
    """
    path = file_within(source_path(config.path), TABLE)
    table = open_table(path, "data.path")
    table.require({name: name for name in _REQUIRED}, optional=_KEPT)
    return _Reading(table, root_folder(config.image_root, path.parent, "data.image_root")).items()


@dataclass(slots=True)
class _Reading:
    table: Table
    root: Path
    presence: Presence = field(default_factory=lambda: Presence("data.image_root"))
    _owners: dict[str, tuple[str, date | None]] = field(default_factory=dict)
    _nested: bool = True

    def items(self) -> Iterator[Study | Rejection]:
        """Yield studies in the order of their first rows, and what had to be set aside."""
        with Groups() as groups:
            yield from self._gather(groups)
            placed = timelines((key, study_id, day) for study_id, (key, day) in self._owners.items())
            for study_id, rows in groups:
                yield from self._study(study_id, rows, placed[study_id])
        self.presence.finish()

    def _gather(self, groups: Groups) -> Iterator[Rejection]:
        number = 0
        for number, row in self.table.rows():
            if wrong := _fault(row):
                yield Rejection(f"row {number}", Reason.ROW_INVALID, f"row {number}: {wrong}")
                continue
            assert row is not None
            study_id = row["StudyID"]
            if study_id not in groups:
                self._owners[study_id] = patient_key(row["PatientID"]), compact_day(row.get("StudyDate_DICOM", ""))
            groups.add(study_id, {name: row.get(name, "") for name in _KEPT})
        if number == 0:
            raise DataError("the table has no rows", where="data.path", expected="a row an image")

    def _study(
        self, study_id: str, rows: Sequence[Row], placed: tuple[int | None, tuple[str, ...]]
    ) -> Iterator[Study | Rejection]:
        if len({row["PatientID"] for row in rows}) > 1:
            yield Rejection(study_id, Reason.ROW_INVALID, "the study's rows name different patients")
            return
        images: list[ImageRef] = []
        named: dict[str, Row] = {}
        for row in rows:
            named.setdefault(row["ImageID"], row)
        for name, row in named.items():
            path = self._path(row["ImageDir"], name)
            if fault := self.presence.check(path):
                yield Rejection(study_id, fault[0], f"image: {fault[1]}", path)
            else:
                view, modality = row["Projection"] or None, row["Modality_DICOM"] or None
                images.append(ImageRef(path=path, sop_uid=name, modality=modality, view=view))
        report = _report(study_id, rows)
        if not images:
            if isinstance(report, Report):
                yield Rejection(study_id, Reason.REPORT_WITHOUT_IMAGE, "a report, but none of the study's images")
            return
        if isinstance(report, Rejection):
            yield report
        key, day = self._owners[study_id]
        first = rows[0]
        yield Study(
            study_id=study_id,
            patient_key=key,
            images=tuple(images),
            report=report if isinstance(report, Report) else None,
            findings=_findings(rows),
            sex=sex_code(first["PatientSex_DICOM"]),
            age_band=age_band(_age(first["PatientBirth"], day)),
            device=first["Manufacturer_DICOM"] or None,
            days=placed[0],
            priors=placed[1],
        )

    def _path(self, folder: str, name: str) -> Path:
        """Where an image lies: in its folder or, where it was unpacked so, in the root itself."""
        paths = [self.root / folder / name, self.root / name]
        for path in paths if self._nested else paths[::-1]:
            if path.is_file():
                self._nested = path is paths[0]
                return path
        return paths[0]


def _fault(row: Row | None) -> str | None:
    """Why a row cannot be used, without any of its words; None if it can."""
    if row is None:
        return "more fields than the table has columns"
    if not row["StudyID"] or not row["PatientID"]:
        return "no study or no patient"
    if not _NAME.fullmatch(row["ImageID"]) or not _NAME.fullmatch(row["ImageDir"] or "0"):
        return "no image of the layout"
    if row["Projection"].upper() == _EXCLUDED:
        return "the collection excludes the image"
    for name in _LISTS:
        try:
            if text := row.get(name, ""):
                sentences_of_texts(text) if name == _LISTS[2] else list_of_texts(text)
        except ValueError:
            return f"{name} is no list of texts"
    return None


def _findings(rows: Sequence[Row]) -> dict[str, Finding]:
    """Findings of the first row that has labels; a study's rows share its report's."""
    for row in rows:
        if row["LabelsLocalizationsBySentence"]:
            return findings_of(mentions_by_sentence(sentences_of_texts(row["LabelsLocalizationsBySentence"])))
        if row["Labels"]:
            places = list_of_texts(row["Localizations"]) if row["Localizations"] else []
            return findings_of(mentions_of(list_of_texts(row["Labels"]), places))
    return {}


def _report(study_id: str, rows: Sequence[Row]) -> Report | Rejection:
    from medmm.reports.parse import parse_report

    text = next((row["Report"] for row in rows if row["Report"].lower() not in _NO_TEXT), "")
    try:
        return replace(parse_report(text), language=LANGUAGE)
    except StudyError as error:
        return Rejection(study_id, error.reason, "the study's rows hold no report")


def _age(birth: str, day: date | None) -> float | None:
    """Years from the year of birth, all that the collection says, to the year of the study."""
    year = birth.partition(".")[0][:4]
    return float(max(day.year - int(year), 0)) if day is not None and year.isdecimal() else None
