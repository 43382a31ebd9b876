"""Pictures of a classifier's evaluation. They hold names of classes and numbers, nothing of a patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medmm.io import atomic
from medmm.scoring.reliability import Sureness

Floats = npt.NDArray[np.float64]
_BLUE, _GREY = "#0072B2", "#999999"
_SHOWN = 12
"""Classes with a curve of their own; more cannot be told apart."""


def draw(  # noqa: PLR0913, PLR0917
    out: Path, probabilities: Floats, truth: Floats, known: npt.NDArray[np.bool_], names: Sequence[str],
    found: Sureness,
) -> list[str]:  # fmt: skip
    """Write ``roc.png``, ``reliability.png`` and ``risk_coverage.png``; those of an earlier evaluation go.

    Raises:
        ResourceError: The disk is full.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    _roc(axes, probabilities, truth, known, names)
    _save(figure, out / "roc.png")
    figure = Figure(figsize=(5, 5), dpi=120, layout="constrained")
    _reliability(figure, found)
    _save(figure, out / "reliability.png")
    figure = Figure(figsize=(5.4, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(100 * found.curve.coverage, 100 * found.curve.risk, color=_BLUE)
    axes.set(xlabel="calls made, the surest first (%)", ylabel="wrong among them (%)", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    _save(figure, out / "risk_coverage.png")
    return ["roc.png", "reliability.png", "risk_coverage.png"]


def _roc(axes: object, p: Floats, truth: Floats, known: npt.NDArray[np.bool_], names: Sequence[str]) -> None:
    from matplotlib import colormaps
    from sklearn.metrics import roc_auc_score, roc_curve

    there = [(truth[known[:, column], column], p[known[:, column], column], name) for column, name in enumerate(names)]
    usable = [(y, q, name) for y, q, name in there if 0 < y.sum() < len(y)]
    usable.sort(key=lambda one: -roc_auc_score(one[0], one[1]))
    for place, (y, q, name) in enumerate(usable[:_SHOWN]):
        false, true, _ = roc_curve(y, q)
        label = f"{name.replace('_', ' ')} {roc_auc_score(y, q):.3f}"
        axes.plot(false, true, label=label, color=colormaps["tab20"](place), linewidth=1.3)  # type: ignore[attr-defined]
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":")  # type: ignore[attr-defined]
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1))  # type: ignore[attr-defined]
    axes.legend(fontsize=7, loc="lower right", title="AUROC", title_fontsize=7)  # type: ignore[attr-defined]


def _reliability(figure: object, found: Sureness) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))  # type: ignore[attr-defined]
    p, y, number = (np.array(column) for column in zip(*found.bins, strict=True))
    upper.plot([0, 1], [0, 1], color=_GREY, linestyle=":")
    upper.plot(p, y, marker="o", color=_BLUE)
    upper.set(ylabel="share present", xlim=(0, 1), ylim=(0, 1))
    lower.bar(p, number, width=0.06, color=_BLUE)
    lower.set(xlabel="probability", ylabel="pairs", yscale="log")


def _save(figure: object, path: Path) -> None:
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})  # type: ignore[attr-defined]
