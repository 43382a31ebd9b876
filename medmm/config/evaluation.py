"""Settings of the labeler and of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from medmm.config.sources import Section

Tokenizer = Literal["ptb", "r2gen", "r2gen_mimic", "plain", "characters"]
MetricGroup = Literal["text", "meteor", "chrf", "clinical", "chexpert", "attributes", "errors", "priors"]
METRIC_GROUPS: tuple[MetricGroup, ...] = get_args(MetricGroup)
_LEAST_RESAMPLES = 100  # an interval's bounds are the 2.5% at either end


class LabelerConfig(Section):
    """What reads findings: in training targets (always by the rules), and in references and drafts of an evaluation."""

    name: Literal["rules", "huggingface"] = "rules"
    """``rules`` needs nothing but the package; ``huggingface`` is a text classifier in a local folder, for evaluate."""
    vocabulary: Path | None = None
    """A YAML file that is merged over the packaged vocabulary; only for ``rules``."""
    source: Path | None = None
    """The classifier's folder; only for ``huggingface``."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> LabelerConfig:
        if (self.name == "huggingface") != (self.source is not None):
            raise ValueError("labeler.source is the folder of labeler.name=huggingface: give both or none")
        if self.name != "rules" and self.vocabulary is not None:
            raise ValueError("labeler.vocabulary is for labeler.name=rules")
        return self


class EvaluateConfig(Section):
    """How a run is scored."""

    tokenizer: Tokenizer = "ptb"
    """``ptb``: lower case, Penn-Treebank-like words without punctuation; ``r2gen``, ``r2gen_mimic``: what that
    repository's cleaning of IU X-Ray and of MIMIC-CXR leaves; ``plain``: lower case, cut at white space;
    ``characters``: every Chinese, Japanese or Korean character is a word."""
    cleaning: Literal["none", "masks"] = "none"
    """Before texts are cut into words. ``masks`` takes out what de-identification left (``XXXX``, ``___``)."""
    cider_df: Literal["references", "training"] = "references"
    """Where CIDEr-D counts in how many reports a word stands: the references evaluated, as R2Gen's evaluation does, or
    the training reports, so that the figure does not depend on the split's size."""
    metrics: tuple[MetricGroup, ...] = METRIC_GROUPS
    """Groups of metrics: ``text`` is BLEU, ROUGE-L and CIDEr-D, ``clinical`` F1 by finding, ``chexpert`` F1 of the 14
    and 5 CheXpert classes, ``attributes`` side, zone and severity, ``errors`` findings made up and left out, ``priors``
    comparisons with earlier studies."""
    uncertain: Literal["negative", "positive", "ignored"] = "negative"
    """What an uncertain mention counts as for 14, 5 and all classes; in ``clinical_f1_macro`` it is never present."""
    bertscore_model: Path | None = None
    """Local folder of a Hugging Face encoder; None leaves BERTScore out."""
    judges: tuple[str, ...] = ()
    """Scores by others' models: ``radgraph``, an entry point of ``medmm.judges``, or ``module:attribute``."""
    min_positives: int = Field(default=10, ge=1)
    """Findings with fewer positives are left out of macro averages."""
    bootstrap: int = Field(default=1000, ge=0)
    """Resamples of patients behind a confidence interval, at least 100; 0 leaves intervals out."""
    baselines: bool = True

    @model_validator(mode="after")
    def _something_is_measured(self) -> EvaluateConfig:
        if "text" not in self.metrics and "clinical" not in self.metrics:
            raise ValueError("evaluate.metrics must hold text or clinical")
        if 0 < self.bootstrap < _LEAST_RESAMPLES:
            raise ValueError(f"evaluate.bootstrap must be 0 or at least {_LEAST_RESAMPLES}")
        twice = sorted({name for name in self.metrics if self.metrics.count(name) > 1})
        if twice:
            raise ValueError(f"evaluate.metrics names {', '.join(twice)} twice")
        return self
