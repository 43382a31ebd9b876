"""What reading one file may cost: time and memory that grow with the file, so that none stops a run or a machine.

A file that takes much is either large or a trap: a few kilobytes can promise, and give, gigabytes of zeros.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medmm.io.tree import files_of
from medmm.types import ImageSource

SECONDS = 10.0
"""For any file; a radiograph takes a tenth of one."""
BYTES_A_SECOND = 1_000_000
"""Of the file, further ones; JPEG 2000, the slowest compression, is read ten times as fast."""
MEMORY = 3 << 29
"""Bytes for any file, 1.5 GiB; with what a process holds before, it stays under 2 GB."""
MEMORY_A_BYTE = 16
"""Further bytes for each of the file: float32 voxels of a gzipped CT take that many."""
_BLOCK = 512
_start: list[int] = []


def stored_bytes(source: ImageSource) -> int:
    """Bytes that files take on the disk, which for one with holes are fewer than its length; 0 for one that is gone."""
    try:
        return sum(map(_stored_bytes, files_of(source)))
    except (OSError, ValueError):
        return 0


def _stored_bytes(path: Path) -> int:
    try:
        told = path.stat()
    except (OSError, ValueError):
        return 0
    return min(told.st_size, getattr(told, "st_blocks", told.st_size) * _BLOCK)


def seconds(source: ImageSource) -> float:
    """Seconds after which reading an image is given up."""
    return SECONDS + stored_bytes(source) / BYTES_A_SECOND


@contextmanager
def confined(source: ImageSource) -> Iterator[None]:
    """Let this process hold no more memory than reading ``source`` may take; for processes that only read files.

    What asks for more meets a ``MemoryError`` or the decoder's own error. Without ``/proc`` nothing is confined.
    """
    used = _at_start()
    if not used:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + MEMORY + MEMORY_A_BYTE * stored_bytes(source)
    given = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([limit, *given]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def hush() -> None:
    """Let nothing that this process prints be seen: decoders quote what they stumble over, and print backtraces."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _at_start() -> int:
    """Address space of this process when first asked, in bytes; 0 where the system does not say."""
    if not _start:
        try:
            with open("/proc/self/statm", "rb") as file:
                _start.append(int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE"))
        except (OSError, ValueError):
            _start.append(0)
    return _start[0]
