"""What a run learns from where masks are the target: images and masks on one grid, in files of the run's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medmm.config.schema import Config
from medmm.data.cases import CaseCache, CaseDataset
from medmm.data.labels import mask_labels
from medmm.data.manifest import Manifest
from medmm.errors import DataError
from medmm.tasks.base import Task
from medmm.tasks.segmentation import Segmentation
from medmm.training.material import Material, chosen_studies, counted
from medmm.training.plan import Plan
from medmm.types import Rejection, Study


@dataclass(frozen=True)
class CaseMaterial(Material):
    """Samples whose images and masks lie in a case cache."""

    cache: CaseCache  # type: ignore[assignment]

    def datasets(self, task: Task, config: Config) -> tuple[CaseDataset, CaseDataset | None]:  # type: ignore[override]
        """What the loop learns from and validates on; only the former is changed at random."""
        wanted = config.segmentation
        changes = config.train.augment
        train = CaseDataset(self.cache, self.train, config.seed, wanted.foreground, changes, wanted.mirror, wanted.hide)
        if not self.validation:
            return train, None
        return train, CaseDataset(self.cache, self.validation, config.seed, 1.0)


def gather(
    manifest: Manifest,
    config: Config,
    plan: Plan,
    folder: Path,
    task: Task | Callable[[Iterable[Study]], Task],
    progress: Callable[..., None] | None = None,
) -> tuple[Task, CaseMaterial]:
    """Choose studies and bring their images and masks to the task's grid; as :func:`medmm.training.material.gather`.

    Raises:
        DataError: No training study has both an image and masks that can be used, or none shows one of the classes.
        ResourceError: The disk is full.
    """
    train, validation = chosen_studies(manifest, config, plan)
    made = task if isinstance(task, Task) else task(train)
    assert isinstance(made, Segmentation)
    encoded = [made.encode(train), made.encode(validation)]
    wanted = {sample.study_id for one in encoded for sample in one.samples}
    workers = len(os.sched_getaffinity(0)) if config.train.workers is None else config.train.workers

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total, "reading images and masks")

    known = [study for study in (*train, *validation) if study.study_id in wanted]
    cases, unread = CaseCache.build(known, made.grid, made.code, mask_labels(config.data), folder, workers, tell)
    kept = [[sample for sample in one.samples if sample.study_id in cases] for one in encoded]
    aside = [*encoded[0].rejections, *encoded[1].rejections, *unread]
    if not kept[0]:
        raise DataError("no training study can be used", where="data", got=counted(aside), fix=_advice(unread))
    _require_every_class(cases, [sample.study_id for sample in kept[0]])
    made.cases = cases
    return made, CaseMaterial(cases, kept[0], kept[1], aside, [])


def _advice(unread: Sequence[Rejection]) -> str | None:
    """What the first study that was set aside says, where all were."""
    return f"{unread[0].tag}: {unread[0].detail}." if unread else None


def _require_every_class(cases: CaseCache, study_ids: list[str]) -> None:
    missing = [name for name, number in cases.shown(study_ids).items() if not number]
    if missing:
        raise DataError(
            "no training study shows this class",
            where="segmentation.classes",
            got=", ".join(missing),
            expected="classes that the masks of training studies show",
            fix="Name the others in segmentation.classes.",
        )
