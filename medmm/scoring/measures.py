"""What is measured of one set of drafts: every metric from tables with a row a study.

Each part of a :class:`Measures` keeps sufficient statistics of each study, so that the scores of a thousand resamples
are products of matrices and two systems can exchange drafts study by study.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.evaluation import EvaluateConfig
from medmm.metrics.attributes import ATTRIBUTES, attribute_agreement
from medmm.metrics.bertscore import BertScorer
from medmm.metrics.chrf import chrf_statistics
from medmm.metrics.cider import CIDER_D, document_frequencies
from medmm.metrics.finding_errors import (
    Along,
    FindingErrors,
    along_with,
    finding_errors,
    prior_references,
    weighted_mean,
)
from medmm.metrics.finding_scores import MACRO, FindingScores, Uncertain, finding_scores
from medmm.metrics.judges import Judge, judge_scores, load_judge
from medmm.metrics.meteor import meteor_statistics
from medmm.metrics.text import text_statistics
from medmm.metrics.tokenizers import tokenizer_named
from medmm.metrics.wordnet import find_wordnet
from medmm.reports.chexpert import CHEXPERT_5, CHEXPERT_14, chexpert_observations
from medmm.reports.labelers import Labeler
from medmm.reports.priors import find_prior_references
from medmm.scoring.figures import Bools, Floats, Measure
from medmm.types import Finding

Findings = Mapping[str, Finding]

PREFIX = "clinical_f1/"
"""Before a finding's name in the name of its F1."""

_MASK = re.compile(r"\bX{2,}\b|_{2,}", re.IGNORECASE)


@dataclass(frozen=True)
class Means:
    """Numbers that are averaged over studies: name to ``[n]``."""

    each: Mapping[str, Floats]

    def scores(self, weights: npt.ArrayLike | None = None) -> dict[str, Floats]:
        """Means over studies, as :meth:`Measure.scores`."""
        return {name: weighted_mean(values, weights) for name, values in self.each.items()}


@dataclass(frozen=True)
class Measures:
    """All statistics of one set of drafts.

    Attributes:
        parts: The statistics, by what they are of.
        notes: What was left out, and why.
    """

    parts: Mapping[str, Measure]
    notes: tuple[str, ...] = ()

    def scores(self, weights: Floats | None = None) -> dict[str, Floats]:
        """Every score, as :meth:`Measure.scores`."""
        return {name: value for part in self.parts.values() for name, value in part.scores(weights).items()}

    def beside(self, other: Measures) -> Measures:
        """Both sets of drafts of the same n studies as one of 2n: ``other``'s rows follow.

        Weights ``[resamples, 2n]`` then choose for each study whose draft counts. Left out are parts that one side does
        not have.
        """
        pairs = {name: (part, other.parts[name]) for name, part in self.parts.items() if name in other.parts}
        return Measures({name: _stacked(*pair) for name, pair in pairs.items()})

    def correct(self) -> dict[str, Bools]:
        """``exact_match`` and ``clinical_f1/NAME`` to whether a draft has all findings right, and each by itself."""
        found: dict[str, Bools] = {}
        for part in self.parts.values():
            if isinstance(part, FindingErrors):
                found["exact_match"] = part.exact > 0
            if isinstance(part, FindingScores) and not part.suffix:
                found |= {
                    f"{PREFIX}{name}": part.truth[:, at] == part.drafted[:, at] for at, name in enumerate(part.names)
                }
        return found

    def averaged(self) -> dict[str, tuple[str, ...]]:
        """The findings that each macro F1 is an average of, by its name: of the truth, so the same for all drafts."""
        return {f"{MACRO}{part.suffix}": part.names for part in self.parts.values() if isinstance(part, FindingScores)}


@dataclass(frozen=True)
class Tools:
    """What is loaded before anything is measured, so that what cannot be had is said before anything is drafted.

    Attributes:
        judges: Others' models by name.
        encoder: BERTScore's, None where it is not asked for.
        along: As :func:`medmm.metrics.finding_errors.along_with` gives it.
    """

    judges: Mapping[str, Judge]
    encoder: BertScorer | None
    along: Along

    @classmethod
    def load(cls, config: EvaluateConfig, labeler: Labeler | None = None) -> Tools:
        """Load what the config asks for.

        Args:
            config: With judges and BERTScore's model.
            labeler: What reads findings; None has every finding stand for itself.

        Raises:
            UsageError: A judge cannot be had.
            DataError: The folder of BERTScore's model holds none that can be used.
        """
        judges = {name: load_judge(name) for name in config.judges}
        encoder = None if config.bertscore_model is None else BertScorer(config.bertscore_model)
        return cls(judges, encoder, {} if labeler is None else along_with(labeler))


