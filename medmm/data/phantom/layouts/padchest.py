"""PadChest: its table, lists as Python literals, reports in stemmed Spanish, 16-bit PNG images in numbered folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medmm.data.phantom import files
from medmm.data.phantom.disease import Condition
from medmm.data.phantom.layouts import _material
from medmm.data.phantom.study import PhantomStudy
from medmm.types import Laterality, Zone

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
_COLUMNS = (
    "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
    "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Modality_DICOM", "Manufacturer_DICOM",
    "PhotometricInterpretation_DICOM", "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM",
    "SpatialResolution_DICOM", "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM",
    "Columns_DICOM", "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime",
    "RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel", "Labels", "Localizations",
    "LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS",
)  # fmt: skip
_WORDS: Mapping[str, tuple[str, str]] = {
    "pleural_effusion": ("pleural effusion", "derram pleural"),
    "pneumothorax": ("pneumothorax", "neumotorax"),
    "consolidation": ("consolidation", "consolid"),
    "atelectasis": ("atelectasis", "atelectasi"),
    "edema": ("pulmonary edema", "edem pulmon"),
    "nodule": ("nodule", "nodul pulmon"),
    "mass": ("pulmonary mass", "mas pulmon"),
    "cardiomegaly": ("cardiomegaly", "cardiomegali"),
    "emphysema": ("emphysema", "enfisem pulmon"),
    "rib_fracture": ("rib fracture", "fractur costal"),
    "pacemaker": ("pacemaker", "marcapas"),
    "endotracheal_tube": ("endotracheal tube", "tub endotraqueal"),
}
"""Finding to PadChest's label and to the words of a report."""
_SIDES = {Laterality.LEFT: "izquierd", Laterality.RIGHT: "derech", Laterality.BILATERAL: "bilateral"}
_ZONES = {
    Zone.UPPER: ("loc upper lobe", "lobul superior"),
    Zone.MID: ("loc middle lung field", "camp medi"),
    Zone.LOWER: ("loc lower lobe", "lobul inferior"),
    Zone.APICAL: ("loc apical", "apical"),
    Zone.BASAL: ("loc basal", "basal"),
}
_NORMAL = ("normal", "sin hallazg patolog signific")


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies: the table, and ``0/<image>.png`` with 16 bits.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    rows: list[dict[str, object]] = []
    for place, study in enumerate(_material.studies(seed, numbers, size)):
        study_id = _digits(seed, study.place.study, "padchest study")
        image = f"{study_id}_{_digits(seed, study.place.study, 'padchest image')[:6]}.png"
        _material.write_picture(root / "0" / image, _material.grey(study, 16))
        rows.append({"": place, "ImageID": image, "StudyID": study_id} | _header(seed, study) | _report(study))
    _material.write_table(root / TABLE, rows, _COLUMNS)


def _digits(seed: int, number: int, kind: str) -> str:
    return files.uid(seed, number, kind).rpartition(".")[2]


def _header(seed: int, study: PhantomStudy) -> dict[str, object]:
    day = _material.day_of(study)
    rows, columns = study.grey.shape
    return {
        "ImageDir": 0,
        "StudyDate_DICOM": day,
        "PatientID": _digits(seed, study.place.patient, "padchest patient"),
        "PatientBirth": f"{int(day[:4]) - study.age}.0",
        "PatientSex_DICOM": study.who.sex,
        "ViewPosition_DICOM": study.exposure.projection,
        "Projection": "PA" if study.exposure.projection == "PA" else "AP_horizontal",
        "MethodProjection": "Manual review of DICOM fields",
        "Pediatric": "No",
        "Modality_DICOM": "DX",
        "Manufacturer_DICOM": "PhantomImaging",
        "PhotometricInterpretation_DICOM": "MONOCHROME2",
        "BitsStored_DICOM": 16,
        "Rows_DICOM": rows,
        "Columns_DICOM": columns,
    }


def _report(study: PhantomStudy) -> dict[str, object]:
    said = [_sentence(study, condition) for condition in study.conditions] or [([_NORMAL[0]], _NORMAL[1])]
    sentences = [labels for labels, _ in said]
    texts = [text for labels in sentences for text in labels]
    return {
        "ReportID": 4_000_000 + study.place.study,
        "Report": " ".join(f"{words} ." for _, words in said),
        "MethodLabel": "Physician",
        "Labels": repr([text for text in texts if not text.startswith("loc ")]),
        "Localizations": repr([text for text in texts if text.startswith("loc ")]),
        "LabelsLocalizationsBySentence": repr(sentences),
        "labelCUIS": "[]",
        "LocalizationsCUIS": "[]",
    }


def _sentence(study: PhantomStudy, condition: Condition) -> tuple[list[str], str]:
    """A finding as label and localizations, and in words."""
    label, words = _WORDS[condition.name]
    labels, stems = [label], [words]
    facts = study.facts.get(condition.name)
    zone = (facts.zone if facts is not None else None) or condition.zone
    if zone in _ZONES:
        labels.append(_ZONES[zone][0])
        stems.append(_ZONES[zone][1])
    if condition.side is not None:
        labels.append(f"loc {condition.side}")
        stems.append(_SIDES[condition.side])
    return labels, " ".join(stems)
