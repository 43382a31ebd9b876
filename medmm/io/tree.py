"""Folders and what lies below them, linked folders too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from medmm.types import ImageSource


def walk(root: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder as ``os.walk`` does, also through linked folders, each folder once: links may run in a circle."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=onerror, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        yield folder, folders, names


def files_of(source: ImageSource) -> list[Path]:
    """The files that an image is read from: a file itself, those below a folder in their order, or the slices."""
    if isinstance(source, tuple):
        return list(source)
    if not source.is_dir():
        return [source]
    return sorted(Path(folder, name) for folder, _, names in walk(source) for name in names)
