"""How the pixels of a DICOM file are stored (PS3.3 C.7.6.3), checked before anything is allocated for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medmm.errors import ImageError, Reason
from medmm.io import elements

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LARGEST_SAMPLES = 1 << 30
"""Samples of one image; as float32 they fill 4 GiB."""
LARGEST_PLANE = 1 << 27
"""Samples of one frame: some ten times those of the largest radiographs; decoders need up to twelve bytes for each."""
SAMPLES_OF_ANY = 3 << 27
"""Samples that compressed data of any length may hold: 512 x 512 x 1536, 1.5 GiB as float32; an empty mask of that size
gzips to 400 KB."""
SAMPLES_A_BYTE = 64
"""Further samples for each compressed byte: images hold one or a few, maps of many organs 10 to 50."""
LARGEST_FRAMES = 1 << 17
"""Frames of one file: a thousand volumes of functional MR have 60,000; each takes its time, however small it is."""
PACKED_BITS = 12
"""Bits of samples that are no whole bytes: retired, but in old files; two of them take three bytes (PS3.5 8.1.1)."""
NATIVE_SYNTAXES = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
}
PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA = 0x7FE00010, 0x7FE00008, 0x7FE00009
_FLOAT_BITS = {FLOAT_PIXEL_DATA: 32, DOUBLE_PIXEL_DATA: 64}
PIXEL_KEYWORDS = (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA)
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_422")
_OTHER_COLOUR = ("HSV", "ARGB", "CMYK", "XYB")
"""Colours that PS3.3 C.7.6.3.1.2 names or named, none of whose samples is a luminance."""
ROWS, COLUMNS, FRAMES = 0x00280010, 0x00280011, 0x00280008
SAMPLES, PHOTOMETRIC, PLANAR = 0x00280002, 0x00280004, 0x00280006
ALLOCATED, STORED, HIGH_BIT, REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
OFFSETS, OFFSET_LENGTHS = 0x7FE00001, 0x7FE00002
LAYOUT_TAGS = (
    *(ROWS, COLUMNS, FRAMES, SAMPLES, PHOTOMETRIC, PLANAR, ALLOCATED, STORED, HIGH_BIT, REPRESENTATION),
    *(OFFSETS, OFFSET_LENGTHS, *PIXEL_KEYWORDS),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pixels are stored; the names are the standard's.

    Attributes:
        rows, columns, frames: Size in pixels.
        samples: Samples a pixel, 1 or 3.
        photometric: Photometric Interpretation of the samples.
        bits_allocated, bits_stored, high_bit: Bits of a sample, and where they lie.
        signed: Whether Pixel Representation is 1.
        planar: Whether each colour has its own plane.
        syntax: Transfer Syntax UID.
        big_endian: Byte order of native samples.
        is_word: Whether native 8-bit samples lie in 16-bit words (VR OW).
        is_float: Whether the samples are floating-point numbers (Float or Double Float Pixel Data).
        notes: What the header left out and what was taken instead.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool
    syntax: str
    big_endian: bool
    is_word: bool
    is_float: bool
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, columns)``, with the samples behind where there are several."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def stored_range(self) -> tuple[int, int]:
        """Least and largest value that the stored bits can hold."""
        if self.signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def layout_of(dataset: Dataset, syntax: str, big_endian: bool) -> Layout:
    """Read and check how the pixels are stored.

    Raises:
        ImageError: ``NO_PIXELS`` without pixel data; ``HEADER_INVALID`` where the header contradicts itself;
            ``SYNTAX_UNSUPPORTED`` for a photometric interpretation that no grey image comes from; ``TOO_LARGE``.
    """
    keyword = next((tag for tag in PIXEL_KEYWORDS if tag in dataset), None)
    rows, columns = elements.integer(dataset, ROWS), elements.integer(dataset, COLUMNS)
    if keyword is None or rows is None or columns is None:
        raise ImageError(Reason.NO_PIXELS, "the file holds no image", where="DICOM file", expected="pixel data")
    notes: list[str] = []
    samples = _or(elements.integer(dataset, SAMPLES), 1, "samples per pixel", notes)
    is_float = keyword != PIXEL_DATA
    allocated = _FLOAT_BITS[keyword] if is_float else elements.integer(dataset, ALLOCATED) or 0
    stored = allocated if is_float else _or(elements.integer(dataset, STORED), allocated, "bits stored", notes)
    high = None if is_float else elements.integer(dataset, HIGH_BIT)
    layout = Layout(
        rows=rows,
        columns=columns,
        frames=max(1, elements.integer(dataset, FRAMES, "IS") or 1),
        samples=samples,
        photometric=_photometric(dataset, samples, notes),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        signed=elements.integer(dataset, REPRESENTATION) == 1,
        planar=elements.integer(dataset, PLANAR) == 1,
        syntax=syntax,
        big_endian=big_endian,
        is_word=getattr(dataset.get_item(keyword), "VR", None) == "OW",
        is_float=is_float,
        notes=tuple(notes),
    )
    _check(layout)
    return layout


def _photometric(dataset: Dataset, samples: int, notes: list[str]) -> str:
    photometric = elements.text(dataset, PHOTOMETRIC) or ""
    if photometric in (*GREY, *COLOUR, "PALETTE COLOR"):
        return photometric
    if photometric and (samples not in (1, 3) or photometric in _OTHER_COLOUR):
        raise ImageError(
            Reason.SYNTAX_UNSUPPORTED,
            "no grey image is made from these colours",
            where="DICOM header",
            got=f"{samples} samples a pixel{f' of {photometric}' if photometric in _OTHER_COLOUR else ''}",
            expected=" | ".join((*GREY, *COLOUR, "PALETTE COLOR")),
        )
    assumed = "MONOCHROME2" if samples == 1 else "RGB"
    notes.append(f"The photometric interpretation is missing or unknown; {assumed} was assumed.")
    return assumed


def _or(value: int | None, default: int, name: str, notes: list[str]) -> int:
    if value is not None:
        return value
    notes.append(f"The header does not give the {name}; {default} was assumed.")
    return default


def _check(layout: Layout) -> None:
    """Refuse what cannot be, before anything is allocated."""
    allocated, stored = layout.bits_allocated, layout.bits_stored
    widths = tuple(_FLOAT_BITS.values()) if layout.is_float else (1, 8, 16, 32)
    if not layout.is_float and layout.syntax in NATIVE_SYNTAXES:
        widths = (1, 8, PACKED_BITS, 16, 32)
    checks = (
        ("rows", layout.rows, "1 or more", layout.rows > 0),
        ("columns", layout.columns, "1 or more", layout.columns > 0),
        ("samples per pixel", layout.samples, "1 or 3", layout.samples in (1, 3)),
        (
            "samples per pixel of a palette",
            layout.samples,
            "1",
            layout.photometric != "PALETTE COLOR" or layout.samples == 1,
        ),
        (
            "columns of 4:2:2 samples",
            layout.columns,
            "an even number",
            not (layout.photometric.endswith("_422") and layout.syntax in NATIVE_SYNTAXES and layout.columns % 2),
        ),
        ("bits allocated", allocated, " | ".join(map(str, widths)), allocated in widths),
        ("bits stored", stored, f"1 to {allocated}", 1 <= stored <= allocated),
        ("high bit", layout.high_bit, f"{stored - 1} to {allocated - 1}", stored - 1 <= layout.high_bit < allocated),
    )
    for what, got, expected, is_right in checks:
        if not is_right:
            raise ImageError(
                Reason.HEADER_INVALID, f"impossible {what}", where="DICOM header", got=got, expected=expected
            )
    check_frames(layout.frames)
    check_plane(layout.rows * layout.columns * layout.samples, "DICOM header")
    check_size(layout.rows * layout.columns * layout.samples * layout.frames, "DICOM header")


def check_frames(frames: int) -> None:
    """Refuse frames without end, however small they are.

    Raises:
        ImageError: ``TOO_LARGE``: more than ``LARGEST_FRAMES`` frames.
    """
    if frames > LARGEST_FRAMES:
        limit = f"at most {LARGEST_FRAMES:,}"
        raise ImageError(Reason.TOO_LARGE, "too many frames", where="DICOM header", got=f"{frames:,}", expected=limit)


def check_plane(samples: int, where: str) -> None:
    """Refuse a frame or picture that no decoder should be given, however few bytes it comes in.

    Raises:
        ImageError: ``TOO_LARGE``: more than ``LARGEST_PLANE`` samples.
    """
    check_size(samples, where, LARGEST_PLANE)


def check_size(samples: int, where: str, most: int | None = None) -> None:
    """Refuse an image that would not fit into memory.

    Raises:
        ImageError: ``TOO_LARGE``: more than ``most`` samples, or ``LARGEST_SAMPLES`` where none is given.
    """
    most = LARGEST_SAMPLES if most is None else most
    if samples > most:
        limit = f"at most {most:,}"
        raise ImageError(Reason.TOO_LARGE, "too large to read", where=where, got=f"{samples:,} samples", expected=limit)


def check_compressed(samples: int, length: int, where: str) -> None:
    """Refuse an image that so few compressed bytes should not hold, though the compression could.

    Raises:
        ImageError: ``TOO_LARGE``: more than ``SAMPLES_OF_ANY`` samples and ``SAMPLES_A_BYTE`` for each byte.
    """
    check_size(samples, f"{where} of {length:,} bytes", SAMPLES_OF_ANY + SAMPLES_A_BYTE * length)
