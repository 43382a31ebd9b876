"""One image with its masks on the grid of a model, as files that are mapped into memory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.data.case_grid import CaseGrid, stretch_mask
from medmm.data.case_masks import Labels, read_masks
from medmm.data.outline_code import OutlineCode
from medmm.errors import ImageError, Reason
from medmm.io.atomic import replacing
from medmm.types import Study

WHITE = 65535
"""The stored value of 1.0."""
ANYWHERE = -1
"""Stands for a class's number at voxels of any class or none, in images that are labelled in parts only."""
_FORMAT = 2
_PLACES = 2000  # voxels of each class that are remembered for patches to lie around


def stem_of(study: Study, grid: CaseGrid, code: OutlineCode, labels: Labels) -> str:
    """A name for a case's files that is another one whenever the images or what is made of them change."""
    images = [file for image in study.images for file in (image.slices or (image.path,))]
    files = [*images, *study.masks.values()]
    stamps = [(str(path), status.st_size, status.st_mtime_ns) for path in files if (status := _status(path))]
    parts = [_FORMAT, stamps, sorted(study.masks), grid.as_dict(), code.classes, code.exclusive, dict(labels)]
    return hashlib.sha256(json.dumps(parts, default=list).encode()).hexdigest()[:24]


def _status(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None


def write_case(folder: Path, stem: str, study: Study, grid: CaseGrid, code: OutlineCode, labels: Labels) -> None:
    """Write a case; its places last, as they say that it is whole.

    Raises:
        ImageError: Image or masks cannot be used.
        ResourceError: The disk is full.
    """
    image = grid.read(grid.images_of([one.source for one in study.images])[0])
    masks = read_masks(study, image, labels, code.classes)
    if not masks:
        raise ImageError(Reason.IMAGE_WITHOUT_MASK, "the study has no mask of any class")
    coded = stretch_mask(code.encode(masks, image.array.shape[1:]), grid.shape(image))
    stored = np.rint(grid.prepare(image) * WHITE).astype(np.uint16)
    for kind, array in (("image", stored), ("mask", coded), ("places", places_of(coded, code))):
        with replacing(folder / f"{stem}-{kind}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array)


def places_of(coded: npt.NDArray[Any], code: OutlineCode) -> npt.NDArray[np.int32]:
    """Some voxels of each class, spread evenly over it; where parts are not labelled, some of the labelled ones too.

    Returns:
        ``[N, 1 + S]``: number of the class, or :data:`ANYWHERE`, and indices of the voxel.
    """
    masks = {number: code.mask(coded, number) for number in range(len(code.classes))}
    labelled = code.labelled(coded)
    if not labelled.all():
        masks[ANYWHERE] = labelled
    rows = []
    for number, mask in masks.items():
        inside = np.flatnonzero(mask)
        if inside.size:
            inside = inside[:: max(1, inside.size // _PLACES)][:_PLACES]
            found = np.stack(np.unravel_index(inside, coded.shape), 1)
            rows.append(np.column_stack([np.full(len(found), number), found]))
    return np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 1 + coded.ndim), np.int32)
