"""The outlined studies of a split: drawn and true masks compared on the image's own grid, one study after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.case_grid import stretch_mask
from medmm.data.case_masks import read_masks
from medmm.data.labels import mask_labels
from medmm.data.manifest import Manifest
from medmm.errors import ImageError, Reason
from medmm.metrics.segmentation import Lesion, lesions_of, outline_figures
from medmm.scoring.drafting import Progress
from medmm.tasks.segmentation import Segmentation
from medmm.types import Image, Rejection, Study

_SMALL = 64  # voxels along each side of the masks that baselines are compared on
Coded = npt.NDArray[Any]


@dataclass(frozen=True)
class OutlineSample:
    """One study.

    Attributes:
        study_id, patient_key, split: As in the manifest.
        figures: Class to its figures; a class that neither mask shows has none.
        sizes: Class to the number of voxels drawn and true.
        lesions: True lesions, of the classes that are reported by size.
        spacing_mm: Of the image, None where it is not known.
        drawn, true: Coded masks, made small.
        notes: What was unusual about the image.
    """

    study_id: str
    patient_key: str
    split: str | None
    figures: Mapping[str, Mapping[str, float]]
    sizes: Mapping[str, tuple[int, int]]
    lesions: tuple[Lesion, ...]
    spacing_mm: tuple[float, ...] | None
    drawn: Coded
    true: Coded
    notes: tuple[str, ...] = ()

    def line(self) -> dict[str, Any]:
        """The study's line in ``predictions.jsonl``."""
        volume = None if self.spacing_mm is None or len(self.spacing_mm) < 3 else float(np.prod(self.spacing_mm)) / 1000
        classes: dict[str, Any] = {}
        for name, (drawn, true) in self.sizes.items():
            rounded = {key: round(value, 6) for key, value in self.figures.get(name, {}).items()}
            classes[name] = {**rounded, "voxels": drawn, "voxels_true": true}
            if volume is not None:
                classes[name] |= {"volume_ml": round(drawn * volume, 4), "volume_ml_true": round(true * volume, 4)}
        head = {"study_id": self.study_id, "patient_key": self.patient_key, "split": self.split}
        return {**head, "classes": classes, "notes": list(self.notes)}


@dataclass
class OutlineMaterial:
    """What was evaluated.

    Attributes:
        samples: In the order of the manifest.
        left_out: Reason to number of studies that cannot be evaluated.
        rejections: Those whose files cannot be used.
    """

    samples: list[OutlineSample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejection] = field(default_factory=list)


def outline_all(
    task: Segmentation, manifest: Manifest, split: str, config: Config, progress: Progress | None
) -> OutlineMaterial:
    """Outline the studies of a split that have masks, and compare."""
    material, total = OutlineMaterial(), manifest.counts().get(split)
    for done, study in enumerate(manifest.studies(split), 1):
        if not Segmentation.teaches(study):
            reason = Reason.IMAGE_WITHOUT_MASK if study.images else Reason.REPORT_WITHOUT_IMAGE
            material.left_out[str(reason)] += 1
            continue
        try:
            material.samples.append(_sample(task, study, config))
        except ImageError as error:
            material.left_out[str(error.reason)] += 1
            material.rejections.append(Rejection(study.study_id, error.reason, error.detail, study.images[0].path))
        if progress is not None:
            progress(done, total, "outlining")
    return material


def true_masks(task: Segmentation, studies: Iterator[Study], config: Config, most: int) -> Iterator[Coded]:
    """Coded masks of up to ``most`` studies, made small."""
    labels, given = mask_labels(config.data), 0
    for study in studies:
        if given == most:
            return
        if not Segmentation.teaches(study):
            continue
        try:
            image = task.grid.read(study.images[0].source)
            masks = read_masks(study, image, labels, task.code.classes)
        except ImageError:
            continue
        given += 1
        yield _small(task.code.encode(masks, image.array.shape[1:]))


def _sample(task: Segmentation, study: Study, config: Config) -> OutlineSample:
    image = task.grid.read(study.images[0].source)
    masks = read_masks(study, image, mask_labels(config.data), task.code.classes)
    if not masks:
        raise ImageError(Reason.IMAGE_WITHOUT_MASK, "the study has no mask of any class")
    true = task.code.encode(masks, image.array.shape[1:])
    drawn = task.outline(image)
    return _compared(task, study, image, drawn, true)


def _compared(task: Segmentation, study: Study, image: Image, drawn: Coded, true: Coded) -> OutlineSample:
    tolerance = task.config.segmentation.tolerance_mm
    spacing = image.spacing_mm or (1.0,) * true.ndim
    figures, sizes, lesions = {}, {}, list[Lesion]()
    for number, name in enumerate(task.code.classes):
        one, other = task.code.mask(drawn, number), task.code.mask(true, number)
        figures[name] = outline_figures(one, other, spacing, tolerance)
        sizes[name] = (int(np.count_nonzero(one)), int(np.count_nonzero(other)))
        if name in task.lesions and image.spacing_mm is not None:
            lesions += lesions_of(name, one, other, spacing)
    return OutlineSample(
        study.study_id, study.patient_key, study.split, figures, sizes, tuple(lesions), image.spacing_mm,
        _small(drawn), _small(true), image.notes,
    )  # fmt: skip


def _small(coded: Coded) -> Coded:
    return stretch_mask(coded, (_SMALL,) * coded.ndim)
