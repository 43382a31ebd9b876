"""The deep pass over images: a content hash of every file, and images of different patients that show the same.

Two images show the same if their small, contrast-free copies correlate: another window, inversion, compression, bit
depth or size changes little of those; another patient of the same view changes much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medmm.data import allowance, apart
from medmm.data.content import content_key
from medmm.data.doubts import Doubt, Kind
from medmm.errors import ImageError, Reason, StudyError
from medmm.types import ImageSource, Rejection, Study

LIMIT_S = allowance.SECONDS
"""Longest that one small file may take; a volume of a gigabyte takes 20 s, and may take longer."""
SIDE = 32
ALIKE = 0.97
"""Correlation, of either sign, from which on two small copies count as one image. Of 60 real radiographs compressed
again, halved, inverted or with another gamma the least was 0.978, with a window that clips 0.955; of all pairs of 1,000
phantom studies the greatest was 0.949."""
_BLUR = 5.0
_FLAT = 1e-3
_BLOCK = 1024
_LOOK_AHEAD = 512


@dataclass(frozen=True, slots=True)
class Portrait:
    """What the deep pass remembers of an image.

    Attributes:
        content_hash: SHA-256 of its bytes (:func:`medmm.data.content.content_key`), in hex.
        copy: float16 ``[SIDE * SIDE]`` of unit length without brightness, contrast and slow shading; None for an image
            with nothing on it.
    """

    content_hash: str
    copy: npt.NDArray[np.float16] | None


def portray(source: ImageSource) -> Portrait:
    """Look at an image once, in full.

    Raises:
        ImageError: It gives no image.
    """
    import cv2

    from medmm.io.image import read_image

    array = read_image(source, size=2 * SIDE).array[0]
    plane = array.mean(axis=0) if array.ndim == 3 else array
    small = cv2.resize(np.ascontiguousarray(plane), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), _BLUR)
    content = content_key(source)
    if content is None:
        raise ImageError(Reason.FILE_UNREADABLE, "the file was there a moment ago", where="image file")
    content_hash = content.hex()
    if not detail.std() > _FLAT:
        return Portrait(content_hash, None)
    detail = (detail - detail.mean()).ravel()
    return Portrait(content_hash, (detail / np.linalg.norm(detail)).astype(np.float16))


class DeepPass:
    """Studies on their way through, each image opened: what cannot be read is set aside, the rest gets its hash.

    Args:
        workers: Reading processes, as in :func:`medmm.data.apart.look`.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers
        self._copies: list[npt.NDArray[np.float16]] = []
        self._owners: list[int] = []
        self._studies: list[tuple[str, str]] = []

    def watch(self, items: Iterable[Study | Rejection]) -> Iterator[Study | Rejection]:
        """Pass items on, in their order."""
        waiting: deque[Study | Rejection] = deque()
        portraits = apart.look(
            "medmm.data.likeness:portray",
            self._sources(items, waiting),
            limit_s=LIMIT_S,
            workers=self._workers,
            batch=8,
            whole=True,
        )
        for item in self._in_order(waiting, portraits):
            yield from self._seen(*item)

    def _sources(self, items: Iterable[Study | Rejection], waiting: deque[Study | Rejection]) -> Iterator[ImageSource]:
        for item in items:
            waiting.append(item)
            if isinstance(item, Study):
                yield from (image.source for image in item.images)

    def _in_order(
        self, waiting: deque[Study | Rejection], portraits: Iterator[tuple[ImageSource, Portrait | StudyError]]
    ) -> Iterator[tuple[Study | Rejection, list[Portrait | StudyError]]]:
        """Each item with the portraits of its images."""
        for source, portrait in portraits:
            while not (isinstance(waiting[0], Study) and waiting[0].images):
                yield waiting.popleft(), []
            found = [portrait]
            study = waiting.popleft()
            assert isinstance(study, Study)
            assert study.images[0].source == source
            found += [next(portraits)[1] for _ in study.images[1:]]
            yield study, found
        while waiting:
            yield waiting.popleft(), []

    def _seen(self, item: Study | Rejection, portraits: list[Portrait | StudyError]) -> Iterator[Study | Rejection]:
        if not isinstance(item, Study):
            yield item
            return
        images = []
        for image, portrait in zip(item.images, portraits, strict=True):
            if isinstance(portrait, StudyError):
                yield Rejection(item.study_id, portrait.reason, portrait.detail, image.path)
                continue
            images.append(replace(image, content_hash=portrait.content_hash))
            if portrait.copy is not None:
                self._copies.append(portrait.copy)
                self._owners.append(len(self._studies))
        self._studies.append((item.study_id, item.patient_key))
        yield replace(item, images=tuple(images))

    def doubts(self, splits: dict[str, str]) -> list[Doubt]:
        """Pairs of studies of different patients that share an image, the most alike first.

        Args:
            splits: Study id to its split; a pair on both sides of it lets a test look too good, and says so.
        """
        best: dict[tuple[int, int], float] = {}
        for one, other, correlation in self._alike():
            pair = (self._owners[one], self._owners[other])
            if self._studies[pair[0]][1] != self._studies[pair[1]][1]:
                best[pair] = max(best.get(pair, 0.0), correlation)
        found = []
        for (one, other), correlation in sorted(best.items(), key=lambda pair: -pair[1]):
            ids = self._studies[one][0], self._studies[other][0]
            parts = [splits.get(study_id, "") for study_id in ids]
            detail = f"an image like one of another patient (correlation {correlation:.3f})"
            if parts[0] != parts[1]:
                detail += f", on both sides of the split: {' and '.join(sorted(parts))}"
            found.append(Doubt(ids[1], Kind.SAME_IMAGE, detail, ids[0]))
        return found

    def _alike(self) -> Iterator[tuple[int, int, float]]:
        """Pairs of images that show the same; every pair is compared, as one product of matrices a block."""
        if not self._copies:
            return
        copies = np.stack(self._copies)
        for start in range(0, len(copies), _BLOCK):
            block = copies[start : start + _BLOCK].astype(np.float32)
            for other in range(start, len(copies), _BLOCK):
                product = block @ copies[other : other + _BLOCK].astype(np.float32).T
                np.abs(product, out=product)
                for row, column in np.argwhere(product >= ALIKE):
                    if start + row < other + column:
                        yield int(start + row), int(other + column), float(product[row, column])
