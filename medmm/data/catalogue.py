"""What lies in a store of decoded images: an SQLite file whose every change is one transaction, whole or not at all.

It holds digests, numbers and reasons; nothing in it names a file, a study or a patient. An image is claimed by a
writer first and published when its pixels are on the disk; the claims of a writer that died are void.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from medmm.data import shards
from medmm.data.catalogue_file import changing, opened
from medmm.data.decoding import LIMIT_S

ROWS, WRITER = ".rows", ".writer"
_STALE_S = 2 * LIMIT_S  # a claim so old is its writer's no longer: it hangs
_FORGET_S = 180 * 86400.0  # what was not asked for so long
_MANY = 500  # values of one statement


@dataclass(frozen=True)
class Entry:
    """What is known of an image: where its pixels lie, or why there are none.

    Attributes:
        shard: Name of the shard, empty for a rejected image.
        row: Row there.
        checksum: CRC-32 of the row.
        reason: Why the file gives no image, empty where it does.
        detail: The same as a sentence without patient data.
    """

    shard: str
    row: int
    checksum: int = 0
    reason: str = ""
    detail: str = ""


class Catalogue:
    """The catalogue of one folder, shared by any number of processes.

    Args:
        root: The folder; made where missing, for its owner alone.
        limit: Most bytes of rows, None for any number.

    Raises:
        OSError: The folder cannot be written to.
        sqlite3.Error: Neither can the catalogue, or another process does not let go of it.
    """

    def __init__(self, root: Path, limit: int | None) -> None:
        self.root, self.limit = root, limit
        self._db = opened(root)
        with self._changing():
            self._room(0)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _changing(self) -> AbstractContextManager[sqlite3.Connection]:
        return changing(self._db)

    def keys_of(self, stamps: Sequence[bytes]) -> dict[bytes, bytes]:
        """Content keys of files that were hashed before and have not changed, by stamp."""
        found: dict[bytes, bytes] = {}
        with self._changing() as db:
            for some in _parts(stamps):
                marks = ",".join("?" * len(some))
                found.update(db.execute(f"SELECT stamp, key FROM files WHERE stamp IN ({marks})", some))
                now = time.time()
                db.execute(
                    f"UPDATE files SET used = ? WHERE used < ? AND stamp IN ({marks})", (now, now - 86400, *some)
                )
        return found

    def remember(self, keys: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep (stamp, content key) pairs."""
        with self._changing() as db:
            now = time.time()
            db.executemany("INSERT OR REPLACE INTO files VALUES(?, ?, ?)", [(*pair, now) for pair in keys])

    def look_up(
        self, kind: str, keys: Sequence[bytes], hold: dict[str, shards.Shard], shape: tuple[int, ...]
    ) -> dict[bytes, Entry]:
        """Published entries among ``keys``; their shards are put into ``hold`` before anybody could evict them."""
        found: dict[bytes, Entry] = {}
        with self._changing() as db:
            for some in _parts(keys):
                marks = ",".join("?" * len(some))
                rows = db.execute(
                    f"SELECT key, shard, row, checksum, reason, detail FROM images "
                    f"WHERE kind = ? AND writer IS NULL AND key IN ({marks})",
                    (kind, *some),
                )
                found.update({key: Entry(*rest) for key, *rest in rows})
            for name in sorted({entry.shard for entry in found.values()} - {""}):
                if self._held(name, hold, shape):
                    db.execute("UPDATE shards SET used = ? WHERE name = ?", (time.time(), name))
                else:
                    self._forget_shard(name)
                    found = {key: entry for key, entry in found.items() if entry.shard != name}
        return found

    def forget(self, kind: str, keys: Sequence[bytes]) -> None:
        """Strike out entries whose rows are spoiled."""
        with self._changing() as db:
            db.executemany("DELETE FROM images WHERE kind = ? AND key = ?", [(kind, key) for key in keys])

    @contextmanager
    def writing(self) -> Iterator[str]:
        """Name of a writer that is alive as long as the block lasts; a kill ends it as well."""
        name = secrets.token_hex(8)
        path = self.root / f"{name}{WRITER}"
        with self._changing() as db:
            shards.create(path)
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(file, fcntl.LOCK_EX)
            db.execute("INSERT INTO writers VALUES(?)", (name,))
            self._sweep()
        try:
            yield name
        finally:
            with suppress(sqlite3.Error), self._changing():
                self._dismiss(name)
            path.unlink(missing_ok=True)
            os.close(file)

    def claim(
        self, writer: str, kind: str, keys: Sequence[bytes], hold: dict[str, shards.Shard], shape: tuple[int, ...]
    ) -> tuple[dict[bytes, Entry], bool]:
        """Take those of ``keys`` that nobody has or is about to have, each with a row for its pixels.

        Returns:
            The rows by key, their shards in ``hold``; and whether some found no room.
        """
        with self._changing() as db:
            self._bury_dead()
            now, taken = time.time(), set()
            for some in _parts(keys):
                marks = ",".join("?" * len(some))
                taken |= {key for (key,) in db.execute(
                    f"SELECT key FROM images WHERE kind = ? AND key IN ({marks}) AND (writer IS NULL OR since > ?)",
                    (kind, *some, now - _STALE_S),
                )}  # fmt: skip
            wanted = [key for key in keys if key not in taken]
            claims: dict[bytes, Entry] = {}
            while len(claims) < len(wanted):
                name, first, number = self._rows(writer, kind, shape, len(wanted) - len(claims), hold)
                if number == 0:
                    break
                for key in wanted[len(claims) : len(claims) + number]:
                    claims[key] = Entry(name, first)
                    first += 1
            db.executemany(
                "INSERT OR REPLACE INTO images VALUES(?, ?, ?, ?, 0, '', '', ?, ?)",
                [(kind, key, one.shard, one.row, writer, now) for key, one in claims.items()],
            )
        return claims, len(claims) < len(wanted)

    def publish(self, writer: str, kind: str, entries: dict[bytes, Entry], void: Sequence[bytes]) -> None:
        """Let all see what a writer's claims have become; ``void`` ones are given back."""
        with self._changing() as db:
            db.executemany(
                "UPDATE images SET shard = ?, row = ?, checksum = ?, reason = ?, detail = ?, since = ?, writer = NULL "
                "WHERE kind = ? AND key = ? AND writer = ?",
                [
                    (one.shard, one.row, one.checksum, one.reason, one.detail, time.time(), kind, key, writer)
                    for key, one in entries.items()
                ],
            )
            db.executemany(
                "DELETE FROM images WHERE kind = ? AND key = ? AND writer = ?", [(kind, key, writer) for key in void]
            )

    def _rows(
        self, writer: str, kind: str, shape: tuple[int, ...], number: int, hold: dict[str, shards.Shard]
    ) -> tuple[str, int, int]:
        """Up to ``number`` new rows in one shard: its name, the first row, how many; 0 where there is no room."""
        size = shards.row_bytes(shape)
        capacity = max(1, _shard_bytes(self.limit) // size)
        number = min(number, capacity, self._room(number * size) // size)
        if number == 0:
            return "", 0, 0
        found = self._db.execute(
            "SELECT name, rows FROM shards WHERE kind = ? AND rows < ? AND (writer = ? OR writer IS NULL) "
            "ORDER BY writer IS NULL, used DESC LIMIT 1",
            (kind, capacity, writer),
        ).fetchone()
        if found is not None and not self._held(found[0], hold, shape):
            self._forget_shard(found[0])
            found = None
        if found is None:
            found = (secrets.token_hex(8), 0)
            shards.create(self.root / f"{found[0]}{ROWS}")
            self._db.execute("INSERT INTO shards VALUES(?, ?, ?, 0, 0, ?)", (found[0], kind, size, writer))
            self._held(found[0], hold, shape)
        name, first = found
        number = min(number, capacity - first)
        self._db.execute(
            "UPDATE shards SET rows = ?, writer = ?, used = ? WHERE name = ?",
            (first + number, writer, time.time(), name),
        )
        return name, first, number

    def _room(self, needed: int) -> int:
        """How many of the bytes there is room for, after evicting what nobody uses, the longest unused first."""
        if self.limit is None:
            return needed
        (total,) = self._db.execute("SELECT coalesce(sum(rows * row_bytes), 0) FROM shards").fetchone()
        unused = self._db.execute(
            "SELECT name, rows * row_bytes FROM shards WHERE writer IS NULL ORDER BY used"
        ).fetchall()
        for name, size in unused:
            if total + needed <= self.limit:
                break
            if shards.remove_unused(self.root / f"{name}{ROWS}"):
                self._forget_shard(name)
                total -= size
        return max(0, min(needed, self.limit - total))

    def _held(self, name: str, hold: dict[str, shards.Shard], shape: tuple[int, ...]) -> bool:
        if name not in hold:
            try:
                hold[name] = shards.Shard(self.root / f"{name}{ROWS}", shape)
            except FileNotFoundError:
                return False
        return True

    def _forget_shard(self, name: str) -> None:
        self._db.execute("DELETE FROM images WHERE shard = ?", (name,))
        self._db.execute("DELETE FROM shards WHERE name = ?", (name,))

    def _bury_dead(self) -> None:
        """Void the claims of writers whose lock is gone."""
        for (name,) in self._db.execute("SELECT name FROM writers").fetchall():
            if shards.remove_unused(self.root / f"{name}{WRITER}"):
                self._dismiss(name)

    def _dismiss(self, writer: str) -> None:
        self._db.execute("DELETE FROM images WHERE writer = ?", (writer,))
        self._db.execute("UPDATE shards SET writer = NULL WHERE writer = ?", (writer,))
        self._db.execute("DELETE FROM writers WHERE name = ?", (writer,))

    def _sweep(self) -> None:
        """Remove files that a kill has left without an entry, and entries nobody asked for since long ago."""
        self._bury_dead()
        known = {f"{name}{ROWS}" for (name,) in self._db.execute("SELECT name FROM shards")}
        known |= {f"{name}{WRITER}" for (name,) in self._db.execute("SELECT name FROM writers")}
        for path in self.root.iterdir():
            if path.suffix in (ROWS, WRITER) and path.name not in known:
                shards.remove_unused(path)
        old = time.time() - _FORGET_S
        self._db.execute("DELETE FROM files WHERE used < ?", (old,))
        self._db.execute("DELETE FROM images WHERE shard = '' AND writer IS NULL AND since < ?", (old,))


def _shard_bytes(limit: int | None) -> int:
    """Large enough that few files are open at once, small enough that eviction is no coarse thing."""
    return 2**28 if limit is None else min(2**28, max(1, limit // 16))


def _parts(values: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    for start in range(0, len(values), _MANY):
        yield tuple(values[start : start + _MANY])
