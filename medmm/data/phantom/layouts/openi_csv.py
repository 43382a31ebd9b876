"""Open-i's collection in its common CSV form: ``indiana_reports.csv``, ``indiana_projections.csv`` and PNG images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medmm.data.phantom.layouts import _material
from medmm.data.phantom.layouts.openi import coded

IMAGES = "images/images_normalized"
_SECTIONS = ("indication", "comparison", "findings", "impression")


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies: the pair of tables and 8-bit PNG images.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    reports: list[dict[str, object]] = []
    projections: list[dict[str, object]] = []
    for study in _material.studies(seed, numbers, size):
        uid = study.place.study + 1
        name = f"{uid}_IM-{uid:04d}-1001.dcm.png"
        _material.write_picture(root / IMAGES / name, _material.grey(study))
        terms = coded(study)
        reports.append(
            {
                "uid": uid,
                "MeSH": ";".join(terms),
                "Problems": ";".join(dict.fromkeys(term.partition("/")[0] for term in terms)),
                "image": f"Xray Chest {study.exposure.projection}",
                **{section: study.report.sections.get(section, "") for section in _SECTIONS},
            }
        )
        projections.append({"uid": uid, "filename": name, "projection": "Frontal"})
    _material.write_table(root / "indiana_reports.csv", reports)
    _material.write_table(root / "indiana_projections.csv", projections)
