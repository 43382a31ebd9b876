"""A folder of DICOM studies, each with its report beside it or in a table.

Every file is looked at, whatever its name. Files belong together by StudyInstanceUID; where de-identification has
taken it away, by SeriesInstanceUID; with neither, the slices of a folder are a study, and so is each projection.
The slices of a volume are one image. A report is a file (:mod:`medmm.data.readers._beside` says whose) or a row or
message of ``data.reports``, joined by accession number; where the latter is named, a file beside is no report. A study
without either has that of its structured report object. Segmentations and structure sets are the study's masks.
"""

from __future__ import annotations

import filecmp
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from medmm.config.schema import DataConfig
from medmm.data.headers import SLICED, Instance, read_headers
from medmm.data.readers._beside import Places, is_report
from medmm.data.readers._common import age_band, lone_patient_key, patient_key, sex_code, timelines
from medmm.data.readers._documents import document_reports, is_document, object_name
from medmm.data.readers._files import file_id, source_path
from medmm.data.readers._grouping import Groups
from medmm.data.readers._instances import masks_of, other_kind, record_of, unreadable
from medmm.data.readers._messages import is_messages, join_messages
from medmm.data.readers._rows import Table, open_table
from medmm.data.readers._stacks import images_of
from medmm.data.readers._study_reports import dated, reports_of
from medmm.errors import DataError, Reason, StudyError
from medmm.io.header import DicomHeader
from medmm.io.tree import walk
from medmm.types import ImageRef, Rejection, Report, Study

_NO_IMAGE = frozenset({"SR", "DOC"})
_COMPANIONS = frozenset({"PR", "KO", "RTPLAN", "RTDOSE", "REG", "FID", "RTRECORD"})  # about images; nothing is lost
_MASKS = {"SEG": "segmentation", "RTSTRUCT": "structure_set"}
_TEXTS = frozenset((".txt", ".xml", ".hl7", ".json"))  # no image, whatever they hold
_NAMED_DIRECTORY = "DICOMDIR"  # PS3.10 8.6: an index of the files, no study


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read studies from a folder of DICOM files; only headers are read.

    A DICOM file that cannot be read or holds no image is set aside, and so is a report that belongs to no study or to
    several. Files of another kind are passed over, each with ``Reason.NOT_AN_IMAGE``; text files beside the images
    without a word where ``data.reports`` is named, for the table may be what names them.

    Raises:
        DataError: There is no such folder, it holds no DICOM file, or ``data.reports`` is no such table.
    """
    root = source_path(config.path)
    if not root.is_dir():
        raise DataError("is a file, not a folder of studies", where="data.path", got=f"'{root.suffix}'")
    if not any(names for _, _, names in walk(root)):
        raise DataError("the folder is empty", where="data.path", expected="DICOM files")
    table, messages = None, None
    if config.reports is not None and is_messages(source_path(config.reports, "data.reports")):
        messages = source_path(config.reports, "data.reports")
    elif config.reports is not None:
        table = open_table(source_path(config.reports, "data.reports"), "data.reports")
        names = {name: getattr(config, name) for name in ("accession_column", "report_column", "report_date_column")}
        table.require({f"data.{name}": column for name, column in names.items() if column is not None})
    return _items(root, table, messages, config)


def _items(root: Path, table: Table | None, messages: Path | None, config: DataConfig) -> Iterator[Study | Rejection]:
    with Groups() as groups:
        scan = _Scan(root, groups, texts_are_reports=table is None and messages is None)
        yield from scan.images()
        if not len(groups):
            fix = "For other images, named by a table, use --data table:FILE."
            raise DataError(
                "the folder holds no DICOM image that can be read", where="data.path", got=scan.kinds(), fix=fix
            )
        yield from scan.reports()
        yield from scan.masks()
        if table is not None:
            yield from _join(table, config, scan.accessions, groups)
        if messages is not None:
            yield from join_messages(messages, scan.accessions, groups)
        placed = timelines((study_key(scan.patients[one], one), one, scan.days[one]) for one in scan.patients)
        folders = (root, root) if table is None else (table.path.parent, root)
        for study_id, records in groups:
            placing = (*placed[study_id], scan.days[study_id])
            yield from _study(study_id, records, placing, folders)


def study_key(patient_id: str, study_id: str) -> str:
    """Patient key of a study; a study without a patient's id is a patient of its own."""
    return patient_key(patient_id) if patient_id else lone_patient_key(study_id)


