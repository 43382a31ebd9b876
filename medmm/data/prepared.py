"""Images as a segmentation model takes them, with what leads back to their own grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.case_grid import CaseGrid, stretch_mask
from medmm.data.case_masks import Labels, read_masks
from medmm.data.case_reading import Request, files_read
from medmm.data.outline_code import OutlineCode
from medmm.errors import ImageError, Reason
from medmm.types import ImageSource, Study


@dataclass(frozen=True)
class Prepared:
    """One image.

    Attributes:
        values: ``[C, *S]`` float32 in [0, 1], on the model's grid.
        shape: S of the image's own grid.
        affine, spacing_mm: Of its own grid, as :class:`medmm.types.Image` has them.
        notes: What was unusual about it.
        true: Coded masks on its own grid, where they were asked for.
    """

    values: npt.NDArray[np.float32]
    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64] | None = None
    spacing_mm: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    true: npt.NDArray[Any] | None = None


def prepared(source: ImageSource, grid: CaseGrid) -> Prepared:
    """Read an image and bring it to a grid.

    Raises:
        ImageError: It cannot be read, or is of another kind than the grid.
    """
    image = grid.read(source)
    return Prepared(grid.prepare(image), image.array.shape[1:], image.affine, image.spacing_mm, image.notes)


def prepared_with_masks(study: Study, grid: CaseGrid, code: OutlineCode, labels: Labels) -> Prepared:
    """Read a study's image and its masks, and bring the image to a grid.

    Raises:
        ImageError: As :func:`prepared`, or the masks cannot be used.
    """
    image = grid.read(grid.images_of([one.source for one in study.images])[0])
    masks = read_masks(study, image, labels, code.classes)
    if not masks:
        raise ImageError(Reason.IMAGE_WITHOUT_MASK, "the study has no mask of any class")
    shape = image.array.shape[1:]
    true = code.encode(masks, shape)
    return Prepared(grid.prepare(image), shape, image.affine, image.spacing_mm, image.notes, true)


def coded_masks(study: Study, grid: CaseGrid, code: OutlineCode, labels: Labels, side: int) -> npt.NDArray[Any]:
    """A study's coded masks, stretched to ``side`` voxels along each axis.

    Raises:
        ImageError: As :func:`prepared_with_masks`.
    """
    image = grid.read(grid.images_of([one.source for one in study.images])[0])
    coded = code.encode(read_masks(study, image, labels, code.classes), image.array.shape[1:])
    return stretch_mask(coded, (side,) * coded.ndim)


def request(source: ImageSource, grid: CaseGrid) -> Request:
    """What a reading process is asked for :func:`prepared`."""
    return Request(f"{__name__}:prepared", files_read(source), (source, grid), confined=True)


def request_with_masks(
    study: Study, grid: CaseGrid, code: OutlineCode, labels: Labels, side: int | None = None
) -> Request:
    """What a reading process is asked for :func:`prepared_with_masks`, or with a side for :func:`coded_masks`."""
    source = grid.images_of([one.source for one in study.images])[0]
    name, size = ("prepared_with_masks", ()) if side is None else ("coded_masks", (side,))
    return Request(f"{__name__}:{name}", files_read(source, study), (study, grid, code, dict(labels), *size))
