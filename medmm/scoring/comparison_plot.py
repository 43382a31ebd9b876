"""Differences as a picture: this run against another one, or against its baselines, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medmm.io import atomic
from medmm.scoring.baselines import NAMES
from medmm.scoring.figures import is_better_small
from medmm.scoring.scores import summary_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {
    "against": ("this run minus the other run", "#004466", "o"),
    "nearest_image": ("minus nearest training image's report", "#D55E00", "D"),
    "most_frequent": ("minus most frequent training report", "#000000", "s"),
    "swapped_image": ("minus itself on another study's image", "#882255", "^"),
}
_WORDS = {
    **{f"bleu_{order}": f"BLEU-{order}" for order in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "chrf": "chrF",
    "bertscore_f1": "BERTScore F1",
    "prior_reference_rate": "speaks of priors",
}
_ROW = 0.42  # inches
_SHIFT = 0.26  # of a row, between two marks in it
_UNBOUNDED = frozenset(
    ("cider_d", "hallucinated_per_report", "omitted_per_report", "hd95_mm", "hd95_px", "volume_error_ml")
)
"""Metrics that are no shares: drawn on the axis of the shares they would hide the others, so they are left out."""


def comparison_picture(metrics: Mapping[str, Any], path: Path) -> bool:
    """Draw the differences of the main metrics with their 95% intervals as a PNG.

    Against another run where there is one, else against the baselines. Right of zero this run is better.

    Args:
        metrics: The content of ``metrics.json``.
        path: PNG to write.

    Returns:
        Whether there was anything to draw.

    Raises:
        ResourceError: The disk is full.
    """
    series = _series(metrics)
    main = metrics["against"]["main"] if "against" in metrics else summary_names(metrics["test"])
    names = [name for name in main if name not in _UNBOUNDED]
    names = [name for name in names if any("ci95" in found.get(name, {}) for found in series.values())]
    if not names:
        return False
    from matplotlib import figure as figures
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figures.Figure(figsize=(8.0, 1.6 + _ROW * len(names)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, (key, found) in enumerate(series.items()):
        _draw(axes, found, names, key, _SHIFT * (place - (len(series) - 1) / 2))
    _dress(axes, names)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return True


def _draw(axes: Axes, found: Mapping[str, Any], names: Sequence[str], key: str, shift: float) -> None:
    words, colour, shape = _LOOKS[key]
    rows, values, reach = [], [], []
    for row, name in enumerate(names):
        entry = found.get(name, {})
        if "ci95" in entry:
            sign = -1.0 if is_better_small(name) else 1.0
            value, (low, high) = sign * entry["difference"], sorted(sign * bound for bound in entry["ci95"])
            rows.append(row + shift)
            values.append(value)
            reach.append([max(0.0, value - low), max(0.0, high - value)])
    spread = np.array(reach, np.float64).reshape(-1, 2).T
    axes.errorbar(values, rows, xerr=spread, fmt=shape, color=colour, label=words, markersize=5, capsize=2.5)


def _dress(axes: Axes, names: Sequence[str]) -> None:
    axes.axvline(0.0, color="#555555", linewidth=1.0, zorder=0)
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("difference with 95% interval; right of zero this run is better")
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _series(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if "against" in metrics:
        return {"against": metrics["against"]["metrics"]}
    beside = metrics.get("differences", {})
    return {name: beside[name] for name in NAMES if name in beside}


def _label(name: str) -> str:
    words = _WORDS.get(name, name.replace("_", " ").replace(" f1 ", " F1 "))
    return f"{words} (sign turned)" if is_better_small(name) else words
