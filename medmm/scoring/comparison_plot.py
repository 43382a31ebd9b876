"""Differences as a picture: this run against another one, or against its baselines, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medmm.io import atomic
from medmm.scoring.baselines import NAMES
from medmm.scoring.scores import LESS_IS_BETTER, summary_names

_LOOKS = {
    "against": ("the other run", "#004466", "o"),
    "nearest_image": ("nearest training image's report", "#D55E00", "D"),
    "most_frequent": ("most frequent training report", "#000000", "s"),
    "swapped_image": ("model, another study's image", "#882255", "^"),
}
_ROW = 0.42  # inches
_UNBOUNDED = frozenset(("cider_d", "hallucinated_per_report", "omitted_per_report"))
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
    names = [name for name in summary_names(metrics["test"]) if name not in _UNBOUNDED]
    names = [name for name in names if any("ci95" in found.get(name, {}) for found in series.values())]
    if not names:
        return False
    from matplotlib import figure as figures
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figures.Figure(figsize=(8.0, 1.6 + _ROW * len(names)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shifts = [0.26 * (place - (len(series) - 1) / 2) for place in range(len(series))]
    for shift, (key, found) in zip(shifts, series.items(), strict=True):
        words, colour, shape = _LOOKS[key]
        shown = [(row, found[name], name) for row, name in enumerate(names) if "ci95" in found.get(name, {})]
        signs = [-1.0 if name in LESS_IS_BETTER else 1.0 for _, _, name in shown]
        values = [sign * entry["difference"] for sign, (_, entry, _) in zip(signs, shown, strict=True)]
        bounds = [sorted(sign * one for one in entry["ci95"]) for sign, (_, entry, _) in zip(signs, shown, strict=True)]
        reach = [
            [max(0.0, value - low) for value, (low, _) in zip(values, bounds, strict=True)],
            [max(0.0, high - value) for value, (_, high) in zip(values, bounds, strict=True)],
        ]
        rows = [row + shift for row, _, _ in shown]
        axes.errorbar(values, rows, xerr=reach, fmt=shape, color=colour, label=words, markersize=5, capsize=2.5)
    axes.axvline(0.0, color="#555555", linewidth=1.0, zorder=0)
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("this run minus the other, with 95% interval; right of zero this run is better")
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return True


def _series(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    if "against" in metrics:
        return {"against": metrics["against"]["metrics"]}
    return {name: metrics["differences"][name] for name in NAMES if name in metrics["differences"]}


def _label(name: str) -> str:
    return name.replace("_", " ") + (" (turned round)" if name in LESS_IS_BETTER else "")
