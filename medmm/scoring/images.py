"""Images of an evaluation's studies, from the cache that runs share; what it does not take is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.cache import ImageCache
from medmm.errors import Reason
from medmm.io import atomic
from medmm.scoring.drafting import Progress
from medmm.scoring.reading import reading_processes
from medmm.types import Rejection, Study

_WORTH_PROCESSES = 64  # fewer images are read before processes have started


@dataclass(frozen=True)
class Prepared:
    """Views of studies that could be read.

    Attributes:
        cache: The decoded images.
        unread: Study id to why none of its images could be read.
        rejections: Every image that could not be read, also of studies that have others.
    """

    cache: ImageCache
    unread: dict[str, Reason]
    rejections: tuple[Rejection, ...]

    def views(self, study_id: str) -> npt.NDArray[np.float32]:
        """Views of a study as float32 ``[V, 1, S, S]`` in [0, 1].

        Raises:
            KeyError: The study is one of ``unread``.
        """
        return self.cache.views(study_id)


@contextmanager
def prepared(studies: Sequence[Study], config: Config, out: Path, progress: Progress | None) -> Iterator[Prepared]:
    """Decode the images of studies as the run's model was trained to see them.

    Args:
        studies: The studies; one that stands there twice is read once.
        config: The run's config.
        out: Folder that is written to; what the shared cache does not take lies in a hidden folder in it for a while.
        progress: Called as ``progress(done, total, note)``.

    Raises:
        ResourceError: The disk is full.
    """

    def say(done: int, total: int | None = None) -> None:
        if progress is not None:
            progress(done, total, "reading images")

    distinct = list({study.study_id: study for study in studies}.values())
    number = sum(len(study.images) for study in distinct)
    workers = 0 if number < _WORTH_PROCESSES else reading_processes(config.score)
    with atomic.full_disk_named(out):
        out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=atomic.PREFIX, dir=out) as folder:
        cache, rejections = ImageCache.build(
            distinct, config.preprocess, Path(folder), config.model.max_views, workers, say, config.cache
        )
        unread = {one.study_id: one.reason for one in rejections if one.study_id not in cache}
        yield Prepared(cache, unread, tuple(rejections))
