"""Images of several channels: in one file whose last axis they are, or in a file each, all on one grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medmm.errors import ImageError, Reason
from medmm.io.image import Format, sniff
from medmm.types import Image, ImageSource

_SAME_PLACE = 0.1  # voxels that two affines may differ by along an edge and still be one grid


def images_of(sources: Sequence[ImageSource], channels: int) -> list[ImageSource]:
    """What a study's images are read from; as many files as there are channels make one image, a channel each.

    Args:
        sources: Of the study's images, in their order.
        channels: Of the images that are looked at.
    """
    files = tuple(one for one in sources if isinstance(one, Path))
    return [files] if channels > 1 and len(files) == len(sources) == channels else list(sources)


def is_file_a_channel(source: ImageSource) -> bool:
    """Whether files are the channels of an image; of DICOM they are slices of a volume.

    Raises:
        ImageError: As :func:`medmm.io.image.sniff`.
    """
    return isinstance(source, tuple) and sniff(source[0]) is not Format.DICOM


def read_channels(files: Sequence[Path], read: Callable[[Path], Image]) -> Image:
    """Read the channels of an image from a file each.

    Args:
        files: In the order of the channels.
        read: Reads one.

    Returns:
        ``[C, *S]``; place, header and notes are those of the first.

    Raises:
        ImageError: One cannot be read; ``DIMENSIONS_MISMATCH``: it has channels of its own, or another grid.
    """
    found = [read(file) for file in files]
    first = found[0]
    for number, one in enumerate(found, 1):
        if len(one.array) != 1:
            raise ImageError(Reason.DIMENSIONS_MISMATCH, "a channel's file has channels of its own",
                             where=f"channel {number}", got=len(one.array), expected=1)  # fmt: skip
        if one.array.shape != first.array.shape or (is_placed(one) and is_placed(first) and lie_apart(one, first)):
            shapes = [" x ".join(map(str, image.array.shape[1:])) for image in (one, first)]
            what, expected = "the channels of the image lie on different grids", f"{shapes[1]} at the same place"
            where = f"channel {number}"
            raise ImageError(Reason.DIMENSIONS_MISMATCH, what, where=where, got=shapes[0], expected=expected)
    array = np.concatenate([one.array for one in found])
    return Image(array, first.affine, first.spacing_mm, first.header, first.notes)


def is_placed(image: Image) -> bool:
    """Whether the file itself says where its voxels lie; a NIfTI header without sform and qform does not."""
    return image.affine is not None and not any("does not say how the volume lies" in note for note in image.notes)


def lie_apart(one: Image, other: Image) -> bool:
    """Whether two affines put the corners of one grid, the other's, at different places."""
    assert one.affine is not None
    assert other.affine is not None
    sides = (1, *other.array.shape[1:])[-3:]
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in sides])).reshape(3, -1)
    across = np.linalg.inv(other.affine) @ one.affine @ np.vstack([corners, np.ones(corners.shape[1])])
    return bool(np.abs(across[:3] - corners).max() > _SAME_PLACE)
