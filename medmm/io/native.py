"""Uncompressed samples: from the bytes of Pixel Data to stored values (PS3.5 section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io import elements
from medmm.io.layout import PACKED_BITS, PIXEL_KEYWORDS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medmm.io.layout import Layout

_UNDEFINED = 0xFFFFFFFF
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")
"""Two pixels share their colour and are stored as Y Y Cb Cr (PS3.3 C.7.6.3.1.2)."""


def native_frames(dataset: Dataset, layout: Layout) -> Iterator[npt.NDArray[Any]]:
    """Yield the stored values of each uncompressed frame.

    Yields:
        ``[H, W]`` for one sample a pixel and for YBR_FULL_422, whose luminance alone is read; else ``[H, W, 3]``.

    Raises:
        ImageError: ``DECODE_FAILED``: there are fewer bytes than the header promises, or they are compressed.
    """
    data = next((found for tag in PIXEL_KEYWORDS if (found := elements.raw_bytes(dataset, tag))), b"")
    expected = native_bytes(layout, layout.frames)
    if any(getattr(dataset.get_item(tag), "length", 0) == _UNDEFINED for tag in PIXEL_KEYWORDS):
        raise ImageError(
            Reason.DECODE_FAILED,
            "the pixel data are compressed, and the transfer syntax says that they are not",
            where="DICOM pixel data",
            got="items of undefined length",
            expected=f"{expected:,} bytes",
            fix="Fetch the file again, or name the right transfer syntax, for example with dcmtk's dcmodify.",
        )
    if len(data) < expected:
        raise ImageError(
            Reason.DECODE_FAILED,
            "the pixel data are cut short",
            where=f"{layout.rows} x {layout.columns} pixels, {layout.frames} frames, {layout.bits_allocated} bits",
            got=f"{len(data):,} bytes",
            expected=f"{expected:,} bytes",
            fix="The file was probably not copied whole: fetch it again.",
        )
    if layout.big_endian and layout.bits_allocated in (1, 8, PACKED_BITS) and layout.is_word and len(data) % 2 == 0:
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()  # bytes were swapped within their words
    for index in range(layout.frames):
        yield tidy(native_frame(data, layout, index), layout, shift=layout.high_bit + 1 - layout.bits_stored)


def native_bytes(layout: Layout, frames: int) -> int:
    """Bytes that so many frames take when they are not compressed."""
    samples = 2 if layout.photometric in _SUBSAMPLED else layout.samples
    return -(-layout.rows * layout.columns * samples * frames * layout.bits_allocated // 8)


def native_frame(data: bytes, layout: Layout, index: int) -> npt.NDArray[Any]:
    """Values of one uncompressed frame out of ``data``, which holds all frames one after the other; shape as above."""
    pixels = layout.rows * layout.columns
    count = pixels * (2 if layout.photometric in _SUBSAMPLED else layout.samples)
    if layout.bits_allocated == 1:
        first = index * count
        packed = np.frombuffer(data, np.uint8)[first // 8 : -(-(first + count) // 8)]
        values = np.unpackbits(packed, bitorder="little")[first % 8 :][:count]
    elif layout.bits_allocated == PACKED_BITS:
        values = _unpacked(data, index * count, count).view("i2" if layout.signed else "u2")
    else:
        size = layout.bits_allocated // 8
        kind = "f" if layout.is_float else "i" if layout.signed else "u"
        values = np.frombuffer(data, f"{'>' if layout.big_endian else '<'}{kind}{size}", count, index * count * size)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if layout.photometric in _SUBSAMPLED:
        return values[: pixels // 2 * 4].reshape(-1, 4)[:, :2].reshape(layout.rows, layout.columns)
    if layout.samples > 1 and layout.planar:
        return values.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    return values.reshape(layout.shape)


def _unpacked(data: bytes, first: int, count: int) -> npt.NDArray[np.uint16]:
    """So many samples of 12 bits from the ``first`` on: the low bits of a sample lie in front (PS3.5 8.1.1)."""
    start, skipped = first // 2 * 3, first % 2  # a frame may begin with the second half of a byte
    packed = np.frombuffer(data, np.uint8)[start : start + -(-(skipped + count) // 2) * 3]
    low, middle, high = np.pad(packed, (0, -len(packed) % 3)).astype(np.uint16).reshape(-1, 3).T
    pairs = np.stack([low | (middle & 15) << 8, middle >> 4 | high << 4], axis=-1)
    return pairs.reshape(-1)[skipped : skipped + count]


def tidy(frame: npt.NDArray[Any], layout: Layout, shift: int = 0, clip: bool = False) -> npt.NDArray[Any]:
    """Clear what lies outside the stored bits (old overlays lie there), and extend the sign.

    Args:
        frame: Values as they came out of the file or a decoder.
        layout: How they were stored.
        shift: How far the lowest stored bit lies above bit 0.
        clip: Values outside overshoot because of lossy compression: clip them instead of cutting bits.
    """
    if layout.is_float or not frame.size:
        return frame
    low, high = layout.stored_range
    if not shift and low <= int(frame.min()) and int(frame.max()) <= high:
        return frame
    if clip:
        return np.clip(frame, low, high)
    size = frame.dtype.itemsize
    left = 8 * size - layout.bits_stored - shift
    moved = (frame.view(f"u{size}") << left).view(f"{'i' if layout.signed else 'u'}{size}")
    return moved >> (8 * size - layout.bits_stored)
