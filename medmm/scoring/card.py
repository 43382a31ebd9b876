"""What stands beside the numbers: what was compared with what, and what a reader should be warned of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import medmm
from medmm.config.schema import Config
from medmm.metrics.clinical import MACRO
from medmm.reports.findings import LABELER_VERSION
from medmm.scoring.scores import SUMMARY, Sample, Scores

_SAME = 0.25  # a larger share of equal drafts is worth a word, unless the references are like that too
_CLOSE = {MACRO: 0.05, "rouge_l": 0.02}  # swapped images that cost less than this are worth a word
_OFTEN_CUT = 0.05  # share of the references
_FEW_PATIENTS = 30


def describe_drafts(drafts: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """How drafts look as texts.

    Args:
        drafts: One a study, at least one.
        references: Their references.

    Returns:
        ``distinct`` texts, ``identical_share`` and ``identical_share_references`` (share of the most frequent text),
        ``empty`` drafts, ``words`` and ``words_references`` (mean length).
    """
    return {
        "distinct": len(set(drafts)),
        "identical_share": _top_share(drafts),
        "identical_share_references": _top_share(references),
        "empty": sum(not draft.strip() for draft in drafts),
        "words": sum(len(draft.split()) for draft in drafts) / len(drafts),
        "words_references": sum(len(text.split()) for text in references) / len(references),
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
    return {
        "split": split,
        "sections": list(config.target.sections),
        "whole_text": config.target.whole_text,
        "tokenizer": config.evaluate.tokenizer,
        "labeler": "medmm.reports.findings",
        "labeler_version": LABELER_VERSION,
        "min_positives": config.evaluate.min_positives,
        "bootstrap": config.evaluate.bootstrap,
        "generate": config.generate.model_dump(mode="json"),
        "seed": config.seed,
        "medmm": medmm.__version__,
    }


def targets_cut(model: Any, references: Sequence[str], longest: int) -> int | None:
    """Number of references with more tokens than the model can write; None where it does not show its tokenizer."""
    tokenizer = getattr(getattr(model, "task", None), "tokenizer", None)
    if tokenizer is None:
        return None
    return sum(bool(tokenizer.encode(text, longest)[1]) for text in references)


def against_swapped(scores: Scores, swapped: Scores | None) -> dict[str, float]:
    """The model's metrics minus those with another study's images: what looking at the right image is worth."""
    if swapped is None:
        return {}
    return {
        name: scores.values[name] - swapped.values[name]
        for name in SUMMARY
        if name in scores.values and name in swapped.values
    }


def warnings(card: Mapping[str, Any], scores: Scores, baselines: Mapping[str, Scores]) -> tuple[str, ...]:
    """Sentences for a reader who might trust the numbers too much.

    Args:
        card: With ``drafts``, ``counts``, ``split``, ``split_as_trained`` and ``data_as_trained``.
        scores: The model's.
        baselines: The baselines'.
    """
    said: list[str] = []
    said.extend(_on_split(card))
    said.extend(_on_drafts(card["drafts"], card["counts"]["studies"]))
    said.extend(_on_baselines(scores, baselines))
    if card["counts"]["patients"] < _FEW_PATIENTS:
        said.append(
            f"Only {card['counts']['patients']} patients were evaluated: expect other numbers from other patients."
        )
    if shared := card.get("patients_in_several_splits", 0):
        said.append(f"{shared} patients lie in several splits: the figures are too good.")
    if (cut := card.get("targets_cut") or 0) > _OFTEN_CUT * card["counts"]["studies"]:
        said.append(f"{cut} references are longer than a draft may be; see generate.max_tokens.")
    said.extend(f"{note[0].upper()}{note[1:]}." for note in scores.notes)
    if left := sum(card["counts"]["left_out"].values()):
        reasons = ", ".join(f"{name} {number}" for name, number in card["counts"]["left_out"].items())
        said.append(f"{left} studies of the split were left out: {reasons}.")
    return tuple(said)


def _on_drafts(drafts: Mapping[str, Any], studies: int) -> list[str]:
    said = []
    share, usual = drafts["identical_share"], drafts["identical_share_references"]
    if drafts["distinct"] == 1 and studies > 1:
        said.append("The model is degenerate: every draft is the same text, whatever the image.")
    elif share > max(_SAME, 2 * usual) and studies > 1:
        said.append(
            f"The model repeats itself: {share:.0%} of the drafts are one text ({usual:.0%} of the references are)."
        )
    if drafts["empty"]:
        said.append(f"{drafts['empty']} of {studies} drafts are empty.")
    return said


def _on_split(card: Mapping[str, Any]) -> list[str]:
    if not card["data_as_trained"]:
        return ["These are not the data that the run was trained with: make sure that no patient is in both."]
    if not card["split_as_trained"]:
        return ["The split is not the one that the run was trained with: patients here may have been trained on."]
    if card["split"] in {"train", "all"}:
        return [f"Split '{card['split']}' holds studies that the model was trained on."]
    if card["split"] == "val":
        return ["Split 'val' chose the weights and the thresholds of the findings: its figures are too good."]
    return []


def _on_baselines(scores: Scores, baselines: Mapping[str, Scores]) -> list[str]:
    said: list[str] = []
    key, words = (MACRO, "clinical macro-F1") if MACRO in scores.values else ("rouge_l", "ROUGE-L")
    own = scores.values[key]
    values = {name: one.values[key] for name, one in baselines.items()}
    if "swapped_image" in values and own - values["swapped_image"] < _CLOSE[key]:
        said.append(
            f"With another study's images the model does about as well ({words} {values['swapped_image']:.3f} against"
            f" {own:.3f}): it hardly looks at the image."
        )
    for name, whose in (
        ("nearest_image", "the nearest training image's report"),
        ("most_frequent", "the most frequent training report"),
    ):
        if name in values and values[name] >= own:
            said.append(f"The model's {words} ({own:.3f}) is no better than that of {whose} ({values[name]:.3f}).")
    return said


def _top_share(texts: Sequence[str]) -> float:
    return Counter(texts).most_common(1)[0][1] / len(texts)
