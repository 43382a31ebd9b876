"""Files of decoded images, one row after the other. Whoever maps one holds a lock that keeps it from eviction.

The lock is the kernel's (``flock``): it goes with the process that held it, however that ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

PRIVATE = 0o600


class Shard:
    """A file of rows in use, until it is forgotten and nothing maps it any more.

    Args:
        path: The file; rows may be added to it by others as long as it is in use.
        shape: Shape of a row; values are uint16.

    Raises:
        OSError: There is no such file, or it is being evicted.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self.row_bytes = row_bytes(shape)
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise

    def __del__(self) -> None:
        """Let go of the file; the lock stays with the maps, which hold the same open file."""
        file, self._file = getattr(self, "_file", None), None
        if file is not None:
            os.close(file)

    def mapped(self) -> npt.NDArray[np.uint16]:
        """The whole rows written so far, uint16 ``[R, *shape]``, mapped and read-only."""
        assert self._file is not None
        number = os.fstat(self._file).st_size // self.row_bytes
        if number == 0:
            return np.empty((0, *self.shape), np.uint16)
        view = mmap.mmap(self._file, number * self.row_bytes, prot=mmap.PROT_READ)
        return np.frombuffer(view, dtype="<u2").reshape(number, *self.shape)

    def flush(self) -> None:
        """Wait until what anybody wrote to the file is on the disk."""
        assert self._file is not None
        os.fdatasync(self._file)


class Rows(Sequence[npt.NDArray[np.uint16]]):
    """Rows of several shards as one sequence.

    Args:
        shards: uint16 ``[R, *shape]`` each.
        places: Of each row its shard and its row there.
    """

    def __init__(self, shards: Sequence[npt.NDArray[np.uint16]], places: Sequence[tuple[int, int]]) -> None:
        self._shards = list(shards)
        self._shard = array("l", [shard for shard, _ in places])  # a tenth of what a list of tuples takes
        self._row = array("l", [row for _, row in places])

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, row: int) -> npt.NDArray[np.uint16]:  # type: ignore[override]
        """View of a row, of its shape, nothing copied."""
        return self._shards[self._shard[row]][self._row[row]]


def row_bytes(shape: tuple[int, ...]) -> int:
    """Bytes of a row."""
    return int(np.prod(shape)) * 2


def checksum(row: npt.NDArray[np.uint16]) -> int:
    """CRC-32 of a row: one that a disk or a kill has spoiled is told by it."""
    return zlib.crc32(np.ascontiguousarray(row).data)


def create(path: Path) -> None:
    """Make an empty file that its owner alone reads."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE))


def remove_unused(path: Path) -> bool:
    """Remove a file unless somebody holds a lock on it; whether it is gone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(file)
    return True
