"""Phantom studies, with the truth as findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medmm.config.schema import DataConfig
from medmm.data.phantom import cached, generator
from medmm.data.readers._common import age_band, patient_key
from medmm.data.readers._files import fault, source_path
from medmm.errors import StudyError
from medmm.io.dicom import read_header
from medmm.reports.parse import read_report
from medmm.types import Finding, ImageRef, Laterality, Rejection, Severity, Status, Study, Zone


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read a folder that ``medmm phantom`` made; without a path, the first ``data.phantom.studies`` of seed 0.

    Raises:
        DataError: The folder holds no complete phantom.
    """
    wanted = config.phantom
    folder = source_path(config.path) if config.path is not None else cached(0, wanted.studies, wanted.size)
    generator.require(folder)
    return _studies(folder)


def _studies(folder: Path) -> Iterator[Study | Rejection]:
    import pyarrow.parquet as pq

    truth: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(folder / generator.TRUTH).to_pylist():
        truth[row["study_id"]].append(row)
    for fact in pq.read_table(folder / generator.STUDIES).to_pylist():
        yield _study(folder, fact, truth[fact["study_id"]])


def _study(folder: Path, fact: Mapping[str, Any], rows: list[dict[str, Any]]) -> Study | Rejection:
    place = folder / f"{fact['number']:06d}"
    image = place / "image.dcm"
    wrong = fault(image)
    if wrong is not None:
        return Rejection(fact["study_id"], *wrong, image)
    try:
        header, report = read_header(image), read_report(place / fact["report"])
    except StudyError as error:
        return Rejection(fact["study_id"], error.reason, error.what, place)
    reference = ImageRef(
        path=image, sop_uid=header.sop_uid, series_uid=header.series_uid, modality=header.modality, view=fact["view"],
        rows=header.rows, columns=header.columns, spacing_mm=header.spacing_mm,
    )  # fmt: skip
    return Study(
        study_id=fact["study_id"],
        patient_key=patient_key(fact["patient_id"], public=True),
        images=(reference,),
        report=report,
        findings={row["finding"]: _finding(row) for row in rows},
        masks={row["finding"]: folder / row["mask"] for row in rows if row["mask"]},
        sex=fact["sex"],
        age_band=age_band(fact["age"]),
        device=fact["device"],
        days=fact["days"],
        priors=(fact["prior"],) if fact["prior"] else (),
    )


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(
        status=Status(row["status"]),
        laterality=Laterality(row["laterality"]) if row["laterality"] else None,
        zone=Zone(row["zone"]) if row["zone"] else None,
        severity=Severity(row["severity"]) if row["severity"] else None,
        size_mm=row["size_mm"],
    )
