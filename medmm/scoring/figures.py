"""Figures of what was said of a split's samples, with intervals over resampled patients, whatever the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from medmm.metrics import bootstrap

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LESS_IS_BETTER = frozenset((
    "hallucinated_per_report", "omitted_per_report", "prior_reference_rate", "ece", "brier", "aurc", "declined_share",
    "wrong_share", "hd95_mm", "hd95_px", "volume_error_ml",
))  # fmt: skip
"""Figures of any task that are better small; those of one class, ``NAME/CLASS``, too."""
_ENOUGH = 0.9
"""Share of the resamples that must have a figure for it to get an interval: of a rare class, a few lack it."""


class Measure(Protocol):
    """Statistics with a row a sample."""

    def scores(self, weights: Floats | None = None, /) -> Mapping[str, Floats]:
        """Scores of the samples together, ``[]`` or ``[1]``, or ``[resamples]`` for weights ``[resamples, n]``.

        NaN where a resample holds nothing that a score is of.
        """


class Outcomes(Measure, Protocol):
    """What came of one run's predictions of n samples: all that its figures need."""

    def beside(self, other: Self, /) -> Measure:
        """Both runs' outcomes of the same n samples as one of 2n: ``other``'s rows follow.

        Weights ``[resamples, 2n]`` then choose for each sample whose prediction counts.
        """

    def correct(self) -> Mapping[str, Bools]:
        """Figure to whether each sample that it is of is right, ``[n]`` or fewer; empty if none can be."""


@dataclass(frozen=True)
class Figures:
    """All numbers of one set of predictions.

    Attributes:
        values: Figure to value.
        ci95: Figure to (low, high), empty without a bootstrap and of a few patients.
        replicates: Figure to ``[resamples]``, on the same resamples for all predictions of the same samples.
        measures: What the numbers were made of, None where they were not.
    """

    values: dict[str, float]
    ci95: dict[str, tuple[float, float]] = field(default_factory=dict)
    replicates: Mapping[str, Floats] = field(default_factory=dict)
    measures: Outcomes | None = None

    @classmethod
    def of(cls, measures: Outcomes, patients: Sequence[str], resamples: int, seed: int, **more: Any) -> Self:
        """Take every figure, and its interval.

        Args:
            measures: Of the samples.
            patients: Each sample's patient.
            resamples: Of patients; 0 for no intervals.
            seed: Of the resamples.
            more: What a subclass holds besides.
        """
        found = {name: float(np.ravel(values)[0]) for name, values in measures.scores().items()}
        values = {name: value for name, value in found.items() if np.isfinite(value)}
        drawn: Mapping[str, Floats] = {}
        if resamples:
            drawn = bootstrap.replicates(measures.scores, patients, resamples, seed)
        drawn = {name: drawn[name] for name in values if name in drawn}
        kept = {name: finite(resampled) for name, resampled in drawn.items()}
        ci95 = {name: bootstrap.percentiles(some) for name, some in kept.items() if some is not None}
        return cls(values=values, ci95=ci95, replicates=drawn, measures=measures, **more)

    def intervals(self) -> dict[str, list[float]]:
        """``ci95`` as ``metrics.json`` holds it."""
        return {name: list(bounds) for name, bounds in self.ci95.items()}


def finite(resampled: Floats) -> Floats | None:
    """The resamples that have a figure; None where too many lack it."""
    kept = resampled[np.isfinite(resampled)]
    return kept if len(kept) and len(kept) >= _ENOUGH * len(resampled) else None


def marked(name: str) -> str:
    """A figure's name, with an arrow down where less is better."""
    return f"{name} ↓" if is_better_small(name) else name


def is_better_small(name: str) -> bool:
    """Whether less of a figure is better."""
    return name.partition("/")[0] in LESS_IS_BETTER
