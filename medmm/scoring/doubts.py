"""Sentences for a reader who might trust an evaluation's numbers too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medmm.metrics.bootstrap import LEAST_PATIENTS
from medmm.metrics.finding_scores import MACRO
from medmm.scoring.scores import Scores

_SAME = 0.25  # a larger share of equal drafts is worth a word, unless the references are like that too
_CLOSE = {MACRO: 0.05, "rouge_l": 0.02}  # swapped images that cost less than this are worth a word
_OFTEN_CUT = 0.05  # share of the references
_FEW_PATIENTS = 30
_LENGTH = (0.5, 2.0)  # mean words of the drafts against those of the references
_INVENTED = 0.1  # share of the drafts
_VARIETY = 0.1  # fewer different drafts than this share of the different references are worth a word


def warnings(card: Mapping[str, Any], scores: Scores, baselines: Mapping[str, Scores]) -> tuple[str, ...]:
    """Sentences for a reader who might trust the numbers too much.

    Args:
        card: With ``drafts``, ``counts``, ``split``, ``split_as_trained`` and ``data_as_trained``.
        scores: The model's.
        baselines: The baselines'.
    """
    said: list[str] = []
    said.extend(on_data(card))
    said.extend(_on_drafts(card["drafts"], card["counts"]["studies"]))
    said.extend(_on_baselines(scores, baselines))
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
    elif drafts["distinct"] < _VARIETY * drafts.get("distinct_references", 0):
        said.append(
            f"The model has few texts: {drafts['distinct']} different drafts for {drafts['distinct_references']}"
            " different references."
        )
    if drafts["empty"]:
        said.append(f"{drafts['empty']} of {studies} drafts are empty.")
    return [*said, *_on_words(drafts)]


def _on_words(drafts: Mapping[str, Any]) -> list[str]:
    said = []
    words, usual = drafts["words"], drafts["words_references"]
    if usual and not _LENGTH[0] <= words / usual <= _LENGTH[1]:
        how = "short" if words < usual else "long"
        said.append(f"Drafts are {how}: {words:.1f} words on average, references have {usual:.1f}.")
    if (rate := drafts.get("prior_reference_rate", 0.0)) >= _INVENTED:
        said.append(
            f"{rate:.0%} of the drafts compare with an earlier study, which the model has not seen;"
            f" {drafts['prior_reference_rate_references']:.0%} of the references do."
        )
    return said


def on_data(card: Mapping[str, Any]) -> list[str]:
    """What is to be said of the data, whatever the task."""
    said = _on_split(card)
    if (patients := card["counts"]["patients"]) < LEAST_PATIENTS:
        said.append(f"Only {patients} patients were evaluated: there are no intervals and no p-values.")
    elif patients < _FEW_PATIENTS:
        said.append(f"Only {patients} patients were evaluated: expect other numbers from other patients.")
    if shared := card.get("patients_in_several_splits", 0):
        said.append(f"{shared} patients lie in several splits: the figures are too good.")
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
    if key not in scores.values:
        return said
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
