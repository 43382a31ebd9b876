"""Masks of a study on the grid of its image, whatever they are kept in: label maps, a file a structure, DICOM objects.

A mask on another grid is resampled where its affine says how, and refused where nothing does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.case_channels import is_placed, lie_apart
from medmm.data.outline_code import IGNORE
from medmm.errors import ImageError, Reason
from medmm.io import resample
from medmm.io.image import Format, read_image, sniff
from medmm.types import Image, Study

LABEL_MAP = "label"
"""Name of a study's mask whose voxels hold a value a structure, where it also has others."""
_SHOWN = 8
Mask = npt.NDArray[np.bool_]
Labels = Mapping[str, Sequence[int]]


def named_masks(study: Study, labels: Labels) -> tuple[str, ...]:
    """Structures that a study's masks may show, by the label table or by the masks' own names; DICOM is looked into."""
    valued, others = _sorted_out(study, labels)
    names = dict.fromkeys(labels if valued else ())
    for name, path in others.items():
        names.update(dict.fromkeys(_dicom_names(path) if _is_dicom(path) else [name]))
    return tuple(name for name in names if name != IGNORE)


def read_masks(study: Study, image: Image, labels: Labels, classes: Sequence[str]) -> dict[str, Mask]:
    """Read a study's masks.

    Args:
        study: Its ``masks`` name the files.
        image: Its image as :meth:`medmm.data.case_grid.CaseGrid.read` gave it.
        labels: Structure to the values of its voxels; empty: masks are binary.
        classes: Structures that are wanted.

    Returns:
        Class to ``[*S]`` on the image's grid; a class without a mask is left out: the study does not show it. Voxels
        that nobody has labelled are the mask :data:`~medmm.data.outline_code.IGNORE`, beside others.

    Raises:
        ImageError: A file cannot be read; ``DIMENSIONS_MISMATCH``: it lies on another grid and nothing says how;
            ``LABEL_UNKNOWN``: it holds values that ``labels`` does not name.
    """
    valued, others = _sorted_out(study, labels)
    found: dict[str, Mask] = {}
    wanted = {*classes, IGNORE}
    for path in valued:
        values = aligned(path, image)
        _refuse_unknown(values, labels)
        for name in wanted & set(labels):
            found[name] = found.get(name, False) | np.isin(values, labels[name])
    for name, path in others.items():
        if _is_dicom(path):
            found |= {key: mask for key, mask in _dicom_masks(path, image).items() if key in wanted}
        elif name in wanted:
            found[name] = aligned(path, image) != 0
    return found if set(found) - {IGNORE} else {}


def aligned(path: Path, image: Image) -> npt.NDArray[np.float32]:
    """Values of a mask file ``[*S]`` on an image's grid, none of them interpolated.

    Raises:
        ImageError: As :func:`read_masks`.
    """
    mask = read_image(path, window=None)
    shape = image.array.shape[1:]
    array = mask.array[:, 0] if mask.array.ndim == 4 and len(shape) == 2 and mask.array.shape[1] == 1 else mask.array
    same = array.shape[1:] == shape
    placed = is_placed(mask) and is_placed(image)
    if len(array) != 1:
        raise _mismatch("a mask of several channels", array.shape, shape)
    if same and not (placed and lie_apart(mask, image)):
        return array[0]
    if not placed or array.ndim != len(shape) + 1:
        raise _mismatch("the mask's grid is not the image's, and nothing says how one lies on the other",
                        array.shape, shape)  # fmt: skip
    moved = resample.onto(Image(array, mask.affine, mask.spacing_mm), image).array[0]
    if array.any() and not moved.any():
        raise _mismatch("the mask lies beside the image", array.shape, shape)
    return moved


def _sorted_out(study: Study, labels: Labels) -> tuple[tuple[Path, ...], dict[str, Path]]:
    """Files with a value a structure, and those of a single structure or of DICOM by name."""
    if not labels:
        return (), dict(study.masks)
    if LABEL_MAP in study.masks:
        others = {name: path for name, path in study.masks.items() if name != LABEL_MAP and name not in labels}
        return (study.masks[LABEL_MAP],), others
    valued = [name for name, path in study.masks.items() if name not in labels and not _is_dicom(path)]
    others = {name: path for name, path in study.masks.items() if name not in valued}
    return tuple(study.masks[name] for name in valued), others


def _is_dicom(path: Path) -> bool:
    return sniff(path) is Format.DICOM


def _refuse_unknown(values: npt.NDArray[Any], labels: Labels) -> None:
    known = {0, *(value for ones in labels.values() for value in ones)}
    unknown = [value for value in np.unique(values).tolist() if value not in known]
    if unknown:
        shown = ", ".join(f"{value:g}" for value in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise ImageError(
            Reason.LABEL_UNKNOWN, "the mask holds values that data.labels does not name", where="mask",
            got=shown + more, expected=", ".join(map(str, sorted(known))), fix="Name them in data.labels.",
        )  # fmt: skip


def _dicom_names(path: Path) -> list[str]:
    from medmm.io.segmentation import read_segmentation
    from medmm.io.structure_set import read_structure_set

    try:
        return [_snake(one.label) for one in read_segmentation(path).segments]
    except ImageError as error:
        if error.reason is not Reason.NOT_AN_IMAGE:
            raise
    return [_snake(region.name) for region in read_structure_set(path).regions]


def _dicom_masks(path: Path, image: Image) -> dict[str, Mask]:
    """Segments of a segmentation object, or regions of a structure set, on the image's grid."""
    from medmm.io.segmentation import on_grid, read_segmentation
    from medmm.io.structure_set import rasterise, read_structure_set

    shape = image.array.shape[1:]
    try:
        segments = on_grid(read_segmentation(path), image).segments
        return {_snake(one.label): (one.array > 0.5).reshape(shape) for one in segments}
    except ImageError as error:
        if error.reason is not Reason.NOT_AN_IMAGE:
            raise
    return {_snake(one.name): one.array.reshape(shape) for one in rasterise(read_structure_set(path), image)}


def _snake(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_")


def _mismatch(what: str, got: Sequence[int], expected: Sequence[int]) -> ImageError:
    shown = [" x ".join(map(str, sides)) for sides in (got[1:], expected)]
    return ImageError(Reason.DIMENSIONS_MISMATCH, what, where="mask", got=shown[0], expected=shown[1])
