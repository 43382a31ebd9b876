"""Phantom studies, with the truth as findings and as answers to questions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medmm.config.schema import DataConfig
from medmm.config.sources import PhantomConfig
from medmm.data.phantom import cached, ct, generator
from medmm.data.phantom.options import Options
from medmm.data.phantom.questions import questions
from medmm.data.readers._common import age_band, patient_key
from medmm.data.readers._documents import read_document
from medmm.data.readers._files import fault, source_path
from medmm.data.readers._volumes import MASK
from medmm.errors import StudyError
from medmm.io.dicom import read_header
from medmm.reports.parse import read_report
from medmm.types import Finding, ImageRef, Laterality, Rejection, Severity, Status, Study, Zone

IMAGE = "image.dcm"


def read(config: DataConfig) -> Iterator[Study | Rejection]:
    """Read a folder that ``medmm phantom`` made; without a path, the first ``data.phantom.studies`` of seed 0.

    ``data.columns.label`` names numbers of ``studies.parquet`` to learn: ``age``, ``heart_share``.

    Raises:
        DataError: The folder holds no complete phantom.
    """
    wanted = config.phantom
    folder = source_path(config.path) if config.path is not None else _made(wanted)
    generator.require(folder)
    return _studies(folder, config.columns.labels)


def _made(wanted: PhantomConfig) -> Path:
    return cached(0, wanted.studies, wanted.size, options=Options.of(wanted))


def _studies(folder: Path, labels: Sequence[str]) -> Iterator[Study | Rejection]:
    import pyarrow.parquet as pq

    truth: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(folder / generator.TRUTH).to_pylist():
        truth[row["study_id"]].append(row)
    for fact in pq.read_table(folder / generator.STUDIES).to_pylist():
        found = _study(folder, fact, truth[fact["study_id"]])
        values = {name: float(fact[name]) for name in labels if isinstance(fact.get(name), int | float)}
        yield replace(found, values=values) if isinstance(found, Study) else found


def _study(folder: Path, fact: Mapping[str, Any], rows: list[dict[str, Any]]) -> Study | Rejection:
    place = folder / f"{fact['number']:06d}"
    images = [place / (fact.get("image") or IMAGE)] + ([place / fact["lateral"]] if fact.get("lateral") else [])
    for image in images:
        wrong = None if image.is_dir() else fault(image)
        if wrong is not None:
            return Rejection(fact["study_id"], *wrong, image)
    try:
        references = tuple([_reference(image, fact, first=image is images[0]) for image in images])
        said = place / fact["report"]
        report = read_document(said)[1] if said.suffix == ".dcm" else read_report(said)
    except StudyError as error:
        return Rejection(fact["study_id"], error.reason, error.what, place)
    return Study(
        study_id=fact["study_id"],
        patient_key=patient_key(fact["patient_id"], public=True),
        images=references,
        report=report,
        findings={row["finding"]: _finding(row) for row in rows},
        masks=_masks(folder, place, fact, rows),
        questions=tuple((one.text, one.answer) for one in questions(fact, rows)),
        sex=fact["sex"],
        age_band=age_band(fact["age"]),
        device=fact["device"],
        days=fact["days"],
        priors=(fact["prior"],) if fact["prior"] else (),
    )


def _masks(folder: Path, place: Path, fact: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Path]:
    """Masks of organs, or the label map of a CT scan, then those of the findings."""
    organs = {Path(name).stem: folder / name for name in fact.get("organs") or ()}
    label = {MASK: place / fact["label"]} if fact.get("label") else {}
    return {**label, **organs, **{row["finding"]: folder / row["mask"] for row in rows if row["mask"]}}


def labels(config: DataConfig) -> dict[str, tuple[int, ...]]:
    """What the values of CT label maps stand for, as ``phantom.json`` says; empty for radiographs.

    Raises:
        DataError: The folder holds no complete phantom.
    """
    if config.path is None:  # made on the spot
        return {name: (value,) for name, value in ct.LABELS.items()} if config.phantom.modality == "ct" else {}
    folder = source_path(config.path)
    generator.require(folder)
    said = json.loads((folder / generator.DESCRIPTION).read_text(encoding="utf-8"))
    return {str(name): (int(value),) for name, value in said.get("labels", {}).items()}


def _reference(image: Path, fact: Mapping[str, Any], first: bool) -> ImageRef:
    """What is known of a radiograph, or of a CT scan (a file, or the folder of a series).

    Raises:
        ImageError: The header cannot be read.
    """
    if fact.get("modality") == "CT":
        return ImageRef(path=image, modality="CT", view=fact["view"])
    header = read_header(image)
    return ImageRef(
        path=image, sop_uid=header.sop_uid, series_uid=header.series_uid, modality=header.modality,
        view=fact["view"] if first else header.view,
        rows=header.rows, columns=header.columns, spacing_mm=header.spacing_mm,
    )  # fmt: skip


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(
        status=Status(row["status"]),
        laterality=Laterality(row["laterality"]) if row["laterality"] else None,
        zone=Zone(row["zone"]) if row["zone"] else None,
        severity=Severity(row["severity"]) if row["severity"] else None,
        size_mm=row["size_mm"],
    )
