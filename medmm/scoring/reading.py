"""Images of studies read ahead of the model, in processes that may die without taking the night's run with them.

A file that crashes a decoder, or keeps it busy for minutes, ends one reading process: its image is set aside and a new
process takes over (:mod:`medmm.data.decoding`).
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from medmm.config.schema import PreprocessConfig, ScoreConfig
from medmm.data.cache import read_view
from medmm.data.decoding import WHITE, Job, ReadingProcess, shape_of
from medmm.errors import ImageError, Reason
from medmm.io.atomic import full_disk_named
from medmm.types import ImageSource

_Array = npt.NDArray[np.float32]


def reading_processes(config: ScoreConfig) -> int:
    """Number of reading processes: as configured, else one for each processor that this process may use."""
    if config.workers is not None:
        return config.workers
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Unread:
    """An image that could not be read: its place among the study's, from 0; ``detail`` holds no patient data."""

    place: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Views:
    """What reading a study came to.

    Attributes:
        images: float32 ``[V, 1, S, S]`` (``[V, 1, D, S, S]`` for volumes) in [0, 1]; V is 0 if nothing could be read.
        used: Which of the study's images they are, counted from 0.
        unread: Images that could not be read.
        given: Number of the study's images.
    """

    images: _Array
    used: tuple[int, ...]
    unread: tuple[Unread, ...]
    given: int

    @property
    def left_out(self) -> dict[int, Reason]:
        """Why the model did not see an image, by its place, counted from 0; images are looked at in their order."""
        looked_at = len(self.used) + len(self.unread)
        reasons = {one.place: one.reason for one in self.unread}
        return reasons | dict.fromkeys(range(looked_at, self.given), Reason.IMAGE_SURPLUS)


class ReaderPool:
    """Reads studies in processes of its own. Use it as a context, which ends them.

    Args:
        preprocess: What the model was trained with.
        max_views: Most views of a study, the first readable ones, as in training.
        workers: Reading processes, started when they are first needed; 0 reads in this process.

    Raises:
        ResourceError: The disk of temporary files is full.
    """

    def __init__(self, preprocess: PreprocessConfig, max_views: int, workers: int) -> None:
        self._preprocess, self._max_views = preprocess, max_views
        self._shape = shape_of(preprocess)
        self._threads = ThreadPoolExecutor(workers, "medmm-read") if workers else None
        self._local = threading.local()
        self._guard = threading.Lock()
        self._processes: list[ReadingProcess] = []
        self._closed = False
        self._scratch = tempfile.NamedTemporaryFile(prefix="medmm-read-")  # noqa: SIM115 - closed in __exit__
        with full_disk_named(Path("temporary file")):
            self._scratch.truncate(workers * self._bytes)

    @property
    def _bytes(self) -> int:
        return int(np.prod(self._shape)) * 2

    def submit(self, sources: Sequence[ImageSource]) -> Future[Views]:
        """Begin to read a study's images, given in their order."""
        if self._threads is not None:
            return self._threads.submit(self._read, tuple(sources))
        future: Future[Views] = Future()
        future.set_result(self._read(tuple(sources)))
        return future

    def _read(self, sources: tuple[ImageSource, ...]) -> Views:
        images: list[_Array] = []
        unread: list[Unread] = []
        used: list[int] = []
        for place, source in enumerate(sources):
            if len(images) == self._max_views or self._closed:
                break
            one = self._read_one(place, source)
            if isinstance(one, Unread):
                unread.append(one)
            else:
                images.append(one)
                used.append(place)
        joined = np.stack(images) if images else np.zeros((0, *self._shape), dtype=np.float32)
        return Views(joined, tuple(used), tuple(unread), len(sources))

    def _read_one(self, place: int, source: ImageSource) -> _Array | Unread:
        if self._threads is None:
            try:
                return read_view(source, self._preprocess)
            except ImageError as error:
                return Unread(place, error.reason, error.detail)
        process, row = self._own_process()
        outcome = process.ask(Job(source, Path(self._scratch.name), row * self._bytes))
        if outcome.reason is not None:
            return Unread(place, outcome.reason, outcome.detail)
        stored = np.fromfile(self._scratch.name, np.uint16, int(np.prod(self._shape)), offset=row * self._bytes)
        return np.asarray(stored.reshape(self._shape), dtype=np.float32) / np.float32(WHITE)

    def _own_process(self) -> tuple[ReadingProcess, int]:
        """The process of this thread and the row of the scratch file that it writes to."""
        if not hasattr(self._local, "own"):
            process = ReadingProcess(self._preprocess)
            with self._guard:
                self._local.own = process, len(self._processes)
                self._processes.append(process)
        own: tuple[ReadingProcess, int] = self._local.own
        return own

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._end_processes()  # what they are reading is not wanted any more
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._end_processes()  # a thread may have started one just now
        self._scratch.close()

    def _end_processes(self) -> None:
        with self._guard:
            for process in self._processes:
                process.end()
