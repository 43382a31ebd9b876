"""What stands beside the numbers: what was compared with what, by which means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.reports.labelers import choose_labeler
from medmm.reports.priors import find_prior_references
from medmm.scoring import run_card
from medmm.scoring.drafting import DraftingModel
from medmm.scoring.samples import Material, truth_source
from medmm.scoring.scores import BASE, SUMMARY, Sample, Scores

_PACKAGES = ("torch", "transformers", "numpy")
_IMPLEMENTATIONS = {
    "bleu": "medmm.metrics.text, equal to pycocoevalcap on the same tokens",
    "rouge_l": "medmm.metrics.rouge, beta 1.2, equal to pycocoevalcap",
    "clinical": "medmm.metrics.finding_scores, present against the rest",
    "ci95": "percentile bootstrap over patients",
}


def describe(
    model: DraftingModel, manifest: Manifest, config: Config, split: str, material: Material, training: int
) -> dict[str, Any]:
    """What the numbers are of.

    Args:
        model: What drafted.
        manifest: The data.
        config: The settings.
        split: The part of the data.
        material: What was evaluated.
        training: Number of training studies that baselines chose from.
    """
    references = [sample.reference for sample in material.samples]
    longest = min(config.model.decoder.max_tokens, config.generate.max_tokens)
    return {
        **describe_setting(config, split),
        **run_card.describe_data(model, manifest, config),
        "truth": truth_source(config),
        "training_studies": training,
        "trained_labeler": trained_labeler(model),
        "targets_cut": targets_cut(model, references, longest),
        "run": dict(model.provenance),
    }


def describe_scores(
    samples: Sequence[Sample],
    scores: Scores,
    compared: Mapping[str, Scores],
    left_out: Mapping[str, int],
    implementations: Mapping[str, str],
) -> dict[str, Any]:
    """Counts, what looking at the image is worth, and what computed each metric."""
    return {
        "counts": describe_data(samples, scores, left_out),
        "against_swapped": against_swapped(scores, compared.get("swapped_image")),
        "implementations": {**_IMPLEMENTATIONS, **implementations},
    }


def describe_drafts(drafts: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """How drafts look as texts.

    Args:
        drafts: One a study, at least one.
        references: Their references.

    Returns:
        ``distinct`` texts, ``identical_share`` and ``identical_share_references`` (share of the most frequent text),
        ``empty`` drafts, ``words`` and ``words_references`` (mean length), ``distinct_references``, and
        ``prior_reference_rate`` of both (share that compares with an earlier study).
    """
    return {
        "distinct": len(set(drafts)),
        "identical_share": _top_share(drafts),
        "identical_share_references": _top_share(references),
        "empty": sum(not draft.strip() for draft in drafts),
        "words": sum(len(draft.split()) for draft in drafts) / len(drafts),
        "words_references": sum(len(text.split()) for text in references) / len(references),
        "distinct_references": len(set(references)),
        "prior_reference_rate": _share_with_priors(drafts),
        "prior_reference_rate_references": _share_with_priors(references),
    }


def describe_data(samples: Sequence[Sample], scores: Scores, left_out: Mapping[str, int]) -> dict[str, Any]:
    """Count what was evaluated: studies, patients, images, positives of each finding, and what was left out and why."""
    return {
        "studies": len(samples),
        "patients": len({sample.patient_key for sample in samples}),
        "images": sum(sample.images for sample in samples),
        "positives": {row.name: row.positives for row in scores.findings},
        "left_out": dict(left_out),
    }


def describe_setting(config: Config, split: str) -> dict[str, Any]:
    """What the numbers depend on besides the data and the weights."""
    labeler, evaluate = choose_labeler(config.labeler), config.evaluate
    version, _, digest = labeler.version.partition("+")
    return {
        "task": config.task,
        "split": split,
        "sections": list(config.target.sections),
        "whole_text": config.target.whole_text,
        "trained_without_priors": config.target.without_priors,
        "tokenizer": evaluate.tokenizer,
        "cleaning": evaluate.cleaning,
        "cider_df": evaluate.cider_df,
        "metrics": list(evaluate.metrics),
        "uncertain": evaluate.uncertain,
        "labeler": labeler.name,
        "labeler_version": version,
        "vocabulary_hash": digest or None,
        "min_positives": evaluate.min_positives,
        "bootstrap": evaluate.bootstrap,
        "generate": config.generate.model_dump(mode="json"),
        "seed": config.seed,
        **run_card.describe_versions(_PACKAGES),
    }


def targets_cut(model: Any, references: Sequence[str], longest: int) -> int | None:
    """Number of references with more tokens than the model can write; None where it does not show its tokenizer."""
    tokenizer = getattr(getattr(model, "task", None), "tokenizer", None)
    if tokenizer is None:
        return None
    return sum(bool(tokenizer.encode(text, longest)[1]) for text in references)


def trained_labeler(model: Any) -> str | None:
    """Version and vocabulary hash of the labeler that the model learned findings from; None where it does not say."""
    labeler = getattr(getattr(model, "task", None), "labeler", None)
    return None if labeler is None else str(labeler.version)


def against_swapped(scores: Scores, swapped: Scores | None) -> dict[str, float]:
    """The model's metrics minus those with another study's images: what looking at the right image is worth."""
    if swapped is None:
        return {}
    return {
        name: scores.values[name] - swapped.values[name]
        for name in dict.fromkeys((*BASE, *SUMMARY))
        if name in scores.values and name in swapped.values
    }


def _top_share(texts: Sequence[str]) -> float:
    return Counter(texts).most_common(1)[0][1] / len(texts)


def _share_with_priors(texts: Sequence[str]) -> float:
    return sum(bool(find_prior_references(text)) for text in texts) / len(texts)
