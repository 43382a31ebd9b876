"""The studies of a split whose classes are known, and what is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.errors import Reason
from medmm.scoring.samples import chosen
from medmm.scoring.subgroups import groups_of
from medmm.tasks.study_labels import LabelSource, label_targets, only_class
from medmm.types import Study

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassSample:
    """One study that is evaluated.

    Attributes:
        study_id, patient_key, split: As in the manifest.
        groups: Sex, age band, view and device, where known.
        images: Number of its images.
        truth: ``[C]`` 1 present, 0 absent.
        known: ``[C]`` whether the truth is known.
    """

    study_id: str
    patient_key: str
    split: str | None
    groups: dict[str, str]
    images: int
    truth: Floats
    known: npt.NDArray[np.bool_]


@dataclass
class ClassMaterial:
    """Studies and samples, in the order of the manifest.

    Attributes:
        names: The C classes.
        source: Where the truth comes from, in words.
        studies, samples: What was kept.
        left_out: Reason to number of studies that cannot be evaluated.
    """

    names: tuple[str, ...]
    source: str
    studies: list[Study] = field(default_factory=list)
    samples: list[ClassSample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def truth(self) -> Floats:
        """``[N, C]`` 1 present, 0 absent."""
        return np.stack([one.truth for one in self.samples])

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """``[N, C]`` whether the truth is known."""
        return np.stack([one.known for one in self.samples])

    def drop(self, unread: dict[str, Reason]) -> None:
        """Take out the studies whose images cannot be read."""
        kept = [place for place, study in enumerate(self.studies) if study.study_id not in unread]
        self.left_out.update(str(unread[study.study_id]) for study in self.studies if study.study_id in unread)
        self.studies = [self.studies[place] for place in kept]
        self.samples = [self.samples[place] for place in kept]

    def lines(
        self, probabilities: Floats, called: npt.NDArray[np.bool_], declined: npt.NDArray[np.bool_]
    ) -> Iterator[dict[str, Any]]:
        """Lines of ``predictions.jsonl``."""
        for row, sample in enumerate(self.samples):
            findings = {}
            for column, name in enumerate(self.names):
                truth = ("present" if sample.truth[column] else "absent") if sample.known[column] else "uncertain"
                said = "uncertain" if declined[row, column] else "present" if called[row, column] else "absent"
                p = float(probabilities[row, column])
                findings[name] = {"truth": truth, "status": said, "probability": p}
            yield {
                "study_id": sample.study_id,
                "patient_key": sample.patient_key,
                "split": sample.split,
                "findings": findings,
            }


def gather(
    manifest: Manifest, split: str, config: Config, names: Sequence[str], most: int | None = None
) -> ClassMaterial:
    """Take the studies of a split that have images and labels: their own, else what the labeler reads in the report.

    Args:
        manifest: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        config: The run's config; ``classification.labels`` other than ``auto`` says where the truth comes from.
        names: The classes.
        most: At most so many studies, chosen by a hash of seed and id; None takes all.
    """
    kind = {"auto": "both"}.get(config.classification.labels, config.classification.labels)
    source = LabelSource(config, kind)
    words = {"given": "the data's own labels", "report": "what the labeler reads in the report"}
    material = ClassMaterial(tuple(names), words.get(kind, f"{words['given']}, else {words['report']}"))
    some = None if most is None else chosen(manifest, split, config.seed, most)
    for study in manifest.studies(split):
        if some is not None and study.study_id not in some:
            continue
        labels = source.read(study)
        if labels is None or not study.images:
            reason = Reason.LABEL_MISSING if labels is None else Reason.FILE_MISSING
            material.left_out[str(reason)] += 1
            continue
        if config.classification.kind == "single" and only_class(labels, names) is None:
            material.left_out[str(Reason.LABEL_MISSING)] += 1
            continue
        targets = label_targets(labels, names)
        truth, known = targets["present"].astype(np.float64), targets["known"].astype(np.float64) > 0
        material.studies.append(study)
        material.samples.append(
            ClassSample(
                study.study_id, study.patient_key, study.split, groups_of(study), len(study.images), truth, known
            )
        )
    return material
