"""Palettes of indexed colour (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9), as a table from index to luminance.

pydicom's reader takes the words of big-endian files for little-endian ones, and wraps indices beyond the entries' bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medmm.io import elements
from medmm.io.lookup_table import Table, descriptor_of, entries_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
_DATA, _SEGMENTED = (0x00281201, 0x00281202, 0x00281203), (0x00281221, 0x00281222, 0x00281223)
PALETTE_TAGS = (*DESCRIPTORS, *_DATA, *_SEGMENTED)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luminance (ITU-R BT.601, as in PS3.3 C.7.6.3.1.2)."""
_BYTE = 255
_DISCRETE, _LINEAR, _INDIRECT = range(3)


def palette_of(dataset: Dataset, signed: bool) -> Table:
    """Read the palette.

    Args:
        dataset: Has the elements of ``PALETTE_TAGS``.
        signed: Whether the indices are signed.

    Returns:
        The luminance of each index, from 0 to ``2**bits - 1``.

    Raises:
        ImageError: ``HEADER_INVALID``: a table is missing, too short or no table.
    """
    columns = []
    count, first, bits = descriptor_of(dataset, DESCRIPTORS[0], signed)  # the three are one and the same
    for data, segmented in zip(_DATA, _SEGMENTED, strict=True):
        if elements.raw_bytes(dataset, data) is not None:
            column = entries_of(dataset, data, count)
        else:
            column = _expanded(entries_of(dataset, segmented, None, bits > 8), bits, count, segmented)
        if len(column) < count:
            raise elements.invalid(data, f"{count} entries")
        columns.append(column)
    colours = np.stack(columns, -1).astype(np.float32)
    # some write 8 for entries that fill their words, some 16 for entries that fill a byte
    bits = 8 if colours.max() <= _BYTE else max(bits, 16)
    return Table(first, colours @ LUMA, bits)


def _expanded(words: npt.NDArray[np.integer], bits: int, count: int, tag: int) -> npt.NDArray[np.int64]:
    """The entries of a segmented table, at most ``count`` of them."""
    segments = [int(word) for word in words]
    found: list[int] = []
    position = 0
    try:
        while len(found) < count and position < len(segments):
            position = _segment(segments, position, found, bits, True)
    except (IndexError, ZeroDivisionError):
        raise elements.invalid(tag, f"segments of {count} entries") from None
    return np.array(found[:count], np.int64)


def _segment(segments: list[int], position: int, found: list[int], bits: int, may_point: bool) -> int:
    """Append the entries of a segment; return where the next one starts."""
    kind, length = segments[position], segments[position + 1]
    if kind == _DISCRETE:
        found += segments[position + 2 : position + 2 + length]
        return position + 2 + length
    if kind == _LINEAR:
        start, end = found[-1], segments[position + 2]
        found += [start + round((end - start) * step / length) for step in range(1, length + 1)]
        return position + 3
    if kind == _INDIRECT and may_point:
        width = 1 if bits == 8 else 2
        parts = segments[position + 2 : position + 2 + 4 // width]  # an offset in bytes, its lowest part first
        target = sum(part << 8 * width * index for index, part in enumerate(parts)) // width
        for _ in range(length):
            target = _segment(segments, target, found, bits, False)
        return position + 2 + 4 // width
    raise IndexError
