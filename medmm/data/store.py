"""Decoded images of a folder that all runs share: looked up by content, read and added where they are missing.

What a kill leaves behind at any moment is a usable store, and two processes that fill one at the same time share the
work: each claims the images that it reads, and waits for those that the other has claimed.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medmm.config.schema import PreprocessConfig
from medmm.data import content
from medmm.data.catalogue import Catalogue, Entry
from medmm.data.decoding import Job, Outcome, Readers, shape_of
from medmm.data.shards import Shard, checksum
from medmm.types import ImageSource

_CLAIM = 32  # images claimed at a time: so many are lost to a kill, and so many another process may wait for
_PUBLISH_S = 1.0
_POLL_S = 0.05


@dataclass
class _Wanted:
    """An image that is not in the store yet: where it can be read, and the places of the list that ask for it."""

    source: ImageSource
    stamp: content.Stamp | None
    places: list[int] = field(default_factory=list)

    def unchanged(self, key: bytes) -> bool:
        """Whether the file holds what its key says, which was made before it was read."""
        if self.stamp is None:
            return False
        if not self.stamp.settled:
            return content.content_key(self.source) == key
        now = content.stamp(self.source)
        return now is not None and now.digest == self.stamp.digest


class Store:
    """A folder of decoded images, opened to find and add images of one preprocessing.

    Args:
        root: The folder; made where missing.
        limit: Most bytes that it may hold, None for any number.
        preprocess: Size and window.

    Raises:
        OSError: The folder cannot be written to.
        sqlite3.Error: Nor can its catalogue.
    """

    def __init__(self, root: Path, limit: int | None, preprocess: PreprocessConfig) -> None:
        self.root = root
        self._kind, self._shape = content.reading_key(preprocess), shape_of(preprocess)
        self._catalogue = Catalogue(root, limit)
        self._hold: dict[str, Shard] = {}

    def close(self) -> None:
        """Let go of the catalogue; what has been mapped stays in use."""
        self._catalogue.close()
        self._hold = {}

    def mapped(self, names: Sequence[str]) -> list[npt.NDArray[np.uint16]]:
        """Shards that entries of this store lie in, mapped; they are not evicted as long as the arrays live."""
        return [self._hold[name].mapped() for name in names]

    def resolve(self, sources: Sequence[ImageSource], readers: Readers) -> Iterator[tuple[int, Entry]]:
        """Find images in the store, or read them into it.

        Args:
            sources: The images.
            readers: Reads what is missing.

        Yields:
            The place of an image in ``sources`` and what is known of it, in any order; those for which the store has no
            room are left out.

        Raises:
            OSError: The store cannot be written to, for instance because the disk is full.
            sqlite3.Error: Nor can its catalogue.
        """
        wanted = self._wanted(sources)
        yield from self._known(wanted)
        if not wanted:
            return
        with self._catalogue.writing() as writer:
            full, pause = False, _POLL_S
            while wanted and not full:
                number = len(wanted)
                filling = _Filling(self, writer, wanted)
                yield from filling.run(readers)
                yield from self._known(wanted)
                full = filling.full
                pause = min(1.0, 1.5 * pause) if len(wanted) == number else _POLL_S
                if wanted and not full:
                    time.sleep(pause)  # another process is reading them

    def _wanted(self, sources: Sequence[ImageSource]) -> dict[bytes, _Wanted]:
        """The images by content; each file's is computed once and remembered as long as the file does not change."""
        stamps = [content.stamp(source) for source in sources]
        known = self._catalogue.keys_of([one.digest for one in stamps if one is not None])
        fresh = [place for place, one in enumerate(stamps) if one is None or one.digest not in known]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            keys = threads.map(content.content_key, [sources[place] for place in fresh])
            hashed = dict(zip(fresh, keys, strict=True))
        learned = []
        wanted: dict[bytes, _Wanted] = {}
        for place, (source, stamp) in enumerate(zip(sources, stamps, strict=True)):
            key = hashed[place] if place in hashed else known[stamp.digest] if stamp is not None else None
            if place in hashed and key and stamp is not None and stamp.settled and stamp == content.stamp(source):
                learned.append((stamp.digest, key))
            # what cannot be read, a reader says why; nothing of it is kept
            one = _Wanted(source, stamp if key else None)
            wanted.setdefault(key or secrets.token_bytes(32), one).places.append(place)
        if learned:
            self._catalogue.remember(learned)
        return wanted

    def _known(self, wanted: dict[bytes, _Wanted]) -> Iterator[tuple[int, Entry]]:
        """Take out of ``wanted`` what the store has; rows that do not fit their checksum are struck out instead."""
        found = self._catalogue.look_up(self._kind, list(wanted), self._hold, self._shape)
        maps = {name: self._hold[name].mapped() for name in {one.shard for one in found.values()} - {""}}

        def sound(entry: Entry) -> bool:
            if not entry.shard:
                return True
            rows = maps[entry.shard]
            return entry.row < len(rows) and checksum(rows[entry.row]) == entry.checksum

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            right = dict(zip(found, threads.map(sound, found.values(), chunksize=64), strict=True))
        if spoiled := [key for key, good in right.items() if not good]:
            self._catalogue.forget(self._kind, spoiled)
        for key, entry in found.items():
            if right[key]:
                for place in wanted.pop(key).places:
                    yield place, entry


class _Filling:
    """One pass over what is missing: claim, read, publish."""

    def __init__(self, store: Store, writer: str, wanted: dict[bytes, _Wanted]) -> None:
        self._store, self._writer, self._wanted = store, writer, wanted
        self._claims: dict[bytes, Entry] = {}
        self._done: dict[bytes, Entry] = {}
        self._void: list[bytes] = []
        self._published = time.monotonic()
        self.full = False

    def run(self, readers: Readers) -> Iterator[tuple[int, Entry]]:
        """Read what nobody else is reading; what is yielded is taken out of ``wanted``."""
        for outcome in readers.read(self._jobs()):
            self._take(outcome)
            if len(self._done) + len(self._void) >= _CLAIM or time.monotonic() - self._published > _PUBLISH_S:
                yield from self._publish()
        yield from self._publish()

    def _jobs(self) -> Iterator[Job]:
        store, keys = self._store, list(self._wanted)
        for start in range(0, len(keys), _CLAIM):
            if self.full:
                return
            some = [key for key in keys[start : start + _CLAIM] if key in self._wanted]
            claims, self.full = store._catalogue.claim(self._writer, store._kind, some, store._hold, store._shape)
            self._claims |= claims
            for key, entry in claims.items():
                shard = store._hold[entry.shard]
                yield Job(self._wanted[key].source, shard.path, entry.row * shard.row_bytes, key)

    def _take(self, outcome: Outcome) -> None:
        key = outcome.job.key
        entry, wanted = self._claims.pop(key), self._wanted[key]
        if outcome.reason is not None:
            self._done[key] = Entry("", 0, 0, outcome.reason, outcome.detail)
        else:
            self._done[key] = Entry(entry.shard, entry.row, outcome.checksum)
        if not outcome.lasting or not wanted.unchanged(key):
            self._void.append(key)  # would not be read so again

    def _publish(self) -> Iterator[tuple[int, Entry]]:
        done, void = self._done, self._void
        self._done, self._void, self._published = {}, [], time.monotonic()
        for name in {one.shard for one in done.values()} - {""}:
            self._store._hold[name].flush()
        kept = {key: entry for key, entry in done.items() if key not in void}
        self._store._catalogue.publish(self._writer, self._store._kind, kept, void)
        for key, entry in done.items():
            for place in self._wanted.pop(key).places:
                yield place, entry
