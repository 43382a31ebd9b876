"""An evaluation as tables: for a terminal and as ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medmm.metrics.clinical import MACRO
from medmm.scoring.baselines import NAMES
from medmm.scoring.scores import SUMMARY, FindingRow

_HEADS = {"most_frequent": "most frequent", "nearest_image": "nearest image", "swapped_image": "swapped image"}
_MISSING = "–"


def summary_table(metrics: Mapping[str, Any]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows of the main metrics beside their intervals and baselines.

    Args:
        metrics: The content of ``metrics.json``.
    """
    card, shown = metrics["card"], [name for name in NAMES if name in metrics["baselines"]]
    counts = card["counts"]
    title = f"{card['split']}: {counts['studies']} studies of {counts['patients']} patients"
    rows = [
        (
            name,
            number(metrics["test"].get(name)),
            interval(metrics["ci95"].get(name)),
            *(number(metrics["baselines"][baseline].get(name)) for baseline in shown),
        )
        for name in SUMMARY
    ]
    return title, ("metric", "model", "95% interval", *(_HEADS[name] for name in shown)), rows


def finding_table(
    metrics: Mapping[str, Any], findings: Sequence[FindingRow]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of how each finding fared; those that are not averaged stand at the end."""
    rows: list[tuple[str, ...]] = [
        (
            row.name if row.averaged else f"{row.name} (too few to average)",
            str(row.positives),
            str(row.drafted),
            number(row.precision),
            number(row.recall),
            number(row.f1),
            interval(metrics["ci95"].get(f"clinical_f1/{row.name}")),
        )
        for row in sorted(findings, key=lambda row: (not row.averaged, -row.f1, row.name))
    ]
    return ("finding", "positives", "drafted", "precision", "recall", "F1", "95% interval"), rows


def markdown(
    metrics: Mapping[str, Any], findings: Sequence[FindingRow], warnings: Sequence[str], picture: str | None
) -> str:
    """``metrics.md``: warnings first, then the tables, then what the numbers rest on."""
    title, columns, rows = summary_table(metrics)
    parts = [f"# Evaluation on {title}"]
    if warnings:
        parts.append("\n".join(f"- **Mind:** {sentence}" for sentence in warnings))
    parts.append(_table(columns, rows))
    parts.append(_reading(metrics))
    if findings:
        parts.append("## Findings")
        parts.append(_table(*finding_table(metrics, findings)))
    if picture:
        parts.append(f"![F1 of each finding, model and baselines]({picture})")
    parts.append("## What the numbers rest on")
    parts.append("\n".join(f"- {line}" for line in _basis(metrics["card"])))
    return "\n\n".join(parts) + "\n"


def card_section(metrics: Mapping[str, Any], warnings: Sequence[str], day: str) -> tuple[str, str]:
    """Title and text of the figures as a model card holds them.

    Args:
        metrics: The content of ``metrics.json``.
        warnings: Sentences that a reader of the numbers should know.
        day: Date of the evaluation, as ``2026-01-31``.

    Returns:
        The title is the same for every evaluation of one split of the same data.
    """
    card = metrics["card"]
    title, columns, rows = summary_table(metrics)
    same = card["data_as_trained"] and card["split_as_trained"]
    whose = "" if same else f" of other data `{card['data_hash'][:8]}`, split `{card['split_hash'][:8]}`"
    basis = (
        f"{title}; {day}, data hash `{card['data_hash'][:16]}`, split hash `{card['split_hash'][:16]}`, weights"
        f" `{str(card['run'].get('weights_sha256'))[:16]}`. `metrics.md` of the evaluation explains the columns."
    )
    mind = "\n".join(f"- **Mind:** {sentence}" for sentence in warnings)
    text = "\n\n".join(part for part in (basis, _table(columns, rows), mind) if part)
    return f"Split `{card['split']}`{whose}", text


def number(value: float | None) -> str:
    """Three decimals, a dash for what there is not."""
    return _MISSING if value is None else f"{value:.3f}"


def interval(bounds: Sequence[float] | None) -> str:
    """Both bounds with three decimals, a dash for what there is not."""
    return _MISSING if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows))


def _reading(metrics: Mapping[str, Any]) -> str:
    lines = [
        "BLEU, ROUGE-L and clinical F1 lie in [0, 1], CIDEr-D in [0, 10]; more is better. Intervals resample patients.",
        "*Most frequent* is one training report for everyone, *nearest image* the report of the most similar training"
        " image, *swapped image* the model given another study's images: what it scores there, it owes to knowing how"
        " reports sound.",
    ]
    gain = metrics["card"]["against_swapped"].get(MACRO)
    if gain is not None:
        lines.append(f"Looking at the right image is worth {gain:+.3f} clinical macro-F1.")
    return "\n".join(lines)


def _basis(card: Mapping[str, Any]) -> list[str]:
    drafts = card["drafts"]
    cut = card["targets_cut"]
    otherwise = ", the whole text where there are no sections" if card["whole_text"] else ""
    lines = [
        f"Truth of the findings: {card['truth']}; drafts are read by labeler version {card['labeler_version']}.",
        f"Target: {' and '.join(card['sections'])}{otherwise}.",
        f"Words are cut by the `{card['tokenizer']}` tokenizer.",
        f"Different drafts: {drafts['distinct']}, the most frequent one in {drafts['identical_share']:.1%} of the"
        f" studies (references: {drafts['identical_share_references']:.1%}); {drafts['words']:.1f} words on average"
        f" (references: {drafts['words_references']:.1f}).",
        f"Averages take in findings with at least {card['min_positives']} positives.",
        f"Seed {card['seed']}, {card['bootstrap']} resamples, medmm {card['medmm']}.",
        f"Data {card['data_hash'][:12]}, split {card['split_hash'][:12]}.",
    ]
    if cut is not None:
        lines.insert(3, f"{cut} of {card['counts']['studies']} references are longer than the model can write.")
    return lines
