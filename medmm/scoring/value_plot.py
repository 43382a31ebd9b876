"""Predicted over true, as a picture. It holds names of targets and numbers, nothing of a patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.io import atomic

Floats = npt.NDArray[np.float64]
PICTURE = "scatter.png"
_BLUE, _GREY = "#0072B2", "#999999"
_SHOWN, _ACROSS = 12, 3
"""Targets with a panel of their own, and panels side by side."""


def draw(out: Path, truth: Floats, value: Floats, low: Floats, high: Floats, names: Sequence[str]) -> str:
    """Write ``scatter.png`` and give its name.

    Args:
        out: The folder.
        truth: ``[N, T]``, NaN where it is not known.
        value: ``[N, T]`` what is said.
        low: ``[N, T]`` where intervals begin, infinite where there is none.
        high: ``[N, T]`` where they end.
        names: The T targets.

    Raises:
        ResourceError: The disk is full.
    """
    from matplotlib.figure import Figure

    shown = names[:_SHOWN]
    across = min(_ACROSS, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(4.6 * across, 4.4 * down), dpi=120, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for column, name in enumerate(shown):
        use = np.isfinite(truth[:, column])
        _panel(panels[column], name, truth[use, column], *(one[use, column] for one in (value, low, high)))
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    with atomic.replacing(out / PICTURE) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return PICTURE


def _panel(axes: Any, name: str, truth: Floats, value: Floats, low: Floats, high: Floats) -> None:
    bounds = np.array([truth.min(), truth.max(), value.min(), value.max()]) if len(truth) else np.array([0.0, 1.0])
    edge = 0.05 * (np.ptp(bounds) or 1.0)
    ends = (bounds.min() - edge, bounds.max() + edge)
    if len(truth) and np.isfinite(high).all():
        half = float(np.mean(high - low)) / 2
        diagonal = np.array(ends)
        axes.fill_between(diagonal, diagonal - half, diagonal + half, color=_GREY, alpha=0.2, linewidth=0)
    axes.plot(ends, ends, color=_GREY, linestyle=":")
    axes.scatter(truth, value, s=12, color=_BLUE, alpha=0.6, linewidths=0)
    error = float(np.abs(value - truth).mean()) if len(truth) else float("nan")
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="true", ylabel="predicted")
    axes.set_title(f"{name}: {len(truth)} studies, mean absolute error {error:.4g}", fontsize=9)
    axes.grid(alpha=0.3)
