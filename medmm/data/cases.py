"""Images with masks on one grid, kept as files that are mapped into memory, and the patches that are learned from.

The order comes from (seed, epoch) and a patch with its changes from (seed, epoch, study), so that a run cut off
anywhere goes on with the very batches that it would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import AugmentConfig
from medmm.data.case_grid import CaseGrid
from medmm.data.case_masks import Labels
from medmm.data.case_reading import CaseReaders, Request, files_read
from medmm.data.case_writing import ANYWHERE, WHITE, stem_of
from medmm.data.dataset import Batch, Sample, draws, shuffled_batches
from medmm.data.outline_code import OutlineCode
from medmm.data.patches import Patches, changed
from medmm.errors import ImageError
from medmm.io.atomic import full_disk_named
from medmm.types import Rejection, Study


@dataclass(frozen=True)
class Case:
    """One image with its masks.

    Attributes:
        image: uint16 ``[C, *S]``, 65535 standing for 1.0.
        mask: Coded masks ``[*S]``.
        places: int32 ``[N, 1 + S]``: as :func:`medmm.data.case_writing.places_of` gives them.
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
            workers: Processes that read; 0 reads in this one.
            progress: Called as ``progress(done, total)``.

        Returns:
            The cases, and every study whose image or masks cannot be used.

        Raises:
            ResourceError: The disk is full.
        """
        with full_disk_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
        stems = {study.study_id: stem_of(study, grid, code, labels) for study in studies}
        aside: list[Rejection] = []

        def asked(study: Study) -> Request:
            source = grid.images_of([image.source for image in study.images])[0]
            args = (folder, stems[study.study_id], study, grid, code, dict(labels))
            return Request("medmm.data.case_writing:write_case", files_read(source, study), args)

        lacking = [one for one in studies if not (folder / f"{stems[one.study_id]}-places.npy").is_file()]
        with CaseReaders(workers) as readers, full_disk_named(folder):
            answers = readers.each(map(asked, lacking))
            for done, (study, found) in enumerate(zip(lacking, answers, strict=True), len(studies) - len(lacking) + 1):
                if isinstance(found, ImageError):
                    aside.append(Rejection(study.study_id, found.reason, found.detail, study.images[0].path))
                if progress is not None:
                    progress(done, len(studies))
        gone = {one.study_id for one in aside}
        keys = {name: stem for name, stem in stems.items() if name not in gone}
        return cls(folder, keys, grid, code), aside

    def shown(self, study_ids: Iterable[str]) -> dict[str, int]:
        """Class to the number of studies, of those named, that show it."""
        counts = dict.fromkeys(self.code.classes, 0)
        for study_id in study_ids:
            for number in np.unique(self.case(study_id).places[:, 0]).tolist():
                if number != ANYWHERE:
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
            Images ``[B, 1, C, *S]`` and the target ``mask``, coded, ``[B, *S]`` int64.
        """
        import torch

        ids = tuple(self.samples[index].study_id for index in indices)
        images, masks = zip(*(self._patch(study_id, epoch) for study_id in ids), strict=True)
        targets = {"mask": torch.from_numpy(np.stack(masks).astype(np.int64))}
        return Batch(ids, torch.from_numpy(np.stack(images)[:, None]), torch.ones(len(ids), 1, dtype=torch.bool),
                     targets)  # fmt: skip

    def _patch(self, study_id: str, epoch: int | None) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        case = self.cache.case(study_id)
        generator = draws(self.seed, -1 if epoch is None else epoch, study_id)
        image, mask = self.patches.cut(case.image, case.mask, case.places, generator)
        if epoch is None or self.changes is None:
            return image.astype(np.float32) / np.float32(WHITE), mask
        return changed(image, mask, self.changes, self.mirror, self.hide, generator)
