"""Values of DICOM elements as the file holds them.

pydicom's own conversion is slower, stops at values that break a rule of no importance here, and quotes them in
warnings, which would carry patient data into logs. These functions read the bytes and say nothing.
"""

from __future__ import annotations

import contextlib
import io
import struct
from typing import TYPE_CHECKING, Any

from medmm.errors import ImageError, Reason
from medmm.io.bounded import BoundedFile

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_TEXT = {"IS", "DS", "LO", "SH", "ST", "LT", "UT", "CS", "AS", "DA", "TM", "DT", "UI", "PN", "AE", "UC", "UR"}


def raw_bytes(dataset: Dataset, tag: int) -> bytes | None:
    """The element's value as bytes; None where it is missing, empty or a sequence."""
    element = dataset.get_item(tag, keep_deferred=True)
    value = None if element is None else element.value
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) and len(value) else None


def texts(dataset: Dataset, tag: int) -> list[str]:
    """The parts of a text element, without padding; an empty list where there is none."""
    element = dataset.get_item(tag, keep_deferred=True)
    value: Any = None if element is None else element.value
    if value is None:
        return []
    if isinstance(value, bytes):
        parts = _decoded(value).split("\\")
    elif isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        parts = [str(part) for part in value]
    else:
        parts = [str(value)]
    return [part.strip(" \0\t\r\n") for part in parts]


def text(dataset: Dataset, tag: int) -> str | None:
    """The first part of a text element; None where it is missing or empty."""
    parts = texts(dataset, tag)
    return parts[0] or None if parts else None


def numbers(dataset: Dataset, tag: int, binary: str = "US") -> list[float]:
    """The values of a numeric element, whether it is stored as text or as binary numbers.

    Args:
        dataset: Where the element lies.
        tag: Its tag.
        binary: Value representation to assume where the file names none (implicit VR).

    Raises:
        ImageError: ``HEADER_INVALID``: the value is no number.
    """
    element = dataset.get_item(tag, keep_deferred=True)
    value: Any = None if element is None else element.value
    if value is None or (isinstance(value, bytes | str) and not value):
        return []
    if isinstance(value, int | float):
        return [float(value)]
    vr = element.VR if element is not None and element.VR in (_BINARY.keys() | _TEXT) else binary
    if isinstance(value, bytes) and vr in _BINARY:
        return _unpacked(value, _BINARY[vr], getattr(element, "is_little_endian", True), tag)
    return _parsed(texts(dataset, tag), tag)


def number(dataset: Dataset, tag: int, binary: str = "US") -> float | None:
    """The first value of a numeric element, None where it is missing or empty; raises as :func:`numbers`."""
    values = numbers(dataset, tag, binary)
    return values[0] if values else None


def integer(dataset: Dataset, tag: int, binary: str = "US") -> int | None:
    """The first value of a numeric element as a whole number, None where it is missing or empty.

    Raises:
        ImageError: ``HEADER_INVALID``: the value is no whole number.
    """
    value = number(dataset, tag, binary)
    if value is None:
        return None
    if not value.is_integer():
        raise invalid(tag, "a whole number")
    return int(value)


def items(dataset: Dataset, tag: int) -> list[Dataset]:
    """The items of a sequence; an empty list where it is missing, cannot be read, or does not come to an end."""
    element = dataset.get_item(tag, keep_deferred=True)
    if element is None:
        return []
    if isinstance(element.value, bytes):
        from pydicom.dataelem import DataElement

        try:
            element = DataElement(tag, "SQ", _parsed_items(element.value, element))
        except Exception:  # a damaged sequence is as good as none; what depends on it says so
            element = DataElement(tag, "SQ", [])
        with contextlib.suppress(Exception):  # pydicom looks up the pixel representation here, which may be broken
            dataset[tag] = element  # parsed once
    return list(element.value) if type(element.value).__name__ == "Sequence" else []


def require_whole(dataset: Dataset, tag: int) -> None:
    """Refuse an element that the end of the file cuts short: of a sequence the parser keeps the items in front.

    Must be called before anything else looks into the element.

    Raises:
        ImageError: ``HEADER_INVALID``: the value is shorter than the element says.
    """
    element = dataset.get_item(tag, keep_deferred=True)
    length, value = getattr(element, "length", None), None if element is None else element.value
    if isinstance(value, bytes) and length not in (None, 0xFFFFFFFF) and len(value) < length:
        raise ImageError(
            Reason.HEADER_INVALID,
            "the file is cut short",
            where=f"DICOM element ({tag >> 16:04X},{tag & 0xFFFF:04X})",
            got=f"{len(value):,} bytes",
            expected=f"{length:,} bytes",
            fix="The file was probably not copied whole: fetch it again.",
        )


def _parsed_items(value: bytes, element: Any) -> Any:
    """Items of a sequence whose length is given; pydicom alone would parse millions of them to their end."""
    from pydicom.filereader import read_sequence

    implicit = element.is_implicit_VR or element.VR == "UN"  # PS3.5 6.2.2, note: unknown sequences are implicit inside
    file = BoundedFile(io.BytesIO(value), len(value))
    little = element.is_little_endian
    return read_sequence(file, implicit, little, len(value), "iso8859")  # type: ignore[arg-type]


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _unpacked(value: bytes, code: str, is_little_endian: bool, tag: int) -> list[float]:
    size = struct.calcsize("=" + code)
    count = len(value) // size
    if not count:
        raise invalid(tag, f"{size} bytes")
    return [float(part) for part in struct.unpack_from(f"{'<' if is_little_endian else '>'}{count}{code}", value)]


def _parsed(parts: list[str], tag: int) -> list[float]:
    try:
        return [float(part) for part in parts if part]
    except ValueError:
        raise invalid(tag, "a number") from None


def invalid(tag: int, expected: str) -> ImageError:
    """The error of an element whose value is not ``expected``; the value itself is not said."""
    where = f"DICOM element ({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return ImageError(Reason.HEADER_INVALID, "its value cannot be read", where=where, expected=expected)
