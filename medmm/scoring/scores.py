"""Numbers of drafts against references and truth: of the model, with intervals, and of its baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medmm.config.evaluation import EvaluateConfig
from medmm.metrics.finding_scores import MACRO, MICRO, finding_scores
from medmm.metrics.text import NAMES as TEXT_NAMES
from medmm.scoring.figures import Figures
from medmm.scoring.measures import Findings, Instruments, Measures, Tools

BASE = (*TEXT_NAMES, MACRO, MICRO)
"""Metrics that every table shows, with a dash where one could not be computed."""
SUMMARY = (
    *TEXT_NAMES, "meteor", "chrf", "bertscore_f1", MACRO, MICRO, "clinical_precision_macro", "clinical_recall_macro",
    "clinical_f1_macro_all", "clinical_f1_micro_all", "clinical_f1_macro_14", "clinical_f1_micro_14",
    "clinical_f1_macro_5", "clinical_f1_micro_5", "laterality_agreement", "zone_agreement", "severity_agreement",
    "exact_match", "hallucinated_per_report", "omitted_per_report", "prior_reference_rate",
)  # fmt: skip
"""Metrics in the order in which people read them."""


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
class Scores(Figures):
    """All numbers of one set of drafts; no clinical F1 where no finding has enough positives.

    Attributes:
        measures: What the numbers were made of, None where they were not.
        findings: One row a finding with at least one positive.
        notes: What was left out, and why.
    """

    measures: Measures | None = None
    findings: tuple[FindingRow, ...] = ()
    notes: tuple[str, ...] = ()


def summary_names(values: Mapping[str, object]) -> list[str]:
    """Names of the metrics that a table shows: those of one class and what they are averages of left out."""
    known = [name for name in SUMMARY if name in values or name in BASE]
    families = ("clinical_", "laterality_", "zone_", "severity_", "bertscore_")
    return [*known, *(name for name in values if name not in SUMMARY and not name.startswith(families))]


class Scorer:
    """Scores any drafts of the same studies.

    Args:
        samples: The studies.
        names: Findings of ``clinical_f1_macro``.
        config: What to measure, number of resamples and of positives.
        seed: Seed of the bootstrap.
        every: All findings that can be compared; None takes ``names``.
        corpus: Texts whose document frequencies CIDEr-D takes; None takes the references.
        tools: What is loaded already; None loads what the config asks for.

    Raises:
        UsageError: A judge cannot be had, or ``corpus`` holds no text.
        DataError: There is no usable model for BERTScore.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        names: Sequence[str],
        config: EvaluateConfig,
        seed: int,
        every: Sequence[str] | None = None,
        corpus: Iterable[str] | None = None,
        tools: Tools | None = None,
    ) -> None:
        self.patients = [sample.patient_key for sample in samples]
        self._names, self._config, self._seed = tuple(names), config, seed
        self._truth = [sample.truth for sample in samples]
        references = [sample.reference for sample in samples]
        self._instruments = Instruments(
            references, self._truth, names, names if every is None else every, config, corpus, tools
        )

    @property
    def implementations(self) -> dict[str, str]:
        """Metric to what computed it, of what has been scored so far."""
        return dict(self._instruments.implementations)

    def score(self, drafts: Sequence[str], drafted: Sequence[Findings], with_intervals: bool) -> Scores:
        """Score one draft a study.

        Args:
            drafts: In the order of the samples.
            drafted: What the labeler reads in each draft.
            with_intervals: Add 95% intervals, resampling patients.

        Raises:
            UsageError: A judge does not give a finite number a study.
        """
        measures, resamples = self.measure(drafts, drafted), self._config.bootstrap if with_intervals else 0
        more = {"findings": self._rows(drafted), "notes": measures.notes}
        return Scores.of(measures, self.patients, resamples, self._seed, **more)

    def measure(self, drafts: Sequence[str], drafted: Sequence[Findings]) -> Measures:
        """What :meth:`score` computes its numbers from."""
        return self._instruments.measure(drafts, drafted)

    def _rows(self, drafted: Sequence[Findings]) -> tuple[FindingRow, ...]:
        counts = finding_scores(self._truth, drafted, self._names, min_positives=1)
        rows = []
        for column, name in enumerate(counts.names):
            truth, said = counts.truth[:, column], counts.drafted[:, column]
            both, there, told = int((truth & said).sum()), int(truth.sum()), int(said.sum())
            precision, recall = both / told if told else 0.0, both / there
            averaged = there >= self._config.min_positives
            rows.append(FindingRow(name, there, told, precision, recall, 2 * both / (there + told), averaged))
        return tuple(rows)
