"""Images of studies, decoded once to the model's size and kept for every run that wants them again.

Pixels lie in a store that runs share (:mod:`medmm.data.store`), mapped into memory. What it has no room for lies in a
store of the run's own, and so does all where it cannot be used. Which study an image is of is known to the run alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medmm.config.schema import CacheConfig, PreprocessConfig
from medmm.data.catalogue import Entry
from medmm.data.decoding import WHITE, Readers, read_stored, shape_of
from medmm.data.shards import Rows, row_bytes
from medmm.data.store import Store
from medmm.errors import Reason, is_full_disk
from medmm.io.atomic import full_disk_named
from medmm.types import ImageRef, ImageSource, Rejection, Study

_THREADS = min(4, len(os.sched_getaffinity(0)))
_WORTH_THREADS = 2**20  # bytes of a batch; a smaller one is filled before another thread has begun


def preprocess_hash(preprocess: PreprocessConfig) -> str:
    """SHA-256 of the preprocessing contract, as 64 hex digits."""
    return hashlib.sha256(json.dumps(preprocess.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def read_view(source: ImageSource, preprocess: PreprocessConfig) -> npt.NDArray[np.float32]:
    """Read one image exactly as the cache would give it.

    Returns:
        float32 ``[1, S, S]``, or ``[1, D, S, S]`` for volumes, in [0, 1] in steps of 1 / 65535.

    Raises:
        ImageError: The file gives no image of the wanted kind.
    """
    return read_stored(source, preprocess).astype(np.float32) / np.float32(WHITE)


def shared_root(config: CacheConfig) -> Path:
    """Folder of the store that runs share: as set, else ``$MEDMM_CACHE/images``, else ``~/.cache/medmm/images``."""
    if config.root is not None:
        return config.root.expanduser()
    return Path(os.environ.get("MEDMM_CACHE") or Path.home() / ".cache" / "medmm") / "images"


@functools.cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Threads that fill batches, of this process: those of the one that it was forked from are not with it."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix=f"medmm-batch-{process}")


@dataclass(frozen=True)
class ImageCache:
    """Views of studies, ready for the model.

    Attributes:
        stored: uint16 ``[1, S, S]`` or ``[1, D, S, S]`` a row, memory-mapped; 65535 stands for 1.0.
        rows: Study id to its rows in ``stored``, one a view, in the order of the study's images.
        notes: What was unusual, one sentence each, without patient data.
    """

    stored: Rows | npt.NDArray[np.uint16]
    rows: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()

    def __contains__(self, study_id: str) -> bool:
        return study_id in self.rows

    def views(self, study_id: str) -> npt.NDArray[np.float32]:
        """Views of a study as float32 ``[V, 1, S, S]`` (``[V, 1, D, S, S]`` for volumes) in [0, 1].

        Raises:
            KeyError: The study has no readable image.
        """
        return self.batch([study_id])[0]

    def batch(self, study_ids: Sequence[str], out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
        """Views of several studies, straight from the mapped files.

        Args:
            study_ids: B studies.
            out: Float32 of the shape of the result to be filled, from an earlier batch; None makes a new one.

        Returns:
            float32 ``[B, V, 1, S, S]`` (``[B, V, 1, D, S, S]`` for volumes) in [0, 1], V the most views of a
            study; zero where a study has fewer.

        Raises:
            KeyError: One of the studies has no readable image.
        """
        rows = [self.rows[study_id] for study_id in study_ids]
        most = max(map(len, rows))
        if out is None:
            out = np.empty((len(rows), most, *self.stored[rows[0][0]].shape), dtype=np.float32)
        assert len(out) == len(rows)
        threads = min(_THREADS, len(rows)) if out.nbytes > _WORTH_THREADS else 1
        pool = _threads(os.getpid())
        others = [pool.submit(self._fill, rows[n::threads], out[n::threads]) for n in range(1, threads)]
        self._fill(rows[::threads], out[::threads])
        for other in others:
            other.result()
        return out

    def _fill(self, rows: Sequence[tuple[int, ...]], out: npt.NDArray[np.float32]) -> None:
        """Put the views of some studies into their places; numpy lets go of the interpreter meanwhile."""
        white, stored, copy, divide = np.float32(WHITE), self.stored, np.copyto, np.divide
        for own, target in zip(rows, out, strict=True):
            for row, view in zip(own, target, strict=False):
                copy(view, stored[row], "unsafe")
                divide(view, white, view)  # while it lies in the processor's cache
            if len(own) < len(target):
                target[len(own) :] = 0

    @classmethod
    def build(
        cls,
        studies: Sequence[Study],
        preprocess: PreprocessConfig,
        folder: Path,
        max_views: int,
        workers: int = 0,
        progress: Callable[..., None] | None = None,
        shared: CacheConfig | None = None,
    ) -> tuple[ImageCache, list[Rejection]]:
        """Find the images of studies in the shared store, and decode those that are not there.

        Args:
            studies: The studies; ids are unique.
            preprocess: Size and window.
            folder: Where images lie that the shared store does not take; made where needed.
            max_views: Most views kept of a study, the first readable ones.
            workers: Reading processes; 0 reads in this one.
            progress: Called as ``progress(done, total)``.
            shared: The shared store; None, or a limit of 0, leaves all images in ``folder``.

        Returns:
            The cache, and every image that could not be read; a study stays out only if no image of it is left.

        Raises:
            ResourceError: The disk is full.
        """
        work = _Work(studies, max_views)
        with Readers(preprocess, workers) as readers:
            stores = _Stores(preprocess, folder, shared or CacheConfig(limit_gb=0), readers)
            try:
                while slots := work.take():
                    for place, found in stores.resolve([source for _, source in slots]):
                        work.note(slots[place][0], found)
                        if progress is not None:
                            progress(work.done, work.total)
                return stores.cache(work), work.rejections()
            finally:
                stores.close()


@dataclass(frozen=True)
class _Found:
    """What came of an image: an entry of the store of that number."""

    store: int
    entry: Entry


class _Stores:
    """The shared store first, the run's own for what it does not take."""

    def __init__(self, preprocess: PreprocessConfig, folder: Path, shared: CacheConfig, readers: Readers) -> None:
        self._preprocess, self._readers = preprocess, readers
        self._places: list[tuple[Path, int | None]] = [(folder, None)]
        limit = int(shared.limit_gb * 1e9)
        if limit:
            self._places.insert(0, (shared_root(shared), limit))
        self._opened: dict[int, Store] = {}
        self._left: set[int] = set()
        self.notes: list[str] = []

    def resolve(self, sources: Sequence[ImageSource]) -> Iterator[tuple[int, _Found]]:
        """What the stores know or learn of images; every place in ``sources`` comes once."""
        open_places = list(range(len(sources)))
        for store in range(len(self._places)):
            if not open_places:
                return
            last = store == len(self._places) - 1
            settled = set()
            for place, entry in self._from(store, [sources[one] for one in open_places], last):
                settled.add(place)
                yield open_places[place], _Found(store, entry)
            open_places = [one for place, one in enumerate(open_places) if place not in settled]
            if open_places and store not in self._left:
                self._say("the shared image cache has no room for all images; raise cache.limit_gb to keep them")
        assert not open_places

    def _from(self, number: int, sources: Sequence[ImageSource], last: bool) -> Iterator[tuple[int, Entry]]:
        if number in self._left:
            return
        root, limit = self._places[number]
        needed = len(sources) * row_bytes(shape_of(self._preprocess))
        with full_disk_named(root / "images", needed):
            try:
                if number not in self._opened:
                    self._opened[number] = Store(root, limit, self._preprocess)
                yield from self._opened[number].resolve(sources, self._readers)
            except (OSError, sqlite3.Error) as error:
                if last or is_full_disk(error):
                    raise
                self._left.add(number)
                why = error.strerror if isinstance(error, OSError) else type(error).__name__
                self._say(f"the shared image cache cannot be used ({why}); images lie in the run's own folder")

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def cache(self, work: _Work) -> ImageCache:
        """Map all that was found."""
        chosen = work.chosen()
        names = sorted({(one.store, one.entry.shard) for views in chosen.values() for one in views})
        shards = [array for store, name in names for array in self._opened[store].mapped([name])]
        order = {name: number for number, name in enumerate(names)}
        rows: dict[str, tuple[int, ...]] = {}
        places: list[tuple[int, int]] = []
        for study_id, views in chosen.items():
            rows[study_id] = tuple(range(len(places), len(places) + len(views)))
            places += [(order[one.store, one.entry.shard], one.entry.row) for one in views]
        return ImageCache(Rows(shards, places), rows, tuple(self.notes))

    def close(self) -> None:
        for store in self._opened.values():
            store.close()


