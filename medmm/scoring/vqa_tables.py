"""An evaluation of answers as tables: for a terminal and as ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medmm.metrics.answers import KINDS
from medmm.scoring import comparison_tables
from medmm.scoring.figures import marked
from medmm.scoring.markdown import Table, finer, interval, number, p_value, table
from medmm.scoring.run_card import line_on_hashes, line_on_seeds, line_on_split, lines_on_programs
from medmm.scoring.subgroups import subgroup_table
from medmm.scoring.sureness_plots import RELIABILITY, RISK_COVERAGE

BASELINES = ("no_image", "swapped_image", "most_frequent")
"""In the order in which they are shown."""
_HEADS = {"no_image": "no image", "swapped_image": "swapped image", "most_frequent": "most frequent"}
GROUP_FIGURES = ("accuracy", "ece", "declined_share", "wrong_share")
"""Figures of a subgroup."""
_SUMMARY = (
    "accuracy", "accuracy_closed", "accuracy_open", "token_f1", "bleu_1", "ece", "aurc", "declined_share",
    "wrong_share", *(f"accuracy/{kind}" for kind in KINDS),
)  # fmt: skip
_PICTURES = {
    RELIABILITY: "Share of right answers by confidence",
    RISK_COVERAGE: "Share of wrong answers among the surest",
}


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """The figures beside their intervals and baselines."""
    counts, shown = metrics["card"]["counts"], list(metrics["baselines"])
    title = (
        f"{metrics['card']['split']}: {counts['questions']} questions on {counts['studies']} studies"
        f" of {counts['patients']} patients"
    )
    rows = [
        (
            marked(name),
            str(counts["of"][name]) if name in counts["of"] else "",
            number(metrics["test"][name]),
            interval(metrics["ci95"].get(name)),
            *(number(metrics["baselines"][baseline].get(name)) for baseline in shown),
        )
        for name in _SUMMARY
        if name in metrics["test"]
    ]
    return title, ("metric", "questions", "model", "95% interval", *(_HEADS[name] for name in shown)), rows


def gain_table(metrics: Mapping[str, Any]) -> Table:
    """What the image is worth: the model minus itself without image, paired by patient."""
    gains = metrics["differences"]["no_image"]
    rows: list[tuple[str, ...]] = [
        (name, finer(gains[name]["difference"]), interval(gains[name].get("ci95")), p_value(gains[name].get("p")))
        for name in _SUMMARY
        if name in gains
    ]
    return "What the image is worth", ("metric", "minus no image", "95% interval", "p"), rows


def group_table(metrics: Mapping[str, Any]) -> Table:
    """Figures by subgroup."""
    return subgroup_table(metrics.get("subgroups", {}), GROUP_FIGURES)


def markdown(metrics: Mapping[str, Any], pictures: Sequence[str] = (), drawn: Sequence[str] = ()) -> str:
    """``metrics.md``; ``pictures`` are those of comparisons with other runs, ``drawn`` those of confidences."""
    title, columns, rows = summary_table(metrics)
    card = metrics["card"]
    parts = [f"# Evaluation on {title}"]
    if card["warnings"]:
        parts.append("\n".join(f"- **Mind:** {sentence}" for sentence in card["warnings"]))
    head, names, gains = gain_table(metrics)
    parts += [table(columns, rows), _READING, f"## {head}", table(names, gains)]
    parts += comparison_tables.sections(metrics, pictures)
    head, names, groups = group_table(metrics)
    parts += [f"## {head}", table(names, groups)] if groups else []
    parts += [f"![{_PICTURES[name]}]({name})" for name in drawn]
    parts += ["## What the numbers rest on", "\n".join(f"- {line}" for line in _basis(card))]
    return "\n\n".join(parts) + "\n"


_READING = (
    "An answer is right where it is the reference word for word, but for case, punctuation, articles and numbers"
    " written as words. A question is closed where its answer is yes, no, or one of the words that it offers with *or*."
    " `token_f1` and `bleu_1` are of open questions. *No image* is the same model answering from the question alone,"
    " which it was trained to do too; *swapped image* sees another patient's images; *most frequent* always says what"
    " training says most. `ece` compares confidences with what was right; `aurc` is the mean share of wrong answers"
    " over all shares of answers given, the surest first; `wrong_share` is that of the answers given,"
    " `declined_share` what the model would not answer. Less is better where an arrow points down."
    " Intervals resample patients."
)


def _basis(card: Mapping[str, Any]) -> list[str]:
    counts = card["counts"]
    return [
        line_on_split(
            card,
            f"{counts['questions']} questions on {counts['studies']} studies of {counts['patients']} patients,"
            f" {counts['images']} images",
        ),
        line_on_hashes(card),
        f"In training {card['image_share']:.0%} of the questions were shown with their images.",
        line_on_seeds(
            card,
            f"; answers written `{card['generate']['strategy']}`, at most {card['generate']['max_tokens']} tokens",
        ),
        *lines_on_programs(card),
    ]
