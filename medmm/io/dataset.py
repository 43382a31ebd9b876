"""Opening a DICOM file: what the file cannot be is said here, before anybody looks at its elements."""

from __future__ import annotations

import io
import logging
import re
import stat
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from medmm.errors import ImageError, Reason
from medmm.io import bounded, elements
from medmm.io.bounded import BoundedFile, has_too_many_items
from medmm.io.codecs import attempt

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPLICIT = "1.2.840.10008.1.2.1"
_SYNTAX = 0x00020010
_UID = re.compile(r"[0-9.]{1,64}")
_KNOWN = (0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00080060, 0x00280010)
"""A file without a preamble is DICOM if it has one of these: class, instance, study, series, modality, rows."""
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_UNDEFINED = 0xFFFFFFFF
_LARGEST_INFLATED = 1 << 29
"""Bytes of a deflated file's content; twice as many are needed while it is read."""
_CHUNK = 1 << 20
_LARGEST_HEADER = 1 << 26
"""Bytes that are inflated where no pixels are wanted."""

# pydicom quotes values of the header in warnings and log lines; they may be a patient's
warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed file.

    Attributes:
        dataset: The elements that were asked for.
        syntax: Transfer Syntax UID; where the file names none, the native one that it was found to be in.
        big_endian: Byte order of native numbers.
        has_pixels: Whether the parser met pixel data.
    """

    dataset: FileDataset
    syntax: str
    big_endian: bool
    has_pixels: bool


def file_length(path: Path) -> int:
    """Bytes of a regular file.

    Raises:
        ImageError: ``FILE_MISSING``, ``FILE_UNREADABLE``, ``FILE_EMPTY``, or ``NOT_AN_IMAGE`` for a folder or device.
    """
    try:
        told = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ImageError(Reason.FILE_MISSING, "there is no such file", where="image file") from None
    except OSError as error:
        raise unreadable(error) from None
    if stat.S_ISDIR(told.st_mode):
        raise ImageError(Reason.NOT_AN_IMAGE, "this is a folder", where="image file", fix="Give one file of it.")
    if not stat.S_ISREG(told.st_mode):
        raise ImageError(Reason.NOT_AN_IMAGE, "this is a device or a pipe", where="image file")
    if told.st_size == 0:
        raise ImageError(Reason.FILE_EMPTY, "the file is empty", where="image file", got="0 bytes")
    return told.st_size


def unreadable(error: OSError) -> ImageError:
    """The error of a file that the system does not let us read."""
    return ImageError(Reason.FILE_UNREADABLE, "the file cannot be read", where="image file", got=error.strerror)


def open_dataset(path: Path, tags: Sequence[int], with_pixels: bool) -> Source:
    """Parse a DICOM file, with or without a preamble.

    Args:
        path: The file.
        tags: Elements to keep; the others are skipped.
        with_pixels: Read the pixel data too; otherwise stop where they begin.

    Raises:
        ImageError: As :func:`file_length`; ``NOT_AN_IMAGE`` if the file is no DICOM file; ``HEADER_INVALID`` if it
            cannot be parsed or says nothing of itself; ``TOO_LARGE`` if it inflates beyond all measure; ``TOO_SLOW``
            if it has elements, or a sequence has items, without end.
    """
    length = file_length(path)
    try:
        with BoundedFile(io.FileIO(str(path)), length) as file:
            inflated = _inflated(file, _LARGEST_INFLATED if with_pixels else _LARGEST_HEADER)
            if inflated is None:
                return _parsed(file, tags, with_pixels, None)
            content, is_whole = inflated
            source = _parsed(content, tags, with_pixels, DEFLATED)
            if not is_whole and (with_pixels or not source.has_pixels):
                raise _too_large(_LARGEST_INFLATED if with_pixels else _LARGEST_HEADER)
            return source
    except OSError as error:
        raise unreadable(error) from None


def _parsed(file: BoundedFile, tags: Sequence[int], with_pixels: bool, syntax: str | None) -> Source:
    dataset: FileDataset | str = attempt(_read, file, list(tags))
    if isinstance(dataset, str):  # only the kind of the error: its text may quote the header
        if not file.is_overdue:
            raise _unparsed(dataset.split(":")[0])
        raise ImageError(Reason.TOO_SLOW, "the header does not come to an end", where="DICOM file")
    file.relax()
    _check_items(dataset, tags)
    if not any(tag in dataset for tag in _KNOWN):
        if dataset.preamble is not None:
            raise _unparsed("nothing that says what the file is")
        raise ImageError(Reason.NOT_AN_IMAGE, "no DICOM file", where="image file", expected="DICOM, NIfTI, PNG or JPEG")
    implicit, little = dataset.original_encoding
    found = syntax or elements.text(dataset.file_meta, _SYNTAX)
    if not found:
        found = "1.2.840.10008.1.2" if implicit else _EXPLICIT if little else "1.2.840.10008.1.2.2"
    if not _UID.fullmatch(found):
        found = "no UID"  # it is named in errors, and might be anything
    has_pixels = _take_pixels(file, dataset, bool(implicit), little is not False, with_pixels)
    return Source(dataset, found, little is False, has_pixels)


def _check_items(dataset: FileDataset, tags: Sequence[int]) -> None:
    """Refuse a sequence that would take seconds and gigabytes to parse, before somebody looks into it."""
    for tag in tags:
        value = elements.raw_bytes(dataset, tag)
        if value is not None and has_too_many_items(value):
            where = f"DICOM element ({tag >> 16:04X},{tag & 0xFFFF:04X})"
            raise ImageError(Reason.TOO_SLOW, "the sequence has too many items", where=where,
                             got=f"more than {bounded.MOST_ITEMS:,} items in {len(value):,} bytes")  # fmt: skip


def _unparsed(got: str) -> ImageError:
    expected = "elements as PS3.5 lays them out"
    return ImageError(
        Reason.HEADER_INVALID, "the header cannot be parsed", where="DICOM file", got=got, expected=expected
    )


def _read(file: IO[bytes], tags: list[int]) -> FileDataset:
    import pydicom

    return pydicom.dcmread(file, force=True, specific_tags=tags, stop_before_pixels=True)  # type: ignore[arg-type]


def _take_pixels(file: IO[bytes], dataset: FileDataset, implicit: bool, little: bool, with_value: bool) -> bool:
    """Read the element in front of which the parser stopped, if it is pixel data; say whether it is.

    pydicom would lose all of the header where the last delimiter of compressed frames is missing.
    """
    order: Literal["little", "big"] = "little" if little else "big"
    head = file.read(12)
    group, number = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    tag = group << 16 | number
    if tag not in PIXELS:
        return False
    if not with_value:
        return True
    if implicit:
        file.seek(-4, io.SEEK_CUR)
    length = int.from_bytes(head[4:8] if implicit else head[8:12], order)
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    value = file.read(-1 if length == _UNDEFINED else length)
    vr = None if implicit else head[4:6].decode("latin-1")
    dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, length, value, 0, implicit, little)  # type: ignore[assignment]
    return True


def _inflated(file: IO[bytes], limit: int) -> tuple[BoundedFile, bool] | None:
    """The file as if it had never been deflated, and whether it is whole; None if it is not deflated (PS3.5 A.5).

    pydicom would inflate without a limit.
    """
    head = file.read(4096)
    file.seek(0)
    name = DEFLATED.encode()
    if head[128:132] != b"DICM" or name not in head or head[132:136] != b"\x02\x00\x00\x00":
        return None
    start = 144 + int.from_bytes(head[140:144], "little")
    content = io.BytesIO()
    content.write(head[:start].replace(name, _EXPLICIT.encode().ljust(len(name), b"\0")))
    file.seek(start)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while content.tell() < limit and not stream.eof:
            data = stream.unconsumed_tail or file.read(_CHUNK)
            if not data:
                break
            content.write(stream.decompress(data, _CHUNK))
        content.write(stream.decompress(b"", _CHUNK))  # what it holds back
    except zlib.error:
        raise ImageError(Reason.DECODE_FAILED, "the deflated file cannot be inflated", where="DICOM file") from None
    length, is_whole = content.tell(), content.tell() < limit
    content.seek(0)
    return BoundedFile(content, length), is_whole


def _too_large(limit: int) -> ImageError:
    return ImageError(
        Reason.TOO_LARGE, "the deflated file is too large", where="DICOM file", expected=f"at most {limit:,} bytes"
    )