class _Work:
    """Which images are looked at: of each study the first ones, and the next one for each that cannot be read."""

    def __init__(self, studies: Sequence[Study], most: int) -> None:
        self._studies = studies
        self._next = [min(most, len(study.images)) for study in studies]
        self._open = [(place, view) for place, number in enumerate(self._next) for view in range(number)]
        self._found: dict[tuple[int, int], _Found] = {}
        self.done, self.total = 0, len(self._open)

    def take(self) -> list[tuple[tuple[int, int], ImageSource]]:
        """The images to look at next, by (study, image); none when all is settled."""
        slots, self._open = self._open, []
        return [(slot, self._image(slot).source) for slot in slots]

    def note(self, slot: tuple[int, int], found: _Found) -> None:
        """Take in what came of an image."""
        self._found[slot] = found
        place, _ = slot
        if found.entry.reason and self._next[place] < len(self._studies[place].images):
            self._open.append((place, self._next[place]))
            self._next[place] += 1
        else:
            self.done += 1

    def chosen(self) -> dict[str, list[_Found]]:
        """Study id to the views found, in the order of its images."""
        views: dict[str, list[_Found]] = {}
        for (place, _), found in sorted(self._found.items(), key=lambda pair: pair[0]):
            if not found.entry.reason:
                views.setdefault(self._studies[place].study_id, []).append(found)
        return views

    def rejections(self) -> list[Rejection]:
        """Images that could not be read, in the order of studies and images."""
        return [
            Rejection(
                self._studies[slot[0]].study_id, Reason(one.entry.reason), one.entry.detail, self._image(slot).path
            )
            for slot, one in sorted(self._found.items(), key=lambda pair: pair[0])
            if one.entry.reason
        ]

    def _image(self, slot: tuple[int, int]) -> ImageRef:
        place, view = slot
        return self._studies[place].images[view]
