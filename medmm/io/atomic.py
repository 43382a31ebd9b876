"""Safe writes: a reader sees the old file or the new one, never half of one, and a full disk is said by name.

What a kill leaves behind is a hidden file ``.medmm-*`` beside the target, which the next write into that folder
removes; folders are listed without hidden files.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medmm.errors import ResourceError, UsageError, is_full_disk
from medmm.io import leftovers

PREFIX = ".medmm-"
"""Every temporary file's name begins so."""
_REFUSED = {
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "there is a folder of that name",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.ENAMETOOLONG: "the name is too long for the file system",
    errno.ELOOP: "the links of the path run in a circle",
}


@contextmanager
def full_disk_named(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn what any writer raises on a full disk or a place it may not write to into an error that names it.

    Wraps writers of other libraries as well (Parquet, safetensors, SQLite), which word a full disk in their own way.

    Args:
        path: The file that is being written; only its name enters the message.
        needed: Bytes that the write needs, None if not known.

    Raises:
        ResourceError: The disk or the quota is full.
        UsageError: The path leads through a file, or writing there is not allowed.
    """
    try:
        yield
    except OSError as error:
        named = _named(error, path, needed)
        if named is None:
            raise
        raise named from error
    except Exception as error:
        # What a writer within has named already is said again only by somebody who knows how much the whole needs.
        if not is_full_disk(error) or (needed is None and isinstance(error, ResourceError)):
            raise
        raise _full(path, needed) from error


@contextmanager
def temporary_beside(path: Path, mode: int = 0o600) -> Iterator[Path]:
    """Give an empty temporary file in the folder of ``path`` (made where missing), of the same suffix.

    It is gone when the block ends. What killed processes have left in the folder is removed first.

    Args:
        path: The file that it is needed for.
        mode: Permission bits, further narrowed by the process's umask.

    Raises:
        ResourceError: The disk or the quota is full.
        UsageError: The path leads through a file, or writing there is not allowed.
    """
    with full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        leftovers.remove(path.parent, PREFIX)
        temporary = path.parent / f"{PREFIX}{leftovers.mark()}{secrets.token_hex(6)}{path.suffix[:16]}"
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Give a temporary file to write, which takes the place of ``path`` when the block ends well.

    The temporary file is that of :func:`temporary_beside`. It is flushed to disk before it is renamed, and the folder
    after; if the block fails it is removed and ``path`` stays.

    Args:
        path: The file to replace or create.
        mode: Permission bits, further narrowed by the process's umask.

    Raises:
        ResourceError: The disk or the quota is full.
        UsageError: The path leads through a file, or writing there is not allowed.
    """
    path = Path(path)
    with full_disk_named(path), temporary_beside(path, mode) as temporary:
        permissions = temporary.stat().st_mode & 0o777
        yield temporary
        os.chmod(temporary, permissions)  # a writer that replaces the file instead of filling it loses the mode
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)


def write_bytes(path: Path, data: bytes | memoryview, mode: int = 0o644) -> None:
    """Write ``data`` to ``path``, whole or not at all.

    Raises:
        ResourceError: The disk or the quota is full; the bytes needed and free are said.
        UsageError: The path leads through a file, or writing there is not allowed.
    """
    with full_disk_named(path, memoryview(data).nbytes), replacing(path, mode) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all; raises as :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"), mode)


def write_json(path: Path, obj: Any, mode: int = 0o644) -> None:
    """Write ``obj`` as JSON, keys in their order, two spaces of indent, numpy scalars as numbers, NaN and inf as null.

    Raises:
        TypeError: ``obj`` holds something that JSON has no word for.
        ResourceError: The disk or the quota is full.
        UsageError: The path leads through a file, or writing there is not allowed.
    """
    text = json.dumps(_finite(obj), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", mode)


def append_line(path: Path, text: str, mode: int = 0o644) -> None:
    """Add one line to a ledger; when this returns the line is on the disk.

    A last line that a kill has torn is closed with a line break first, so that it spoils no more than itself.

    Args:
        path: The file, made where missing.
        text: The line without its line break.
        mode: Permission bits of a new file.

    Raises:
        ValueError: ``text`` holds a line break.
        ResourceError: The disk or the quota is full.
        UsageError: The path leads through a file, or writing there is not allowed.
    """
    if "\n" in text:
        raise ValueError("a ledger's line holds no line break")
    path = Path(path)
    line = text.encode("utf-8") + b"\n"
    with full_disk_named(path, len(line)):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC, mode)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            _sync(path.parent)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finite(obj: Any) -> Any:
    """Copy of ``obj`` that strict JSON can hold: no NaN, no inf, no numpy."""
    if isinstance(obj, Mapping):
        return {key: _finite(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_finite(value) for value in obj]
    if hasattr(obj, "tolist"):  # numpy arrays and scalars
        return _finite(obj.tolist())
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj


def _named(error: OSError, path: Path, needed: int | None) -> Exception | None:
    """The error to raise instead of ``error``; None if it is none of ours."""
    if is_full_disk(error):
        return _full(path, needed)
    reason = _REFUSED.get(error.errno or 0)
    if reason is None:
        return None
    return UsageError("cannot be written", where=Path(path).name, got=reason, fix="Choose another place to write to.")


def _full(path: Path, needed: int | None) -> ResourceError:
    return ResourceError(
        "the disk is full",
        where=Path(path).name,
        got=f"{_free_bytes(Path(path)):,} bytes free",  # after what was half written has been removed
        expected=f"{needed:,} bytes" if needed is not None else "more than that",
        fix="Free some space, then run the same command again; finetune and score go on with --resume --out DIR.",
    )


def _free_bytes(path: Path) -> int:
    """Bytes that this process may still write where ``path`` lies."""
    for folder in path.absolute().parents:
        try:
            disk = os.statvfs(folder)
        except OSError:
            continue
        return disk.f_bavail * disk.f_frsize
    return 0
