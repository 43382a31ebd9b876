"""nnU-Net's raw data, version 2: ``Dataset999_Phantom/`` with ``dataset.json``, ``imagesTr`` and ``labelsTr``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from medmm.data.phantom.ct import LABELS
from medmm.data.phantom.layouts.volumes import MODALITY, write_case

FOLDER = "Dataset999_Phantom"
_ENDING = ".nii.gz"


def write(root: Path, seed: int, numbers: Sequence[int], size: int) -> None:
    """Write a training case a study.

    Args:
        root: Folder to write into, ``nnUNet_raw``.
        seed: The phantom's.
        numbers: Numbers of the studies.
        size: Rows and columns of a slice; there are half as many slices.
    """
    folder = root / FOLDER
    for number in numbers:
        name = f"phantom_{number:03d}"
        image, label = folder / "imagesTr" / f"{name}_0000{_ENDING}", folder / "labelsTr" / f"{name}{_ENDING}"
        write_case(image, label, seed, number, size)
    about = {
        "channel_names": {"0": MODALITY},
        "labels": {"background": 0} | dict(LABELS),
        "numTraining": len(numbers),
        "file_ending": _ENDING,
    }
    (folder / "dataset.json").write_text(json.dumps(about, indent=4), encoding="utf-8")
