"""Records gathered by study on disk, because rows and files of a study need not come one after the other."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medmm.io.atomic import full_disk_named

_CACHE_KIB = 64 * 1024


class Groups:
    """Records by key; only the keys stay in memory.

    The records lie in a temporary SQLite database without a name, which no other process can open and which is gone
    when this one ends, however it ends.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE record (number INTEGER PRIMARY KEY, owner INTEGER, said BLOB)")
        self._owners: dict[str, int] = {}

    def __enter__(self) -> Groups:
        """Open for use in a ``with`` block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Drop everything."""
        self._database.close()

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._owners)

    def __contains__(self, key: str) -> bool:
        """Whether a key has come."""
        return key in self._owners

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Put a record, which pickle must take, behind those of its key.

        Raises:
            ResourceError: The disk of temporary files is full.
        """
        owner = self._owners.setdefault(key, len(self._owners))
        with full_disk_named(Path("temporary file")):
            self._database.execute("INSERT INTO record (owner, said) VALUES (?, ?)", (owner, pickle.dumps(record)))

    def __iter__(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield each key with its records: keys by first appearance, records in the order they came.

        Raises:
            ResourceError: The disk of temporary files is full.
        """
        with full_disk_named(Path("temporary file")):
            rows = self._database.execute("SELECT owner, said FROM record ORDER BY owner, number")
            row = next(rows, None)
        for key, owner in self._owners.items():
            records = []
            while row is not None and row[0] == owner:
                records.append(pickle.loads(row[1]))
                row = next(rows, None)
            yield key, records
