"""The fourteen observations of CheXpert under medmm's names (Irvin et al. 2019, table 1; NegBio's table has the same).

A cell holds 1 (present), 0 (absent), -1 (uncertain) or nothing (not mentioned).
"""

from __future__ import annotations

from collections.abc import Mapping

from medmm.types import Finding, Status

OBSERVATIONS: Mapping[str, str] = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "edema",
    "Enlarged Cardiomediastinum": "enlarged_cardiomediastinum",
    "Fracture": "fracture",
    "Lung Lesion": "lung_lesion",
    "Lung Opacity": "opacity",
    "No Finding": "no_finding",
    "Pleural Effusion": "pleural_effusion",
    "Pleural Other": "pleural_other",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
    "Support Devices": "support_devices",
}
_STATUSES = {1.0: Status.PRESENT, 0.0: Status.ABSENT, -1.0: Status.UNCERTAIN}


def observed(row: Mapping[str, str]) -> dict[str, Finding] | None:
    """Findings of a row of labels; those not mentioned have no entry.

    Args:
        row: Column to cell; a column that is not there counts as not mentioned.

    Returns:
        None where a cell holds something else than 1, 0, -1 or nothing.
    """
    found: dict[str, Finding] = {}
    for column, name in OBSERVATIONS.items():
        text = row.get(column, "")
        if not text:
            continue
        try:
            found[name] = Finding(_STATUSES[float(text)])
        except (ValueError, KeyError):
            return None
    return found
