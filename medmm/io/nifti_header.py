"""What the header of a NIfTI file says of its grid; samples are not read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medmm.io import nifti
from medmm.io.dataset import file_length


@dataclass(frozen=True, slots=True)
class NiftiGrid:
    """A volume's grid in canonical orientation, as :func:`medmm.io.nifti.read_nifti` gives its array.

    Attributes:
        channels: C, the product of the axes from the fourth on.
        frames: D, number of slices.
        rows: H.
        columns: W.
        spacing_mm: Millimetres between voxels along D, H and W.
    """

    channels: int
    frames: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float, float]


def read_nifti_header(path: str | Path) -> NiftiGrid:
    """Read a NIfTI file's grid from its first 544 bytes, gunzipped where it is gzip.

    Raises:
        ImageError: ``FILE_MISSING``, ``FILE_EMPTY``, ``FILE_UNREADABLE``; ``NOT_AN_IMAGE`` for another format or one
            half of a pair of files; ``HEADER_INVALID``.
    """
    from nibabel import orientations

    path = Path(path)
    file_length(path)
    header = nifti.header_of(nifti.start_of(path))
    shape = [int(side) for side in header.get_data_shape()]
    affine = nifti.affine_of(header, [])
    turn = orientations.io_orientation(affine)
    sides = dict(zip(turn[:, 0].astype(int).tolist(), [*shape[:3], 1][:3], strict=True))
    steps = dict(zip(turn[:, 0].astype(int).tolist(), np.linalg.norm(affine[:3, :3], axis=0).tolist(), strict=True))
    return NiftiGrid(
        channels=int(np.prod(shape[3:], dtype=np.int64)),
        frames=sides[2],
        rows=sides[1],
        columns=sides[0],
        spacing_mm=(steps[2], steps[1], steps[0]),
    )
