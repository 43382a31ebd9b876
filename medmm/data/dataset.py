"""Samples and batches.

The order comes from (seed, epoch) and a sample's changes from (seed, epoch, study), so that a run cut off anywhere goes
on with the very batches that it would have had.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import AugmentConfig
from medmm.data.cache import ImageCache
from medmm.data.transforms import augment

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sample:
    """A study to learn from.

    Attributes:
        study_id: Its views stand in the cache under this id.
        targets: Name to array, as the task encodes it; a vector whose length differs between studies is padded.
        length: What makes samples alike to compute: tokens of the text.
    """

    study_id: str
    targets: Mapping[str, npt.NDArray[Any]]
    length: int = 0


@dataclass(frozen=True)
class Batch:
    """Studies that are learned from together.

    Attributes:
        study_ids: B ids.
        images: float32 ``[B, V, 1, *S]`` in [0, 1], zero where a study has fewer views.
        view_mask: bool ``[B, V]``.
        targets: Name to tensor ``[B, ...]``.
    """

    study_ids: tuple[str, ...]
    images: torch.Tensor
    view_mask: torch.Tensor
    targets: Mapping[str, torch.Tensor]

    def to(self, device: torch.device | str) -> Batch:
        """Move the tensors."""
        targets = {name: tensor.to(device, non_blocking=True) for name, tensor in self.targets.items()}
        images = self.images.to(device, non_blocking=True)
        return Batch(self.study_ids, images, self.view_mask.to(device, non_blocking=True), targets)

    def reordered(self, order: torch.Tensor) -> Batch:
        """The same studies in another order, int64 ``[B]``."""
        targets = {name: tensor[order] for name, tensor in self.targets.items()}
        ids = tuple(self.study_ids[place] for place in order.tolist())
        return Batch(ids, self.images[order], self.view_mask[order], targets)


class StudyDataset:
    """Batches of samples from the cache.

    Args:
        cache: Views of every sample.
        samples: What to learn from.
        padding: Value that fills up the vectors of a target; targets not named here have one shape.
        seed: Makes order and changes.
        changes: Changes of the images; None leaves them as they are.
    """

    def __init__(
        self,
        cache: ImageCache,
        samples: Sequence[Sample],
        padding: Mapping[str, int],
        seed: int,
        changes: AugmentConfig | None = None,
    ) -> None:
        self.cache, self.samples, self.padding = cache, list(samples), dict(padding)
        self.seed, self.changes = seed, changes

    def __len__(self) -> int:
        return len(self.samples)

    def order(self, epoch: int, size: int) -> list[npt.NDArray[np.int64]]:
        """Share an epoch out in batches, at random.

        Batches of texts of like length would pad less, but normal studies have the short reports: the encoder's batch
        norms would see healthy and sick batches in place of a mixture. The last samples that fill no batch are left
        out, other ones every epoch.

        Args:
            epoch: Counts from 0.
            size: Samples of a batch.

        Returns:
            Indices into ``samples``; one batch of all where there are fewer than ``size``.
        """
        return shuffled_batches(len(self.samples), self.seed, epoch, size)

    def in_turn(self, size: int) -> list[npt.NDArray[np.int64]]:
        """Every sample once, the short ones first, in batches of at most ``size``."""
        order = np.argsort([sample.length for sample in self.samples], kind="stable")
        return [order[start : start + size] for start in range(0, len(order), size)]

    def batch(self, indices: Iterable[int], epoch: int | None) -> Batch:
        """Put a batch together.

        Args:
            indices: Into ``samples``.
            epoch: Chooses the changes of the images; None leaves them as they are.
        """
        import torch

        samples = [self.samples[index] for index in indices]
        ids = tuple(sample.study_id for sample in samples)
        numbers = np.array([len(self.cache.rows[study_id]) for study_id in ids])
        mask = np.arange(numbers.max()) < numbers[:, None]
        if epoch is None or self.changes is None:
            images = self.cache.batch(ids)
        else:
            images = self._changed(ids, mask, self.changes, epoch)
        targets = {name: torch.from_numpy(self._joined(name, samples)) for name in samples[0].targets}
        return Batch(ids, torch.from_numpy(images), torch.from_numpy(mask), targets)

    def _changed(
        self, ids: Sequence[str], mask: npt.NDArray[np.bool_], changes: AugmentConfig, epoch: int
    ) -> npt.NDArray[np.float32]:
        """As the cache's batch, with the changes of this epoch."""
        shape = self.cache.stored[self.cache.rows[ids[0]][0]].shape
        images = np.zeros((*mask.shape, *shape), dtype=np.float32)
        for study_id, target in zip(ids, images, strict=True):
            stored = np.stack([self.cache.stored[row] for row in self.cache.rows[study_id]])
            generator = draws(self.seed, epoch, study_id)
            target[: len(stored)] = augment(stored, changes, generator)
        return images

    def _joined(self, name: str, samples: Sequence[Sample]) -> npt.NDArray[Any]:
        arrays = [sample.targets[name] for sample in samples]
        if name not in self.padding:
            return np.stack(arrays)
        longest = max(len(array) for array in arrays)
        joined = np.full((len(arrays), longest), self.padding[name], dtype=arrays[0].dtype)
        for row, array in enumerate(arrays):
            joined[row, : len(array)] = array
        return joined


def ahead(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Make batches in a thread while others are learned from; reading and warping let go of the interpreter.

    Args:
        batches: Makes one batch after the other.
        depth: Batches that wait at most; 0 makes each when it is asked for.
    """
    if depth == 0:
        yield from batches
        return
    waiting: queue.Queue[Batch | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def fill() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # handed to the reader, who raises it
            put(error)

    thread = threading.Thread(target=fill, name="medmm-batches", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def draws(seed: int, epoch: int, name: str) -> np.random.Generator:
    """A Philox generator (Salmon et al. 2011) whose 128 bits of key depend on the three alone."""
    digest = hashlib.blake2b(f"{seed}\0{epoch}\0{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype=np.uint64)))


def shuffled_batches(number: int, seed: int, epoch: int, size: int) -> list[npt.NDArray[np.int64]]:
    """Indices of ``number`` samples in batches of ``size``, shuffled by (seed, epoch); one batch of fewer."""
    shuffled = draws(seed, epoch, "order").permutation(number)
    if number <= size:
        return [shuffled]
    return list(shuffled[: number // size * size].reshape(-1, size))
