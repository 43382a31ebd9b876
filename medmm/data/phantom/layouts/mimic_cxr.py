"""MIMIC-CXR (DICOM) and MIMIC-CXR-JPG: folders by patient and study, reports beside them, four compressed tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medmm.data.phantom import files
from medmm.data.phantom.layouts import _material
from medmm.data.phantom.study import PhantomStudy
from medmm.types import Status

_COLUMNS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
_OBSERVED: Mapping[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectasis",),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation",),
    "Edema": ("edema",),
    "Fracture": ("rib_fracture",),
    "Lung Lesion": ("nodule", "mass"),
    "Pleural Effusion": ("pleural_effusion",),
    "Pneumothorax": ("pneumothorax",),
    "Support Devices": ("pacemaker", "endotracheal_tube"),
}
_CELLS = ((Status.PRESENT, "1.0"), (Status.UNCERTAIN, "-1.0"), (Status.ABSENT, "0.0"))
_PARTS = {"train": "train", "val": "validate", "test": "test"}
_HEADINGS = {"indication": "INDICATION", "technique": "TECHNIQUE", "comparison": "COMPARISON", "findings": "FINDINGS",
             "impression": "IMPRESSION"}  # fmt: skip
_MEANINGS = {"PA": "postero-anterior", "AP": "antero-posterior"}


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies with DICOM images.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    _write(root, seed, numbers, size, _dicom)


def write_jpg(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies with JPEG images.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    _write(root, seed, numbers, size, _jpg)


def _dicom(stem: Path, seed: int, study: PhantomStudy) -> None:
    files.write_image(stem.with_name(f"{stem.name}.dcm"), seed, study)


def _jpg(stem: Path, seed: int, study: PhantomStudy) -> None:
    _material.write_picture(stem.with_name(f"{stem.name}.jpg"), _material.grey(study))


def _write(
    root: Path, seed: int, numbers: Sequence[int], size: int, picture: Callable[[Path, int, PhantomStudy], None]
) -> None:
    parts = _material.parts(seed, numbers)
    metadata: list[dict[str, object]] = []
    split: list[dict[str, object]] = []
    labels: list[dict[str, object]] = []
    for study in _material.studies(seed, numbers, size):
        number = study.place.study
        ids = {"subject_id": 10_000_000 + study.place.patient, "study_id": 50_000_000 + number}
        image = _image_id(seed, number)
        patient = root / "files" / f"p{ids['subject_id'] // 1_000_000}" / f"p{ids['subject_id']}"
        folder = patient / f"s{ids['study_id']}"
        folder.mkdir(parents=True, exist_ok=True)
        picture(folder / image, seed, study)
        (patient / f"s{ids['study_id']}.txt").write_text(_text(study), encoding="utf-8")
        metadata.append({"dicom_id": image, **ids, **_described(study)})
        split.append({"dicom_id": image, **dict(reversed(ids.items())), "split": _PARTS[parts[number]]})
        labels.append({**ids, **_observed(study)})
    _material.write_table(root / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    _material.write_table(root / "mimic-cxr-2.0.0-split.csv.gz", split)
    for labeler in ("chexpert", "negbio"):
        _material.write_table(root / f"mimic-cxr-2.0.0-{labeler}.csv.gz", labels)


def _image_id(seed: int, number: int) -> str:
    digits = hashlib.sha256(f"medmm phantom {seed} {number}".encode()).hexdigest()
    return "-".join(digits[at : at + 8] for at in range(0, 40, 8))


def _text(study: PhantomStudy) -> str:
    lines = ["FINAL REPORT", f"EXAMINATION:  CHEST ({study.exposure.projection})", ""]
    for name, body in study.report.sections.items():
        lines += [f"{_HEADINGS[name]}:  {body}", ""]
    return " " * 32 + "\n ".join(lines)


def _described(study: PhantomStudy) -> dict[str, object]:
    view, (rows, columns) = study.exposure.projection, study.grey.shape
    return {
        "PerformedProcedureStepDescription": f"CHEST ({view})",
        "ViewPosition": view,
        "Rows": rows,
        "Columns": columns,
        "StudyDate": _material.day_of(study),
        "StudyTime": "120000.0",
        "ProcedureCodeSequence_CodeMeaning": f"CHEST ({view})",
        "ViewCodeSequence_CodeMeaning": _MEANINGS[view],
        "PatientOrientationCodeSequence_CodeMeaning": "Erect" if view == "PA" else "",
    }


def _observed(study: PhantomStudy) -> dict[str, object]:
    """What the report says, in the table's cells."""
    said = study.report.said
    cells: dict[str, object] = dict.fromkeys(_COLUMNS, "")
    for column, names in _OBSERVED.items():
        statuses = {said[name] for name in names}
        cells[column] = next((cell for status, cell in _CELLS if status in statuses), "")
    if not {"1.0", "-1.0"} & {cells[column] for column in _OBSERVED if column != "Support Devices"}:
        cells["No Finding"] = "1.0"
    return cells
