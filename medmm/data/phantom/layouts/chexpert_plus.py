"""CheXpert Plus: ``df_chexpert_plus_240401.csv``, which names JPEG files, and the PNG images of its release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medmm.data.phantom import files
from medmm.data.phantom.layouts import _material
from medmm.data.phantom.study import PhantomStudy

TABLE = "df_chexpert_plus_240401.csv"
_COLUMNS = (
    "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order",
    "report", "section_narrative", "section_clinical_history", "section_history", "section_comparison",
    "section_technique", "section_procedure_comments", "section_findings", "section_impression",
    "section_end_of_impression", "section_summary", "section_accession_number", "age", "sex", "race", "ethnicity",
    "interpreter_needed", "insurance_type", "recent_bmi", "deceased",
)  # fmt: skip
_SECTIONS: Mapping[str, str] = {
    "indication": "clinical_history", "technique": "technique", "comparison": "comparison", "findings": "findings",
    "impression": "impression",
}  # fmt: skip
_SEXES = {"F": "Female", "M": "Male"}


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies: the table, and ``PNG/train/patient00001/study1/view1_frontal.png``.

    The collection has no test part: its own two are train and valid.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    parts = _material.parts(seed, numbers)
    rows: list[dict[str, object]] = []
    for study in _material.studies(seed, numbers, size):
        part = "train" if parts[study.place.study] == "train" else "valid"
        patient = f"patient{study.place.patient + 1:05d}"
        order = 1 if study.place.prior is None else 2
        stem = f"{part}/{patient}/study{order}/view1_frontal"
        _material.write_picture(root / "PNG" / f"{stem}.png", _material.grey(study))
        rows.append(
            {
                "path_to_image": f"{stem}.jpg",
                "path_to_dcm": f"{stem}.dcm",
                "frontal_lateral": "Frontal",
                "ap_pa": study.exposure.projection,
                "deid_patient_id": patient,
                "patient_report_date_order": order,
                "section_accession_number": files.uid(seed, study.place.study, "accession")[-8:],
                "age": float(study.age),
                "sex": _SEXES[study.who.sex],
                "deceased": "No",
                **_report(study),
            }
        )
    _material.write_table(root / TABLE, rows, _COLUMNS)


def _report(study: PhantomStudy) -> dict[str, str]:
    sections = {_SECTIONS[name]: body for name, body in study.report.sections.items()}
    text = "\n\n".join(f"{name.replace('_', ' ').upper()}:\n{body}" for name, body in sections.items())
    narrative = f"RADIOGRAPHIC EXAMINATION OF THE CHEST, {study.exposure.projection} VIEW"
    return {
        "report": f"NARRATIVE:\n{narrative}\n\n{text}\n",
        "section_narrative": narrative,
        **{f"section_{name}": body for name, body in sections.items()},
    }
