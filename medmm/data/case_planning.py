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
from medmm.data.case_channels import images_of
from medmm.data.case_grid import ONE_CHANNEL, CaseGrid
from medmm.data.case_masks import Labels, read_masks
from medmm.data.case_reading import CaseReaders, Request, files_read
from medmm.data.outline_code import IGNORE
from medmm.errors import DataError, ImageError, Reason
from medmm.io.image import read_image
from medmm.types import ImageSource, Study

_LOOKED_AT = 16  # training images
_VALUES = 20_000  # of each that are kept
_MOST_PATCHES = 8  # of the median volume; a finer grid would see too little at once
_ANISOTROPIC = 3.0  # spacing over the finest from which on an axis counts as coarse
_CLIPPED = (0.5, 99.5)  # per cent of the values in masks
_HOUNSFIELD = -200.0  # no MR or PET goes below; CT does, in every lung and outside of the body


@dataclass(frozen=True)
class Look:
    """What one volume says: its size, spacing, and of each channel some values within its masks and the lowest."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    inside: npt.NDArray[np.float32]
    lowest: tuple[float, ...]


def plan_grid(  # noqa: PLR0913 - what a grid depends on
    config: Config, studies: Sequence[Study], labels: Labels, classes: Sequence[str], most_voxels: int, multiple: int,
    channels: Sequence[str] = (),
) -> CaseGrid:  # fmt: skip
    """Plan the grid.

    Args:
        config: What it fixes is not planned.
        studies: The training studies.
        labels: Structure to the values of its voxels.
        classes: What is outlined.
        most_voxels: Voxels of a patch that the machine has room for.
        multiple: Of which the sides of a patch must be multiples.
        channels: Names of an image's channels, as the layout has them; empty: they are counted.

    Raises:
        DataError: None of the images can be read.
    """
    size, depth = _up(config.preprocess.size, multiple), config.preprocess.depth
    with CaseReaders(1 if config.train.workers != 0 else 0) as readers:
        volumes, number = _kind(readers, studies, len(channels))
        names = named_channels(channels, number)
        if depth is None and not volumes:
            return CaseGrid((size, size), channels=names)
        looks = _looks(readers, studies, labels, classes, names)
    wanted = config.segmentation
    spacing: tuple[float, ...] = wanted.spacing_mm or _spacing(looks, most_voxels * _MOST_PATCHES)
    extents = [np.multiply(look.shape, look.spacing_mm) for look in looks]
    median: list[float] = (np.median(extents, axis=0) / spacing).tolist()
    patch: tuple[int, ...] | None = wanted.patch or ((depth, size, size) if depth is not None else None)
    patch = patch or _patch(median, spacing, most_voxels, multiple)
    ranges = tuple(_range(looks, number, name) for number, name in enumerate(names))
    return CaseGrid(tuple(_up(side, multiple) for side in patch), tuple(spacing), ranges, names)


def named_channels(names: Sequence[str], number: int) -> tuple[str, ...]:
    """Names of so many channels: those of the layout where there are as many, else numbers."""
    if len(names) == number:
        return tuple(names)
    return ONE_CHANNEL if number == 1 else tuple(f"channel_{place}" for place in range(number))


def _kind(readers: CaseReaders, studies: Iterable[Study], named: int) -> tuple[bool, int]:
    """Whether the first image that can be read is a volume, and its number of channels.

    Raises:
        DataError: None can be read.
    """
    seen: set[Reason] = set()
    for study in studies:
        sources = [image.source for image in study.images]
        files = len(images_of(sources, named)) < len(sources)
        try:
            volume, channels = readers.ask(Request(f"{__name__}:kind_of", files_read(sources[0]), (sources[0],)))
        except ImageError as error:
            seen.add(error.reason)
            continue
        return volume, len(sources) if files else channels
    got = ", ".join(sorted(map(str, seen))) or "no study"
    raise DataError("no training image can be read", where="data", got=got)


def kind_of(source: ImageSource) -> tuple[bool, int]:
    """Whether an image is a volume, and its number of channels.

    Raises:
        ImageError: It cannot be read.
    """
    array = read_image(source, window=None).array
    return array.ndim == 4 and array.shape[1] > 1, len(array)


def choose_classes(
    studies: Sequence[Study], labels: Labels, wanted: Sequence[str], workers: int = 0
) -> tuple[str, ...]:
    """Classes that training studies show: those that are wanted, else all that the data name.

    Args:
        studies: The training studies.
        labels: Structure to the values of its voxels.
        wanted: Classes; empty: all.
        workers: Processes that look at masks; 0 looks in this one.

    Raises:
        DataError: A class that is wanted is shown by no training study; or there is none at all.
    """
    with CaseReaders(min(1, workers)) as readers:
        named: dict[str, None] = {}
        for study in studies:
            names = Request("medmm.data.case_masks:named_masks", tuple(study.masks.values()), (study, labels))
            try:
                named.update(dict.fromkeys(readers.ask(names)))
            except ImageError:
                continue  # set aside with its reason when the cases are made
        candidates = list(wanted) or [name for name in labels if name in named] or sorted(named)
        shown = _shown(readers, studies, labels, [name for name in candidates if name in named])
    missing = [name for name in candidates if name not in shown]
    if (wanted and missing) or not shown:
        what = "no training study shows this class" if missing else "no training study has a mask that can be read"
        fix = "Leave it out of segmentation.classes, or give data that show it."
        raise DataError(what, where="segmentation.classes", got=", ".join(missing) or None,
                        expected=" | ".join(shown or named) or "studies with masks", fix=fix)  # fmt: skip
    return tuple(name for name in candidates if name in shown)


def _shown(readers: CaseReaders, studies: Sequence[Study], labels: Labels, candidates: Sequence[str]) -> list[str]:
    """Candidates that masks show; label maps are read until all are found."""
    shown = {name for study in studies for name in candidates if name in study.masks and name not in labels}
    for study in studies:
        if shown >= set(candidates):
            break
        files = files_read(study.images[0].source, study)
        try:
            shown |= readers.ask(Request(f"{__name__}:shown_by", files, (study, labels, tuple(candidates))))
        except ImageError:
            continue  # set aside with its reason when the cases are made
    return [name for name in candidates if name in shown]


def shown_by(study: Study, labels: Labels, candidates: Sequence[str]) -> set[str]:
    """Those of the classes that a study's masks show.

    Raises:
        ImageError: Image or masks cannot be used.
    """
    image = read_image(study.images[0].source, window=None)
    return {name for name, mask in read_masks(study, image, labels, candidates).items() if mask.any()}


def _looks(
    readers: CaseReaders, studies: Sequence[Study], labels: Labels, classes: Sequence[str], channels: tuple[str, ...]
) -> list[Look]:
    looks: list[Look] = []
    for study in studies[:: max(1, len(studies) // _LOOKED_AT)][:_LOOKED_AT]:
        source = images_of([image.source for image in study.images], len(channels))[0]
        asked = Request(f"{__name__}:look", files_read(source, study), (source, study, labels, classes, channels))
        try:
            looks.append(readers.ask(asked))
        except ImageError:
            continue  # set aside with its reason when the cases are made
    if not looks:
        raise DataError("no training volume with masks can be read", where="data", fix="See quarantine.jsonl.")
    return looks


def look(source: ImageSource, study: Study, labels: Labels, classes: Sequence[str], channels: tuple[str, ...]) -> Look:
    """Look at a volume and at what lies in its masks.

    Raises:
        ImageError: Image or masks cannot be used.
    """
    image = CaseGrid((1, 1, 1), channels=channels).read(source)
    found = read_masks(study, image, labels, classes)
    ignored = found.pop(IGNORE, None)
    inside = np.logical_or.reduce(list(found.values())) if found else np.ones(image.array.shape[1:], bool)
    if ignored is not None:
        inside = inside & ~ignored
    values = image.array[:, inside & np.isfinite(image.array).all(0)]
    assert image.spacing_mm is not None
    lowest = tuple(float(np.nanmin(channel)) for channel in image.array)
    return Look(image.array.shape[1:], image.spacing_mm, values[:, :: max(1, values.shape[1] // _VALUES)], lowest)


def _spacing(looks: Sequence[Look], most_voxels: int) -> tuple[float, ...]:
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


def _range(looks: Sequence[Look], channel: int, name: str) -> tuple[float, float] | None:
    """Of CT, what 0 and 1 stand for in a channel; None for modalities without a scale of their own."""
    lowest = np.median([one.lowest[channel] for one in looks])
    if name.strip().lower() != "ct" and lowest > _HOUNSFIELD:
        return None
    inside = np.concatenate([one.inside[channel] for one in looks])
    if not inside.size:
        return None
    low, high = np.percentile(inside, _CLIPPED)
    return float(np.floor(low)), float(np.ceil(max(high, low + 1)))


def _up(side: int, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple
