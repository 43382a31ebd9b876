"""What DICOM holds beside a phantom study's images when it is asked for: report, segmentation, structure set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import documents, objects

if TYPE_CHECKING:
    from pydicom import Dataset

    from medmm.data.phantom.ct import PhantomVolume
    from medmm.data.phantom.study import PhantomStudy

REPORT, SEGMENTATION, STRUCTURE_SET = "report.dcm", "segmentation.dcm", "structure_set.dcm"
_ORGANS = ("lung_left", "lung_right", "heart")


def beside_radiograph(folder: Path, seed: int, study: PhantomStudy, image: Dataset, wanted: Collection[str]) -> None:
    """Write what is wanted about a radiograph into its folder.

    Args:
        folder: The study's.
        seed: The phantom's.
        study: The study.
        image: Its frontal image, as it was written.
        wanted: ``report``, ``segmentation``.
    """
    masks = {name: mask[None] for name, mask in study.masks.items()}
    _write(folder, seed, study, [image], masks, wanted)


def beside_series(
    folder: Path, seed: int, volume: PhantomVolume, series: Sequence[Path], wanted: Collection[str]
) -> None:
    """Write what is wanted about a CT series into its study's folder.

    Args:
        folder: The study's.
        seed: The phantom's.
        volume: The scan.
        series: Its slices, from feet to head.
        wanted: ``report``, ``segmentation``, ``structure_set``.
    """
    import pydicom

    sources = [pydicom.dcmread(path) for path in series]
    masks = dict(volume.masks) | {name: volume.organs[name] for name in _ORGANS}
    _write(folder, seed, volume, sources, masks, wanted)


def _write(
    folder: Path,
    seed: int,
    study: PhantomStudy | PhantomVolume,
    sources: Sequence[Dataset],
    masks: Mapping[str, npt.NDArray[Any]],
    wanted: Collection[str],
) -> None:
    number = study.place.study
    shown = {name: np.asarray(mask, bool) for name, mask in masks.items() if np.any(mask)}
    if "report" in wanted:
        write = documents.write_imaging_report if number % 2 else documents.write_basic_text
        write(folder / REPORT, sources[len(sources) // 2], study.report.sections, seed, number)
    if "segmentation" in wanted and shown:
        objects.write_segmentation(folder / SEGMENTATION, sources, shown, seed, number)
    if "structure_set" in wanted and shown:
        objects.write_structure_set(folder / STRUCTURE_SET, sources, shown, seed, number)
