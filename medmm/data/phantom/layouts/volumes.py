"""A phantom study's CT scan as NIfTI, with its label map."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medmm.data.phantom.ct import make_volume

MODALITY = "CT"


def write_case(image: Path, label: Path, seed: int, number: int, size: int) -> None:
    """Write a study's volume in Hounsfield units and its label map (:data:`medmm.data.phantom.ct.LABELS`).

    Args:
        image: ``.nii.gz`` for the volume.
        label: ``.nii.gz`` for the label map.
        seed: The phantom's.
        number: The study's.
        size: Rows and columns of a slice; there are half as many slices.
    """
    made = make_volume(seed, number, (max(1, size // 2), size, size))
    write_nifti(image, made.hu, made.affine)
    write_nifti(label, made.labels, made.affine)


def write_nifti(path: Path, array_dhw: npt.NDArray[np.generic], affine: npt.NDArray[np.float64]) -> None:
    """Write ``[D, H, W]`` as NIfTI-1, gzipped: the same bytes for the same array.

    Args:
        path: ``.nii.gz``.
        array_dhw: int16 or uint8.
        affine: 4x4; (d, h, w, 1) to RAS millimetres.
    """
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(array_dhw.transpose(2, 1, 0)), affine[:, [2, 1, 0, 3]])
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
