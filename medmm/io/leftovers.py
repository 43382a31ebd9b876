"""Temporary files of processes that were killed: their names say who writes them, so that the next one may tidy up.

A name and no lock, because a writer may put a file of its own in the place of the one that it was given, and because
some network shares let nobody write to what is locked.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_SILENT_S = 24 * 3600  # without a byte written; then a process that cannot be asked counts as dead
_MARK = re.compile(r"([0-9a-f]{8})-(\d+)-(\d+)-")
_STATE, _BEGAN = 0, 19  # fields 3 and 22 of /proc/PID/stat, counted behind the name (proc(5))
_ENDED = ("Z", "X")
_UNKNOWN = "0"


def mark() -> str:
    """What the name of a temporary file says of this process: machine, process id and when it began."""
    return f"{_machine()}-{os.getpid()}-{_began(os.getpid())}-"


def remove(folder: Path, prefix: str) -> None:
    """Remove the files of dead writers from a folder; what cannot be listed or removed stays without a word.

    A writer on this machine is dead when its process is. Of another machine's (a share, another container, before the
    last start of this one), and of files without :func:`mark`, it is taken to be so after a day without a byte.

    Args:
        folder: The folder; nothing below it is touched.
        prefix: What the names of temporary files begin with, before the mark.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(prefix):
                continue
            with suppress(OSError):  # another process may have been faster, or the file is somebody else's
                if entry.is_file(follow_symlinks=False) and _is_left(entry, prefix):
                    os.unlink(entry.path)


def _is_left(entry: os.DirEntry[str], prefix: str) -> bool:
    found = _MARK.match(entry.name, len(prefix))
    if found is not None and found[1] == _machine():
        return not _is_alive(int(found[2]), found[3])
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _SILENT_S


def _is_alive(process: int, began: str) -> bool:
    """Whether a process of this machine is still the one that began then: ids are given again."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # another user's, whose start may be hidden
    return _began(process) in {began, _UNKNOWN}


def _began(process: int) -> str:
    """When a process began, in clock ticks since the machine did; empty if it has ended, ``0`` where none can say."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _UNKNOWN
    fields = stat.rpartition(")")[2].split()  # a name may hold blanks and brackets
    return "" if fields[_STATE] in _ENDED else fields[_BEGAN]


@cache
def _machine() -> str:
    """Where process ids mean the same, 8 hex digits: the machine since its start, and the container in it."""
    try:
        place = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8") + os.readlink("/proc/self/ns/pid")
    except OSError:
        place = platform.node()
    return hashlib.sha256(place.encode()).hexdigest()[:8]
