"""NIfTI-1 and -2 volumes in canonical orientation. The header is nibabel's, and nothing of the file is trusted."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io.codecs import attempt
from medmm.io.dataset import file_length, unreadable
from medmm.io.geometry import stretch
from medmm.io.nifti_samples import GZIP, read_samples, spatial_shape
from medmm.io.resize import check_request, resize_area
from medmm.types import Image

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

HEADER_BYTES = 544
"""What the longer of the two headers, NIfTI-2's, takes with its extension flag."""
_ENOUGH = 1 << 16
"""Bytes of a gzip file that hold those."""
_MAGIC = {b"n+1\0": 344, b"ni1\0": 344, b"n+2\0": 4, b"ni2\0": 4}
_UNITS_MM = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}
"""Code of a unit of length other than millimetres, its name, and millimetres in it."""
_FLAT = 1e-12
"""Determinant, in cubic millimetres, below which an affine has no inverse."""
_WHERE = "NIfTI header"


def is_nifti(head: bytes) -> bool:
    """Whether a file that begins so (gunzipped) is NIfTI."""
    return any(head[offset : offset + 4] == magic for magic, offset in _MAGIC.items())


def start_of(path: Path) -> bytes:
    """The first bytes of a file, gunzipped where it is gzip; empty where that fails."""
    try:
        with path.open("rb") as file:
            head = file.read(_ENOUGH)
        if head[:2] != GZIP:
            return head[:HEADER_BYTES]
        with gzip.open(io.BytesIO(head)) as stream:  # never more of the file: a name inside it may be endless
            return stream.read(HEADER_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""
    except OSError as error:
        raise unreadable(error) from None


def read_nifti(path: str | Path, size: int | None = None, window: str | None = "auto") -> Image:
    """Read a NIfTI volume in canonical orientation.

    Args:
        path: ``.nii`` or ``.nii.gz``; what the file is called does not matter.
        size: Stretch every slice, rows and columns, to so many pixels by area averaging; the affine follows.
        window: ``auto`` gives [0, 1]: the header's ``cal_min`` to ``cal_max`` where they are set, else the range of the
            finite values. None gives the values after slope and intercept.

    Returns:
        float32 ``[C, D, H, W]``; D grows to the patient's head, H to the front, W to the right (RAS). C is the fourth
        axis of the file. ``affine`` maps (d, h, w, 1) to RAS millimetres: the sform where its code is above 0, else the
        qform. Complex samples are refused, RGB becomes luminance.

    Raises:
        UsageError: ``size`` or ``window`` is not one of the above.
        ImageError: ``FILE_MISSING``, ``FILE_EMPTY``, ``FILE_UNREADABLE``; ``NOT_AN_IMAGE`` for another format or one
            half of a pair of files; ``HEADER_INVALID``; ``SYNTAX_UNSUPPORTED`` for complex samples; ``TOO_LARGE``;
            ``DECODE_FAILED`` where the file is shorter than its header says.
    """
    check_request(size, window)
    path = Path(path)
    length = file_length(path)
    header = header_of(start_of(path))
    notes: list[str] = []
    array, affine = _canonical(path, length, header, affine_of(header, notes))
    low, high = _finite_range(array, notes)
    rows, columns = array.shape[-2:]
    if size is not None:
        array = np.stack([np.stack([resize_area(plane, size) for plane in volume]) for volume in array])
        affine = affine @ stretch(rows / size, columns / size)
    about: dict[str, Any] = {"format": "nifti", "frames": array.shape[1], "rows": rows, "columns": columns}
    about["window"] = None
    if window == "auto":
        low, high = _display_range(header) or (low, high)
        about |= {"window": {"function": "RANGE", "low": low, "high": high}, "inverted": False}
        _show(array, low, high)
    spacing = tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))
    return Image(array, affine=affine, spacing_mm=spacing, header=about, notes=tuple(notes))


def header_of(head: bytes) -> Nifti1Header:
    """Parse the header; nothing of the file is trusted beyond it."""
    if not is_nifti(head):
        raise ImageError(Reason.NOT_AN_IMAGE, "this is no NIfTI file", where="image file")
    if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
        fix = "Make one file of it: nibabel.save(nibabel.load('x.hdr'), 'x.nii.gz')."
        raise ImageError(Reason.NOT_AN_IMAGE, "this is one half of a .hdr/.img pair", where="NIfTI file", fix=fix)
    from nibabel import imageglobals, nifti1, nifti2

    imageglobals.logger.disabled = True  # it warns of what is put right here in any case
    kind, length = (nifti2.Nifti2Header, 540) if head[4:8] == b"n+2\0" else (nifti1.Nifti1Header, 348)
    header = attempt(lambda: kind(binaryblock=head[:length], check=True))
    shape = () if isinstance(header, str) else attempt(lambda: tuple(int(side) for side in header.get_data_shape()))
    if isinstance(header, str) or isinstance(shape, str):
        raise ImageError(Reason.HEADER_INVALID, "the header cannot be read", where=_WHERE)
    if not 2 <= len(shape) <= 5 or min(shape) < 1:
        got = " x ".join(map(str, shape)) or "no axes"
        raise ImageError(Reason.HEADER_INVALID, "no volume has these axes", where=_WHERE, got=got, expected="2 to 5")
    return header


