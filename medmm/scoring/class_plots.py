"""Pictures of a classifier's evaluation. They hold names of classes and numbers, nothing of a patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medmm.scoring.reliability import Sureness
from medmm.scoring.sureness_plots import draw_sureness, save_figure

Floats = npt.NDArray[np.float64]
_GREY = "#999999"
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
    save_figure(figure, out / "roc.png")
    return ["roc.png", *draw_sureness(out, found, "probability", "present", "calls")]


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
