"""Decoding of compressed frames by imagecodecs.

It reads what pydicom's plugins do not (12-bit JPEG) and is faster. They are no second choice: no file is known that
they read and it does not, and of broken streams they make a picture all the same, after half a minute. A decoder is
chosen by what the codestream says of itself, since files are labelled with a wrong transfer syntax now and then.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from medmm.errors import ImageError, Reason
from medmm.io import codestream, elements, wavelet
from medmm.io.layout import NATIVE_SYNTAXES, OFFSET_LENGTHS, OFFSETS, PIXEL_DATA, check_compressed
from medmm.io.native import native_bytes, native_frame, native_frames, tidy

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medmm.io.codestream import Codestream
    from medmm.io.layout import Layout

_T = TypeVar("_T")
_JPEG_FAMILY = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
NAMES = {
    _JPEG_FAMILY + "50": "JPEG Baseline",
    _JPEG_FAMILY + "51": "JPEG Extended",
    _JPEG_FAMILY + "53": "JPEG Spectral Selection",
    _JPEG_FAMILY + "55": "JPEG Full Progression",
    _JPEG_FAMILY + "57": "JPEG Lossless",
    _JPEG_FAMILY + "70": "JPEG Lossless SV1",
    _JPEG_FAMILY + "80": "JPEG-LS Lossless",
    _JPEG_FAMILY + "81": "JPEG-LS Near-Lossless",
    _JPEG_FAMILY + "90": "JPEG 2000 Lossless",
    _JPEG_FAMILY + "91": "JPEG 2000",
    _JPEG_FAMILY + "201": "HTJ2K Lossless",
    _JPEG_FAMILY + "202": "HTJ2K Lossless RPCL",
    _JPEG_FAMILY + "203": "HTJ2K",
    RLE: "RLE Lossless",
    DEFLATED_FRAMES: "Deflated Image Frame",
}
"""Transfer Syntax UID of every compression that is read, and what people call it."""
LOSSY = {_JPEG_FAMILY + end for end in ("50", "51", "53", "55", "81", "91", "203")}
_DECODERS = {
    "jpeg": "jpeg8",
    "jpeg_lossless": "jpeg8",  # ljpeg and jpegsof3 read no more, and broken streams make them crash the process
    "jpeg_ls": "jpegls",
    "jpeg_2000": "jpeg2k",
    "htj2k": "jpeg2k",  # OpenJPH wraps where a lossy wavelet overshoots, OpenJPEG clips
}
"""Kind of codestream to imagecodecs' decoder."""
_ITEM = b"\xfe\xff\x00\xe0"
_MOST_PIXELS_A_BYTE = {"jpeg": 256, "jpeg_lossless": 8}
"""A block of 64 pixels takes four bits at least, a pixel of lossless JPEG one (Huffman codes of T.81 annex F and H): a
frame that promises more is broken, and libjpeg would fill it up with grey."""
_RLE_HEADER = 64
_RLE_LARGEST_RATIO = 64
"""Two bytes of RLE stand for at most 128 (PS3.5 annex G.3)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    Attributes:
        values: Stored values, ``[H, W]`` or ``[H, W, 3]``; unused bits are cleared, the sign is the header's. A smaller
            picture than the header says, in float32, where that was enough.
        is_rgb: Whether three samples are RGB; if not the first of them is the luminance.
    """

    values: npt.NDArray[Any]
    is_rgb: bool = False


def decode(dataset: Dataset, layout: Layout, enough: int | None = None) -> Iterator[Frame]:
    """Yield the frames of a dataset's pixel data.

    Args:
        dataset: Has the elements of the image pixel module and the pixel data.
        layout: How the pixels are stored.
        enough: Rows and columns that suffice: a compression that holds the picture at several sizes may give the
            smallest that has as many. None: every pixel is wanted.

    Raises:
        ImageError: ``SYNTAX_UNSUPPORTED`` for a compression that is not read; ``DECODE_FAILED`` where a frame is
            missing, cut short, of another size than the header says, or broken; ``TOO_LARGE`` where so few compressed
            bytes should not hold so many pixels.
    """
    as_stored = layout.photometric in ("RGB", "PALETTE COLOR")
    if layout.syntax in NATIVE_SYNTAXES:
        yield from (Frame(values, as_stored) for values in native_frames(dataset, layout))
        return
    if layout.syntax not in NAMES:
        raise ImageError(
            Reason.SYNTAX_UNSUPPORTED,
            "the compression is not read",
            where="DICOM transfer syntax",
            got=layout.syntax,
            expected=", ".join(NAMES.values()),
            fix="Decompress the file first, for example with dcmtk or gdcmconv --raw.",
        )
    length = len(elements.raw_bytes(dataset, PIXEL_DATA) or b"")
    check_compressed(layout.rows * layout.columns * layout.samples * layout.frames, length, "DICOM pixel data")
    for index, frame in enumerate(_encapsulated(dataset, layout)):
        if layout.syntax == RLE:
            yield Frame(_run_length(frame, layout, index), as_stored)
        elif layout.syntax == DEFLATED_FRAMES:
            yield Frame(_raw(_inflated(frame, layout, index), layout), as_stored)
        else:
            yield _coded(frame, layout, index, enough)


