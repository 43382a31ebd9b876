"""Figures of probabilities and calls against the truth, of each class and on average, on any resample of studies.

Shape legend: N studies, C classes, R resamples, G groups of equal probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

AVERAGED = ("auroc", "auprc", "f1", "sensitivity", "specificity", "sensitivity_at_specificity")
"""Figures of a class whose mean over the classes is ``NAME_macro``."""
BINS = 10
"""Bins of equal width of the expected calibration error."""


@dataclass(frozen=True)
class _Curve:
    """Weights above every threshold of one class, from the strictest threshold down.

    Attributes:
        hits: ``[R, G]`` weight of the positives at or above the threshold.
        alarms: ``[R, G]`` weight of the negatives there.
        step: ``[R, G]`` positives at this very threshold.
    """

    hits: Floats
    alarms: Floats
    step: Floats


class ClassificationScores:
    """Scores many labels at once.

    Args:
        probabilities_nc: ``[N, C]`` in [0, 1].
        called_nc: ``[N, C]`` bool, what is called present.
        truth_nc: ``[N, C]`` 1 present, 0 absent.
        known_nc: ``[N, C]`` bool, False where the truth is not known; such pairs count nowhere.
        names: The C classes.
        min_positives: Classes with fewer positives, or as few negatives, are left out of the averages.
        specificity: At which ``sensitivity_at_specificity`` is read.
    """

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        probabilities_nc: Floats,
        called_nc: npt.NDArray[np.bool_],
        truth_nc: Floats,
        known_nc: npt.NDArray[np.bool_],
        names: Sequence[str],
        min_positives: int = 10,
        specificity: float = 0.9,
    ) -> None:
        self.names = tuple(names)
        self._p, self._called = np.asarray(probabilities_nc, np.float64), np.asarray(called_nc, bool)
        self._truth, self._known = np.asarray(truth_nc, np.float64) > 0, np.asarray(known_nc, bool)
        self._specificity = specificity
        self.positives = (self._truth & self._known).sum(0)
        self.negatives = (~self._truth & self._known).sum(0)
        self.averaged = (self.positives >= min_positives) & (self.negatives >= min_positives)
        self._order = [_groups(self._p[:, column], self._known[:, column]) for column in range(len(self.names))]

    def scores(self, counts_rn: Floats | None = None) -> Mapping[str, Floats]:
        """Every figure, ``[R]``, NaN where a resample lacks positives or negatives; averages leave such classes out.

        Args:
            counts_rn: ``[R, N]`` how often each study counts; None: each once, in one row.

        Returns:
            ``FIGURE/CLASS`` of each class that has positives and negatives, ``FIGURE_macro`` over those with enough,
            ``ece`` and ``brier`` over all pairs of study and class.
        """
        counts = np.ones((1, len(self._p))) if counts_rn is None else np.asarray(counts_rn, np.float64)
        found: dict[str, Floats] = {}
        for column, name in enumerate(self.names):
            if self.positives[column] and self.negatives[column]:
                for figure, values in self._of_class(column, counts).items():
                    found[f"{figure}/{name}"] = values
        for figure in AVERAGED if self.averaged.any() else ():
            kept = [found[f"{figure}/{name}"] for name, use in zip(self.names, self.averaged, strict=True) if use]
            found[f"{figure}_macro"] = _mean_of_known(np.stack(kept))
        found["ece"], found["brier"] = self._calibration(counts)
        return found

    def _of_class(self, column: int, counts: Floats) -> dict[str, Floats]:
        order, starts = self._order[column]
        truth, called = self._truth[order, column], self._called[order, column]
        weights = counts[:, order]
        positive, negative = weights * truth, weights * ~truth
        step, loss = (np.add.reduceat(part, starts, axis=1) for part in (positive, negative))
        curve = _Curve(step.cumsum(1), loss.cumsum(1), step)
        there, absent = curve.hits[:, -1], curve.alarms[:, -1]
        told, wrong = (positive * called).sum(1), (negative * called).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "auroc": 1 - (step * (curve.alarms - loss / 2)).sum(1) / (there * absent),
                "auprc": (step * np.nan_to_num(curve.hits / (curve.hits + curve.alarms))).sum(1) / there,
                "f1": 2 * told / (there + told + wrong),
                "sensitivity": told / there,
                "specificity": 1 - wrong / absent,
                "sensitivity_at_specificity": self._sensitivity(curve, there, absent),
            }

    def _sensitivity(self, curve: _Curve, there: Floats, absent: Floats) -> Floats:
        """The highest share of positives found at a threshold that keeps the specificity."""
        allowed = curve.alarms <= ((1 - self._specificity) * absent + 1e-9)[:, None]
        best: Floats = np.where(allowed, curve.hits, 0).max(1) / there
        return best

    def _calibration(self, counts: Floats) -> tuple[Floats, Floats]:
        """Expected calibration error (Naeini et al. 2015; equal widths) and Brier score, over all pairs."""
        studies, classes = np.nonzero(self._known)
        p, y = self._p[studies, classes], self._truth[studies, classes].astype(np.float64)
        weights = counts[:, studies]
        bins = np.minimum((p * BINS).astype(np.intp), BINS - 1)
        gap = np.zeros((len(counts), BINS))
        for place in range(BINS):
            here = bins == place
            gap[:, place] = weights[:, here] @ (p[here] - y[here])
        total = weights.sum(1)
        return np.abs(gap).sum(1) / total, weights @ (p - y) ** 2 / total


def _mean_of_known(values_cr: Floats) -> Floats:
    """Mean over the classes that a resample has, ``[R]``; NaN where it has none."""
    known = np.isfinite(values_cr)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values_cr, 0).sum(0) / known.sum(0)
    return mean


def _groups(p: Floats, known: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Known studies from the most probable down, and where a new probability begins among them."""
    order = np.flatnonzero(known)
    order = order[np.argsort(-p[order], kind="stable")]
    starts = np.flatnonzero(np.diff(p[order], prepend=np.inf) != 0)
    return order, starts
