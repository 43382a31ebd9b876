"""Masks as files on the grid of the image that they were drawn on: NIfTI in the image's own axes, PNG for pictures."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.io import atomic
from medmm.io.nifti import affine_of, header_of, start_of

_CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])
_PACKING = 3  # gzip: masks are small at any effort


def write_nifti_mask(
    path: Path, mask: npt.NDArray[Any], affine: npt.NDArray[np.float64], like: Path | None = None
) -> None:
    """Write a mask as gzipped NIfTI-1.

    Args:
        path: The file, ``.nii.gz``.
        mask: Unsigned integers ``[D, H, W]`` on the grid of an image as :func:`medmm.io.image.read_image` gives it.
        affine: That image's, (d, h, w, 1) to RAS millimetres.
        like: The NIfTI file that the image came from, whose axes and affine are taken; None keeps right, front, head.

    Raises:
        ImageError: ``like`` is no NIfTI file.
        ResourceError: The disk is full.
    """
    import nibabel as nib
    from nibabel import orientations

    volume, placed = np.ascontiguousarray(mask.transpose(2, 1, 0)), affine[:, [2, 1, 0, 3]]
    if like is not None:
        placed = affine_of(header_of(start_of(like)), [])
        back = orientations.ornt_transform(_CANONICAL, orientations.io_orientation(placed))
        volume = np.ascontiguousarray(orientations.apply_orientation(volume, back))
    image = nib.Nifti1Image(volume, placed)
    image.header.set_xyzt_units("mm")
    image.set_sform(placed, code=1)
    image.set_qform(placed, code=1)
    atomic.write_bytes(path, gzip.compress(image.to_bytes(), _PACKING, mtime=0), 0o600)


def write_png_mask(path: Path, mask: npt.NDArray[Any]) -> None:
    """Write a mask ``[H, W]`` of 8-bit values as PNG.

    Raises:
        ResourceError: The disk is full.
    """
    import cv2

    _, png = cv2.imencode(".png", np.ascontiguousarray(mask, np.uint8))
    atomic.write_bytes(path, png.tobytes(), 0o600)
