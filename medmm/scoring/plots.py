"""Pictures of an evaluation. They hold names of findings and numbers, nothing of a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medmm.io import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# of Okabe and Ito and of Tol: colours that the common kinds of colour blindness keep apart; the shapes do so in print
_MODEL = "#88CCEE"
_MARKERS = {
    "nearest_image": ("nearest training image's report", "#D55E00", "D", -0.22),
    "most_frequent": ("most frequent training report", "#000000", "|", 0.0),
    "swapped_image": ("model, another study's image", "#882255", "o", 0.22),
}
_ROW = 0.34  # inches


@dataclass(frozen=True, slots=True)
class Bar:
    """F1 of one finding.

    Attributes:
        name: The finding.
        positives: Studies that have it.
        values: ``model`` and baselines to F1 in [0, 1].
        low, high: 95% interval of the model's F1, None where there is none.
        averaged: Whether it counts in the macro average.
    """

    name: str
    positives: int
    values: Mapping[str, float]
    low: float | None = None
    high: float | None = None
    averaged: bool = True


def finding_bars(
    bars: Sequence[Bar], macro: Mapping[str, float], macro_interval: tuple[float, float] | tuple[()], path: Path
) -> None:
    """Draw F1 a finding as a PNG: a bar with its interval for the model, marks for the baselines.

    The finding that is drafted best stands at the top.

    Args:
        bars: One a finding, at least one.
        macro: ``model`` and baselines to macro-F1, drawn as the first row; may be empty.
        macro_interval: 95% interval of the model's macro-F1, empty where there is none.
        path: PNG to write.

    Raises:
        ResourceError: The disk is full.
    """
    from matplotlib import figure as figures
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    ordered = sorted(bars, key=lambda bar: (not bar.averaged, -bar.values.get("model", 0.0), bar.name))
    rows = [Bar("macro average", 0, macro, *macro_interval), *ordered] if macro else ordered
    figure = figures.Figure(figsize=(8.0, 1.5 + _ROW * len(rows)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    label = "model" if all(bar.low is None for bar in rows) else "model, 95% interval"
    values = [bar.values.get("model", 0.0) for bar in rows]
    axes.barh(range(len(rows)), values, height=0.72, color=_MODEL, label=label)
    _intervals(axes, rows)
    _marks(axes, rows)
    _dress(axes, rows)
    _legend(figure, axes, label)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _marks(axes: Axes, rows: Sequence[Bar]) -> None:
    for key, (words, colour, shape, shift) in _MARKERS.items():
        places = [number + shift for number, bar in enumerate(rows) if key in bar.values]
        values = [bar.values[key] for bar in rows if key in bar.values]
        (line,) = axes.plot(values, places, shape, color=colour, label=words, zorder=4, clip_on=False)
        size, edge, rim = (11, 2.0, colour) if shape == "|" else (6, 0.5, "white")
        line.set(markersize=size, markeredgewidth=edge, markeredgecolor=rim)


def _legend(figure: Figure, axes: Axes, first: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda place: labels[place] != first)
    figure.legend(
        [handles[place] for place in order],
        [labels[place] for place in order],
        loc="outside upper center",
        ncols=2,
        frameon=False,
    )


def _dress(axes: Axes, rows: Sequence[Bar]) -> None:
    axes.set_yticks(range(len(rows)), [_label(bar) for bar in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("F1, present against rest (in brackets: studies that have it)")
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _intervals(axes: Axes, rows: Sequence[Bar]) -> None:
    for number, bar in enumerate(rows):
        if bar.low is None or bar.high is None or "model" not in bar.values:
            continue
        value = bar.values["model"]
        reach = [[max(0.0, value - bar.low)], [max(0.0, bar.high - value)]]
        axes.errorbar(value, number, xerr=reach, color="#004466", linewidth=1.4, capsize=3, zorder=3)


def _label(bar: Bar) -> str:
    name = bar.name.replace("_", " ")
    if not bar.positives:
        return name
    return f"{name} ({bar.positives})" if bar.averaged else f"{name} ({bar.positives}, not averaged)"
