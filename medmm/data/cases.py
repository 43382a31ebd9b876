"""Images with masks on one grid, kept as files that are mapped into memory, and the patches that are learned from.

The order comes from (seed, epoch) and a patch with its changes from (seed, epoch, study), so that a run cut off
anywhere goes on with the very batches that it would have had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import AugmentConfig
from medmm.data.case_grid import CaseGrid, stretch_mask
from medmm.data.case_masks import Labels, read_masks
from medmm.data.dataset import Batch, Sample, draws, shuffled_batches
from medmm.data.outline_code import OutlineCode
from medmm.data.patches import Patches, changed
from medmm.errors import ImageError, Reason
from medmm.io.atomic import full_disk_named, replacing
from medmm.types import Rejection, Study

_FORMAT = 1
_WHITE = 65535
_PLACES = 2000  # voxels of each class that are remembered for patches to lie around


@dataclass(frozen=True)
class Case:
    """One image with its masks.

    Attributes:
        image: uint16 ``[*S]``, 65535 standing for 1.0.
        mask: Coded masks ``[*S]``.
        places: int32 ``[N, 1 + S]``: class number and indices of voxels that belong to it.
    """

    image: npt.NDArray[np.uint16]
    mask: npt.NDArray[Any]
    places: npt.NDArray[np.int32]


@dataclass(frozen=True)
class CaseCache:
    """Cases of a run.

    Attributes:
        folder: Holds three files a case.
        keys: Study id to the stem of its files.
        grid: Their grid.
        code: How their masks are coded.
    """

    folder: Path
    keys: Mapping[str, str]
    grid: CaseGrid
    code: OutlineCode

    def __contains__(self, study_id: str) -> bool:
        return study_id in self.keys

    def case(self, study_id: str) -> Case:
        """A study's case, mapped from its files.

        Raises:
            KeyError: The study has none.
        """
        stem = self.keys[study_id]
        arrays = [np.load(self.folder / f"{stem}-{kind}.npy", mmap_mode="r") for kind in ("image", "mask", "places")]
        return Case(*arrays)

    @classmethod
    def build(
        cls,
        studies: Sequence[Study],
        grid: CaseGrid,
        code: OutlineCode,
        labels: Labels,
        folder: Path,
        workers: int = 0,
        progress: Callable[..., None] | None = None,
    ) -> tuple[CaseCache, list[Rejection]]:
        """Read images and masks, unless the folder has them already.

        Args:
            studies: The studies; the first image of each is the one that its masks belong to.
            grid: Where they are brought to.
            code: Classes.
            labels: Structure to the values of its voxels in label maps.
            folder: Made where needed.
            workers: Threads that read.
            progress: Called as ``progress(done, total)``.

        Returns:
            The cases, and every study whose image or masks cannot be used.

        Raises:
            ResourceError: The disk is full.
        """
        with full_disk_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        keys, aside = dict[str, str](), list[Rejection]()

        def made(study: Study) -> str | Rejection:
            stem = _stem(study, grid, code, labels)
            if not (folder / f"{stem}-places.npy").is_file():
                try:
                    _write(folder, stem, study, grid, code, labels)
                except ImageError as error:
                    return Rejection(study.study_id, error.reason, error.detail, study.images[0].path)
            return stem

        with ThreadPoolExecutor(max(1, workers), "medmm-cases") as pool, full_disk_named(folder):
            for done, (study, found) in enumerate(zip(studies, pool.map(made, studies), strict=True), 1):
                if isinstance(found, Rejection):
                    aside.append(found)
                else:
                    keys[study.study_id] = found
                if progress is not None:
                    progress(done, len(studies))
        return cls(folder, keys, grid, code), aside

    def shown(self, study_ids: Iterable[str]) -> dict[str, int]:
        """Class to the number of studies, of those named, that show it."""
        counts = dict.fromkeys(self.code.classes, 0)
        for study_id in study_ids:
            for number in np.unique(self.case(study_id).places[:, 0]).tolist():
                counts[self.code.classes[number]] += 1
        return counts


class CaseDataset:
    """Batches of patches, in the place of :class:`medmm.data.dataset.StudyDataset`.

    Args:
        cache: A case for every sample.
        samples: What to learn from.
        seed: Makes order, patches and changes.
        foreground: Share of the patches that lie around a class.
        changes: Changes of the patches; None leaves them as they are.
        mirror: Whether left and right are swapped at random, while there are changes.
        hide: How often parts of an image are veiled, while there are changes.
    """

    def __init__(
        self,
        cache: CaseCache,
        samples: Sequence[Sample],
        seed: int,
        foreground: float = 0.5,
        changes: AugmentConfig | None = None,
        mirror: bool = False,
        hide: float = 0.0,
    ) -> None:
        self.cache, self.samples, self.seed = cache, list(samples), seed
        self.patches, self.changes = Patches(cache.grid.patch, foreground), changes
        self.mirror, self.hide = mirror, hide

    def __len__(self) -> int:
        return len(self.samples)

    def order(self, epoch: int, size: int) -> list[npt.NDArray[np.int64]]:
        """Share an epoch out in batches, at random; as :meth:`medmm.data.dataset.StudyDataset.order`."""
        return shuffled_batches(len(self.samples), self.seed, epoch, size)

    def in_turn(self, size: int) -> list[npt.NDArray[np.int64]]:
        """Every sample once, in batches of at most ``size``."""
        order = np.arange(len(self.samples))
        return [order[start : start + size] for start in range(0, len(order), size)]

    def batch(self, indices: Iterable[int], epoch: int | None) -> Batch:
        """Put a batch of patches together, one a sample.

        Args:
            indices: Into ``samples``.
            epoch: Chooses patches and changes; None takes always the same patches, unchanged.

        Returns:
            Images ``[B, 1, 1, *S]`` and the target ``mask``, coded, ``[B, *S]`` int64.
        """
        import torch

        ids = tuple(self.samples[index].study_id for index in indices)
        images, masks = zip(*(self._patch(study_id, epoch) for study_id in ids), strict=True)
        targets = {"mask": torch.from_numpy(np.stack(masks).astype(np.int64))}
        return Batch(ids, torch.from_numpy(np.stack(images)[:, None, None]), torch.ones(len(ids), 1, dtype=torch.bool),
                     targets)  # fmt: skip

    def _patch(self, study_id: str, epoch: int | None) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        case = self.cache.case(study_id)
        generator = draws(self.seed, -1 if epoch is None else epoch, study_id)
        image, mask = self.patches.cut(case.image, case.mask, case.places, generator)
        if epoch is None or self.changes is None:
            return image.astype(np.float32) / np.float32(_WHITE), mask
        return changed(image, mask, self.changes, self.mirror, self.hide, generator)


def _stem(study: Study, grid: CaseGrid, code: OutlineCode, labels: Labels) -> str:
    """A name that is another one whenever the files or what is made of them change."""
    image = study.images[0]
    files = [*(image.slices or (image.path,)), *study.masks.values()]
    stamps = [(str(path), status.st_size, status.st_mtime_ns) for path in files if (status := _status(path))]
    parts = [_FORMAT, stamps, sorted(study.masks), grid.as_dict(), code.classes, code.exclusive, dict(labels)]
    return hashlib.sha256(json.dumps(parts, default=list).encode()).hexdigest()[:24]


def _status(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None


def _write(folder: Path, stem: str, study: Study, grid: CaseGrid, code: OutlineCode, labels: Labels) -> None:
    """Write a case; its places last, as they say that it is whole."""
    image = grid.read(study.images[0].source)
    masks = read_masks(study, image, labels, code.classes)
    if not masks:
        raise ImageError(Reason.IMAGE_WITHOUT_MASK, "the study has no mask of any class")
    shape = grid.shape(image)
    coded = stretch_mask(code.encode(masks, image.array.shape[1:]), shape)
    stored = np.rint(grid.prepare(image) * _WHITE).astype(np.uint16)
    for kind, array in (("image", stored), ("mask", coded), ("places", _places(coded, code))):
        with replacing(folder / f"{stem}-{kind}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array)


def _places(coded: npt.NDArray[Any], code: OutlineCode) -> npt.NDArray[np.int32]:
    """Some voxels of each class, spread evenly over it."""
    rows = []
    for number in range(len(code.classes)):
        inside = np.flatnonzero(code.mask(coded, number))
        if inside.size:
            inside = inside[:: max(1, inside.size // _PLACES)][:_PLACES]
            found = np.stack(np.unravel_index(inside, coded.shape), 1)
            rows.append(np.column_stack([np.full(len(found), number), found]))
    return np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 1 + coded.ndim), np.int32)
