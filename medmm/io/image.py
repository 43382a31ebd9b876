"""One door for every image format: the content of a file says what it is, its name does not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from medmm.errors import DataError, ImageError, Reason
from medmm.io.dataset import file_length
from medmm.io.dicom import read_dicom
from medmm.io.nifti import is_nifti, read_nifti, start_of
from medmm.io.raster import JPEG, PNG, read_raster
from medmm.io.resize import check_request, resize_area, resized_spacing
from medmm.types import Image

__all__ = ["Format", "read_image", "resize_area", "sniff"]

_OTHERS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"PK\3\4": "ZIP",
    b"NRRD": "NRRD",
    b"ObjectType": "MetaImage",
    b"RIFF": "WebP",
    b"\x1f\x8b": "gzip",
    b"<?xml": "XML",
    b"\x89HDF": "HDF5",
}


class Format(StrEnum):
    """A format that medmm reads."""

    DICOM = "dicom"
    NIFTI = "nifti"
    PNG = "png"
    JPEG = "jpeg"


def sniff(path: str | Path) -> Format:
    """Say by its first bytes what an image file is.

    Raises:
        ImageError: ``FILE_MISSING``, ``FILE_EMPTY``, ``FILE_UNREADABLE``; ``NOT_AN_IMAGE`` for a folder or any other
            format.
    """
    path = Path(path)
    file_length(path)
    head = start_of(path)
    if head[128:132] == b"DICM":
        return Format.DICOM
    if head.startswith(PNG):
        return Format.PNG
    if head.startswith(JPEG):
        return Format.JPEG
    if is_nifti(head):
        return Format.NIFTI
    if _begins_like_dicom(head):
        return Format.DICOM
    got = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), "an unknown format")
    raise ImageError(
        Reason.NOT_AN_IMAGE,
        "no image that medmm reads",
        where="image file",
        got=got,
        expected="DICOM, NIfTI, PNG or JPEG",
    )


def _begins_like_dicom(head: bytes) -> bool:
    """Whether the first element is one of group 2 or 8, as in a DICOM file without a preamble."""
    return (
        head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\0" or head[:2] == b"\x00\x08" and head[2:3] == b"\0"
    )


def read_image(source: str | Path | Sequence[Path], size: int | None = None, window: str | None = "auto") -> Image:
    """Read a DICOM, NIfTI, PNG or JPEG file, or the one volume of several DICOM slices.

    Args:
        source: The file; its content decides what it is. Of a folder, or of several files, the volume is turned to
            head, front and right, as NIfTI volumes are; :func:`medmm.io.volume.read_volumes` gives several, and as
            they are stored.
        size: Stretch rows and columns to so many pixels by area averaging (linear where enlarged); None keeps them.
        window: ``auto`` gives [0, 1], low values black: the header's window where there is one, else the full range.
            The full range is that of the values present, for 8-bit PNG and JPEG and for colour that of the type. None
            gives the modality's units (HU for CT), with neither window nor inversion.

    Returns:
        float32 ``[1, H, W]``, or ``[C, D, H, W]`` for a volume or several frames. Colour becomes luminance.

    Raises:
        UsageError: ``size`` is no whole number above 0, or ``window`` neither ``auto`` nor None.
        ImageError: The file gives no image; its ``reason`` says why.
    """
    check_request(size, window)
    if not isinstance(source, str | Path):
        return _only_volume(source, size, window)
    path = Path(source)
    if path.is_dir():
        return _only_volume(path, size, window)
    kind = sniff(path)
    if kind is Format.DICOM:
        return read_dicom(path, size, window)
    if kind is Format.NIFTI:
        return read_nifti(path, size, window)
    return read_raster(path, size, window)


def _only_volume(source: Path | Sequence[Path], size: int | None, window: str | None) -> Image:
    """The volume of files that make one.

    Raises:
        ImageError: ``NOT_AN_IMAGE`` where none is a DICOM file, ``DIMENSIONS_MISMATCH`` for several volumes.
    """
    from medmm.io.geometry import to_canonical
    from medmm.io.volume import read_volumes

    try:
        found = read_volumes(source, None, window)
    except DataError:
        fix = "Give one file of it."
        raise ImageError(Reason.NOT_AN_IMAGE, "there is no DICOM file", where="image", fix=fix) from None
    if len(found) > 1:
        what, fix = "the files make several volumes", "Give the folder of one, or use read_volumes."
        raise ImageError(Reason.DIMENSIONS_MISMATCH, what, where="image", got=len(found), expected="1", fix=fix)
    volume = to_canonical(found[0])
    return volume if size is None else _stretched(volume, size)


def _stretched(volume: Image, size: int) -> Image:
    """Rows and columns of a volume at ``size`` pixels each; the affine follows."""
    from medmm.io.geometry import stretch

    _, _, rows, columns = volume.array.shape
    planes = np.stack([resize_area(plane, size) for plane in volume.array[0]])[None]
    affine = None if volume.affine is None else volume.affine @ stretch(rows / size, columns / size)
    spacing = resized_spacing(volume.spacing_mm, rows, columns, size)
    return replace(volume, array=planes, affine=affine, spacing_mm=spacing)
