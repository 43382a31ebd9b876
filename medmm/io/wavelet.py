"""JPEG 2000 decoded at the resolution level that suffices (ITU-T T.800 annex B.5): a half, a quarter, an eighth.

A wavelet's low band is no mean over areas: its samples lie on every second pixel of the level above, not between two of
them, so they are moved to where the pixels of a smaller picture have their centres. Against a full decode and an area
mean that leaves a third to a quarter of the difference that is there otherwise.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from medmm.io.codestream import Codestream

_LARGEST_PIXELS = 80_000_000
"""Beyond it Pillow warns of a decompression bomb; such a picture is decoded in full, under this package's own limit."""
_MOST_LEVELS = 5
_LEAST_PRECISION = 10
"""The reversible wavelet rounds down: each level lifts noisy pixels by half a grey value, which 8 bits would show."""


def level_for(stream: Codestream, size: int) -> int:
    """How often the picture may be halved and still be no smaller than ``size`` along rows and columns.

    Args:
        stream: The codestream's header.
        size: Pixels along each side that are asked for.

    Returns:
        0 where nothing is gained, or where the decoder does not offer it: several components, a grid that does not
        start at 0, under 10 or over 16 bits. Pillow rounds sizes to the nearest where the standard rounds up (B-15),
        and refuses its own result where the two differ: such levels are left out.
    """
    plain = stream.kind in ("jpeg_2000", "htj2k") and stream.components == 1 and stream.at_origin
    if not plain or not _LEAST_PRECISION <= stream.precision <= 16 or stream.rows * stream.columns > _LARGEST_PIXELS:
        return 0
    sides = (stream.rows, stream.columns)
    for level in range(min(stream.levels, _MOST_LEVELS), 0, -1):
        step = 1 << level
        reduced = [-(-side // step) for side in sides]
        if min(reduced) >= size and reduced == [(side + step // 2) // step for side in sides]:
            return level
    return 0


def decode_reduced(data: bytes, stream: Codestream, level: int) -> npt.NDArray[np.float32]:
    """Decode a codestream at a resolution level.

    Args:
        data: The codestream.
        stream: Its header.
        level: How often rows and columns are halved, from :func:`level_for`.

    Returns:
        float32 ``[ceil(rows / 2**level), ceil(columns / 2**level)]`` in stored values, whose outer edges are those of
        the picture: it can be resized like the picture itself.

    Raises:
        Exception: Whatever Pillow raises for a broken codestream.
    """
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(data), formats=("JPEG2000",)) as picture:
        picture.reduce = level  # type: ignore[assignment,method-assign]
        picture.load()
        values = np.asarray(picture).astype(np.float32)
    values *= np.float32(2.0 ** (stream.precision - 16))  # Pillow moves the samples to the upper end of 16 bits
    if stream.signed:
        values -= np.float32(1 << (stream.precision - 1))
    return _centred(values, stream.rows, stream.columns, level)


def _centred(values: npt.NDArray[np.float32], rows: int, columns: int, level: int) -> npt.NDArray[np.float32]:
    """Move samples that lie on pixels 0, 2**level, ... to the centres of pixels that fill the picture's extent."""
    import cv2

    step = 1 << level
    height, width = values.shape
    wide, high = columns / width, rows / height
    place: Any = np.array([[wide / step, 0, (wide - 1) / 2 / step], [0, high / step, (high - 1) / 2 / step]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(values, place, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
