"""Headers of many DICOM files, in the order of the files, whatever the files do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from medmm.data import apart
from medmm.errors import StudyError
from medmm.io.header import DicomHeader

LIMIT_S = 10.0
"""Longest that a header may take; a real one takes a millisecond, on a slow network share a hundred."""


def read_headers(paths: Iterable[Path], workers: int | None = None) -> Iterator[tuple[Path, DicomHeader | StudyError]]:
    """Read the headers of files, each with what came of it, in the order of ``paths``.

    Args:
        paths: The files; taken as they are needed.
        workers: Reading processes, as in :func:`medmm.data.apart.look`.

    Yields:
        The file, and its header or the error that :func:`medmm.io.header.read_header` raised.
    """
    return apart.look("medmm.io.header:read_header", paths, limit_s=LIMIT_S, workers=workers)
