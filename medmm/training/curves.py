"""The course of a run as a picture."""

from __future__ import annotations

from pathlib import Path

from medmm.io.atomic import replacing
from medmm.training.checkpoint import Standing

_SKIPPED = {"step", "lr"}


def draw_curves(standing: Standing, path: Path) -> None:
    """Draw training and validation losses over the steps, total and parts, and the learning rate.

    Args:
        standing: Where the run stands, with its records.
        path: PNG to write.

    Raises:
        ResourceError: The disk is full.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in (standing.train[-1] if standing.train else {}) if name not in _SKIPPED]
    figure = Figure(figsize=(4 * (len(names) + 1), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names) + 1, squeeze=False)[0]
    for panel, name in zip(panels, names, strict=False):
        for records, label in ((standing.train, "training"), (standing.validation, "validation")):
            points = [(record["step"], record[name]) for record in records if name in record]
            if points:
                panel.plot(*zip(*points, strict=True), label=label, lw=1.2, marker="." if label == "validation" else "")
        if standing.best_step:
            panel.axvline(standing.best_step, color="0.7", lw=0.8, ls="--")
        panel.set(title=name, xlabel="step")
        panel.legend(fontsize=7)
    panels[-1].plot([record["step"] for record in standing.train], [record["lr"] for record in standing.train], lw=1.2)
    panels[-1].set(title="learning rate", xlabel="step")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
