"""Frames of grey values as the bytes of Pixel Data, in every lossless transfer syntax that can be written here."""

from __future__ import annotations

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
"""Transfer Syntax UIDs, PS3.6 table A-1."""


def pixel_data(frames: npt.NDArray[np.uint16], syntax: str, bits: int) -> bytes:
    """Encode frames.

    Args:
        frames: uint16 ``[N, H, W]``, stored values below ``2**bits``.
        syntax: One of ``SYNTAXES``.
        bits: Bits stored, 9 to 16.

    Returns:
        Bytes of Pixel Data: native, or one fragment a frame with a basic offset table (PS3.5 annex A.4).

    Raises:
        UsageError: ``syntax`` is not written.
    """
    from pydicom.encaps import encapsulate

    if syntax in NATIVE:
        return frames.astype(">u2" if syntax == BIG_ENDIAN else "<u2").tobytes()
    if syntax not in SYNTAXES:
        raise UsageError("this transfer syntax is not written", got=syntax, expected=", ".join(SYNTAXES))
    return encapsulate([_coded(np.ascontiguousarray(frame), syntax, bits) for frame in frames])


def _coded(frame: npt.NDArray[np.uint16], syntax: str, bits: int) -> bytes:
    import imagecodecs

    if syntax == RLE:
        return _run_length(frame)
    coded: Any
    if syntax == JPEG_LOSSLESS:
        coded = imagecodecs.ljpeg_encode(frame, bitspersample=bits)
    elif syntax == JPEG_LS:
        coded = imagecodecs.jpegls_encode(frame)
    elif syntax == JPEG_2000:
        coded = imagecodecs.jpeg2k_encode(frame, codecformat="j2k", bitspersample=bits, reversible=True, level=0)
    else:
        coded = imagecodecs.htj2k_encode(frame, reversible=True)
    return bytes(coded) + b"\0" * (len(coded) % 2)


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
