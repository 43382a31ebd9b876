"""The CSV form of Open-i's collection: ``indiana_reports.csv`` and ``indiana_projections.csv``.

A report is a row with its sections in columns, an image a row with ``uid``, ``filename`` and ``projection``. Studies
are called as in the XML (``CXR1``), so that both forms give the same keys and splits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medmm.data.readers._common import lone_patient_key
from medmm.data.readers._files import Presence, root_folder
from medmm.data.readers._mesh import coded_findings
from medmm.data.readers._rows import Row, Table, open_table
from medmm.errors import DataError, Reason, StudyError
from medmm.types import ImageRef, Rejection, Report, Study

REPORTS, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
SECTIONS = ("indication", "comparison", "findings", "impression")
_FOLDERS = (".", "images/images_normalized", "images_normalized", "images")  # as the pair is commonly unpacked
_NAME = re.compile(r"[\w.\-]+")  # a file's name that cannot lead out of its folder


@dataclass(frozen=True, slots=True)
class Pair:
    """Both tables: ``reports`` a row a study, ``projections`` a row an image."""

    reports: Table
    projections: Table


def pair_of(path: Path) -> Pair | None:
    """The pair that ``path`` names: the table of reports, or a folder with it that holds no XML reports.

    Raises:
        DataError: The other table is missing, or one lacks a column.
    """
    reports = path / REPORTS if path.is_dir() else path
    if reports.suffix.lower() != ".csv" or not reports.is_file():
        return None
    if path.is_dir() and next(path.rglob("*.xml"), None) is not None:
        return None
    projections = reports.with_name(PROJECTIONS)
    if not projections.is_file():
        expected = f"{PROJECTIONS} beside {REPORTS}"
        raise DataError("the table that names the images is missing", where="data.path", expected=expected)
    pair = Pair(open_table(reports, "data.path"), open_table(projections, "data.path"))
    pair.reports.require({name: name for name in ("uid", *SECTIONS)}, optional=("MeSH",))
    pair.projections.require({name: name for name in ("uid", "filename", "projection")})
    return pair


def read(pair: Pair, image_root: Path | None) -> Iterator[Study | Rejection]:
    """Read the studies of a pair, in the order of the table of reports.

    A report without text is set aside and its images stay; a report without any image is set aside, and so is an image
    that no report names.

    Raises:
        DataError: There is no such root, or none of the images is there.
    """
    beside = pair.reports.path.parent
    root = root_folder(image_root, beside, "data.image_root")
    folders = tuple(root / name for name in _FOLDERS if (root / name).is_dir())
    return _items(pair, folders)


def _items(pair: Pair, folders: tuple[Path, ...]) -> Iterator[Study | Rejection]:
    views: dict[str, list[tuple[str, str]]] = {}
    for number, row in pair.projections.rows():
        if row is None or not row["uid"] or not _NAME.fullmatch(row["filename"]):
            detail = f"row {number} of {PROJECTIONS} does not name a study and a file"
            yield Rejection(f"row {number}", Reason.ROW_INVALID, detail)
        else:
            views.setdefault(row["uid"], []).append((row["filename"], row["projection"]))
    presence = Presence("data.image_root")
    number = 0
    for number, row in pair.reports.rows(literal=SECTIONS):
        if row is None or not row["uid"]:
            yield Rejection(f"row {number}", Reason.ROW_INVALID, f"row {number} of {REPORTS} is no study")
        else:
            yield from _study(row, views.pop(row["uid"], []), folders, presence)
    if number == 0:
        raise DataError("the table has no rows", where="data.path", expected="a row a report")
    presence.finish()
    for uid, own in views.items():
        for name, _ in own:
            detail = "no report has this image's uid"
            yield Rejection(f"CXR{uid}", Reason.IMAGE_WITHOUT_REPORT, detail, folders[0] / name)


def _study(
    row: Row, views: list[tuple[str, str]], folders: tuple[Path, ...], presence: Presence
) -> Iterator[Study | Rejection]:
    study_id = f"CXR{row['uid']}"
    images: list[ImageRef] = []
    for name, projection in views:
        paths = [folder / name for folder in folders]
        path = next((one for one in paths if one.is_file()), paths[0])
        if fault := presence.check(path):
            yield Rejection(study_id, fault[0], f"image: {fault[1]}", path)
        else:
            images.append(ImageRef(path=path, sop_uid=name, view=projection or None))
    report = _report(row)
    if not images:
        yield Rejection(study_id, Reason.REPORT_WITHOUT_IMAGE, "a report, but none of the study's images")
        return
    if report is None:
        yield Rejection(study_id, Reason.REPORT_EMPTY, "none of the report's sections holds text")
    yield Study(
        study_id=study_id,
        patient_key=lone_patient_key(study_id, public=True),
        images=tuple(images),
        report=report,
        findings=coded_findings(row.get("MeSH", "").split(";")),
    )


def _report(row: Mapping[str, str]) -> Report | None:
    from medmm.reports.parse import compose_report

    try:
        return compose_report(((name.upper(), row[name]) for name in SECTIONS), "openi_csv")
    except StudyError:
        return None
