"""Broken and hostile image files: mutants of real DICOM, NIfTI, PNG and JPEG files, and files that no scanner writes.

``python mutants.py SHARED OUT [--number N] [--seed S] [--start I]`` writes them; ``Corpus`` makes them one by one.
A mutant depends on the seed and its number alone, so a sample of them can be made without the others.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED, DEFLATED_FRAMES = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1"
JPEG, JPEG_12, LOSSLESS, JPEG_LS, J2K = (f"1.2.840.10008.1.2.4.{end}" for end in (50, 51, 70, 80, 91))
RLE = "1.2.840.10008.1.2.5"
SYNTAXES = (IMPLICIT, EXPLICIT, BIG, DEFLATED, DEFLATED_FRAMES, JPEG, JPEG_12, LOSSLESS, JPEG_LS, J2K, RLE, "1.2.3")
SMALL = 300_000  # bytes of a source; the larger ones show nothing more
PIXELS = b"\xe0\x7f\x10\x00"
FAR = 0xFFFFFFFF
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_VRS = (*sorted(_LONG), *b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US ZZ \0\0 ??".split())
NAMES = (
    "../x", "../../../../tmp/x", "/etc/passwd", "..", ".", "a\0b", "a\nb", "\r\n\r\n", "", " ", "1.2.3/../../x", "~/x",
    "%s%n%d", "<script>alert(1)</script>", "\x1b[31mred", "'; DROP TABLE studies; --", "1" * 5000, "\\\\host\\share",
    "C:\\x", "$(touch x)", "\u202egnp.exe", "-rf", "con", "1.2\\3.4",
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A file to be.

    Attributes:
        name: What it is to be called.
        family: How it was made.
        write: Makes it at a path of that name.
    """

    name: str
    family: str
    write: Callable[[Path], None]


# --- pieces of DICOM ------------------------------------------------------------------------------------------------


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in explicit VR little endian, of another length than its value's where one is given."""
    length = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    return head + (struct.pack("<HI", 0, length) if vr in _LONG else struct.pack("<H", length & 0xFFFF)) + value


def start(syntax: str) -> bytes:
    """Preamble and meta information."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = element(0x00020001, b"OB", b"\0\1") + element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0")
    meta += element(0x00020003, b"UI", b"1.2.3.4\0") + element(0x00020010, b"UI", uid)
    return b"\0" * 128 + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta


def described(rows: int, columns: int, bits: int = 8, extra: bytes = b"", frames: int = 1) -> bytes:
    """Elements of an image up to the pixel data; ``extra`` has tags between (0028,0103) and (7FE0,0010)."""
    ids = b"".join(element(tag, b"UI", f"1.2.3.{tag & 15}".encode()) for tag in (0x0020000D, 0x0020000E))
    numbers = (
        (0x00280002, 1), (0x00280010, rows), (0x00280011, columns), (0x00280100, bits), (0x00280101, bits),
        (0x00280102, bits - 1), (0x00280103, 0),
    )  # fmt: skip
    parts = {tag: element(tag, b"US", struct.pack("<H", value)) for tag, value in numbers}
    parts[0x00280004] = element(0x00280004, b"CS", b"MONOCHROME2 ")
    parts[0x00280008] = element(0x00280008, b"IS", f"{frames:<12}".encode())
    head = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0") + element(0x00080018, b"UI", b"1.2.3.9\0")
    head += element(0x00080060, b"CS", b"CT") + element(0x00100020, b"LO", b"CANARY-ID ") + ids
    return head + b"".join(parts[tag] for tag in sorted(parts)) + extra


def item(value: bytes, length: int | None = None) -> bytes:
    """An item of a sequence or of encapsulated pixel data."""
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value) if length is None else length) + value


ITEM_END, SEQUENCE_END = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def encapsulated(*frames: bytes, table: bytes = b"") -> bytes:
    """Pixel data of compressed frames."""
    padded = (frame + b"\0" * (len(frame) % 2) for frame in frames)
    return element(0x7FE00010, b"OB", item(table) + b"".join(map(item, padded)) + SEQUENCE_END, FAR)


def deflated(head: bytes, block: bytes, repeats: int) -> bytes:
    """Raw deflate of ``head`` and ``block`` so many times: gigabytes from a few megabytes, at once."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = coder.compress(head) + coder.flush(zlib.Z_FULL_FLUSH)
    return first + (coder.compress(block) + coder.flush(zlib.Z_FULL_FLUSH)) * repeats + b"\x03\x00"