def attempt(decoder: Callable[..., _T], *arguments: Any) -> _T | str:
    """Run a decoder; what went wrong comes back as text.

    Decoders written in Rust raise a ``PanicException`` that is no ``Exception``; an interrupt, an exit and a lack of
    memory are none of ours and go on.
    """
    try:
        return decoder(*arguments)
    except MemoryError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return "the decoder panicked"


def _encapsulated(dataset: Dataset, layout: Layout) -> list[bytes]:
    """The compressed frames."""
    from pydicom.encaps import generate_frames

    data = elements.raw_bytes(dataset, PIXEL_DATA) or b""
    fragments = _fragments(data)
    if len(fragments) == layout.frames:  # no frame is without a fragment, whatever the offset table says
        return fragments
    offsets, lengths = elements.raw_bytes(dataset, OFFSETS), elements.raw_bytes(dataset, OFFSET_LENGTHS)
    extended = (offsets, lengths) if offsets and lengths else None
    found: list[bytes] = []
    if len(data) >= 8 * layout.frames:  # each frame is at least an item's tag and length
        try:
            for frame in generate_frames(data, number_of_frames=layout.frames, extended_offsets=extended):
                found.append(frame)
                if len(found) == layout.frames:
                    break
        except Exception:  # broken items; the count below says what is missing
            found = found[: layout.frames]
    if len(found) < layout.frames:
        raise _failed("frames are missing", f"{len(found)} frames in {len(data):,} bytes", f"{layout.frames} frames")
    return found


def _fragments(data: bytes) -> list[bytes]:
    """The items behind the first, which is the offset table (PS3.5 annex A.4); the last may be cut short."""
    position, found = 0, []
    while data[position : position + 4] == _ITEM:
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        found.append(data[position + 8 : end])
        position = end
    return found[1:]


def _coded(data: bytes, layout: Layout, index: int, enough: int | None) -> Frame:
    """Decode a JPEG, JPEG-LS or JPEG 2000 frame."""
    stream = codestream.describe(data)
    if stream is None:
        raise _failed(f"frame {index} is no JPEG or JPEG 2000 codestream", f"{len(data):,} bytes", NAMES[layout.syntax])
    told = (stream.rows, stream.columns, stream.components)
    expected = (layout.rows, layout.columns, layout.samples)
    if told != expected:
        raise _failed(f"frame {index} has another size than the header says", _size(told), _size(expected))
    if not stream.complete:
        raise _failed(f"frame {index} is cut short", f"{len(data):,} bytes without an end marker", "an end marker")
    pixels = layout.rows * layout.columns
    if pixels > len(data) * _MOST_PIXELS_A_BYTE.get(stream.kind, pixels):
        what = f"frame {index} has fewer bytes than so many pixels take"
        raise _failed(what, f"{len(data):,} bytes", f"{pixels:,} pixels")
    smaller = None if enough is None else _reduced(data, stream, layout, enough)
    if smaller is not None:
        return Frame(smaller)
    clip = layout.syntax in LOSSY
    rgb = stream.kind == "jpeg" or stream.mixes_colours or layout.photometric in ("RGB", "YBR_ICT", "YBR_RCT")
    result = attempt(_imagecodecs, data, stream, layout)
    if isinstance(result, np.ndarray) and result.shape == layout.shape:
        return Frame(tidy(_with_sign(result, stream, layout), layout, clip=clip), rgb)
    got = result if isinstance(result, str) else _size(result.shape)
    raise _failed(f"frame {index} cannot be decoded", got, f"{NAMES[layout.syntax]} of {_size(expected)}")


