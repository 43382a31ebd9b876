"""How far a classifier's probabilities and calls can be relied on, and for whom.

Shape legend: N studies, C classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.config.schema import Config
from medmm.metrics import bootstrap
from medmm.metrics.calibration import RiskCoverage, risk_coverage
from medmm.metrics.classification import BINS, ClassificationScores
from medmm.scoring.class_samples import ClassSample

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LEAST = 20
"""Studies of a subgroup worth a row."""
_GROUP_FIGURES = ("auroc_macro", "sensitivity_macro", "specificity_macro", "ece")
_POINTS = 200
"""Of a curve that is written down."""


@dataclass(frozen=True)
class Sureness:
    """Calibration and calls of all pairs of study and class whose truth is known.

    Attributes:
        bins: Of each bin that holds pairs: mean probability, share present, number.
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

    def as_dict(self) -> dict[str, Any]:
        """As ``metrics.json`` holds it."""
        places = np.unique(np.linspace(0, len(self.curve.risk) - 1, _POINTS).astype(np.intp))
        return {
            "bins": [{"probability": p, "present": y, "pairs": number} for p, y, number in self.bins],
            "risk_coverage": [
                {"coverage": float(self.curve.coverage[place]), "risk": float(self.curve.risk[place])}
                for place in places
            ],
        }


def sureness(probabilities: Floats, called: Bools, declined: Bools, truth: Floats, known: Bools) -> Sureness:
    """Measure it; all arguments are ``[N, C]``."""
    p, y, says, silent = probabilities[known], truth[known] > 0, called[known], declined[known]
    places = np.minimum((p * BINS).astype(np.intp), BINS - 1)
    bins = []
    for place in range(BINS):
        here = places == place
        if here.any():
            bins.append((float(p[here].mean()), float(y[here].mean()), int(here.sum())))
    says = np.where(silent, p > 0.5, says)  # noqa: PLR2004 - what it would have said
    wrong = says != y
    curve = risk_coverage(np.where(says, p, 1 - p), wrong)
    made = ~silent
    return Sureness(tuple(bins), curve, float(silent.mean()), float(wrong[made].mean()) if made.any() else 0.0)


def subgroups(  # noqa: PLR0913, PLR0917
    samples: Sequence[ClassSample], probabilities: Floats, called: Bools, truth: Floats, known: Bools,
    names: Sequence[str], config: Config,
) -> dict[str, dict[str, dict[str, Any]]]:  # fmt: skip
    """Figures of patients of one sex, age band, view or device, each with its interval; of groups that are not tiny."""
    places: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, sample in enumerate(samples):
        for name, value in sample.groups.items():
            places[name][value].append(place)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, groups in places.items():
        for value, rows in sorted(groups.items()):
            if len(rows) < _LEAST or len(groups) == 1:
                continue
            own = np.array(rows)
            least = max(1, config.evaluate.min_positives // 2)
            scorer = ClassificationScores(probabilities[own], called[own], truth[own], known[own], names, least)
            patients = [samples[place].patient_key for place in rows]
            found.setdefault(name, {})[value] = _of_group(scorer, patients, config)
    return found


def _of_group(scorer: ClassificationScores, patients: Sequence[str], config: Config) -> dict[str, Any]:
    figures = scorer.scores()
    drawn = {}
    if config.evaluate.bootstrap:
        drawn = bootstrap.replicates(scorer.scores, patients, min(200, config.evaluate.bootstrap), config.seed)
    said: dict[str, Any] = {"studies": len(patients), "patients": len(set(patients))}
    for name in _GROUP_FIGURES:
        if name in figures:
            entry: dict[str, Any] = {"value": float(figures[name][0])}
            kept = drawn[name][np.isfinite(drawn[name])] if name in drawn else np.empty(0)
            if len(kept):
                entry["ci95"] = list(bootstrap.percentiles(kept))
            said[name] = entry
    return said
