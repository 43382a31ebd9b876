"""The SQLite file of a catalogue: made anew where it is damaged or of another format, changed in whole transactions."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medmm.data import shards

FORMAT = 1
NAME = "index.sqlite"
_PATIENCE_S = 60.0  # for another process's transaction; the longest takes well under a second
_SCHEMA = f"""
CREATE TABLE shards(name TEXT PRIMARY KEY, kind TEXT, row_bytes INT, rows INT, used REAL, writer TEXT);
CREATE TABLE images(kind TEXT, key BLOB, shard TEXT, row INT, checksum INT, reason TEXT, detail TEXT,
                    writer TEXT, since REAL, PRIMARY KEY(kind, key)) WITHOUT ROWID;
CREATE INDEX images_by_shard ON images(shard);
CREATE INDEX images_by_writer ON images(writer) WHERE writer IS NOT NULL;
CREATE TABLE files(stamp BLOB PRIMARY KEY, key BLOB, used REAL) WITHOUT ROWID;
CREATE TABLE writers(name TEXT PRIMARY KEY);
PRAGMA user_version = {FORMAT};
"""


def opened(root: Path) -> sqlite3.Connection:
    """Open the catalogue of a folder, which is made where missing, for its owner alone.

    A rollback journal, not a write-ahead log: that one needs shared memory, which network file systems lack.

    Raises:
        OSError: The folder cannot be written to.
        sqlite3.OperationalError: The catalogue cannot be read for now.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(root / "lock"):
        path = root / NAME
        if path.exists():
            db = _connected(path)
            if _is_whole(db):
                return db
            db.close()
        for one in (path, path.with_name(f"{NAME}-journal")):
            one.unlink(missing_ok=True)
        shards.create(path)
        db = _connected(path)
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        return db


@contextmanager
def changing(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction, alone among all processes.

    Raises:
        sqlite3.OperationalError: Another process does not let go of the file, or the disk is full.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.rollback()
        raise
    db.commit()


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)


def _is_whole(db: sqlite3.Connection) -> bool:
    """Whether it is a catalogue of this format without damage."""
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return bool(version == FORMAT and db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, shards.PRIVATE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
