"""A classifier's evaluation as tables: for a terminal and as ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medmm.metrics.classification import AVERAGED
from medmm.scoring import comparison_tables
from medmm.scoring.baselines import NAMES
from medmm.scoring.figures import marked
from medmm.scoring.markdown import Table, interval, number, table
from medmm.scoring.reliability import GROUP_FIGURES
from medmm.scoring.run_card import line_on_hashes, line_on_seeds, line_on_split, lines_on_programs
from medmm.scoring.subgroups import subgroup_table

_SUMMARY = (
    "accuracy",
    *(f"{name}_macro" for name in AVERAGED),
    "ece",
    "brier",
    "aurc",
    "declined_share",
    "wrong_share",
)
_HEADS = {"most_frequent": "prevalence", "nearest_image": "nearest image", "swapped_image": "swapped image"}
_OF_CLASS = ("auroc", "auprc", "f1", "sensitivity", "specificity")
_PICTURES = {
    "roc.png": "Receiver operating characteristic of each class",
    "reliability.png": "Share present by probability",
    "risk_coverage.png": "Share of wrong calls among the surest",
}


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """The main figures beside their intervals and baselines."""
    card, shown = metrics["card"], [name for name in NAMES if name in metrics["baselines"]]
    counts = card["counts"]
    title = f"{card['split']}: {counts['studies']} studies of {counts['patients']} patients"
    rows = [
        (
            marked(name),
            number(metrics["test"][name]),
            interval(metrics["ci95"].get(name)),
            *(number(metrics["baselines"][baseline].get(name)) for baseline in shown),
        )
        for name in _SUMMARY
        if name in metrics["test"]
    ]
    return title, ("metric", "model", "95% interval", *(_HEADS[name] for name in shown)), rows


def class_table(metrics: Mapping[str, Any]) -> Table:
    """How each class fared."""
    card, test = metrics["card"], metrics["test"]
    rows: list[tuple[str, ...]] = []
    for name in card["classes"]:
        label = name if name in card["averaged"] else f"{name} (too few to average)"
        cells = [number(test.get(f"{figure}/{name}")) for figure in _OF_CLASS]
        positives = str(card["counts"]["positives"][name])
        rows.append((label, positives, *cells, interval(metrics["ci95"].get(f"auroc/{name}"))))
    return "Classes", ("class", "positives", *_OF_CLASS, "95% interval of auroc"), rows


def group_table(metrics: Mapping[str, Any]) -> Table:
    """Figures by subgroup."""
    return subgroup_table(metrics["subgroups"], GROUP_FIGURES)


def markdown(metrics: Mapping[str, Any], pictures: Sequence[str], differences: Sequence[str] = ()) -> str:
    """``metrics.md``; ``differences`` are the pictures of comparisons with other runs."""
    title, columns, rows = summary_table(metrics)
    card = metrics["card"]
    parts = [f"# Evaluation on {title}"]
    if card["warnings"]:
        parts.append("\n".join(f"- **Mind:** {sentence}" for sentence in card["warnings"]))
    parts += [table(columns, rows), _READING, *comparison_tables.sections(metrics, differences)]
    for head, names, lines in (class_table(metrics), group_table(metrics)):
        if lines:
            parts += [f"## {head}", table(names, lines)]
    parts.extend(f"![{_PICTURES[name]}]({name})" for name in pictures)
    parts += ["## What the numbers rest on", "\n".join(f"- {line}" for line in basis(card))]
    return "\n\n".join(parts) + "\n"


_READING = (
    "More is better, but where an arrow points down. *Prevalence* gives everyone the share of training studies with a"
    " class, *nearest image* the labels of the most similar training image, *swapped image* is the model given another"
    " study's images. `aurc` is the mean share of wrong calls over all shares of calls made, the surest first;"
    " `wrong_share` is that of the calls made, `declined_share` what the model would not call. Intervals resample"
    " patients."
)


def basis(card: Mapping[str, Any]) -> list[str]:
    """What the numbers rest on, a line each."""
    counts = card["counts"]
    return [
        line_on_split(card, f"{counts['studies']} studies of {counts['patients']} patients, {counts['images']} images"),
        line_on_hashes(card),
        f"Truth: {card['truth']}; labeler version {card['labeler_version']}.",
        f"Averages take in classes with at least {card['min_positives']} positives and negatives;"
        f" `sensitivity_at_specificity` is read at {card['specificity']:g}.",
        line_on_seeds(card),
        *lines_on_programs(card),
    ]
