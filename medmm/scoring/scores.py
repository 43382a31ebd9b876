"""Numbers of drafts against references and truth: of the model, with intervals, and of its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from medmm.config.schema import EvaluateConfig
from medmm.metrics import bootstrap
from medmm.metrics.clinical import MACRO, MICRO, ClinicalCounts, clinical_counts
from medmm.metrics.text import NAMES as TEXT_NAMES
from medmm.metrics.text import text_statistics
from medmm.metrics.tokenizers import tokenizer_named
from medmm.types import Finding

Findings = Mapping[str, Finding]
SUMMARY = (*TEXT_NAMES, MACRO, MICRO)
"""Metrics in the order in which people read them."""
PREFIX = "clinical_f1/"
"""Before a finding's name in the name of its F1."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One study that is evaluated.

    Attributes:
        study_id: The study.
        patient_key: Its patient.
        split: Its part of the data, None if it has none.
        reference: The target text of its report.
        truth: Its findings, from a truth table or read from ``reference``.
        images: Number of its images.
    """

    study_id: str
    patient_key: str
    split: str | None
    reference: str
    truth: Findings
    images: int


@dataclass(frozen=True)
class FindingRow:
    """How one finding fared in the drafts.

    Attributes:
        name: The finding.
        positives: Studies that have it.
        drafted: Studies whose draft says that it is present.
        precision, recall, f1: In [0, 1]; 0 where nothing is there to divide by.
        averaged: Whether it has enough positives to count in the averages.
    """

    name: str
    positives: int
    drafted: int
    precision: float
    recall: float
    f1: float
    averaged: bool


@dataclass(frozen=True)
class Scores:
    """All numbers of one set of drafts.

    Attributes:
        values: Metric name to value; no clinical F1 where no finding has enough positives.
        ci95: Metric name to (low, high), empty without a bootstrap.
        findings: One row a finding with at least one positive.
        notes: What was left out, and why.
    """

    values: dict[str, float]
    ci95: dict[str, tuple[float, float]] = field(default_factory=dict)
    findings: tuple[FindingRow, ...] = ()
    notes: tuple[str, ...] = ()


class Scorer:
    """Scores any drafts of the same studies.

    Args:
        samples: The studies.
        names: Findings to look at.
        config: Tokenizer, number of resamples and of positives.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: There is no tokenizer of that name.
    """

    def __init__(self, samples: Sequence[Sample], names: Sequence[str], config: EvaluateConfig, seed: int) -> None:
        self._samples, self._names, self._config, self._seed = samples, tuple(names), config, seed
        self._tokens = tokenizer_named(config.tokenizer)
        self._references = [self._tokens(sample.reference) for sample in samples]
        self._truth = [sample.truth for sample in samples]

    def score(self, drafts: Sequence[str], drafted: Sequence[Findings], with_intervals: bool) -> Scores:
        """Score one draft a study.

        Args:
            drafts: In the order of the samples.
            drafted: What the labeler reads in each draft.
            with_intervals: Add 95% intervals, resampling patients.
        """
        text = text_statistics(self._references, [self._tokens(draft) for draft in drafts])
        clinical = self._clinical(drafted, self._config.min_positives)
        values = {name: float(value) for name, value in {**text.scores(), **clinical.scores()}.items()}
        ci95: dict[str, tuple[float, float]] = {}
        if with_intervals and self._config.bootstrap:

            def resampled(weights: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
                return {**text.scores(weights), **clinical.scores(weights)}

            patients = [sample.patient_key for sample in self._samples]
            ci95 = bootstrap.intervals(resampled, patients, self._config.bootstrap, self._seed)
        return Scores(values, ci95, self._rows(drafted, set(clinical.names)), clinical.notes)

    def _clinical(self, drafted: Sequence[Findings], minimum: int) -> ClinicalCounts:
        return clinical_counts(self._truth, drafted, minimum, self._names)

    def _rows(self, drafted: Sequence[Findings], averaged: set[str]) -> tuple[FindingRow, ...]:
        counts = self._clinical(drafted, 1)
        rows = []
        for column, name in enumerate(counts.names):
            truth, said = counts.truth[:, column], counts.drafted[:, column]
            both, there, told = int((truth & said).sum()), int(truth.sum()), int(said.sum())
            precision, recall = both / told if told else 0.0, both / there
            rows.append(FindingRow(name, there, told, precision, recall, 2 * both / (there + told), name in averaged))
        return tuple(rows)
