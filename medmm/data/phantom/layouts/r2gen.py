"""R2Gen's ``annotation.json`` with its own split, and ``images/CXR1_IM-0001/0.png`` as in its IU X-ray set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from medmm.data.phantom.layouts import _material


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write studies: one JSON file, and a folder of 8-bit PNG images a study.

    A report is its findings, else its impression.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Studies.
        size: Rows and columns of an image.
    """
    items: dict[str, list[dict[str, object]]] = {"train": [], "val": [], "test": []}
    parts = _material.parts(seed, numbers)
    for study in _material.studies(seed, numbers, size):
        uid, sections = study.place.study + 1, study.report.sections
        study_id, part = f"CXR{uid}_IM-{uid:04d}", parts[study.place.study]
        image = f"{study_id}/0.png"
        _material.write_picture(root / "images" / image, _material.grey(study))
        report = sections.get("findings") or sections.get("impression") or study.report.text()
        items[part].append({"id": study_id, "report": report, "image_path": [image], "split": part})
    (root / "annotation.json").write_text(json.dumps(items), encoding="utf-8")
