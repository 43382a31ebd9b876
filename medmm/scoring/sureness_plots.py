"""Pictures of how far confidences can be relied on. They hold numbers, nothing of a patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medmm.io import atomic
from medmm.scoring.reliability import Sureness

RELIABILITY, RISK_COVERAGE = "reliability.png", "risk_coverage.png"
_FEW = 10  # points that are marked
_BLUE, _GREY = "#0072B2", "#999999"


def draw_sureness(out: Path, found: Sureness, said: str, of: str, counted: str) -> list[str]:
    """Write ``reliability.png`` and ``risk_coverage.png``; those of an earlier evaluation go.

    Args:
        out: The folder.
        found: What is drawn.
        said: What a model gives of each item: a probability, a confidence.
        of: What the share in a bin is of: present, right.
        counted: The items: pairs, answers.

    Returns:
        The names of the pictures.

    Raises:
        ResourceError: The disk is full.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=120, layout="constrained")
    _reliability(figure, found, (said, of, counted))
    save_figure(figure, out / RELIABILITY)
    figure = Figure(figsize=(5.4, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    marker = "o" if len(found.curve.risk) <= _FEW else None  # of a single confidence there is no line
    axes.plot(100 * found.curve.coverage, 100 * found.curve.risk, color=_BLUE, marker=marker)
    axes.set(xlabel=f"{counted} kept, the surest first (%)", ylabel="wrong among them (%)", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    save_figure(figure, out / RISK_COVERAGE)
    return [RELIABILITY, RISK_COVERAGE]


def _reliability(figure: Any, found: Sureness, words: tuple[str, str, str]) -> None:
    said, of, counted = words
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    p, y, number = (np.array(column) for column in zip(*found.bins, strict=True))
    upper.plot([0, 1], [0, 1], color=_GREY, linestyle=":")
    upper.plot(p, y, marker="o", color=_BLUE)
    upper.set(ylabel=f"share {of}", xlim=(0, 1), ylim=(0, 1))
    lower.bar(p, number, width=0.06, color=_BLUE)
    lower.set(xlabel=said, ylabel=counted, yscale="log")
    lower.set_ylim(bottom=0.5)  # so that a single one is seen


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture, without the name of the program that drew it.

    Raises:
        ResourceError: The disk is full.
    """
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
