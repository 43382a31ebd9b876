"""An evaluation of numbers as tables: for a terminal and as ``metrics.md``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medmm.metrics.regression import AVERAGED
from medmm.scoring.baselines import NAMES
from medmm.scoring.markdown import Table, interval, number, table
from medmm.scoring.run_card import line_on_hashes, line_on_seeds, line_on_split, lines_on_programs

_OF_TARGET = ("mae", "rmse", "r2", "pearson")
_LESS_IS_BETTER = frozenset(("mae", "rmse"))
_HEADS = {"most_frequent": "training median", "nearest_image": "nearest image", "swapped_image": "swapped image"}


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """The figures of each target beside their intervals and baselines."""
    card, shown = metrics["card"], [name for name in NAMES if name in metrics["baselines"]]
    counts = card["counts"]
    title = f"{card['split']}: {counts['studies']} studies of {counts['patients']} patients"
    names = [f"{figure}/{target}" for target in card["targets"] for figure in _OF_TARGET]
    names += [f"{figure}_macro" for figure in AVERAGED]
    rows = [
        (
            f"{name} ↓" if name.partition("/")[0] in _LESS_IS_BETTER else name,
            number(metrics["test"][name]),
            interval(metrics["ci95"].get(name)),
            *(number(metrics["baselines"][baseline].get(name)) for baseline in shown),
        )
        for name in names
        if name in metrics["test"]
    ]
    return title, ("metric", "model", "95% interval", *(_HEADS[name] for name in shown)), rows


def interval_table(metrics: Mapping[str, Any]) -> Table:
    """How far the intervals of each target hold the truth, and how wide they are."""
    card, test = metrics["card"], metrics["test"]
    rows: list[tuple[str, ...]] = [
        (
            name,
            str(card["counts"]["known"][name]),
            number(card["coverage"]),
            number(test.get(f"coverage/{name}")),
            interval(metrics["ci95"].get(f"coverage/{name}")),
            number(test.get(f"interval_width/{name}")),
        )
        for name in card["targets"]
    ]
    return "Intervals", ("target", "studies", "coverage wanted", "measured", "95% interval", "width"), rows


def markdown(metrics: Mapping[str, Any], picture: str) -> str:
    """``metrics.md``; ``picture`` is the scatter plot's file name."""
    title, columns, rows = summary_table(metrics)
    card = metrics["card"]
    parts = [f"# Evaluation on {title}"]
    if card["warnings"]:
        parts.append("\n".join(f"- **Mind:** {sentence}" for sentence in card["warnings"]))
    parts += [table(columns, rows), _READING]
    head, names, lines = interval_table(metrics)
    parts += [f"## {head}", table(names, lines), f"![Predicted over true]({picture})"]
    parts += ["## What the numbers rest on", "\n".join(f"- {line}" for line in _basis(card))]
    return "\n\n".join(parts) + "\n"


_READING = (
    "More is better, but where an arrow points down. `mae` and `rmse` are in the unit of the data. *Training median*"
    " says the same of everyone, *nearest image* the number of the most similar training image, *swapped image* is the"
    " model given another study's images. Intervals of figures resample patients."
)


def _basis(card: Mapping[str, Any]) -> list[str]:
    counts = card["counts"]
    truths = "; ".join(
        f"{name}: column `{said['column']}`, mean {said['mean']:.4g} and deviation {said['deviation']:.4g} in training"
        for name, said in card["targets"].items()
    )
    return [
        line_on_split(card, f"{counts['studies']} studies of {counts['patients']} patients, {counts['images']} images"),
        line_on_hashes(card),
        f"Truth: {truths}.",
        line_on_seeds(card),
        *lines_on_programs(card),
    ]
