"""An evaluation as tables: for a terminal and as ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medmm.metrics.finding_scores import MACRO
from medmm.scoring import comparison_tables
from medmm.scoring.baselines import NAMES
from medmm.scoring.figures import marked
from medmm.scoring.markdown import Table, finer, interval, number, table
from medmm.scoring.run_card import line_on_hashes, line_on_seeds, line_on_split, lines_on_programs
from medmm.scoring.scores import FindingRow, summary_names

_PICTURES = {
    "findings.png": "F1 of each finding, model and baselines",
    "differences.png": "Differences of the main metrics with their intervals",
}
_HEADS = {"most_frequent": "most frequent", "nearest_image": "nearest image", "swapped_image": "swapped image"}


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """Title, columns and rows of the main metrics beside their intervals and baselines.

    Args:
        metrics: The content of ``metrics.json``.
    """
    card, shown = metrics["card"], [name for name in NAMES if name in metrics["baselines"]]
    counts = card["counts"]
    title = f"{card['split']}: {counts['studies']} studies of {counts['patients']} patients"
    rows = [
        (
            marked(name),
            number(metrics["test"].get(name)),
            interval(metrics["ci95"].get(name)),
            *(number(metrics["baselines"][baseline].get(name)) for baseline in shown),
        )
        for name in summary_names(metrics["test"])
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


def difference_table(metrics: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of the model minus each baseline, on the same resamples of patients."""
    found = metrics["differences"]
    shown = [name for name in NAMES if name in found]
    rows: list[tuple[str, ...]] = []
    for name in summary_names(metrics["test"]):
        cells = []
        for baseline in shown:
            entry = found[baseline].get(name, {})
            gap = finer(entry.get("difference"))
            cells.append(f"{gap} ({interval(entry['ci95'])})" if "ci95" in entry else gap)
        rows.append((marked(name), *cells))
    return ("metric", *(f"minus {_HEADS[name]}" for name in shown)), rows


def markdown(
    metrics: Mapping[str, Any], findings: Sequence[FindingRow], warnings: Sequence[str], pictures: Sequence[str]
) -> str:
    """``metrics.md``: warnings first, then the tables, then what the numbers rest on.

    Args:
        metrics: The content of ``metrics.json``.
        findings: How each finding fared.
        warnings: Sentences that a reader of the numbers should know.
        pictures: Names of the pictures beside it.
    """
    title, columns, rows = summary_table(metrics)
    parts = [f"# Evaluation on {title}"]
    if warnings:
        parts.append("\n".join(f"- **Mind:** {sentence}" for sentence in warnings))
    parts.append(table(columns, rows))
    parts.append(_reading(metrics))
    if metrics["differences"]:
        parts.append("## Against what costs no model")
        parts.append(table(*difference_table(metrics)))
    parts.extend(comparison_tables.sections(metrics))
    if findings:
        parts.append("## Findings")
        parts.append(table(*finding_table(metrics, findings)))
    parts.extend(f"![{_PICTURES[name]}]({name})" for name in pictures)
    parts.append("## What the numbers rest on")
    parts.append("\n".join(f"- {line}" for line in _basis(metrics["card"])))
    return "\n\n".join(parts) + "\n"


def card_section(card: Mapping[str, Any], summary: Table, warnings: Sequence[str], day: str) -> tuple[str, str]:
    """Title and text of the figures as a model card holds them.

    Args:
        card: ``card`` of ``metrics.json``.
        summary: The main metrics.
        warnings: Sentences that a reader of the numbers should know.
        day: Date of the evaluation, as ``2026-01-31``.

    Returns:
        The title is the same for every evaluation of one split of the same data.
    """
    title, columns, rows = summary
    same = card["data_as_trained"] and card["split_as_trained"]
    whose = "" if same else f" of other data `{card['data_hash'][:8]}`, split `{card['split_hash'][:8]}`"
    basis = (
        f"{title}; {day}, data hash `{card['data_hash'][:16]}`, split hash `{card['split_hash'][:16]}`, weights"
        f" `{str(card['run'].get('weights_sha256'))[:16]}`. `metrics.md` of the evaluation explains the columns."
    )
    mind = "\n".join(f"- **Mind:** {sentence}" for sentence in warnings)
    text = "\n\n".join(part for part in (basis, table(columns, rows), mind) if part)
    return f"Split `{card['split']}`{whose}", text


def _reading(metrics: Mapping[str, Any]) -> str:
    lines = [
        "CIDEr-D lies in [0, 10], the other scores in [0, 1]; more is better, but where an arrow points down. Findings"
        " made up and left out are counts a report. Intervals resample patients.",
        "*Most frequent* is one training report for everyone, *nearest image* the report of the most similar training"
        " image, *swapped image* the model given another study's images: what it scores there, it owes to knowing how"
        " reports sound.",
    ]
    gain = metrics["card"]["against_swapped"].get(MACRO)
    if gain is not None:
        lines.append(f"Looking at the right image is worth {gain:+.3f} clinical macro-F1.")
    return "\n".join(lines)


def _basis(card: Mapping[str, Any]) -> list[str]:
    drafts, cut, counts = card["drafts"], card["targets_cut"], card["counts"]
    otherwise = ", the whole text where there are no sections" if card["whole_text"] else ""
    priors = "; trained without comparisons with earlier studies" if card["trained_without_priors"] else ""
    words = f", vocabulary `{card['vocabulary_hash']}`" if card["vocabulary_hash"] else ""
    lines = [
        line_on_split(card, f"{counts['studies']} studies of {counts['patients']} patients, {counts['images']} images"),
        line_on_hashes(card),
        f"Truth of the findings: {card['truth']}; drafts are read by labeler `{card['labeler']}` version"
        f" {card['labeler_version']}{words}.",
        f"Uncertain mentions count as {card['uncertain']} for the 14, 5 and all classes, else as not present.",
        f"Target: {' and '.join(card['sections'])}{otherwise}{priors}.",
        f"Words are cut by the `{card['tokenizer']}` tokenizer after cleaning `{card['cleaning']}`.",
        f"Different drafts: {drafts['distinct']} (references: {drafts['distinct_references']}), the most frequent one"
        f" in {drafts['identical_share']:.1%} of the studies (references: {drafts['identical_share_references']:.1%});"
        f" {drafts['words']:.1f} words on average (references: {drafts['words_references']:.1f}).",
        f"Averages take in findings with at least {card['min_positives']} positives.",
        line_on_seeds(
            card,
            f"; drafts written `{card['generate']['strategy']}`, at most {card['generate']['max_tokens']} tokens",
        ),
        *lines_on_programs(card),
    ]
    if cut is not None:
        lines.insert(5, f"{cut} of {counts['studies']} references are longer than the model can write.")
    return lines
