"""How far probabilities, and what is called by them, can be relied on, and for whom.

Shape legend: N studies, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.metrics.calibration import RiskCoverage, risk_coverage
from medmm.metrics.classification import BINS, ClassificationScores
from medmm.scoring.class_samples import ClassSample
from medmm.scoring.subgroups import Subgroups, by_subgroup

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

GROUP_FIGURES = ("auroc_macro", "sensitivity_macro", "specificity_macro", "ece")
_POINTS = 200
"""Of a curve that is written down."""


@dataclass(frozen=True)
class Sureness:
    """Calibration and calls of items whose truth is known: pairs of study and class, or answers.

    Attributes:
        bins: Of each bin that holds items: mean probability, share of which it is so, number.
        curve: Share of wrong calls among the surest.
        declined: Share of the calls that the model declined.
        wrong: Share of wrong calls among the others.
    """

    bins: tuple[tuple[float, float, int], ...]
    curve: RiskCoverage
    declined: float
    wrong: float

    def figures(self) -> dict[str, float]:
        """As metrics."""
        return {"aurc": self.curve.area, "declined_share": self.declined, "wrong_share": self.wrong}

    def as_dict(self, of: str = "present", counted: str = "pairs") -> dict[str, Any]:
        """As ``metrics.json`` holds it; ``of`` names what the share in a bin is of, ``counted`` the items."""
        places = np.unique(np.linspace(0, len(self.curve.risk) - 1, _POINTS).astype(np.intp))
        return {
            "bins": [{"probability": p, of: y, counted: number} for p, y, number in self.bins],
            "risk_coverage": [
                {"coverage": float(self.curve.coverage[place]), "risk": float(self.curve.risk[place])}
                for place in places
            ],
        }


def measured(p_m: Floats, happened_m: Bools, confidence_m: Floats, wrong_m: Bools, declined_m: Bools) -> Sureness:
    """Measure it on M items, ``[M]`` each.

    Args:
        p_m: Probability of something.
        happened_m: Whether it was so.
        confidence_m: Probability that what is said is right.
        wrong_m: Whether it is wrong; of what is declined, what would have been said.
        declined_m: Whether nothing is said.
    """
    places = np.minimum((p_m * BINS).astype(np.intp), BINS - 1)
    bins = []
    for place in range(BINS):
        here = places == place
        if here.any():
            bins.append((float(p_m[here].mean()), float(happened_m[here].mean()), int(here.sum())))
    made = ~declined_m
    wrong = float(wrong_m[made].mean()) if made.any() else 0.0
    return Sureness(tuple(bins), risk_coverage(confidence_m, wrong_m), float(declined_m.mean()), wrong)


def sureness(probabilities: Floats, called: Bools, declined: Bools, truth: Floats, known: Bools) -> Sureness:
    """Measure it on pairs of study and class; all arguments are ``[N, C]``."""
    p, y, says, silent = probabilities[known], truth[known] > 0, called[known], declined[known]
    says = np.where(silent, p > 0.5, says)  # noqa: PLR2004 - what it would have said
    return measured(p, y, np.where(says, p, 1 - p), says != y, silent)


def subgroups(  # noqa: PLR0913, PLR0917
    samples: Sequence[ClassSample], probabilities: Floats, called: Bools, truth: Floats, known: Bools,
    names: Sequence[str], config: Config,
) -> Subgroups:  # fmt: skip
    """Figures of each subgroup of studies, as :func:`medmm.scoring.subgroups.by_subgroup`."""
    least = max(1, config.evaluate.min_positives // 2)

    def measure(own: npt.NDArray[np.intp]) -> ClassificationScores:
        return ClassificationScores(probabilities[own], called[own], truth[own], known[own], names, least)

    return by_subgroup(samples, measure, GROUP_FIGURES, config)