def affine_of(header: Nifti1Header, notes: list[str]) -> npt.NDArray[np.float64]:
    """(i, j, k, 1) to RAS millimetres: sform, else qform, else the voxel size alone; the first that can be inverted.

    Where the header says that its lengths are metres or micrometres, they are turned into millimetres.
    """
    choices = (
        ("sform", lambda: header.get_sform() if int(header["sform_code"]) > 0 else None),
        ("qform", lambda: header.get_qform() if int(header["qform_code"]) > 0 else None),
        ("voxel size", header.get_base_affine),
    )
    for name, read in choices:
        affine = attempt(read)
        if isinstance(affine, np.ndarray) and _is_usable(affine):
            if name == "voxel size":
                notes.append("The header does not say how the volume lies in space; its own axes were taken.")
            if name == "sform" and _differs(affine, attempt(choices[1][1])):
                notes.append("Sform and qform say different things; the sform was taken.")
            return _millimetres(header, notes) @ affine.astype(np.float64)
        if affine is not None:
            notes.append(f"The {name} cannot be used.")
    raise ImageError(Reason.HEADER_INVALID, "no usable affine", where=_WHERE, expected="a sform, qform or voxel size")


def _is_usable(affine: npt.NDArray[np.float64]) -> bool:
    """Whether an affine can be inverted and says for each axis which way it runs."""
    from nibabel import orientations

    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > _FLAT:
        return False
    turn = attempt(orientations.io_orientation, affine)
    return isinstance(turn, np.ndarray) and bool(np.isfinite(turn).all())


def _differs(affine: npt.NDArray[np.float64], other: object) -> bool:
    """Whether a second affine, if there is a usable one, turns, stretches or places voxels otherwise."""
    if not isinstance(other, np.ndarray) or not np.isfinite(other).all():
        return False
    size = np.linalg.norm(affine[:3, :3], axis=0).max()
    return bool(np.abs(affine - other)[:3, :3].max() > 0.01 * size or np.abs(affine - other)[:3, 3].max() > 0.1 * size)


def _millimetres(header: Nifti1Header, notes: list[str]) -> npt.NDArray[np.float64]:
    """From the header's unit of length (xyzt_units, bits 0 to 2) to millimetres; no unit means millimetres."""
    unit = int(header["xyzt_units"]) & 7
    if unit not in _UNITS_MM:
        return np.eye(4)
    notes.append(f"Lengths are given in {_UNITS_MM[unit][0]}.")
    return np.diag([_UNITS_MM[unit][1]] * 3 + [1.0])


def _canonical(
    path: Path, length: int, header: Nifti1Header, affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Samples in an array whose D, H, W grow to the head, the front, the right, and the affine of its (d, h, w)."""
    from nibabel import orientations

    turn = orientations.io_orientation(affine)
    array = read_samples(path, length, header, turn)
    moved = affine @ orientations.inv_ornt_aff(turn, spatial_shape(header))
    return array, moved[:, [2, 1, 0, 3]]


def _finite_range(array: npt.NDArray[np.float32], notes: list[str]) -> tuple[float, float]:
    """Least and largest finite value; both 0 where there is none."""
    low, high = float(array.min()), float(array.max())
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    notes.append("Some values are not finite.")
    finite = np.isfinite(array)
    if not finite.any():
        return 0.0, 0.0
    return float(array.min(where=finite, initial=np.inf)), float(array.max(where=finite, initial=-np.inf))


def _display_range(header: Nifti1Header) -> tuple[float, float] | None:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return (low, high) if np.isfinite(low) and np.isfinite(high) and low < high else None


def _show(array: npt.NDArray[np.float32], low: float, high: float) -> None:
    """Turn values into grey in [0, 1]; NaN is black, and so is everything where the range is a single value."""
    if low >= high:
        array.fill(0)
        return
    with np.errstate(over="ignore", invalid="ignore"):  # values beyond float32 are clipped like others
        for plane in array.reshape(-1, *array.shape[-2:]):  # plane by plane: what is needed beside them stays small
            np.subtract(plane, np.float32(low), out=plane)
            np.multiply(plane, np.float32(1 / (high - low)), out=plane)
            np.nan_to_num(np.clip(plane, 0, 1, out=plane), copy=False, nan=0.0)