def _reduced(data: bytes, stream: Codestream, layout: Layout, enough: int) -> npt.NDArray[np.float32] | None:
    """The frame at a lower resolution; None where there is none that is sure to be right."""
    level = wavelet.level_for(stream, enough) if stream.signed == layout.signed else 0
    values = attempt(wavelet.decode_reduced, data, stream, level) if level else None
    if not isinstance(values, np.ndarray):
        return None  # a full decode is tried, and says what is wrong
    low, high = layout.stored_range
    within = stream.precision <= layout.bits_stored or (low <= values.min() and values.max() <= high)
    return values if within else None  # something else, such as an overlay, lies in the unused bits


def _imagecodecs(data: bytes, stream: Codestream, layout: Layout) -> npt.NDArray[Any]:
    import imagecodecs

    name = _DECODERS[stream.kind]
    decoder = getattr(imagecodecs, f"{name}_decode")
    if name != "jpeg8" or stream.components == 1:
        return np.asarray(decoder(data))
    if stream.kind == "jpeg_lossless":  # no colour transform, whatever its markers say
        return np.asarray(decoder(data, colorspace="RGB", outcolorspace="RGB"))
    rgb = layout.photometric == "RGB" if stream.is_rgb is None else stream.is_rgb
    return np.asarray(decoder(data, colorspace="RGB" if rgb else "YCBCR", outcolorspace="RGB"))


def _with_sign(values: npt.NDArray[Any], stream: Codestream, layout: Layout) -> npt.NDArray[Any]:
    """Read the decoded bits with the sign that the header gives them.

    Only JPEG 2000 knows signed samples; elsewhere, and where header and codestream differ, the sign bit is the highest
    bit of the codestream's precision.
    """
    if values.dtype.kind not in "iu" or layout.signed == stream.signed:
        return values
    size = values.dtype.itemsize
    left = 8 * size - min(stream.precision, 8 * size)
    return (values.view(f"u{size}") << left).view(f"{'i' if layout.signed else 'u'}{size}") >> left


def _run_length(data: bytes, layout: Layout, index: int) -> npt.NDArray[Any]:
    """Decode an RLE frame, whose samples come in planes.

    pydicom's decoder is no second choice here: it reads no more, and writes a backtrace to stderr on broken frames.
    """
    import imagecodecs

    expected = native_bytes(layout, 1)
    if len(data) * _RLE_LARGEST_RATIO < expected:
        raise _failed(f"frame {index} is cut short", f"{len(data):,} bytes of RLE", f"{expected:,} bytes decoded")
    width = max(1, layout.bits_allocated // 8)
    starts = _segments(data)
    ends = (*starts[1:], len(data))
    if len(starts) != width * layout.samples or any(start >= end for start, end in zip(starts, ends, strict=True)):
        got = f"segments at {starts} in {len(data):,} bytes"
        raise _failed(
            f"frame {index} has a broken RLE header", got, f"{width * layout.samples} segments in their order"
        )
    kind = f"<u{width}"
    result = attempt(lambda: np.frombuffer(imagecodecs.dicomrle_decode(data, kind), np.uint8))
    if isinstance(result, np.ndarray) and len(result) >= expected:
        return _raw(result.tobytes(), replace(layout, planar=True))
    got = result if isinstance(result, str) else f"{len(result):,} bytes"
    raise _failed(f"frame {index} cannot be decoded", got, f"{expected:,} bytes of RLE Lossless")


def _segments(data: bytes) -> tuple[int, ...]:
    """Where the segments of an RLE frame start (PS3.5 annex G.5); the decoder would follow them anywhere."""
    if len(data) < _RLE_HEADER:
        return ()
    count, *starts = struct.unpack_from("<16I", data)
    return tuple(starts[:count]) if starts[0] >= _RLE_HEADER else ()


def _raw(data: bytes, layout: Layout) -> npt.NDArray[Any]:
    """Values of one frame whose native bytes, always little endian, were wrapped in a compression."""
    return tidy(native_frame(data, layout, 0), layout, shift=layout.high_bit + 1 - layout.bits_stored)


def _inflated(data: bytes, layout: Layout, index: int) -> bytes:
    """Inflate a frame, at most to the size that the header promises."""
    expected = native_bytes(layout, 1)
    result = attempt(lambda: zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, expected))
    if isinstance(result, str):
        raise _failed(f"frame {index} cannot be inflated", result, f"{expected:,} bytes")
    if len(result) < expected:
        raise _failed(f"frame {index} is cut short", f"{len(result):,} bytes", f"{expected:,} bytes")
    return result


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def _failed(what: str, got: str, expected: str) -> ImageError:
    fix = "The file is probably damaged or was not copied whole: fetch it again."
    return ImageError(Reason.DECODE_FAILED, what, where="DICOM pixel data", got=got, expected=expected, fix=fix)
