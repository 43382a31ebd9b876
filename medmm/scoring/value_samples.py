"""The studies of a split whose numbers are known, and what is known of them."""

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
from medmm.scoring.estimates import estimate_record, short
from medmm.scoring.samples import chosen
from medmm.tasks.study_values import columns_of, read_values
from medmm.types import Prediction, Study

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValueSample:
    """One study that is evaluated.

    Attributes:
        study_id, patient_key, split: As in the manifest.
        images: Number of its images.
        truth: ``[T]`` its numbers, NaN where it has none.
    """

    study_id: str
    patient_key: str
    split: str | None
    images: int
    truth: Floats


@dataclass
class ValueMaterial:
    """Studies and samples, in the order of the manifest.

    Attributes:
        names: The T targets.
        columns: The column that each target's truth stands in.
        studies, samples: What was kept.
        left_out: Reason to number of studies that cannot be evaluated.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    studies: list[Study] = field(default_factory=list)
    samples: list[ValueSample] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def truth(self) -> Floats:
        """``[N, T]``, NaN where it is not known."""
        return np.stack([one.truth for one in self.samples])

    @property
    def patients(self) -> list[str]:
        """Each sample's patient."""
        return [one.patient_key for one in self.samples]

    def drop(self, unread: dict[str, Reason]) -> None:
        """Take out the studies whose images cannot be read."""
        kept = [place for place, study in enumerate(self.studies) if study.study_id not in unread]
        self.left_out.update(str(unread[study.study_id]) for study in self.studies if study.study_id in unread)
        self.studies = [self.studies[place] for place in kept]
        self.samples = [self.samples[place] for place in kept]

    def lines(self, predictions: Sequence[Prediction]) -> Iterator[dict[str, Any]]:
        """Lines of ``predictions.jsonl``."""
        for sample, prediction in zip(self.samples, predictions, strict=True):
            truth = {
                name: short(value) if np.isfinite(value) else None
                for name, value in zip(self.names, sample.truth.tolist(), strict=True)
            }
            said = estimate_record(prediction.values)
            yield {
                "study_id": sample.study_id,
                "patient_key": sample.patient_key,
                "split": sample.split,
                "abstained": prediction.abstained,
                "values": {name: {"truth": truth[name], **said[name]} for name in self.names},
            }


def gather(
    manifest: Manifest, split: str, config: Config, names: Sequence[str], most: int | None = None
) -> ValueMaterial:
    """Take the studies of a split that have images and any of the numbers.

    Args:
        manifest: The data.
        split: ``train``, ``val``, ``test`` or ``all``.
        config: The run's config; ``data.columns.label`` says where the truth stands.
        names: The targets.
        most: At most so many studies, chosen by a hash of seed and id; None takes all.
    """
    material = ValueMaterial(tuple(names), columns_of(config, names))
    some = None if most is None else chosen(manifest, split, config.seed, most)
    for study in manifest.studies(split):
        if some is not None and study.study_id not in some:
            continue
        truth = read_values(study, material.columns)
        if not study.images or not np.isfinite(truth).any():
            reason = Reason.LABEL_MISSING if study.images else Reason.FILE_MISSING
            material.left_out[str(reason)] += 1
            continue
        material.studies.append(study)
        material.samples.append(ValueSample(study.study_id, study.patient_key, study.split, len(study.images), truth))
    return material