class Instruments:
    """Measures any drafts of the same studies.

    Args:
        references: Each study's reference text.
        truth: Each study's findings.
        names: Findings of ``clinical_f1_macro``.
        every: All findings that can be compared.
        config: What to measure, and how.
        corpus: Texts whose document frequencies CIDEr-D takes, such as the training reports; None takes the references.
        tools: What is loaded already; None loads what the config asks for.

    Raises:
        UsageError: A judge cannot be had, or ``corpus`` holds no text.
        DataError: The folder of BERTScore's model holds none that can be used.
    """

    def __init__(
        self,
        references: Sequence[str],
        truth: Sequence[Findings],
        names: Sequence[str],
        every: Sequence[str],
        config: EvaluateConfig,
        corpus: Iterable[str] | None = None,
        tools: Tools | None = None,
    ) -> None:
        self._references, self._truth, self._config = list(references), list(truth), config
        self._names, self._every = tuple(names), tuple(every)
        tokens, clean = tokenizer_named(config.tokenizer), cleaning_named(config.cleaning)
        self._words: Callable[[str], list[str]] = lambda text: tokens(clean(text))
        self._there = [self._words(text) for text in self._references]
        self._frequencies = None if corpus is None else document_frequencies(map(self._words, corpus))
        self._observed = [chexpert_observations(one) for one in truth] if "chexpert" in config.metrics else []
        self._wordnet = find_wordnet() if "meteor" in config.metrics else None
        self._tools = tools or Tools.load(config)
        self.implementations: dict[str, str] = {}
        """Metric to what computed it, where that is not medmm's one way."""

    def measure(self, drafts: Sequence[str], drafted: Sequence[Findings]) -> Measures:
        """Take the statistics of one draft a study.

        Args:
            drafts: In the order of the references.
            drafted: What the labeler reads in each draft.

        Raises:
            UsageError: A judge does not give a finite number a study.
        """
        wanted, parts = self._config.metrics, self._of_texts(drafts)
        notes: list[str] = []
        if "clinical" in wanted:
            least = self._config.min_positives
            main = finding_scores(self._truth, drafted, self._names, min_positives=least)
            parts["clinical"] = main
            notes.extend(main.notes)
            parts["clinical_all"] = self._classes(self._truth, drafted, self._every, "_all")
        if "chexpert" in wanted:
            said = [chexpert_observations(one) for one in drafted]
            for number, names in ((14, CHEXPERT_14), (5, CHEXPERT_5)):
                parts[f"chexpert_{number}"] = self._classes(self._observed, said, names, f"_{number}")
        if "attributes" in wanted:
            agreements, left = self._of_attributes(drafted)
            parts |= agreements
            notes.extend(left)
        if "errors" in wanted:
            parts["errors"] = finding_errors(self._truth, drafted, self._every, self._tools.along)
        if "priors" in wanted:
            parts["priors"] = Means({"prior_reference_rate": prior_references(drafts, find_prior_references)})
        return Measures(parts, tuple(notes))

    def _of_texts(self, drafts: Sequence[str]) -> dict[str, Measure]:
        wanted, said = self._config.metrics, [self._words(draft) for draft in drafts]
        parts: dict[str, Measure] = {}
        if "text" in wanted:
            parts["text"] = text_statistics(self._there, said, self._frequencies)
            self.implementations["cider_d"] = f"{CIDER_D}, document frequencies of the {self._documents()}"
        if "meteor" in wanted:
            meteor = meteor_statistics(self._there, said, self._wordnet)
            self.implementations["meteor"] = meteor.name
            parts["meteor"] = meteor
        if "chrf" in wanted:
            self.implementations["chrf"] = "chrF2, characters 1 to 6"
            parts["chrf"] = chrf_statistics(self._references, drafts)
        if self._tools.encoder is not None:
            alike = self._tools.encoder.score(self._references, drafts)
            self.implementations["bertscore"] = alike.name
            parts["bertscore"] = alike
        for name, judge in self._tools.judges.items():
            scored = judge_scores(name, self._references, drafts, judge)
            self.implementations.update({score: f"{name}, version {scored.version}" for score in scored.each})
            parts[f"judge {name}"] = Means(scored.each)
        return parts

    def _documents(self) -> str:
        corpus = self._frequencies
        return "references evaluated" if corpus is None else f"{corpus.documents} training reports"

    def _of_attributes(self, drafted: Sequence[Findings]) -> tuple[dict[str, Measure], list[str]]:
        """Agreement on each attribute that enough findings state on both sides."""
        parts: dict[str, Measure] = {}
        few = []
        for name in ATTRIBUTES:
            agreement = attribute_agreement(self._truth, drafted, name, self._every)
            if agreement.compared >= self._config.min_positives:
                parts[name] = agreement
            else:
                few.append(f"{name} ({agreement.compared})")
        least = self._config.min_positives
        left = f"agreement is left out where fewer than {least} findings of truth and draft state it: {', '.join(few)}"
        return parts, [left] if few else []

    def _classes(
        self, truth: Sequence[Findings], drafted: Sequence[Findings], names: Sequence[str], suffix: str
    ) -> FindingScores:
        policy = Uncertain(self._config.uncertain)
        return finding_scores(truth, drafted, names, policy, self._config.min_positives, suffix)


def cleaning_named(name: str) -> Callable[[str], str]:
    """What is done to texts before they are cut into words: ``none``, or ``masks`` taken out."""
    return (lambda text: text) if name == "none" else without_masks


def without_masks(text: str) -> str:
    """The text without the marks that de-identification left, ``XXXX`` in Open-i's reports, ``___`` in MIMIC-CXR's."""
    return " ".join(_MASK.sub(" ", text).split())


def _stacked(one: Any, other: Any) -> Any:
    """Tables of two measures, one below the other."""
    if isinstance(one, np.ndarray):
        return np.concatenate([one, other])
    if isinstance(one, Means):
        return Means({name: np.concatenate([values, other.each[name]]) for name, values in one.each.items()})
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        parts = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
        tables = {
            name: _stacked(value, getattr(other, name))
            for name, value in parts.items()
            if isinstance(value, np.ndarray)
        }
        return dataclasses.replace(one, **tables)
    raise TypeError(type(one).__name__)
