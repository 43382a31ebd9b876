"""PNG and JPEG: pictures that hold display values already."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io import codestream
from medmm.io.codecs import attempt
from medmm.io.dataset import file_length, unreadable
from medmm.io.dicom import LUMA
from medmm.io.layout import check_plane
from medmm.io.resize import check_request, resize_area
from medmm.types import Image

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
_UPRIGHT = 1
_ORIENTATION = 0x0112
_FIX = "The file is probably damaged or was not copied whole: fetch it again."


def read_raster(path: str | Path, size: int | None = None, window: str | None = "auto") -> Image:
    """Read a PNG or JPEG file.

    Args:
        path: The file.
        size: Stretch rows and columns to so many pixels by area averaging; None keeps them. A JPEG file much larger
            than that is decoded at a half, a quarter or an eighth of its size.
        window: ``auto`` gives [0, 1]: 0 to 255 for 8 bits; with more bits the range of the values present, since
            12-bit pixels in 16-bit files are common. None gives the values as they are.

    Returns:
        float32 ``[1, H, W]``. Colour becomes luminance, transparent pixels become black.

    Raises:
        UsageError: ``size`` or ``window`` is not one of the above.
        ImageError: ``FILE_MISSING``, ``FILE_EMPTY``, ``FILE_UNREADABLE``; ``NOT_AN_IMAGE`` if it is neither PNG nor
            JPEG; ``TOO_LARGE``; ``DECODE_FAILED``.
    """
    check_request(size, window)
    data = _content(Path(path))
    if data.startswith(PNG):
        kind, (rows, columns, values, notes) = "png", _png(data)
    elif data.startswith(JPEG):
        kind, (rows, columns, values, notes) = "jpeg", _jpeg(data, size)
    else:
        raise ImageError(Reason.NOT_AN_IMAGE, "this is neither PNG nor JPEG", where="image file")
    bits = 8 * values.dtype.itemsize
    grey = _luminance(values, notes)
    low, high = (0.0, 255.0) if bits == 8 else (float(grey.min()), float(grey.max()))
    plane = resize_area(grey, size)
    told: dict[str, Any] = {"window": None}
    if window == "auto":
        told = {"window": {"function": "RANGE", "low": low, "high": high}, "inverted": False}
        plane -= np.float32(low)
        plane *= np.float32(1 / (high - low) if low < high else 0)
        np.clip(plane, 0, 1, out=plane)
    about = {"format": kind, "rows": rows, "columns": columns, "frames": 1, "bits_stored": bits, **told}
    return Image(plane[None], header=about, notes=tuple(notes))


def _content(path: Path) -> bytes:
    file_length(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(error) from None


def _png(data: bytes) -> tuple[int, int, npt.NDArray[Any], list[str]]:
    """Rows, columns, values ``[H, W]`` or ``[H, W, channels]``, and notes."""
    import imagecodecs

    if len(data) < 33:
        raise _failed("PNG", f"{len(data)} bytes")
    columns, rows = struct.unpack_from(">II", data, 16)
    check_plane(rows * columns, "PNG header")
    _check_chunks(data)
    values = attempt(lambda: np.asarray(imagecodecs.png_decode(data)))
    if isinstance(values, str):
        raise _failed("PNG", values)
    return rows, columns, values, []


def _check_chunks(data: bytes) -> None:
    """Compare every chunk's checksum, since libpng only warns of some that are wrong, up to the end marker."""
    position, kind = len(PNG), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise _failed("PNG", f"{len(data):,} bytes without an end marker")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if data[end : end + 4] != zlib.crc32(data[position + 4 : end]).to_bytes(4, "big"):
            raise _failed("PNG", "a chunk with a wrong checksum")
        position = end + 4


def _jpeg(data: bytes, size: int | None) -> tuple[int, int, npt.NDArray[Any], list[str]]:
    """Rows, columns, values ``[H, W]``, perhaps at a share of that size, and notes."""
    import imagecodecs

    stream = codestream.describe(data)
    if stream is None:
        raise _failed("JPEG", "no frame header")
    check_plane(stream.rows * stream.columns, "JPEG header")
    if not stream.complete:
        raise _failed("JPEG", f"{len(data):,} bytes without an end marker")
    notes: list[str] = []
    if stream.kind != "jpeg" or stream.precision != 8:
        name = "jpegls" if stream.kind == "jpeg_ls" else "jpeg8"
        values = attempt(lambda: np.asarray(getattr(imagecodecs, f"{name}_decode")(data)))
    else:
        values = attempt(_pillow, data, size, notes)
    if isinstance(values, str):
        raise _failed("JPEG", values)
    return stream.rows, stream.columns, values, notes


def _pillow(data: bytes, size: int | None, notes: list[str]) -> npt.NDArray[Any]:
    """Luminance ``[H, W]`` of an 8-bit JPEG file, upright; libjpeg scales it down while decoding."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    Pillow.MAX_IMAGE_PIXELS = None  # the size is checked before; Pillow would print a warning
    with Pillow.open(io.BytesIO(data), formats=("JPEG",)) as picture:
        if picture.mode != "L":
            notes.append("The picture is in colour; its luminance was taken.")
        if size is not None:
            picture.draft("L", (2 * size, 2 * size))  # at least so large: the mean is still taken by area
        upright = picture.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
        if not upright:
            notes.append("The picture was turned upright as its header says.")
        return np.asarray((picture if upright else ImageOps.exif_transpose(picture)).convert("L"))


def _luminance(values: npt.NDArray[Any], notes: list[str]) -> npt.NDArray[Any]:
    """``[H, W]`` of grey, grey and alpha, RGB or RGBA; transparent pixels become black."""
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.ndim == 2:
        return values
    channels = values.shape[-1]
    if channels >= 3:
        notes.append("The picture is in colour; its luminance was taken.")
    grey: npt.NDArray[Any] = values[..., :3] @ LUMA if channels >= 3 else values[..., 0].astype(np.float32)
    if channels in (2, 4):
        opacity = values[..., -1].astype(np.float32) / np.iinfo(values.dtype).max
        if opacity.min() < 1:
            notes.append("Transparent pixels were made black.")
            grey = grey * opacity
    return grey


def _failed(kind: str, got: str) -> ImageError:
    return ImageError(Reason.DECODE_FAILED, "the picture cannot be decoded", where=f"{kind} file", got=got, fix=_FIX)
