"""Samples of a NIfTI file: read and scaled a few slices at a time, after their size is known to be true and sane."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io.codecs import attempt
from medmm.io.dataset import unreadable
from medmm.io.layout import check_compressed, check_size
from medmm.io.palette import LUMA

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

GZIP = b"\x1f\x8b"
_GZIP_LARGEST_RATIO = 1032
"""What deflate makes of a run of equal bytes."""
_LARGEST_OFFSET = 1 << 26
"""Bytes in front of the samples: the header and its extensions, which are kilobytes."""
_CHUNK = 1 << 24
"""Bytes that are read and scaled at once."""
_FLAGS = 4  # bytes behind the header that say whether extensions follow
_WHERE = "NIfTI header"


def spatial_shape(header: Nifti1Header) -> tuple[int, int, int]:
    """Voxels along the file's axes i, j and k; an axis that is not there has one."""
    shape = (*(int(side) for side in header.get_data_shape()[:3]), 1)
    return shape[0], shape[1], shape[2]


def read_samples(
    path: Path, length: int, header: Nifti1Header, turn: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Read and scale the samples; little more memory is taken than the array has.

    Args:
        path: The file, perhaps gzipped.
        length: Its length in bytes.
        header: Its header.
        turn: The orientation as nibabel has it, ``[3, 2]``: for each of i, j and k the axis of right, front and head
            that it is, and whether it grows (1) or falls (-1) along it.

    Returns:
        float32 ``[C, D, H, W]``: D grows to the head, H to the front, W to the right; all other axes are in C.

    Raises:
        ImageError: ``TOO_LARGE`` beyond all measure, or beyond what a gzip file of so few bytes should hold;
            ``SYNTAX_UNSUPPORTED`` for complex samples; ``HEADER_INVALID``; ``FILE_UNREADABLE``; ``DECODE_FAILED`` where
            the file is shorter than its header says, or its checksum is wrong.
    """
    count = math.prod(int(side) for side in header.get_data_shape())
    check_size(count, _WHERE)
    kind, offset = _kind(header), _offset(header)
    scaling = _scaling(header)
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == GZIP
            file.seek(0)
            _check_length(length, is_gzip, offset + count * kind.itemsize, count)
            stream: IO[bytes] = gzip.open(file) if is_gzip else file  # type: ignore[assignment]
            stream.seek(offset)
            array, planes = _empty(count, spatial_shape(header), turn)
            for target in planes:
                target[...] = _scaled(_next(stream, target.shape, kind), *scaling)
            _check_sum(stream)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise _cut("broken gzip", offset + count * kind.itemsize) from None
    except OSError as error:
        raise unreadable(error) from None
    return array


def _kind(header: Nifti1Header) -> np.dtype[Any]:
    kind = attempt(header.get_data_dtype)
    if isinstance(kind, str) or not (kind.kind in "iuf" or kind.names):
        got = None if isinstance(kind, str) else str(kind)
        raise ImageError(Reason.SYNTAX_UNSUPPORTED, "samples of this type are not read", where=_WHERE, got=got,
                         expected="integers, floating-point numbers or RGB")  # fmt: skip
    return kind


def _offset(header: Nifti1Header) -> int:
    """Where the samples begin; a gzip file would be inflated up to there."""
    offset = attempt(lambda: int(header.get_data_offset()))
    if isinstance(offset, str) or not 0 <= offset <= _LARGEST_OFFSET:
        what, expected = "the place of the samples cannot be", f"0 to {_LARGEST_OFFSET:,}"
        raise ImageError(Reason.HEADER_INVALID, what, where=_WHERE, expected=expected)
    is_single = attempt(lambda: bytes(header["magic"].item()).startswith(b"n+"))
    least = int(header["sizeof_hdr"]) + _FLAGS
    return least if offset == 0 and is_single is True else offset  # some programs leave it out; ITK reads them so too


def _scaling(header: Nifti1Header) -> tuple[float, float]:
    """Slope and intercept."""
    scaling = attempt(header.get_slope_inter)
    if isinstance(scaling, str):
        raise ImageError(Reason.HEADER_INVALID, "slope and intercept cannot be read", where=_WHERE)
    return (1.0 if scaling[0] is None else scaling[0]), scaling[1] or 0.0


def _check_length(length: int, is_gzip: bool, expected: int, count: int) -> None:
    """Refuse, before anything is allocated, what cannot be in a file of this length, and what should not be."""
    if expected > length * (_GZIP_LARGEST_RATIO if is_gzip else 1):
        raise _cut(f"{length:,} bytes{' of gzip' if is_gzip else ''}", expected)
    if is_gzip:
        check_compressed(count, length, "gzipped NIfTI file")


def _empty(
    count: int, spatial: tuple[int, int, int], turn: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
    """The array, ``[C, D, H, W]``, and views of it that follow each other as the file's slices do, ``[N, J, I]``."""
    from nibabel import orientations

    sides = dict(zip(turn[:, 0].astype(int).tolist(), spatial, strict=True))
    array = np.empty((count // math.prod(spatial), sides[2], sides[1], sides[0]), np.float32)
    back = orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), turn)
    as_stored = orientations.apply_orientation(array.T, back).T  # a view
    step = max(1, _CHUNK // (8 * spatial[0] * spatial[1]))
    return array, [volume[k : k + step] for volume in as_stored for k in range(0, spatial[2], step)]


def _next(stream: IO[bytes], shape: tuple[int, ...], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """The next values of the file; luminance where they are RGB."""
    buffer = np.empty(math.prod(shape) * kind.itemsize, np.uint8)
    filled = _fill(stream, buffer.data)
    if filled < len(buffer):
        raise _cut(f"{filled:,} bytes in the last slices", len(buffer))
    values: npt.NDArray[Any] = buffer.view(kind)
    if kind.names:
        values = np.stack([values[name] for name in "RGB"], axis=-1) @ LUMA
    return values.reshape(shape)


def _scaled(values: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # a double beyond float32 becomes inf
        return (values if (slope, intercept) == (1, 0) else values * slope + intercept).astype(np.float32)


def _fill(stream: IO[bytes], buffer: memoryview) -> int:
    """Read until the buffer is full or the stream ends; how much was read."""
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
    return filled


def _check_sum(stream: IO[bytes]) -> None:
    """Let gzip compare its checksum, which it does at the end; what else may follow the samples does not matter."""
    try:
        stream.read(1)
    except gzip.BadGzipFile as error:
        if "CRC" in str(error):
            raise
    except (EOFError, zlib.error):
        pass


def _cut(got: str, expected: int) -> ImageError:
    fix = "The file is probably damaged or was not copied whole: fetch it again."
    return ImageError(Reason.DECODE_FAILED, "the file is shorter than its header says", where="NIfTI file", got=got,
                      expected=f"{expected:,} bytes", fix=fix)  # fmt: skip
