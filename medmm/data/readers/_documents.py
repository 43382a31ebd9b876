"""Reports that lie among the images as DICOM documents: structured reports, and what only looks like one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from medmm.errors import Reason, ReportError, StudyError
from medmm.io.dicom import DicomHeader
from medmm.io.structured_report import MEASUREMENTS, OTHER_CLASSES, REPORT_CLASSES, read_structured_report
from medmm.types import Rejection, Report


def is_document(header: DicomHeader) -> bool:
    """Whether an object may hold a radiologist's report."""
    return header.sop_class in REPORT_CLASSES


def object_name(header: DicomHeader) -> str:
    """What an object without an image is: its class where it could be taken for a report, else its modality."""
    return OTHER_CLASSES.get(header.sop_class or "", str(header.modality))


def document_reports(study_id: str, paths: Sequence[Path], reports: list[Report]) -> Iterator[Rejection]:
    """Add a study's report to ``reports``, unless one is there; yield the documents that are not used.

    Of several documents a verified one goes first, then a complete one, then the first by name.

    Args:
        study_id: The study.
        paths: Its documents.
        reports: The study's reports so far.
    """
    found: list[tuple[tuple[bool, bool], Path, Report]] = []
    for path in sorted(paths):
        try:
            rank, report = read_document(path)
        except StudyError as error:
            yield Rejection(study_id, error.reason, error.detail, path)
        else:
            found.append((rank, path, report))
    found.sort(key=lambda one: one[0])
    if found and not reports:
        reports.append(found.pop(0)[2])
    for _, path, _ in found:
        detail = "the study has a report already; this document is not used"
        yield Rejection(study_id, Reason.REPORT_SURPLUS, detail, path)


def read_document(path: Path) -> tuple[tuple[bool, bool], Report]:
    """A document's place among several, the lowest first, and its report.

    Raises:
        StudyError: It holds no report.
    """
    from medmm.reports.parse import parse_report

    document = read_structured_report(path)
    if document.template == MEASUREMENTS:
        raise ReportError(Reason.REPORT_EMPTY, "the document holds measurements, no report")
    report = replace(parse_report(document.text), source_format="dicom_sr")
    return (not document.is_verified, not document.is_complete), report
