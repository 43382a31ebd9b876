"""The outlined studies of a split: drawn and true masks compared on the image's own grid, one study after the other."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.case_grid import stretch_mask
from medmm.data.case_reading import CaseReaders, Request
from medmm.data.labels import mask_labels
from medmm.data.manifest import Manifest
from medmm.data.prepared import Prepared, request_with_masks
from medmm.errors import ImageError, Reason
from medmm.metrics.segmentation import Lesion, lesions_of, outline_figures
from medmm.scoring.drafting import Progress
from medmm.scoring.reading import reading_processes
from medmm.tasks.segmentation import Segmentation
from medmm.types import Rejection, Study

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
            classes[name] = {**self.figures.get(name, {}), "voxels": drawn, "voxels_true": true}
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
    """Outline the studies of a split that have masks, and compare; images are read ahead in other processes."""
    material, total = OutlineMaterial(), manifest.counts().get(split)
    labels, asked = mask_labels(config.data), deque[Study]()

    def requests() -> Iterator[Request]:
        for study in manifest.studies(split):
            if Segmentation.teaches(study):
                asked.append(study)
                yield request_with_masks(study, task.grid, task.code, labels)
            else:
                reason = Reason.IMAGE_WITHOUT_MASK if study.images else Reason.REPORT_WITHOUT_IMAGE
                material.left_out[str(reason)] += 1

    with CaseReaders(reading_processes(config.score)) as readers:
        for done, found in enumerate(readers.each(requests()), 1):
            study = asked.popleft()
            if isinstance(found, ImageError):
                material.left_out[str(found.reason)] += 1
                material.rejections.append(Rejection(study.study_id, found.reason, found.detail, study.images[0].path))
            else:
                material.samples.append(_compared(task, study, found))
            if progress is not None:
                progress(done, total, "outlining")
    return material


def true_masks(task: Segmentation, studies: Iterator[Study], config: Config, most: int) -> Iterator[Coded]:
    """Coded masks of up to ``most`` studies, made small."""
    labels = mask_labels(config.data)
    taught = (study for study in studies if Segmentation.teaches(study))
    requests = (request_with_masks(study, task.grid, task.code, labels, _SMALL) for study in taught)
    with CaseReaders(reading_processes(config.score)) as readers:
        yield from islice((one for one in readers.each(requests) if not isinstance(one, ImageError)), most)


def _compared(task: Segmentation, study: Study, image: Prepared) -> OutlineSample:
    """Outline an image and hold it against its masks where these are labelled."""
    assert image.true is not None
    drawn, true, labelled = task.outline(image), image.true, task.code.labelled(image.true)
    tolerance = task.config.segmentation.tolerance_mm
    spacing = image.spacing_mm or (1.0,) * true.ndim
    figures, sizes, lesions = {}, {}, list[Lesion]()
    for number, name in enumerate(task.code.classes):
        one, other = task.code.mask(drawn, number) & labelled, task.code.mask(true, number)
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