@dataclass(slots=True)
class _Scan:
    """The pass over all files. Of each study it keeps patient, day, accession number and folders, no more."""

    root: Path
    groups: Groups
    texts_are_reports: bool
    patients: dict[str, str] = field(default_factory=dict)
    days: dict[str, date | None] = field(default_factory=dict)
    accessions: dict[str, list[str]] = field(default_factory=dict)
    _places: Places = field(init=False)
    _reports: list[Path] = field(default_factory=list)
    _documents: list[tuple[str, Path]] = field(default_factory=list)
    _masks: list[tuple[str, str, Path]] = field(default_factory=list)
    _kinds: Counter[str] = field(default_factory=Counter)
    _instances: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._places = Places(self.root)

    def kinds(self) -> str:
        """Suffixes that were met, for the error of a folder without DICOM."""
        return ", ".join(f"{number} x {kind or 'no suffix'}" for kind, number in self._kinds.most_common(8))

    def images(self) -> Iterator[Rejection]:
        """Gather image headers by study; yield what is no image."""
        others: deque[Rejection] = deque()
        keep_names: deque[bool] = deque()
        for path, instance in read_headers(self._candidates(keep_names, others)):
            while others:
                yield others.popleft()
            keep_name = keep_names.popleft()
            if isinstance(instance, StudyError):
                yield unreadable(path, instance)
            else:
                yield from self._image(path, instance, keep_name)
        yield from others
        self._places.finish()

    def _candidates(self, keep_names: deque[bool], others: deque[Rejection]) -> Iterator[Path]:
        """Files that may be DICOM, in order, each with whether its name matters to a report beside it; fill the queues.

        The files are looked at some way ahead of the headers that come of them, hence the queues.
        """
        faults: list[OSError] = []
        for folder, folders, names in walk(self.root, faults.append):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
            reports = [path for path in paths if is_report(path)] if self.texts_are_reports else []
            self._reports += reports
            are_reports = set(reports)
            for path in paths:
                self._kinds[path.suffix.lower()] += 1
                if path.name == _NAMED_DIRECTORY or path.suffix.lower() in _TEXTS or path in are_reports:
                    continue
                if (other := other_kind(path)) is not None:
                    others.append(other)
                else:
                    keep_names.append(bool(reports))
                    yield path
        for fault in faults:
            path = Path(fault.filename)
            others.append(Rejection(file_id(path), Reason.FILE_UNREADABLE, "the folder cannot be listed", path))

    def reports(self) -> Iterator[Rejection]:
        """Give each report file and structured report to its study; yield those that belong to none."""
        for path in self._reports:
            owner = self._places.owner(path)
            if isinstance(owner, Rejection):
                yield owner
            else:
                self.groups.add(owner, {"report_file": str(path)})
        for owner, path in self._documents:
            if owner in self.groups:
                self.groups.add(owner, {"document": str(path)})
            else:
                yield Rejection(owner, Reason.REPORT_WITHOUT_IMAGE, "no image belongs to the report's study", path)

    def _is_copy(self, path: Path, header: DicomHeader) -> bool:
        """Whether a file is one that has come before, byte for byte; who anonymises badly gives all one UID."""
        first = self._instances.setdefault(header.sop_uid, path) if header.sop_uid else path
        return first is not path and filecmp.cmp(first, path, shallow=False)

    def masks(self) -> Iterator[Rejection]:
        """Give each segmentation and structure set to its study; yield those whose images are not here."""
        for owner, modality, path in self._masks:
            if owner in self.groups:
                self.groups.add(owner, {"mask": str(path), "mask_kind": _MASKS[modality]})
            else:
                yield Rejection(owner, Reason.NOT_AN_IMAGE, f"{modality} of a study whose images are not here", path)

    def _image(self, path: Path, instance: Instance, keep_name: bool) -> Iterator[Rejection]:
        header = instance.header
        place = (path.parent if header.modality in SLICED else path).relative_to(self.root)
        study_id = header.study_uid or header.series_uid or str(place)
        if is_document(header):
            self._documents.append((study_id, path))
        elif header.modality in _MASKS:
            self._masks.append((study_id, str(header.modality), path))
        elif header.modality in _COMPANIONS:
            yield Rejection(study_id, Reason.NOT_AN_IMAGE, f"an object about images ({object_name(header)})", path)
        elif not header.has_pixels or header.rows is None or header.modality in _NO_IMAGE:
            yield Rejection(study_id, Reason.NO_PIXELS, f"an object without an image ({object_name(header)})", path)
        elif self._is_copy(path, header):
            yield Rejection(study_id, Reason.IMAGE_DUPLICATE, "a copy of another file of the study", path)
        else:
            self.groups.add(study_id, record_of(path, instance))
            self._places.add(study_id, path, header.accession or None, keep_name)
            if study_id not in self.patients:
                self.patients[study_id] = header.patient_id or ""
                self.days[study_id] = header.study_date
                if header.accession:
                    self.accessions.setdefault(header.accession, []).append(study_id)


