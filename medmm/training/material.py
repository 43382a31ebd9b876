"""What a run learns from: studies chosen from the manifest, their samples, and their images in the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medmm import registry
from medmm.config.schema import Config
from medmm.data.cache import ImageCache
from medmm.data.dataset import Sample, StudyDataset
from medmm.data.manifest import Manifest
from medmm.data.pairing import write_quarantine
from medmm.errors import DataError
from medmm.tasks.base import Encoded, Task
from medmm.training.plan import Plan
from medmm.types import Rejection, Study


@dataclass(frozen=True)
class Material:
    """Samples and images.

    Attributes:
        cache: Views of all samples.
        train: Samples to learn from.
        validation: Samples to validate on.
        rejections: Studies and images that were set aside.
        notes: What was unusual, one sentence each, without patient data.
    """

    cache: ImageCache
    train: Sequence[Sample]
    validation: Sequence[Sample]
    rejections: Sequence[Rejection]
    notes: Sequence[str]

    def datasets(self, task: Task, config: Config) -> tuple[StudyDataset, StudyDataset | None]:
        """What the loop learns from and validates on; only the former is changed at random."""
        train = StudyDataset(self.cache, self.train, task.padding, config.seed, config.train.augment)
        if not self.validation:
            return train, None
        return train, StudyDataset(self.cache, self.validation, task.padding, config.seed)

    def counts(self) -> dict[str, int]:
        """Numbers of studies: ``train``, ``validation`` and ``aside``."""
        return {"train": len(self.train), "validation": len(self.validation), "aside": len(self.rejections)}

    def write_rejections(self, path: Path) -> None:
        """Write a line of JSON for everything that was set aside; readable by its owner alone, it holds paths.

        Raises:
            ResourceError: The disk is full.
        """
        write_quarantine(path, self.rejections)


def gather(
    manifest: Manifest,
    config: Config,
    plan: Plan,
    folder: Path,
    task: Task | Callable[[Iterable[Study]], Task],
    progress: Callable[..., None] | None = None,
) -> tuple[Task, Material]:
    """Choose studies, encode them and read their images.

    Args:
        manifest: Studies with their split.
        config: The run's config.
        plan: How many studies are used.
        folder: Where images lie that the shared cache does not take.
        task: Encodes the studies, or makes the task that does from the training studies.
        progress: Called as ``progress(done, total, note)``.

    Raises:
        DataError: No training study has both a target and a readable image.
        ResourceError: The disk is full.
    """
    train, validation = chosen_studies(manifest, config, plan)
    made = task if isinstance(task, Task) else task(train)
    encoded = [made.encode(train), made.encode(validation)]
    wanted = {sample.study_id for one in encoded for sample in one.samples}
    workers = len(os.sched_getaffinity(0)) if config.train.workers is None else config.train.workers

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total, "reading images")

    cache, unread = ImageCache.build(
        [study for study in (*train, *validation) if study.study_id in wanted],
        config.preprocess,
        folder,
        config.model.max_views,
        workers,
        tell,
        config.cache,
    )
    kept = [[sample for sample in one.samples if sample.study_id in cache] for one in encoded]
    aside = [*encoded[0].rejections, *encoded[1].rejections, *unread]
    if not kept[0]:
        raise DataError("no training study can be used", where="data", got=counted(aside))
    return made, Material(cache, kept[0], kept[1], aside, [*_notes(encoded), *cache.notes])


def chosen_studies(manifest: Manifest, config: Config, plan: Plan) -> tuple[list[Study], list[Study]]:
    """Studies to learn from and to validate on.

    Raises:
        DataError: No training study is one that the task may learn from.
    """
    kind: type[Task] = registry.resolve("task", config.registered)
    train = _chosen(kind, manifest, "train", plan.studies, config)
    if not train:
        raise _nothing_to_learn_from(kind, manifest)
    return train, _chosen(kind, manifest, "val", plan.validation, config)


def _nothing_to_learn_from(kind: type[Task], manifest: Manifest) -> DataError:
    """Why no training study can be used: what the source lacks, and the setting that says where it is."""
    number = images = reports = 0
    for study in manifest.studies("train"):
        number, images, reports = number + 1, images + bool(study.images), reports + (study.report is not None)
    got = f"{number} training studies, {images} with images, {reports} with a report"
    what = f"no training study has both images and {kind.learns_from}"
    fix = "Look into pairing.html: what was paired, and why not."
    if number and not images:
        what, fix = "no training study has an image", "Say where the images lie: data.image_root=DIR."
    elif number and not reports and kind.learns_from == Task.learns_from:
        what, fix = "no training study has a report", "Say where the reports are: data.columns.report or data.reports."
    return DataError(what, where="data", got=got, fix=fix)


def usable(manifest: Manifest, split: str, config: Config) -> Iterator[Study]:
    """Studies of a split that have images and a target."""
    kind: type[Task] = registry.resolve("task", config.registered)
    return (one for one in manifest.studies(split) if kind.teaches(one) and kind.has_target(one, config))


def _chosen(kind: type[Task], manifest: Manifest, split: str, most: int, config: Config) -> list[Study]:
    """Up to ``most`` studies of a split with a target, by a hash of seed and id, in the order of the manifest.

    With them come those that have images and no target: the task says why it sets them aside.
    """

    def rank(study_id: str) -> bytes:
        return hashlib.blake2b(f"{config.seed}\0{study_id}".encode(), digest_size=8).digest()

    ids = [study.study_id for study in usable(manifest, split, config)]
    left_out = set(ids) - set(ids if len(ids) <= most else sorted(ids, key=rank)[:most])
    return [one for one in manifest.studies(split) if kind.teaches(one) and one.study_id not in left_out]


def counted(rejections: Sequence[Rejection]) -> str:
    """Reasons with their numbers, for an error."""
    reasons = [str(one.reason) for one in rejections]
    listed = ", ".join(f"{reasons.count(name)} x {name}" for name in sorted(set(reasons)))
    return listed or "no study with images and report"


def _notes(encoded: Sequence[Encoded]) -> list[str]:
    named = zip(("training", "validation"), encoded, strict=True)
    return [f"{split}: {note}" for split, one in named for note in one.notes]
