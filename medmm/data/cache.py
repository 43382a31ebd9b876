"""Images of studies, decoded once to the model's size and kept in one memory-mapped file.

Holds study ids beside the pixels, so its files are readable by their owner alone (mode 0600).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import PreprocessConfig
from medmm.data.decoding import WHITE, Job, decode, read_stored, shape_of
from medmm.errors import Reason
from medmm.io.atomic import full_disk_named, replacing, write_json
from medmm.types import Rejection, Study

FORMAT = 1
_PRIVATE = 0o600


def preprocess_hash(preprocess: PreprocessConfig) -> str:
    """SHA-256 of the preprocessing contract, as 64 hex digits."""
    return hashlib.sha256(json.dumps(preprocess.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def read_view(path: Path, preprocess: PreprocessConfig) -> npt.NDArray[np.float32]:
    """Read one image exactly as the cache would give it.

    Returns:
        float32 ``[1, S, S]``, or ``[1, D, S, S]`` for volumes, in [0, 1] in steps of 1 / 65535.

    Raises:
        ImageError: The file gives no image of the wanted kind.
    """
    return read_stored(path, preprocess).astype(np.float32) / np.float32(WHITE)


@dataclass(frozen=True)
class ImageCache:
    """Views of studies, ready for the model.

    Attributes:
        stored: uint16 ``[R, 1, S, S]`` or ``[R, 1, D, S, S]``, memory-mapped; 65535 stands for 1.0.
        rows: Study id to its rows in ``stored``, one a view, in the order of the study's images.
    """

    stored: npt.NDArray[np.uint16]
    rows: Mapping[str, tuple[int, ...]]

    def __contains__(self, study_id: str) -> bool:
        return study_id in self.rows

    def views(self, study_id: str) -> npt.NDArray[np.float32]:
        """Views of a study as float32 ``[V, 1, S, S]`` (``[V, 1, D, S, S]`` for volumes) in [0, 1].

        Raises:
            KeyError: The study has no readable image.
        """
        return self.stored[list(self.rows[study_id])].astype(np.float32) / np.float32(WHITE)

    @classmethod
    def build(
        cls,
        studies: Sequence[Study],
        preprocess: PreprocessConfig,
        folder: Path,
        max_views: int,
        workers: int = 0,
        progress: Callable[..., None] | None = None,
    ) -> tuple[ImageCache, list[Rejection]]:
        """Decode the images of studies, or open what an earlier call with the same files left.

        Args:
            studies: The studies; ids are unique.
            preprocess: Size and window.
            folder: Where the files of the cache lie; made where missing.
            max_views: Most views kept of a study, the first readable ones.
            workers: Reading processes; 0 reads in this one.
            progress: Called as ``progress(done, total)``.

        Returns:
            The cache, and every image that could not be read; a study stays out only if no image of it is left.

        Raises:
            ResourceError: The disk is full.
        """
        key = _key(studies, preprocess, max_views)
        pixels, index = folder / f"images-{key[:16]}.npy", folder / f"images-{key[:16]}.json"
        known = _opened(pixels, index, key)
        if known is None:
            _fill(studies, preprocess, pixels, index, key, max_views, workers, progress)
            known = _opened(pixels, index, key)
        assert known is not None
        return known


def _key(studies: Sequence[Study], preprocess: PreprocessConfig, max_views: int) -> str:
    digest = hashlib.sha256(f"{FORMAT}\0{preprocess_hash(preprocess)}\0{max_views}\n".encode())
    for study in studies:
        for image in study.images:
            try:
                status = image.path.stat()
                stamp = (status.st_size, status.st_mtime_ns)
            except OSError:
                stamp = (-1, -1)
            digest.update(f"{study.study_id}\0{image.path}\0{stamp}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _opened(pixels: Path, index: Path, key: str) -> tuple[ImageCache, list[Rejection]] | None:
    """The cache if it is whole: the index is written last."""
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
        if (found["format"], found["key"]) != (FORMAT, key):
            return None
        stored = np.load(pixels, mmap_mode="r")
    except (OSError, ValueError, KeyError):
        return None
    rows = {study_id: tuple(numbers) for study_id, numbers in found["rows"].items()}
    aside = [Rejection(one, Reason(reason), detail, Path(path)) for one, reason, detail, path in found["rejections"]]
    return ImageCache(stored, rows), aside


def _fill(
    studies: Sequence[Study],
    preprocess: PreprocessConfig,
    pixels: Path,
    index: Path,
    key: str,
    max_views: int,
    workers: int,
    progress: Callable[..., None] | None,
) -> None:
    owners = [(place, view) for place, study in enumerate(studies) for view in range(min(max_views, len(study.images)))]
    shape = (len(owners), *shape_of(preprocess))
    needed = int(np.prod(shape)) * 2
    with full_disk_named(pixels, needed), replacing(pixels, _PRIVATE) as temporary:
        offset = _lay_out(temporary, shape)
        work = _Work(studies, owners)
        while jobs := work.take():
            for outcome in decode(jobs, temporary, offset, preprocess, workers):
                work.note(outcome.job.row, outcome.reason, outcome.detail)
                if progress is not None:
                    progress(work.done, len(owners))
    write_json(index, {"format": FORMAT, "key": key, "rows": work.rows(), "rejections": work.rejections}, mode=_PRIVATE)


def _lay_out(path: Path, shape: tuple[int, ...]) -> int:
    """Write the header of an ``.npy`` of uint16 and set its room aside; where the values begin, in bytes."""
    with path.open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        offset = file.tell()
        file.flush()
        # A write to a mapped file on a full disk would end the process with SIGBUS: claim the room before.
        os.posix_fallocate(file.fileno(), 0, offset + max(1, int(np.prod(shape)) * 2))
        return offset


class _Work:
    """Which image fills which row: where one cannot be read, the study's next one takes its row."""

    def __init__(self, studies: Sequence[Study], owners: Sequence[tuple[int, int]]) -> None:
        self._studies, self._owners = studies, owners
        self._image = {row: view for row, (_, view) in enumerate(owners)}
        self._spare: dict[int, Iterator[int]] = {}
        kept: dict[int, int] = {}
        for place, _ in owners:
            kept[place] = kept.get(place, 0) + 1
        for place, number in kept.items():
            self._spare[place] = iter(range(number, len(studies[place].images)))
        self._open = list(self._image)
        self._filled: set[int] = set()
        self.done = 0
        self.rejections: list[tuple[str, Any, str, str]] = []

    def take(self) -> list[Job]:
        """The images to read next; none when all rows are settled."""
        rows, self._open = self._open, []
        return [Job(row, self._path(row)) for row in rows]

    def note(self, row: int, reason: Reason | None, detail: str) -> None:
        """Take in what came of a row's image."""
        if reason is None:
            self._filled.add(row)
            self.done += 1
            return
        place = self._owners[row][0]
        self.rejections.append((self._studies[place].study_id, reason, detail, str(self._path(row))))
        following = next(self._spare[place], None)
        if following is None:
            self.done += 1
        else:
            self._image[row] = following
            self._open.append(row)

    def rows(self) -> dict[str, list[int]]:
        """Study id to its filled rows, in the order of its images."""
        found: dict[int, list[int]] = {}
        for row in sorted(self._filled):
            found.setdefault(self._owners[row][0], []).append(row)
        return {
            self._studies[place].study_id: sorted(rows, key=lambda row: self._image[row])
            for place, rows in found.items()
        }

    def _path(self, row: int) -> Path:
        study = self._studies[self._owners[row][0]]
        return study.images[self._image[row]].path
