"""Headers of many DICOM files, in the order of the files, whatever the files do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medmm.data import apart
from medmm.errors import ImageError, StudyError
from medmm.io.dataset import open_dataset
from medmm.io.header import HEADER_TAGS, DicomHeader, header_of
from medmm.io.slices import SLICE_TAGS, Slice, slices_of

SLICED = frozenset({"CT", "MR", "PT"})
"""Modalities whose files hold slices of volumes."""

LIMIT_S = 10.0
"""Longest that a header may take; a real one takes a millisecond, on a slow network share a hundred."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What the header of a DICOM file says.

    Attributes:
        header: Of the file.
        part: Where it lies, for a single slice of a volume whose place is known; else None.
    """

    header: DicomHeader
    part: Slice | None


def read_instance(path: Path) -> Instance:
    """Read what a DICOM file says of itself, and of its place among the slices of a series.

    Raises:
        ImageError: As :func:`medmm.io.header.read_header`.
    """
    source = open_dataset(path, (*HEADER_TAGS, *SLICE_TAGS), with_pixels=False)
    header = header_of(source)
    part: Slice | None = None
    if header.modality in SLICED and header.frames == 1 and header.has_pixels:
        with suppress(ImageError):
            (part,) = slices_of(source, path)
    return Instance(header, part)


def read_headers(paths: Iterable[Path], workers: int | None = None) -> Iterator[tuple[Path, Instance | StudyError]]:
    """Read the headers of files, each with what came of it, in the order of ``paths``.

    Args:
        paths: The files; taken as they are needed.
        workers: Reading processes, as in :func:`medmm.data.apart.look`.

    Yields:
        The file, and what it says or the error that :func:`read_instance` raised.
    """
    return apart.look("medmm.data.headers:read_instance", paths, limit_s=LIMIT_S, workers=workers)
