"""A task of the Medical Segmentation Decathlon: ``Task99_Phantom/`` with ``dataset.json``, images and labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from medmm.data.phantom.ct import LABELS
from medmm.data.phantom.layouts.volumes import MODALITY, write_case

FOLDER = "Task99_Phantom"


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write a training case a study.

    Args:
        root: Folder to write into.
        seed: The phantom's.
        numbers: Numbers of the studies.
        size: Rows and columns of a slice; there are half as many slices.
    """
    folder, training = root / FOLDER, []
    for number in numbers:
        name = f"phantom_{number:03d}.nii.gz"
        write_case(folder / "imagesTr" / name, folder / "labelsTr" / name, seed, number, size)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    about = {
        "name": "Phantom",
        "description": "Organs and findings of generated CT scans of the chest",
        "reference": "medmm",
        "licence": "Apache-2.0",
        "release": "1.0",
        "tensorImageSize": "3D",
        "modality": {"0": MODALITY},
        "labels": {"0": "background"} | {str(value): name for name, value in LABELS.items()},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(about, indent=4), encoding="utf-8")
