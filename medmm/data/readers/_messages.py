"""Reports as HL7 v2 or FHIR messages, given to studies by their Study Instance UID or their accession number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from medmm.data.readers._files import file_id
from medmm.data.readers._grouping import Groups
from medmm.errors import Reason, ReportError
from medmm.io.tree import walk
from medmm.reports.documents import ReportDocument
from medmm.types import Rejection

_KINDS = frozenset((".hl7", ".json", ".ndjson", ".oru", ".er7"))
_RANK = {"corrected": 0, "final": 1, "unknown": 2, "preliminary": 3}


def is_messages(path: Path) -> bool:
    """Whether ``data.reports`` names messages, rather than a table: a folder, or a file that is called like one."""
    return path.is_dir() or path.suffix.lower() in _KINDS


def join_messages(path: Path, accessions: Mapping[str, list[str]], groups: Groups) -> Iterator[Rejection]:
    """Give each message's report to its study; yield those that belong to none or several, and what cannot be read.

    Of several reports of a study a corrected one goes first, then a final one; a cancelled one is not used.

    Args:
        path: A file of messages, or a folder with such files.
        accessions: Accession numbers of the images to their studies.
        groups: The studies; a record with ``report_text`` is added.
    """
    found: list[tuple[int, str, str]] = []
    for file in _files(path):
        refused: list[ReportError] = []
        try:
            documents = _read(file, refused)
        except ReportError as error:
            documents, refused = [], [error]
        yield from (Rejection(file_id(file), error.reason, error.detail, file) for error in refused)
        for document in documents:
            owner = _owner(document, accessions, groups)
            if isinstance(owner, Reason):
                several = "several studies have" if owner is Reason.REPORT_SHARED else "no image has"
                yield Rejection(file_id(file), owner, f"{several} the report's accession number", file)
            elif document.status == "cancelled":
                yield Rejection(owner, Reason.REPORT_SURPLUS, "the report was cancelled", file)
            else:
                found.append((_RANK[document.status], owner, document.report.raw))
    for _, owner, text in sorted(found, key=lambda one: one[0]):
        groups.add(owner, {"report_text": text, "report_date": ""})


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, folders, names in walk(path):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix.lower() in _KINDS)


def _read(path: Path, refused: list[ReportError]) -> list[ReportDocument]:
    from medmm.reports.files import read_reports

    return read_reports(path, refused)


def _owner(document: ReportDocument, accessions: Mapping[str, list[str]], groups: Groups) -> str | Reason:
    if document.study_uid and document.study_uid in groups:
        return document.study_uid
    owners = accessions.get(document.accession or "", [])
    if len(owners) == 1:
        return owners[0]
    return Reason.REPORT_SHARED if owners else Reason.REPORT_WITHOUT_IMAGE
