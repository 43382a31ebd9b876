"""Studies as rows of a manifest and back, without loss: one row an image, one without path for a study without any."""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medmm.types import Change, Finding, ImageRef, Laterality, Report, Severity, Span, Status, Study, TextPart, Zone

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
_TEXTS = (
    "study_id", "patient_key", "path", "sop_uid", "series_uid", "modality", "view", "laterality", "content_hash",
    "body_part",
    "report", "report_format", "report_language", "report_parts", "findings", "masks", "questions", "values",
    "sex", "age_band", "device", "split",
)  # fmt: skip
_NUMBERS = ("image", "rows", "columns", "frames", "days", "report_days_after")


def schema() -> pa.Schema:
    """Columns of a manifest.

    ``image`` counts a study's images from 0. ``report_parts`` (character offsets of sections and sentences),
    ``findings``, ``masks``, ``questions`` and ``values`` are JSON.
    """
    import pyarrow as pa

    fields = [pa.field(name, pa.string()) for name in _TEXTS] + [pa.field(name, pa.int32()) for name in _NUMBERS]
    fields.append(pa.field("report_repaired", pa.bool_()))
    lists = [pa.field("spacing_mm", pa.list_(pa.float64()))]
    lists += [pa.field(name, pa.list_(pa.string())) for name in ("priors", "slices")]
    return pa.schema(fields + lists)


def rows_of(study: Study) -> list[Row]:
    """Rows of a study; what belongs to the study stands in each of them."""
    own: Row = {
        "study_id": study.study_id,
        "patient_key": study.patient_key,
        "findings": _dump({name: _finding_record(finding) for name, finding in study.findings.items()}),
        "masks": _dump({name: str(path) for name, path in study.masks.items()}),
        "questions": _dump([list(pair) for pair in study.questions]),
        "values": _dump(dict(study.values)),
        "sex": study.sex,
        "age_band": study.age_band,
        "device": study.device,
        "days": study.days,
        "priors": list(study.priors),
        "split": study.split,
    } | _report_record(study.report)
    return [own | _image_record(number, image) for number, image in enumerate(study.images)] or [own | {"image": 0}]


def studies_of(rows: Iterable[Row]) -> Iterator[Study]:
    """Yield the studies of rows in which those of a study stand together; holds one study's rows at a time."""
    for _, own in itertools.groupby(rows, key=operator.itemgetter("study_id")):
        yield study_of(list(own))


def study_of(rows: Sequence[Row]) -> Study:
    """The study of its rows, in the order of its images."""
    first = rows[0]
    return Study(
        study_id=first["study_id"],
        patient_key=first["patient_key"],
        images=tuple(image_of(row) for row in rows if row["path"] is not None),
        report=_report(first),
        findings={name: _finding(record) for name, record in _load(first["findings"], {}).items()},
        masks={name: Path(path) for name, path in _load(first["masks"], {}).items()},
        questions=tuple((question, answer) for question, answer in _load(first["questions"], [])),
        sex=first["sex"],
        age_band=first["age_band"],
        device=first["device"],
        days=first["days"],
        priors=tuple(first["priors"] or ()),
        split=first["split"],
        values=_load(first.get("values"), {}),
    )


def fingerprint(study: Study) -> bytes:
    """SHA-256 of what a study says, apart from where its files lie, whose it is and which split it is in."""
    record = [
        study.study_id,
        [[image.sop_uid or image.path.name, image.view, image.content_hash, *_count(image)] for image in study.images],
        study.report.raw if study.report else None,
        {name: _finding_record(finding) for name, finding in study.findings.items()},
        sorted(study.masks),
        study.questions,
        [study.sex, study.age_band, study.device],
        *([dict(study.values)] if study.values else []),  # hashes of studies without numbers stay what they were
    ]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).digest()


def _count(image: ImageRef) -> list[int]:
    return [len(image.slices)] if image.slices else []


def _image_record(number: int, image: ImageRef) -> Row:
    return {
        "image": number,
        "path": str(image.path),
        "sop_uid": image.sop_uid,
        "series_uid": image.series_uid,
        "modality": image.modality,
        "view": image.view,
        "laterality": image.laterality,
        "rows": image.rows,
        "columns": image.columns,
        "frames": image.frames,
        "spacing_mm": None if image.spacing_mm is None else list(image.spacing_mm),
        "content_hash": image.content_hash,
        "body_part": image.body_part,
        "slices": [str(path) for path in image.slices] or None,
    }


def image_of(row: Mapping[str, Any]) -> ImageRef:
    """The image of a row; columns that a reader or an older manifest does not have are unknown."""
    return ImageRef(
        path=Path(row["path"]),
        sop_uid=row["sop_uid"],
        series_uid=row["series_uid"],
        modality=row["modality"],
        view=row["view"],
        laterality=None if row["laterality"] is None else Laterality(row["laterality"]),
        rows=row["rows"],
        columns=row["columns"],
        frames=row["frames"] or 1,
        spacing_mm=None if row["spacing_mm"] is None else tuple(row["spacing_mm"]),
        content_hash=row.get("content_hash"),
        body_part=row.get("body_part"),
        slices=tuple(map(Path, row.get("slices") or ())),
    )


def _report_record(report: Report | None) -> Row:
    if report is None:
        return {}
    parts = {
        "sections": {name: [part.start, part.end, part.section] for name, part in report.sections.items()},
        "sentences": [[part.start, part.end, part.section] for part in report.sentences],
    }
    return {
        "report": report.raw,
        "report_format": report.source_format,
        "report_language": report.language,
        "report_days_after": report.days_after,
        "report_repaired": report.repaired,
        "report_parts": _dump(parts),
    }


def _report(row: Row) -> Report | None:
    raw = row["report"]
    if raw is None:
        return None
    parts = _load(row["report_parts"], {"sections": {}, "sentences": []})
    return Report(
        raw=raw,
        sections={name: _part(raw, place) for name, place in parts["sections"].items()},
        sentences=tuple(_part(raw, place) for place in parts["sentences"]),
        source_format=row["report_format"],
        language=row["report_language"],
        days_after=row.get("report_days_after"),
        repaired=bool(row.get("report_repaired")),
    )


def _part(raw: str, place: Sequence[Any]) -> TextPart:
    start, end, section = place
    return TextPart(raw[start:end], start, end, section)


def _finding_record(finding: Finding) -> Row:
    span = finding.span
    record = {
        "status": finding.status,
        "laterality": finding.laterality,
        "zone": finding.zone,
        "severity": finding.severity,
        "span": None if span is None else [span.start, span.end],
        "size_mm": finding.size_mm,
        "probability": finding.probability,
        "change": finding.change,
    }
    return {key: value for key, value in record.items() if value is not None}


def _finding(record: Mapping[str, Any]) -> Finding:
    return Finding(
        status=Status(record["status"]),
        laterality=Laterality(record["laterality"]) if "laterality" in record else None,
        zone=Zone(record["zone"]) if "zone" in record else None,
        severity=Severity(record["severity"]) if "severity" in record else None,
        span=Span(*record["span"]) if "span" in record else None,
        size_mm=record.get("size_mm"),
        probability=record.get("probability"),
        change=Change(record["change"]) if "change" in record else None,
    )


def _dump(value: Any) -> str | None:
    """JSON, None for what is empty."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else None


def _load(text: str | None, empty: Any) -> Any:
    return empty if text is None else json.loads(text)
