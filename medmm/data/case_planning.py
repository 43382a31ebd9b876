"""Which grid a segmentation model works on, planned from its training images in the manner of nnU-Net.

Isensee et al. 2021 (https://doi.org/10.1038/s41592-020-01008-z): spacing from the medians, a patch as large as memory
allows with the proportions of the images, intensities from what lies in the masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.case_grid import CaseGrid
from medmm.data.case_masks import Labels, named_masks, read_masks
from medmm.errors import DataError, ImageError, Reason
from medmm.io.image import read_image
from medmm.types import Image, Study

_LOOKED_AT = 16  # training images
_VALUES = 20_000  # of each that are kept
_MOST_PATCHES = 8  # of the median volume; a finer grid would see too little at once
_ANISOTROPIC = 3.0  # spacing over the finest from which on an axis counts as coarse
_CLIPPED = (0.5, 99.5)  # per cent of the values in masks
_HOUNSFIELD = -200.0  # no MR or PET goes below; CT does, in every lung and outside of the body


@dataclass(frozen=True)
class _Look:
    """What one volume says: its size, spacing, and some values within its masks."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    inside: npt.NDArray[np.float32]
    lowest: float


def plan_grid(
    config: Config, studies: Sequence[Study], labels: Labels, classes: Sequence[str], most_voxels: int, multiple: int
) -> CaseGrid:
    """Plan the grid.

    Args:
        config: What it fixes is not planned.
        studies: The training studies.
        labels: Structure to the values of its voxels.
        classes: What is outlined.
        most_voxels: Voxels of a patch that the machine has room for.
        multiple: Of which the sides of a patch must be multiples.

    Raises:
        DataError: None of the images can be read.
    """
    size, depth = _up(config.preprocess.size, multiple), config.preprocess.depth
    if depth is None and not shows_volumes(studies):
        return CaseGrid((size, size))
    looks = _looks(studies, labels, classes)
    wanted = config.segmentation
    spacing: tuple[float, ...] = wanted.spacing_mm or _spacing(looks, most_voxels * _MOST_PATCHES)
    extents = [np.multiply(look.shape, look.spacing_mm) for look in looks]
    median: list[float] = (np.median(extents, axis=0) / spacing).tolist()
    patch: tuple[int, ...] | None = wanted.patch or ((depth, size, size) if depth is not None else None)
    patch = patch or _patch(median, spacing, most_voxels, multiple)
    low, high = _range(looks)
    return CaseGrid(tuple(_up(side, multiple) for side in patch), tuple(spacing), low, high)


def shows_volumes(studies: Iterable[Study]) -> bool:
    """Whether the first image that can be read is a volume.

    Raises:
        DataError: None can be read.
    """
    seen: set[Reason] = set()
    for study in studies:
        try:
            array = read_image(study.images[0].source, window=None).array
        except ImageError as error:
            seen.add(error.reason)
            continue
        return array.ndim == 4 and array.shape[1] > 1
    got = ", ".join(sorted(map(str, seen))) or "no study"
    raise DataError("no training image can be read", where="data", got=got)


def choose_classes(studies: Sequence[Study], labels: Labels, wanted: Sequence[str]) -> tuple[str, ...]:
    """Classes that training studies show: those that are wanted, else all that the data name.

    Raises:
        DataError: A class that is wanted is shown by no training study; or there is none at all.
    """
    named: dict[str, None] = {}
    for study in studies:
        named.update(dict.fromkeys(named_masks(study, labels)))
    candidates = list(wanted) or [name for name in labels if name in named] or sorted(named)
    shown = _shown(studies, labels, [name for name in candidates if name in named])
    missing = [name for name in candidates if name not in shown]
    if (wanted and missing) or not shown:
        what = "no training study shows this class" if missing else "no training study has a mask that can be read"
        fix = "Leave it out of segmentation.classes, or give data that show it."
        raise DataError(what, where="segmentation.classes", got=", ".join(missing) or None,
                        expected=" | ".join(shown or named) or "studies with masks", fix=fix)  # fmt: skip
    return tuple(name for name in candidates if name in shown)


def _shown(studies: Sequence[Study], labels: Labels, candidates: Sequence[str]) -> list[str]:
    """Candidates that masks show; label maps are read until all are found."""
    shown = {name for study in studies for name in candidates if name in study.masks and name not in labels}
    for study in studies:
        if shown >= set(candidates):
            break
        try:
            image = read_image(study.images[0].source, window=None)
            masks = read_masks(study, image, labels, candidates)
        except ImageError:
            continue  # set aside with its reason when the cases are made
        shown |= {name for name, mask in masks.items() if mask.any()}
    return [name for name in candidates if name in shown]


def _looks(studies: Sequence[Study], labels: Labels, classes: Sequence[str]) -> list[_Look]:
    looks, reader = [], CaseGrid((1, 1, 1))
    for study in studies[:: max(1, len(studies) // _LOOKED_AT)][:_LOOKED_AT]:
        try:
            image = reader.read(study.images[0].source)
            masks = read_masks(study, image, labels, classes)
        except ImageError:
            continue  # set aside with its reason when the cases are made
        looks.append(_look(image, list(masks.values())))
    if not looks:
        raise DataError("no training volume with masks can be read", where="data", fix="See quarantine.jsonl.")
    return looks


def _look(image: Image, masks: Sequence[npt.NDArray[np.bool_]]) -> _Look:
    values = image.array[0]
    inside = values[np.logical_or.reduce(masks)] if masks else values.ravel()
    inside = inside[np.isfinite(inside)]
    assert image.spacing_mm is not None
    return _Look(values.shape, image.spacing_mm, inside[:: max(1, inside.size // _VALUES)], float(np.nanmin(values)))


def _spacing(looks: Sequence[_Look], most_voxels: int) -> tuple[float, ...]:
    """The median spacing, finer along an axis of thick slices, coarser where the median volume would be too large."""
    spacings = np.array([look.spacing_mm for look in looks])
    spacing = np.median(spacings, axis=0)
    coarse = int(spacing.argmax())
    if spacing[coarse] > _ANISOTROPIC * np.delete(spacing, coarse).min():
        spacing[coarse] = max(np.percentile(spacings[:, coarse], 10), np.delete(spacing, coarse).max())
    extent = np.median([np.multiply(look.shape, look.spacing_mm) for look in looks], axis=0)
    while np.prod(extent / spacing) > most_voxels:
        spacing[int(spacing.argmin())] *= 1.02
    return tuple(round(float(step), 3) for step in spacing)


def _patch(median: Sequence[float], spacing: Sequence[float], most_voxels: int, multiple: int) -> tuple[int, ...]:
    """The median volume, made shorter along its longest side, in millimetres, until it fits."""
    patch = [_up(max(1, round(side)), multiple) for side in median]
    while math.prod(patch) > most_voxels and max(patch) > multiple:
        axes = [axis for axis in range(len(patch)) if patch[axis] > multiple]
        longest = max(axes, key=lambda axis: patch[axis] * spacing[axis])
        patch[longest] -= multiple
    return tuple(patch)


def _range(looks: Sequence[_Look]) -> tuple[float | None, float | None]:
    """Of CT, what 0 and 1 stand for; None for modalities without a scale of their own."""
    if np.median([look.lowest for look in looks]) > _HOUNSFIELD:
        return None, None
    low, high = np.percentile(np.concatenate([look.inside for look in looks]), _CLIPPED)
    return float(np.floor(low)), float(np.ceil(max(high, low + 1)))


def _up(side: int, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple
