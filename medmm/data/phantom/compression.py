"""Frames of grey values as the bytes of Pixel Data, in every transfer syntax that can be written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError

IMPLICIT, EXPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
BIG_ENDIAN, RLE = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
JPEG_LOSSLESS, JPEG_LS = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"
JPEG_2000, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)
SYNTAXES = (*NATIVE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K, RLE)
"""Lossless Transfer Syntax UIDs, PS3.6 table A-1."""
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LS_NEAR, JPEG_2000_LOSSY, HTJ2K_LOSSY = (f"1.2.840.10008.1.2.4.{end}" for end in ("81", "91", "203"))
LOSSY = (JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, JPEG_2000_LOSSY, HTJ2K_LOSSY)
"""Lossy ones; JPEG Baseline holds 8 bits, JPEG Extended 8 or 12."""
HELD_BITS = {JPEG_BASELINE: 8, JPEG_EXTENDED: 12}
NAMES = {
    "implicit": IMPLICIT, "explicit": EXPLICIT, "deflated": DEFLATED, "big_endian": BIG_ENDIAN, "rle": RLE,
    "jpeg_lossless": JPEG_LOSSLESS, "jpeg_ls": JPEG_LS, "jpeg_2000": JPEG_2000, "htj2k": HTJ2K,
    "jpeg_baseline": JPEG_BASELINE, "jpeg_extended": JPEG_EXTENDED,
    "jpeg_ls_near": JPEG_LS_NEAR, "jpeg_2000_lossy": JPEG_2000_LOSSY, "htj2k_lossy": HTJ2K_LOSSY,
}  # fmt: skip
"""What a config calls them."""
ALL = (*SYNTAXES, *LOSSY)
_QUALITY, _NEAR, _RATIO_DB, _STEP = 95, 2, 60, 1e-4


def pixel_data(frames: npt.NDArray[np.uint16], syntax: str, bits: int) -> bytes:
    """Encode frames.

    Args:
        frames: uint16 ``[N, H, W]``, stored values below ``2**bits``.
        syntax: One of ``ALL``.
        bits: Bits stored, 8 to 16; for JPEG Baseline 8, for JPEG Extended 12.

    Returns:
        Bytes of Pixel Data: native, or one fragment a frame with a basic offset table (PS3.5 annex A.4).

    Raises:
        UsageError: ``syntax`` is not written, or not with so many bits.
    """
    from pydicom.encaps import encapsulate

    if syntax in NATIVE:
        return frames.astype(">u2" if syntax == BIG_ENDIAN else "<u2").tobytes()
    if syntax not in ALL:
        raise UsageError("this transfer syntax is not written", got=syntax, expected=", ".join(ALL))
    fitting = HELD_BITS.get(syntax, bits)
    if bits != fitting:
        raise UsageError("this transfer syntax does not hold so many bits", got=bits, expected=fitting)
    return encapsulate([_coded(np.ascontiguousarray(frame), syntax, bits) for frame in frames])


def _coded(frame: npt.NDArray[np.uint16], syntax: str, bits: int) -> bytes:
    if syntax == RLE:
        return _run_length(frame)
    coded = bytes(_ENCODERS[syntax](frame, bits))
    return coded + b"\0" * (len(coded) % 2)


def _library(name: str, frame: npt.NDArray[Any], **how: Any) -> Any:
    import imagecodecs

    return getattr(imagecodecs, f"{name}_encode")(frame, **how)


_ENCODERS: dict[str, Callable[[npt.NDArray[np.uint16], int], Any]] = {
    JPEG_BASELINE: lambda frame, _: _library("jpeg8", frame.astype(np.uint8), level=_QUALITY),
    JPEG_EXTENDED: lambda frame, bits: _library("jpeg8", frame, level=_QUALITY, bitspersample=bits),
    JPEG_LOSSLESS: lambda frame, bits: _library("ljpeg", frame, bitspersample=bits),
    JPEG_LS: lambda frame, _: _library("jpegls", frame),
    JPEG_LS_NEAR: lambda frame, _: _library("jpegls", frame, level=_NEAR),
    JPEG_2000: lambda frame, bits: _library(
        "jpeg2k", frame, codecformat="j2k", bitspersample=bits, reversible=True, level=0
    ),
    JPEG_2000_LOSSY: lambda frame, bits: _library(
        "jpeg2k", frame, codecformat="j2k", bitspersample=bits, reversible=False, level=_RATIO_DB
    ),
    HTJ2K: lambda frame, _: _library("htj2k", frame, reversible=True),
    HTJ2K_LOSSY: lambda frame, _: _library("htj2k", frame, reversible=False, level=_STEP),
}


def _run_length(frame: npt.NDArray[np.uint16]) -> bytes:
    """One segment for the high bytes and one for the low ones (PS3.5 annex G)."""
    from pydicom.pixels import get_encoder
    from pydicom.uid import UID

    rows, columns = frame.shape
    about: dict[str, Any] = {
        "rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_allocated": 16, "bits_stored": 16,
        "pixel_representation": 0, "number_of_frames": 1, "photometric_interpretation": "MONOCHROME2",
    }  # fmt: skip
    return get_encoder(UID(RLE)).encode(frame, encoding_plugin="pylibjpeg", **about)
