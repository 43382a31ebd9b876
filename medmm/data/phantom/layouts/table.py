"""A table of one's own, as most hospitals export: ``studies.csv`` and a folder of PNG images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medmm.data.phantom import files
from medmm.data.phantom.layouts import _material

TABLE = "studies.csv"
COLUMNS: Mapping[str, str] = {
    "image": "image", "report": "report", "patient": "patient", "study": "study", "view": "view", "split": "split",
}  # fmt: skip
"""What the reader has to be told: ``data.columns``."""


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies: a row each, and 8-bit PNG images.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    rows: list[dict[str, object]] = []
    parts = _material.parts(seed, numbers)
    for study in _material.studies(seed, numbers, size):
        number = study.place.study
        image = f"images/{number:06d}.png"
        _material.write_picture(root / image, _material.grey(study))
        rows.append(
            {
                "study": f"PH{seed}-{number:06d}",
                "patient": files.patient_id(seed, study.place.patient),
                "image": image,
                "view": study.exposure.projection,
                "sex": study.who.sex,
                "age": study.age,
                "split": parts[number],
                "report": study.report.text(),
            }
        )
    _material.write_table(root / TABLE, rows)
