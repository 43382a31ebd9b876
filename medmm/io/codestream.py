"""What a compressed frame says of itself, read from its first bytes, before anything is allocated for it.

Sources: ITU-T T.81 annex B (JPEG markers), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000), T.814 (HTJ2K).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_FRAME_KINDS = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "jpeg", 0xC3: "jpeg_lossless", 0xF7: "jpeg_ls"}
_OTHER_FRAMES = {*range(0xC5, 0xD0)} - {0xC8, 0xCC}
_END = b"\xff\xd9"
"""Both JPEG's EOI and JPEG 2000's EOC."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """A compressed frame's own header.

    Attributes:
        kind: ``jpeg``, ``jpeg_lossless``, ``jpeg_ls``, ``jpeg_2000`` or ``htj2k``.
        rows: Height in pixels.
        columns: Width in pixels.
        components: Samples a pixel.
        precision: Bits a sample.
        signed: Whether the samples are signed; only JPEG 2000 can say so.
        is_rgb: Whether the components are RGB (True) or YCbCr (False); None where the codestream does not say.
        complete: Whether the end marker is there; without it the frame was cut.
        levels: Wavelet decompositions of JPEG 2000: how often the picture can be halved without decoding it in full.
        at_origin: Whether the picture starts where JPEG 2000's reference grid and its first tile do.
        mixes_colours: Whether JPEG 2000 has a colour transform, so that its decoder gives RGB.
    """

    kind: str
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    is_rgb: bool | None = None
    complete: bool = True
    levels: int = 0
    at_origin: bool = True
    mixes_colours: bool = False


def describe(frame: bytes) -> Codestream | None:
    """Read the codestream's header; None if ``frame`` is no JPEG, JPEG-LS or JPEG 2000 codestream."""
    try:
        if frame[:2] == b"\xff\xd8":
            return _jpeg(frame)
        start = 0 if frame[:4] == b"\xff\x4f\xff\x51" else _boxed(frame)
        return None if start is None else _jpeg_2000(frame, start)
    except (struct.error, IndexError):
        return None


def _boxed(frame: bytes) -> int | None:
    """Where the codestream starts inside JP2 boxes, which DICOM forbids and some writers add."""
    if frame[4:8] != b"jP  ":
        return None
    start = frame.find(b"jp2c\xff\x4f\xff\x51")
    return start + 4 if start >= 0 else None


def _jpeg_2000(frame: bytes, start: int) -> Codestream:
    capabilities, right, bottom, left, top = struct.unpack_from(">HIIII", frame, start + 6)
    tile_left, tile_top = struct.unpack_from(">II", frame, start + 32)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    depth = frame[start + 42]
    levels, mixes_colours = _coding_style(frame, start + 2)
    return Codestream(
        kind="htj2k" if capabilities & 0x4000 else "jpeg_2000",
        rows=bottom - top,
        columns=right - left,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        complete=frame.rfind(_END) > start,
        levels=levels,
        mixes_colours=mixes_colours,
        at_origin=not (left or top or tile_left or tile_top),
    )


def _coding_style(frame: bytes, position: int) -> tuple[int, bool]:
    """Decomposition levels and colour transform of the COD segment in the main header (T.800 A.6.1); 0 without one."""
    while position + 9 < len(frame) and frame[position] == 0xFF and frame[position + 1] != 0x90:  # the first tile-part
        if frame[position + 1] == 0x52:
            return frame[position + 9], frame[position + 8] == 1
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    return 0, False


def _jpeg(frame: bytes) -> Codestream | None:
    position, jfif, adobe = 2, False, None
    while True:
        while frame[position] != 0xFF:  # stray bytes between segments
            position += 1
        while frame[position] == 0xFF:  # fill bytes
            position += 1
        marker = frame[position]
        position += 1
        if marker in (0x01, *range(0xD0, 0xD9)):
            continue
        (length,) = struct.unpack_from(">H", frame, position)
        if marker in _FRAME_KINDS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 2)
            ids = bytes(frame[position + 8 + 3 * index] for index in range(components))
            sampling = frame[position + 9 : position + 8 + 3 * components : 3]
            return Codestream(
                kind=_FRAME_KINDS[marker],
                rows=rows,
                columns=columns,
                components=components,
                precision=precision,
                is_rgb=_is_rgb(ids, jfif, adobe, len(set(sampling)) > 1),
                complete=frame.rfind(_END) > position,
            )
        if marker in _OTHER_FRAMES or marker in (0xD9, 0xDA):
            return None
        if marker == 0xE0 and frame[position + 2 : position + 6] == b"JFIF":
            jfif = True
        if marker == 0xEE and frame[position + 2 : position + 7] == b"Adobe" and length >= 14:
            adobe = frame[position + 13]
        position += length


def _is_rgb(ids: bytes, jfif: bool, adobe: int | None, is_subsampled: bool) -> bool | None:
    if ids in (b"RGB", b"rgb"):
        return True
    if adobe is not None:
        return adobe == 0
    return False if jfif or is_subsampled else None  # nobody subsamples green and blue