def edited(data: bytes, values: dict[int, tuple[str, bytes]]) -> bytes:
    """A file with other elements, whatever the standard says of their values; as it was where that cannot be done."""
    import pydicom
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    try:
        with warnings.catch_warnings(action="ignore"):
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            implicit, little = dataset.original_encoding
            for tag, (vr, value) in values.items():
                raw = RawDataElement(Tag(tag), None if implicit else vr, len(value), value, 0, bool(implicit), little)
                dataset[Tag(tag)] = raw
            out = io.BytesIO()
            pydicom.dcmwrite(out, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
            return out.getvalue()
    except Exception:  # an odd source
        return data


def changed(data: bytes, at: int, new: bytes) -> bytes:
    """``data`` with ``new`` over what was there."""
    return data[:at] + new + data[at + len(new) :] if at >= 0 else data


# --- sources --------------------------------------------------------------------------------------------------------


class Corpus:
    """Mutants by number.

    Args:
        shared: The folder of real data.
        seed: Of everything that is drawn.
    """

    def __init__(self, shared: Path, seed: int = 0) -> None:
        self.seed = seed
        places = (shared / "dicom" / name for name in ("odd", "wg04", "ct_series"))
        found = sorted(path for place in places for path in place.iterdir() if path.is_file())
        self.paths = [path for path in found if 200 < path.stat().st_size < SMALL and "report" not in path.name]
        self.dicom = [path.read_bytes() for path in self.paths]
        self.coded = [one for one in self.dicom if b"1.2.840.10008.1.2.4." in one[:400]]
        self.pictures = _pictures()
        self.nifti = _volumes(shared / "nifti" / "example_ct_sm.nii.gz")

    def mutant(self, number: int) -> Mutant:
        """The mutant of a number; families take turns."""
        make = FAMILIES[number % len(FAMILIES)]
        rng = np.random.default_rng([self.seed, number])
        family = make.__name__.lstrip("_")
        ending = getattr(make, "ending", ".dcm")
        made = make(rng, self)
        write = made if callable(made) else functools.partial(_write, made)
        return Mutant(f"{number:05d}-{family}{ending}", family, write)


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _pictures() -> list[bytes]:
    import cv2

    ramp = np.add.outer(np.arange(90, dtype=np.uint16), np.arange(110, dtype=np.uint16))
    grey, colour = ramp.astype(np.uint8), np.stack([ramp] * 3, -1).astype(np.uint8)
    made = [cv2.imencode(".png", one)[1] for one in (grey, colour, ramp * 200)]
    made += [cv2.imencode(".jpg", one)[1] for one in (grey, colour)]
    made.append(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    return [one.tobytes() for one in made]


def _volumes(path: Path) -> list[bytes]:
    """Small NIfTI files: 3D and 4D, NIfTI-1 and -2, not gzipped."""
    import nibabel

    whole = nibabel.load(path)
    cut = np.asarray(whole.dataobj)[:20, :18, :12]
    made = []
    for array, kind in (
        (cut.astype(np.int16), nibabel.Nifti1Image),
        (cut.astype(np.float32), nibabel.Nifti2Image),
        (np.stack([cut, cut], -1).astype(np.uint8), nibabel.Nifti1Image),
        (cut.astype(np.float64), nibabel.Nifti1Image),
    ):
        made.append(kind(array, whole.affine).to_bytes())
    return made


# --- families -------------------------------------------------------------------------------------------------------

FAMILIES: list[Callable] = []


def family(ending: str = ".dcm", weight: int = 1) -> Callable:
    """Enter a function ``(generator, corpus)`` that gives a file's bytes, or what writes it, into the rota."""

    def enter(make: Callable) -> Callable:
        make.ending = ending
        FAMILIES.extend([make] * weight)
        return make

    return enter


def _one(rng: np.random.Generator, of: list) -> bytes:
    return of[rng.integers(len(of))]


def _flipped(rng: np.random.Generator, data: bytes, low: int, high: int, most: int) -> bytes:
    """Up to ``most`` bits between two places turned over."""
    array = np.frombuffer(data, np.uint8).copy()
    high = max(low + 1, min(high, len(array)))
    places = rng.integers(low, high, rng.integers(1, most + 1))
    array[places % len(array)] ^= np.uint8(1) << rng.integers(0, 8, len(places)).astype(np.uint8)
    return array.tobytes()


def _noisy(rng: np.random.Generator, data: bytes, low: int = 0) -> bytes:
    at = int(rng.integers(min(low, len(data) - 1), len(data)))
    kind, length = rng.integers(4), int(2 ** rng.uniform(0, 10))
    new = (rng.bytes(length), b"\0" * length, b"\xff" * length, data[:length])[kind]
    return changed(data, at, new)[: len(data)]


@family()
def _bits_header(rng, corpus):
    return _flipped(rng, _one(rng, corpus.dicom), 128, 2000, 16)


@family()
def _bits_few(rng, corpus):
    return _flipped(rng, _one(rng, corpus.dicom), 128, 1200, 1)


@family()
def _bits_anywhere(rng, corpus):
    data = _one(rng, corpus.dicom)
    return _flipped(rng, data, 0, len(data), 64)


@family(weight=2)
def _bits_pixels(rng, corpus):
    data = _one(rng, corpus.coded)
    return _flipped(rng, data, data.rfind(PIXELS) + 12, len(data), 24)


@family(weight=2)
def _bits_codestream_header(rng, corpus):
    data = _one(rng, corpus.coded)
    at = data.rfind(PIXELS) + 12
    return _flipped(rng, data, at, at + 200, 6)


@family()
def _noise(rng, corpus):
    return _noisy(rng, _one(rng, corpus.dicom), 132)


@family()
def _noise_codestream(rng, corpus):
    data = _one(rng, corpus.coded)
    return _noisy(rng, data, data.rfind(PIXELS) + 20)


@family(weight=2)
def _truncated(rng, corpus):
    data = _one(rng, corpus.dicom)
    return data[: int(rng.integers(0, len(data)))]


@family()
def _truncated_header(rng, corpus):
    data = _one(rng, corpus.dicom)
    return data[: int(rng.integers(0, min(1500, len(data))))]


@family()
def _shifted(rng, corpus):
    """Bytes lost or put in."""
    data = _one(rng, corpus.dicom)
    at, much = int(rng.integers(len(data))), int(rng.integers(1, 64))
    return data[:at] + (data[at + much :] if rng.integers(2) else rng.bytes(much) + data[at:])


@family()
def _spliced(rng, corpus):
    """The beginning of one file before the end of another."""
    first, second = _one(rng, corpus.dicom), _one(rng, corpus.dicom)
    cut = first.rfind(PIXELS) if rng.integers(2) else int(rng.integers(len(first)))
    return first[: max(cut, 140)] + second[max(second.rfind(PIXELS), 0) :]


@family()
def _repeated(rng, corpus):
    """A piece of the header again and again: elements in a loop."""
    data = _one(rng, corpus.dicom)
    at, much = int(rng.integers(132, 1000)), int(rng.integers(8, 400))
    return data[: at + much] + data[at : at + much] * int(rng.integers(1, 2000)) + data[at + much :]


@family(weight=3)
def _dimensions(rng, corpus):
    """Rows, columns, frames and bits that lie."""
    values: dict[int, tuple[str, bytes]] = {}
    extremes = (0, 1, 2, 3, 7, 9, 12, 15, 16, 17, 24, 31, 32, 33, 64, 255, 256, 4096, 32767, 32768, 65535)
    tags = (0x00280002, 0x00280006, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)
    for tag in rng.choice(tags, rng.integers(1, 5), replace=False):
        value = struct.pack("<H", int(rng.choice(extremes)))
        values[int(tag)] = ("US", value * int(rng.integers(0, 4)) if rng.integers(8) == 0 else value)
    if rng.integers(2):
        frames = (b"0 ", b"-1", b"2 ", b"99999999", b"2147483647", b"1e9 ", b"nan ", b"one ", b"1\\2 ", b"", b"9" * 400)
        values[0x00280008] = ("IS", frames[rng.integers(len(frames))])
    return edited(_one(rng, corpus.dicom), values)


@family()
def _photometric(rng, corpus):
    names = b"MONOCHROME1 ,PALETTE COLOR ,RGB ,YBR_FULL,YBR_FULL_422,YBR_ICT ,CMYK,,\xff\xff\xff\xff".split(b",")
    return edited(_one(rng, corpus.dicom), {0x00280004: ("CS", names[rng.integers(len(names))])})


@family(weight=2)
def _representation(rng, corpus):
    """Another VR for an element of the header."""
    data = _one(rng, corpus.dicom)
    places = [at for at in range(132, min(len(data), 4000)) if data[at : at + 2] in _VRS and data[at - 3] < 0x41]
    for at in rng.choice(places or [140], rng.integers(1, 4)):
        data = changed(data, int(at), _VRS[rng.integers(len(_VRS))])
    return data


@family(weight=2)
def _lengths(rng, corpus):
    """An element's length beyond the file, odd, zero or undefined."""
    data = _one(rng, corpus.dicom)
    places = [at for at in range(132, min(len(data), 6000)) if data[at : at + 2] in _VRS and data[at - 3] < 0x41]
    lies = (FAR, 0xFFFFFFFE, 0x7FFFFFFF, 0x80000000, 0, 1, 0x10000, 3, 0xFFFF, len(data))
    for at in rng.choice(places or [140], rng.integers(1, 3)):
        lie = int(lies[rng.integers(len(lies))])
        long = data[at : at + 2] in _LONG
        new = struct.pack("<I", lie) if long else struct.pack("<H", lie & 0xFFFF)
        data = changed(data, int(at) + (4 if long else 2), new)
    return data


@family()
def _nested(rng, corpus):
    """Sequences in sequences, closed or not."""
    depth = int(rng.choice([3, 50, 200, 900, 3000, 20000]))
    tag = int(rng.choice([0x00081140, 0x00540220, 0x52009229, 0x00283000, 0x00090010]))
    if rng.integers(2):
        opening = element(tag, b"SQ", item(b"", FAR), FAR)
        value = opening * depth + (ITEM_END + SEQUENCE_END) * (depth if rng.integers(2) else 0)
    else:
        value = b""
        for _ in range(min(depth, 3000)):
            value = element(tag, b"SQ", item(value))
    body = b"" if rng.integers(3) == 0 else element(0x7FE00010, b"OW", b"\1" * 64)
    if tag < 0x00280000:
        head = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0") + element(0x00080060, b"CS", b"CT")
        return start(EXPLICIT) + head + value + described(8, 8) + body
    return start(EXPLICIT) + described(8, 8) + value + body


@family()
def _endless(rng, corpus):
    """Sequences that hold a hundred thousand items or never end."""
    tag = int(rng.choice([0x00081140, 0x52009229, 0x52009230, 0x00283010]))
    number = int(rng.choice([1000, 100_000, 1_000_000]))
    one = (item(b""), item(b"", FAR) + ITEM_END, item(element(0x00280030, b"DS", b"1\\1 ")), ITEM_END)[rng.integers(4)]
    content = one * min(number, 16_000_000 // len(one))
    told = len(content) if rng.integers(2) else FAR
    value = element(tag, b"SQ", content, told)
    return start(EXPLICIT) + described(8, 8, extra=value) + element(0x7FE00010, b"OW", b"\1" * 64)


@family()
def _flood(rng, corpus):
    """Hundreds of thousands of elements, growing, shrinking or the same."""
    number = int(rng.choice([10_000, 200_000, 1_000_000]))
    kind = rng.integers(4)
    tags = (np.arange(number) * (1, -1, 0, 7919)[kind]) % 0x40000 + 0x00290000
    heads = np.zeros(number, [("group", "<u2"), ("number", "<u2"), ("vr", "S2"), ("length", "<u2")])
    heads["group"], heads["number"], heads["vr"] = tags >> 16, tags & 0xFFFF, b"LO"
    content = heads.tobytes()
    if rng.integers(2):
        content = element(0x52009229, b"SQ", item(content))
    return start(EXPLICIT) + described(8, 8, extra=content) + element(0x7FE00010, b"OW", b"\1" * 64)


@family(weight=2)
def _identifiers(rng, corpus):
    """UIDs and ids that are paths, control characters or very long."""
    values = {}
    tags = (0x0020000D, 0x0020000E, 0x00080018, 0x00080016, 0x00100020, 0x00080050, 0x00080060, 0x00185101, 0x00100010)
    for tag in rng.choice(tags, rng.integers(1, 5), replace=False):
        text = NAMES[rng.integers(len(NAMES))].encode()
        others = {0x00100020: "LO", 0x00080050: "SH", 0x00080060: "CS", 0x00185101: "CS", 0x00100010: "PN"}
        vr = others.get(int(tag), "UI")
        values[int(tag)] = (vr, text + b"\0" * (len(text) % 2))
    data = edited(_one(rng, corpus.dicom), values)
    if rng.integers(4) == 0:  # in the meta information too, which names the compression
        uid = NAMES[rng.integers(len(NAMES))].encode()[:64]
        head, after = b"\x02\x00\x10\x00UI", b"\x02\x00\x12\x00UI"
        data = data.replace(head, head + struct.pack("<H", len(uid)) + uid + after, 1)
    return data


@family()
def _texts(rng, corpus):
    """Bytes that are no text in any element, and character sets that do not exist."""
    sets = (b"ISO_IR 999", b"\\ISO 2022 IR 87", b"UTF-8", b"\xff\xfe", b"ISO 2022 IR 13\\ISO 2022 IR 87")
    values = {0x00080005: ("CS", sets[rng.integers(len(sets))])}
    for tag, vr in ((0x00100010, "PN"), (0x00080070, "LO"), (0x00101010, "AS"), (0x00080020, "DA"), (0x00100040, "CS")):
        if rng.integers(2):
            values[tag] = (vr, rng.bytes(int(rng.integers(0, 20)) * 2))
    return edited(_one(rng, corpus.dicom), values)


@family(weight=2)
def _tables(rng, corpus):
    """Lookup tables with descriptors that lie."""
    counts, bits = (0, 1, 2, 255, 256, 4096, 65535), (0, 1, 8, 10, 16, 17, 32, 65535)
    triple = struct.pack("<HHH", int(rng.choice(counts)), int(rng.choice([0, 1, 32768, 65535])), int(rng.choice(bits)))
    table = rng.bytes(int(rng.choice([0, 2, 512, 131072])))
    if rng.integers(3) == 0:
        palette = b"".join(element(tag, b"US", triple) for tag in (0x00281101, 0x00281102, 0x00281103))
        palette += b"".join(element(tag, b"OW", table) for tag in (0x00281201, 0x00281202, 0x00281203))
        data = described(8, 8, extra=palette).replace(b"CS\x0c\0MONOCHROME2 ", b"CS\x0e\0PALETTE COLOR ")
        return start(EXPLICIT) + data + element(0x7FE00010, b"OW", rng.bytes(64))
    content = element(0x00283002, b"US", triple if rng.integers(4) else triple[:2]) + element(0x00283006, b"OW", table)
    tag = int(rng.choice([0x00283000, 0x00283010]))
    return edited(_one(rng, corpus.dicom), {tag: ("SQ", item(content))})


@family()
def _windows(rng, corpus):
    """Windows and rescales that are no numbers, endless or nothing."""
    lies = (*b"nan inf -inf 1e308 -1e308 0 -1 1e-300 x 1\\2\\3 1,5".split(), b"", b"9" * 300)
    values = {}
    for tag in rng.choice([0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00280120, 0x00280121], rng.integers(1, 4)):
        is_padding = tag in (0x00280120, 0x00280121)
        values[int(tag)] = ("US", rng.bytes(2)) if is_padding else ("DS", lies[rng.integers(len(lies))])
    if rng.integers(3) == 0:
        values[0x00281056] = ("CS", (b"SIGMOID ", b"LINEAR_EXACT", b"WHAT")[rng.integers(3)])
    return edited(_one(rng, corpus.dicom), values)


@family()
def _positions(rng, corpus):
    """Places and directions that are no places."""
    lies = rb"nan\nan\nan 0\0\0 1e300\1\1 1\2 a\b\c inf\0\0 1\0\0\1\0\0 0\0\0\0\0\0 1".split()
    tags = (0x00200032, 0x00200037, 0x00280030, 0x00180050)
    values = {tag: ("DS", lies[rng.integers(len(lies))]) for tag in tags if rng.integers(2)}
    return edited(_one(rng, corpus.dicom), values)


@family(weight=2)
def _offsets(rng, corpus):
    """Tables of frames' places, and items, that lie."""
    frame = _one(rng, corpus.pictures[3:])
    number = int(rng.choice([1, 2, 30, 70000]))
    lies = (0, 1, 8, len(frame), 0x7FFFFFFF, FAR, 0xFFFFFFF0)
    table = struct.pack(f"<{min(number, 16384)}I", *(int(rng.choice(lies)) for _ in range(min(number, 16384))))
    extra = b""
    if rng.integers(2):
        wide = struct.pack("<2Q", (0, 8, 1 << 62, (1 << 64) - 1)[rng.integers(4)], 1 << 40)
        extra = element(0x7FE00001, b"OV", wide) + element(0x7FE00002, b"OV", wide[::-1])
        table = b""
    pixels = encapsulated(*[frame] * min(number, 40), table=table)
    if rng.integers(2):
        pixels = changed(pixels, pixels.rfind(b"\xfe\xff\x00\xe0") + 4, struct.pack("<I", int(rng.choice(lies))))
    return start(JPEG) + described(90, 110, frames=number) + extra + pixels


@family(weight=4)
def _codestreams(rng, corpus):
    """The codestream lies of its size, alone or along with the header."""
    data = _one(rng, corpus.coded)
    at = data.rfind(PIXELS) + 12
    rows, columns = (int(rng.choice([0, 1, 2, 511, 513, 4096, 16000, 32767, 32768, 65535])) for _ in range(2))
    along = {0x00280010: ("US", struct.pack("<H", rows)), 0x00280011: ("US", struct.pack("<H", columns))}
    siz = data.find(b"\xff\x4f\xff\x51", at)
    if siz >= 0:
        new = changed(data, siz + 8, struct.pack(">II", columns, rows))
        if rng.integers(2):  # one tile
            new = changed(new, siz + 24, struct.pack(">II", max(columns, 1), max(rows, 1)))
        if rng.integers(4) == 0:
            new = changed(new, siz + 40, struct.pack(">H", int(rng.choice([0, 2, 3, 255, 16384]))))
        cod = new.find(b"\xff\x52", siz)
        if rng.integers(3) == 0 and cod >= 0:
            new = changed(new, cod + 9, bytes([int(rng.choice([0, 32, 33, 255]))]))
    else:
        places = [data.find(b"\xff" + bytes([kind]), at) for kind in (0xC0, 0xC1, 0xC3, 0xF7)]
        place = min((one for one in places if one >= 0), default=-1)
        new = changed(data, place + 5, struct.pack(">HH", rows, columns)) if place >= 0 else data
        if place >= 0 and rng.integers(4) == 0:
            new = changed(new, place + 9, bytes([int(rng.choice([0, 2, 3, 4, 255]))]))
    return edited(new, along) if rng.integers(3) else new


@family()
def _run_lengths(rng, corpus):
    """RLE with segments that lie."""
    bits = int(rng.choice([8, 16, 32]))
    starts = [int(rng.choice([0, 1, 64, 65, 200, 4096, 0x7FFFFFFF, FAR])) for _ in range(15)]
    head = struct.pack("<16I", int(rng.choice([0, 1, 2, 3, 15, 16, FAR])), *starts)
    if rng.integers(2):
        count = bits // 8
        head = struct.pack("<16I", count, *(64 + 300 * place for place in range(count)), *[0] * (15 - count))
    side = int(rng.choice([8, 64, 4096, 65535]))
    return start(RLE) + described(side, side, bits) + encapsulated(head + rng.bytes(1200))


@family()
def _mislabelled(rng, corpus):
    """One syntax in another's name."""
    data, syntax = _one(rng, corpus.dicom), SYNTAXES[rng.integers(len(SYNTAXES))]
    at = data.find(b"\x02\x00\x10\x00UI")
    if at < 0:
        return data
    old = int.from_bytes(data[at + 6 : at + 8], "little")
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    return data[: at + 6] + struct.pack("<H", len(uid)) + uid + data[at + 8 + old :]


@family()
def _deflate_bomb(rng, corpus):
    """A deflated file of gigabytes: in an element, in pixels, or in elements without end."""
    kind, repeats = rng.integers(6), int(rng.choice([60, 300, 3000, 5000]))
    head, zeros = described(8, 8), b"\0" * (1 << 20)
    if kind == 0:
        head += element(0x00290010, b"OB", b"", min(repeats << 20, FAR - 1))
    elif kind == 1:
        head = described(65535, 65535) + element(0x7FE00010, b"OW", b"", min(repeats << 20, FAR - 1))
    elif kind == 2:
        zeros = element(0x00290010, b"LO", b"") * (1 << 17)
    elif kind == 3:
        zeros = b"\0" * 8 * (1 << 17)  # elements (0000,0000) of no length
    elif kind == 4:
        head = head[:0]
    else:
        head += element(0x52009229, b"SQ", b"", FAR)
        zeros = (item(b"", FAR) + ITEM_END) * (1 << 16)
    return start(DEFLATED) + deflated(head, zeros, repeats)


@family()
def _frame_bomb(rng, corpus):
    """Deflated frames that hold more, or less, than the header says."""
    side, repeats = int(rng.choice([8, 4096, 16000, 32767, 40000])), int(rng.choice([1, 100, 1200, 3000]))
    return start(DEFLATED_FRAMES) + described(side, side) + encapsulated(deflated(b"", b"\7" * (1 << 20), repeats))


@functools.lru_cache(maxsize=4)
def _vast(kind: str, side: int) -> bytes:
    """A picture of one grey, some thousand pixels a side, in a few thousand bytes."""
    import imagecodecs

    flat = np.full((side, side), 100, np.uint8)
    coder = {"jpeg": imagecodecs.jpeg8_encode, "jls": imagecodecs.jpegls_encode, "j2k": imagecodecs.jpeg2k_encode}[kind]
    arguments = {"codecformat": "J2K", "level": 0} if kind == "j2k" else {}
    return bytes(coder(flat, **arguments))


@family()
def _vast_frames(rng, corpus):
    """True codestreams of vast pictures, one or a thousand times in a file."""
    kind, side = str(rng.choice(["jpeg", "jls", "j2k"])), int(rng.choice([3000, 6000]))
    frames = int(rng.choice([1, 2, 500, 4000]))
    syntax = {"jpeg": JPEG, "jls": JPEG_LS, "j2k": J2K}[kind]
    data = _vast(kind, side)
    kept = min(frames, max(1, 3_000_000 // len(data)))
    return start(syntax) + described(side, side, frames=kept) + encapsulated(*[data] * kept)


@family()
def _odd_files(rng, corpus):
    """What lies in a folder and is no file, or none that can be read."""
    return ODD[rng.integers(len(ODD))]


def _sparse(path: Path) -> None:
    """Eight gigabytes of nothing behind a header that promises them."""
    length = int((1 << 33) - 4096)
    path.write_bytes(start(EXPLICIT) + described(65535, 32767) + element(0x7FE00010, b"OW", b"", FAR - 1))
    os.truncate(path, length)


def _sparse_frames(path: Path) -> None:
    """The same, compressed and of a length that is not said."""
    path.write_bytes(start(JPEG) + described(512, 512) + element(0x7FE00010, b"OB", item(b""), FAR))
    os.truncate(path, 1 << 32)


def _sparse_header(path: Path) -> None:
    """The same in front of the pixels: a private element of 4 GiB."""
    path.write_bytes(start(EXPLICIT) + described(8, 8) + element(0x00290010, b"OB", b"", FAR - 1))
    os.truncate(path, 1 << 33)


def _sparse_zeros(path: Path) -> None:
    """A file that is as long as a disk and says nothing."""
    path.write_bytes(start(EXPLICIT) + described(8, 8))
    os.truncate(path, 1 << 34)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _forbidden(path: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0)


ODD: tuple[Callable[[Path], None], ...] = (
    functools.partial(_write, b""),
    functools.partial(_write, b"\0" * 128 + b"DICM"),
    functools.partial(_write, b"\0" * 132),
    functools.partial(_write, b"\0"),
    lambda path: path.mkdir(),
    os.mkfifo,
    lambda path: path.symlink_to("/dev/zero"),
    lambda path: path.symlink_to("/dev/random"),
    lambda path: path.symlink_to("nowhere"),
    _loop, _forbidden, _sparse, _sparse_frames, _sparse_header, _sparse_zeros,
)  # fmt: skip


# --- NIfTI ----------------------------------------------------------------------------------------------------------


@family(".nii", weight=3)
def _nifti_header(rng, corpus):
    """Fields of the header that lie."""
    data = bytearray(_one(rng, corpus.nifti))
    wide = data[4:8] == b"n+2\0"
    dims, kind, offset, steps, scale = (16, 12, 168, 104, 176) if wide else (40, 70, 108, 76, 112)
    for _ in range(int(rng.integers(1, 4))):
        field = rng.integers(6)
        if field == 0:
            lie = int(rng.choice([0, -1, 1, 2, 7, 8, 9, 1000, 32767, -32768]))
            struct.pack_into("<q" if wide else "<h", data, dims + int(rng.integers(8)) * (8 if wide else 2), lie)
        elif field == 1:
            codes = rng.choice([0, 1, 2, 4, 16, 64, 128, 256, 512, 1536, 1792, 2304, -1], 2)
            struct.pack_into("<hh", data, kind, *map(int, codes))
        elif field == 2:
            if wide:
                struct.pack_into("<q", data, offset, int(rng.choice([0, -1, 539, 544, 1 << 40, -(1 << 62)])))
            else:
                struct.pack_into("<f", data, offset, float(rng.choice([0, -1, 351.5, 1e30, np.nan, np.inf, 2**31])))
        elif field in (3, 4):
            form, size = ("<d", 8) if wide else ("<f", 4)
            at = (steps if field == 3 else scale) + size * int(rng.integers(8)) % 16
            struct.pack_into(form, data, at, float(rng.choice([0, -1, np.nan, np.inf, 1e30, 1e-30])))
        else:
            at = int(rng.integers(4, 348))
            data[at : at + 4] = rng.bytes(4)
    return bytes(data)


@family(".nii")
def _nifti_vast(rng, corpus):
    """All dimensions as large as they go."""
    data = bytearray(corpus.nifti[int(rng.choice([0, 3]))])
    shape = [(3, 32767, 32767, 32767), (3, 1024, 1024, 1024), (7, *[32767] * 7), (4, 800, 800, 800, 3)][rng.integers(4)]
    struct.pack_into(f"<{len(shape)}h", data, 40, *shape)
    return bytes(data)


@family(".nii.gz")
def _nifti_bomb(rng, corpus):
    """Gigabytes of zeros behind a true header."""
    side, kind = int(rng.choice([300, 700, 1000])), int(rng.choice([2, 4, 64]))
    head = bytearray(corpus.nifti[0][:352])
    struct.pack_into("<4h", head, 40, 3, side, side, side)
    struct.pack_into("<hh", head, 70, kind, {2: 8, 4: 16, 64: 64}[kind])
    needed = side**3 * {2: 1, 4: 2, 64: 8}[kind]
    repeats = min(4096, -(-needed >> 20)) if rng.integers(3) else int(rng.choice([1, 100]))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(bytes(head), b"\0" * (1 << 20), repeats) + b"\0" * 8


@family(".nii.gz")
def _nifti_gzip(rng, corpus):
    """A gzip file with broken bits, cut, followed by something else, or with an endless name."""
    import gzip

    data = gzip.compress(_one(rng, corpus.nifti), 6, mtime=0)
    kind = rng.integers(5)
    if kind == 4:
        return data[:3] + b"\x08" + data[4:10] + b"x" * 30_000_000 + b"\0" + data[10:]
    if kind == 0:
        return _flipped(rng, data, 0, len(data), 8)
    if kind == 1:
        return data[: int(rng.integers(0, len(data)))]
    return data + rng.bytes(100) if kind == 2 else gzip.compress(data, mtime=0)


@family(".nii")
def _nifti_bits(rng, corpus):
    return _flipped(rng, _one(rng, corpus.nifti), 0, 540, 12)


@family(".nii")
def _nifti_cut(rng, corpus):
    data = _one(rng, corpus.nifti)
    return data[: int(rng.integers(0, len(data) if rng.integers(2) else 600))]


@family(".nii")
def _nifti_order(rng, corpus):
    """The other byte order, in whole or in part; other magic."""
    data = bytearray(_one(rng, corpus.nifti))
    kind = rng.integers(4)
    if kind == 0:
        data[0:4] = data[0:4][::-1]
    elif kind == 1:
        data[40:56] = np.frombuffer(bytes(data[40:56]), "<i2").astype(">i2").tobytes()
    elif kind == 2:
        data[344:348] = (b"ni1\0", b"n+3\0", b"n+2\0", b"\0\0\0\0")[rng.integers(4)]
    else:
        struct.pack_into("<4sI", data, 348, b"\1\0\0\0", int(rng.choice([0, 8, 16, FAR, 0x7FFFFFFF])))
    return bytes(data)


# --- PNG and JPEG ---------------------------------------------------------------------------------------------------


@family(".png")
def _picture_bits(rng, corpus):
    data = _one(rng, corpus.pictures)
    return _flipped(rng, data, 2, len(data), 8)


@family(".png")
def _picture_cut(rng, corpus):
    data = _one(rng, corpus.pictures)
    return data[: int(rng.integers(1, len(data)))] if rng.integers(2) else _noisy(rng, data, 8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@family(".png")
def _picture_bomb(rng, corpus):
    """PNG of hundreds of megapixels in a megabyte, or JPEG that says so."""
    side = int(rng.choice([2000, 12000, 30000, 40000, 0x7FFFFFFF]))
    if rng.integers(3) == 0:
        data = corpus.pictures[3 + rng.integers(3)]
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        return changed(data, at + 5, struct.pack(">HH", min(side, 65535), min(side, 65535)))
    depth, colour = ((8, 0), (16, 6), (1, 0), (8, 3))[rng.integers(4)]
    content = b"\x78\x9c" + deflated(b"", b"\0" * (1 << 20), int(rng.choice([1, 900]))) + b"\0" * 4
    parts = (_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)), _chunk(b"IDAT", content))
    if rng.integers(3) == 0:  # a text that inflates without end
        text = b"Comment\0\0\x78\x9c" + deflated(b"", b"a" * (1 << 20), 900) + b"\0" * 4
        parts = (parts[0], _chunk(b"zTXt", text), parts[1])
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + _chunk(b"IEND", b"")


def main() -> None:
    """Write mutants into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    said = parser.parse_args()
    said.out.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(said.shared, said.seed)
    for number in range(said.start, said.start + said.number):
        mutant = corpus.mutant(number)
        mutant.write(said.out / mutant.name)


if __name__ == "__main__":
    main()