def _join(table: Table, config: DataConfig, accessions: Mapping[str, list[str]], groups: Groups) -> Iterator[Rejection]:
    """Give each row's report to the study of its accession number; yield those that belong to none or several."""
    columns = [config.accession_column, config.report_column, config.report_date_column]
    for number, row in table.rows(tuple(filter(None, columns))):
        if row is None:
            yield Rejection(f"row {number}", Reason.ROW_INVALID, f"row {number} has more fields than columns")
            continue
        accession, text = row[config.accession_column], row[config.report_column]
        owners = accessions.get(accession, [])
        name = owners[0] if len(owners) == 1 else accession or f"row {number}"
        if not text:
            yield Rejection(name, Reason.REPORT_EMPTY, f"row {number} of data.reports has no text")
        elif not owners:
            yield Rejection(name, Reason.REPORT_WITHOUT_IMAGE, "no image has the report's accession number")
        elif len(owners) > 1:
            yield Rejection(name, Reason.REPORT_SHARED, "several studies have the report's accession number")
        else:
            made = row[config.report_date_column] if config.report_date_column else ""
            groups.add(owners[0], {"report_text": text, "report_date": made})


def _study(
    study_id: str,
    records: Sequence[dict[str, Any]],
    placed: tuple[int | None, tuple[str, ...], date | None],
    folders: Sequence[Path],
) -> Iterator[Study | Rejection]:
    headers = [record for record in records if "path" in record]
    patients = {record["patient_id"] for record in headers if record["patient_id"]}
    if len(patients) > 1:
        yield Rejection(study_id, Reason.HEADER_INVALID, "the study's images name different patients")
        return
    images = list(images_of(study_id, headers))
    yield from (one for one in images if isinstance(one, Rejection))
    reports: list[Report] = []
    yield from reports_of(study_id, records, folders, reports)
    documents = [Path(record["document"]) for record in records if "document" in record]
    yield from document_reports(study_id, documents, reports)

    if reports and placed[2] is not None:
        reports[0] = dated(reports[0], records, placed[2])

    def first(name: str) -> Any:
        return next((record[name] for record in headers if record[name] is not None), None)

    yield Study(
        study_id=study_id,
        patient_key=study_key(patients.pop() if patients else "", study_id),
        images=tuple(one for one in images if isinstance(one, ImageRef)),
        report=reports[0] if reports else None,
        masks=masks_of(records),
        sex=sex_code(first("sex")),
        age_band=age_band(first("age")),
        device=first("device"),
        days=placed[0],
        priors=placed[1],
    )
