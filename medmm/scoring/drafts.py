"""Drafts of the studies of a split with what the labeler reads in them: the model's, and those that cost no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medmm.reports.labelers import Labeler
from medmm.scoring import baselines
from medmm.scoring.drafting import Array
from medmm.scoring.measures import Findings
from medmm.scoring.scores import Sample


@dataclass(frozen=True)
class Drafts:
    """One draft a sample and what the labeler reads in it.

    Attributes:
        texts: The drafts, in the order of the samples.
        findings: What the labeler reads in each.
    """

    texts: list[str]
    findings: list[Findings]

    @classmethod
    def of(cls, texts: Sequence[str], labeler: Labeler) -> Drafts:
        """Label drafts; equal ones once."""
        distinct = list(dict.fromkeys(texts))
        read: dict[str, Findings] = dict(zip(distinct, labeler.label_all(distinct), strict=True))
        return cls(list(texts), [read[text] for text in texts])


def copied(
    samples: Sequence[Sample], training: Sequence[Sample], views: Callable[[str], Array]
) -> dict[str, list[str]]:
    """Reports of the training split for each sample, by baseline; none where there is no training split.

    Args:
        samples: The studies that are evaluated.
        training: Those of the training split.
        views: Study id to its views ``[V, 1, S, S]`` in [0, 1].
    """
    if not training:
        return {}
    reports = [sample.reference for sample in training]
    small = [np.stack([baselines.thumbnail(views(one.study_id)[0]) for one in group]) for group in (samples, training)]
    patients = [[sample.patient_key for sample in group] for group in (samples, training)]
    nearest = baselines.nearest(small[0], small[1], patients[0], patients[1])
    return {
        "most_frequent": [baselines.most_frequent(reports)] * len(samples),
        "nearest_image": [reports[place] for place in nearest],
    }


def swapped(samples: Sequence[Sample], drafts: Drafts, seed: int) -> Drafts | None:
    """What the model drafts from another study's images: a draft depends on the images alone, so it is that study's.

    None where there is no other study.
    """
    if len(samples) < 2:
        return None
    other = baselines.derangement([sample.patient_key for sample in samples], seed)
    return Drafts([drafts.texts[place] for place in other], [drafts.findings[place] for place in other])
