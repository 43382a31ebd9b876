"""CheXpert Plus: ``df_chexpert_plus_240401.csv``, a row an image, with its study's report cut into sections.

The table names JPEG files; the release brings the same images as PNG and as DICOM. All three are looked for, in
``data.image_root`` or else beside the table. A patient's reports are numbered in the order of their dates, so prior
studies are known and days are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medmm.config.schema import DataConfig
from medmm.data.readers._common import age_band, patient_key, sex_code, split_name
from medmm.data.readers._files import Presence, file_within, root_folder, source_path
from medmm.data.readers._grouping import Groups
from medmm.data.readers._rows import Row, Table, open_table
from medmm.errors import DataError, Reason, StudyError
from medmm.types import ImageRef, Rejection, Report, Study

TABLE = "df_chexpert_plus_*.csv"
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "INDICATION": ("section_clinical_history", "section_history"),
    "TECHNIQUE": ("section_technique", "section_procedure_comments"),
    "COMPARISON": ("section_comparison",),
    "FINDINGS": ("section_findings",),
    "IMPRESSION": ("section_impression",),
}
_REQUIRED = ("path_to_image", "deid_patient_id", "section_findings", "section_impression")
_OTHERS = ("path_to_dcm", "frontal_lateral", "ap_pa", "patient_report_date_order", "report", "age", "sex")
_TEXTS = ("report", *(column for columns in SECTIONS.values() for column in columns))
_KEPT = tuple(dict.fromkeys((*_REQUIRED, *_OTHERS, *_TEXTS)))
_PATH = re.compile(r"(?:CheXpert[\w.\-]*/)?((\w+)/(patient\w+/study\w+)/[\w\-]+)\.\w+")
_FOLDERS = ("", "PNG", "PNG/PNG", "DICOM", "CheXpert-v1.0", "CheXpert-v1.0-small")
_KINDS = (".png", ".jpg", ".dcm")


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from the table, or from the folder that holds it.

    A row whose image is missing or whose path is not of the layout is set aside; a study without report is yielded
    without one. The split is the folder that a path begins with.

    Raises:
        DataError: There is no such table, it lacks a column, or none of the images is there.
    """
    path = file_within(source_path(config.path), TABLE)
    table = open_table(path, "data.path")
    table.require({name: name for name in _REQUIRED}, optional=_KEPT)
    return _items(table, _Images(root_folder(config.image_root, path.parent, "data.image_root")))


def _items(table: Table, images: _Images) -> Iterator[Study | Rejection]:
    orders: dict[str, list[tuple[int, str]]] = {}
    with Groups() as groups:
        number = 0
        for number, row in table.rows(literal=_TEXTS):
            match = None if row is None else _PATH.fullmatch(row["path_to_image"])
            if row is None or match is None or not row["deid_patient_id"]:
                detail = f"row {number} does not name a patient and an image such as train/patient1/study1/view1.jpg"
                yield Rejection(f"row {number}", Reason.ROW_INVALID, detail)
                continue
            if match[3] not in groups:
                order = row.get("patient_report_date_order", "").partition(".")[0]
                if order.isdecimal():
                    orders.setdefault(row["deid_patient_id"], []).append((int(order), match[3]))
            groups.add(match[3], {name: row[name] for name in _KEPT if row.get(name)})
        if number == 0:
            raise DataError("the table has no rows", where="data.path", expected="a row an image")
        for study_id, rows in groups:
            yield from _study(study_id, [{name: row.get(name, "") for name in _KEPT} for row in rows], images, orders)
    images.presence.finish()


@dataclass(slots=True)
class _Images:
    """Finds image files; where one was found, the next is looked for first."""

    root: Path
    presence: Presence = field(default_factory=lambda: Presence("data.image_root"))
    _places: list[tuple[str, str]] = field(
        default_factory=lambda: [(folder, kind) for kind in _KINDS for folder in _FOLDERS]
    )

    def find(self, stem: str) -> Path:
        """The file of an image, whichever form of it is there.

        Args:
            stem: Its path without suffix, such as ``train/patient00001/study1/view1_frontal``.
        """
        for at, (folder, kind) in enumerate(self._places):
            path = self.root / folder / f"{stem}{kind}"
            if path.is_file():
                self._places.insert(0, self._places.pop(at))
                return path
        return self.root / f"{stem}{_KINDS[0]}"


def _study(
    study_id: str, rows: Sequence[Row], images: _Images, orders: Mapping[str, list[tuple[int, str]]]
) -> Iterator[Study | Rejection]:
    patients = {row["deid_patient_id"] for row in rows}
    paths = {row["path_to_image"]: row for row in rows}
    words = {_parts(path)[1] for path in paths}
    split = split_name(words.pop()) if len(words) == 1 else None
    if len(patients) > 1:
        yield Rejection(study_id, Reason.ROW_INVALID, "the study's rows name different patients")
        return
    if split is None:
        yield Rejection(study_id, Reason.SPLIT_UNKNOWN, "its images lie in no folder, or several, of a split")
        return
    found: list[ImageRef] = []
    for path, row in paths.items():
        stem, _ = _parts(path)
        file = images.find(stem)
        if fault := images.presence.check(file):
            yield Rejection(study_id, fault[0], f"image: {fault[1]}", file)
        else:
            found.append(ImageRef(path=file, sop_uid=path, view=row["ap_pa"] or row["frontal_lateral"] or None))
    report = _report(study_id, rows[0])
    if not found:
        if isinstance(report, Report):
            yield Rejection(study_id, Reason.REPORT_WITHOUT_IMAGE, "a report, but none of the study's images")
        return
    if isinstance(report, Rejection):
        yield report
    patient = patients.pop()
    yield Study(
        study_id=study_id,
        patient_key=patient_key(patient),
        images=tuple(found),
        report=report if isinstance(report, Report) else None,
        sex=sex_code(rows[0]["sex"]),
        age_band=age_band(rows[0]["age"]),
        priors=_earlier(orders.get(patient, []), study_id),
        split=split,
    )


def _parts(path: str) -> tuple[str, str]:
    """Path without suffix, from the split's folder on, and the name of that folder."""
    match = _PATH.fullmatch(path)
    assert match is not None  # checked when the row was read
    return match[1], match[2]


def _report(study_id: str, row: Row) -> Report | Rejection:
    """The sections where findings or impression are among them, else the whole text."""
    from medmm.reports.parse import compose_report, parse_report

    parts = [(label, "\n".join(filter(None, map(row.get, columns)))) for label, columns in SECTIONS.items()]
    try:
        if row["section_findings"] or row["section_impression"]:
            return compose_report(parts, "chexpert_plus")
        return parse_report(row["report"])
    except StudyError as error:
        return Rejection(study_id, error.reason, "the study's rows hold no report")


def _earlier(orders: Sequence[tuple[int, str]], study_id: str) -> tuple[str, ...]:
    """The patient's studies whose reports are older, oldest first."""
    own = next((order for order, other in orders if other == study_id), None)
    return () if own is None else tuple(other for order, other in sorted(orders) if order < own)
