"""The journal of a search: Optuna's, kept as a ledger of ours, and held by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medmm.errors import UsageError
from medmm.io.atomic import append_line, full_disk_named


class Journal:
    """Entries of Optuna's journal, durable line by line; a line that a kill has torn counts as not there.

    Optuna's own file keeps a torn line, and cannot be read once another one follows it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the whole entries from a number on, counted from 0."""
        lines = self._path.read_bytes().split(b"\n")[:-1] if self._path.is_file() else []
        yield from [entry for line in lines if (entry := _entry(line)) is not None][log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries to the disk.

        Raises:
            ResourceError: The disk is full.
        """
        for entry in logs:
            append_line(self._path, json.dumps(entry))


def hold(path: Path) -> int:
    """Hold a journal, made where missing; the system lets go of it when the process ends, however it does.

    Returns:
        A file descriptor; closing it lets go.

    Raises:
        UsageError: Another process holds it, or the place may not be written to.
        ResourceError: The disk is full.
    """
    with full_disk_named(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        fix = "Wait for it, or name another folder."
        raise UsageError("another process searches in this folder", where="--out", fix=fix) from error
    return descriptor


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
