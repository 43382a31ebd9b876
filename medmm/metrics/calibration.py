"""From logits to probabilities that mean what they say, to sets that hold the truth, and to when to say nothing.

Everything is fitted on validation studies and held against test studies.

Shape legend: N studies, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_PRIOR = 1.0
"""Weight of the squared offsets: a class with a handful of positives keeps the shared calibration."""
_STEPS = 20
"""Shares of calls made that are looked at for a promise."""


@dataclass(frozen=True)
class Calibration:
    """Logits are divided by ``temperature`` and then moved by ``offset_c`` before the sigmoid.

    Attributes:
        temperature: Above 1 where the model was too sure.
        offset_c: ``[C]``; what a weighted loss did to the odds of each class.
    """

    temperature: float
    offset_c: Floats

    def probabilities(self, logits_nc: Floats) -> Floats:
        """``[N, C]`` in [0, 1]."""
        from scipy.special import expit

        found: Floats = expit(logits_nc / self.temperature + self.offset_c)
        return found


def calibrate(logits_nc: Floats, truth_nc: Floats, known_nc: Bools) -> Calibration:
    """Fit one temperature (Guo et al. 2017) and an offset a class by maximum likelihood, offsets drawn to zero.

    Args:
        logits_nc: ``[N, C]``.
        truth_nc: ``[N, C]`` in [0, 1].
        known_nc: ``[N, C]`` False where the truth is not known.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    classes = logits_nc.shape[1]
    if not known_nc.any():
        return Calibration(1.0, np.zeros(classes))
    z, y, w = logits_nc, truth_nc, known_nc.astype(np.float64)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, offset = np.exp(-parameters[0]), parameters[1:]
        margin = z * slope + offset
        residual = (expit(margin) - y) * w
        value = ((np.logaddexp(0, margin) - y * margin) * w).sum() + _PRIOR / 2 * (offset**2).sum()
        gradient = np.concatenate([[-(residual * z).sum() * slope], residual.sum(0) + _PRIOR * offset])
        return float(value), gradient

    bounds = [(-3.0, 3.0)] + [(None, None)] * classes
    found = minimize(loss, np.zeros(classes + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(float(np.exp(found.x[0])), np.asarray(found.x[1:], np.float64))


@dataclass(frozen=True)
class ConformalSets:
    """Which answers cannot be ruled out; each class and answer has its own bound.

    Attributes:
        present_c: ``[C]`` least probability at which present is in the set.
        absent_c: ``[C]`` greatest probability at which absent is in the set.
        coverage: Share of the truly present, and of the truly absent, whose set holds the truth.
    """

    present_c: Floats
    absent_c: Floats
    coverage: float

    def holds(self, probabilities_nc: Floats) -> tuple[Bools, Bools]:
        """Whether present, and whether absent, is in the set, ``[N, C]`` each."""
        return probabilities_nc >= self.present_c, probabilities_nc <= self.absent_c


def conformal_sets(probabilities_nc: Floats, truth_nc: Floats, known_nc: Bools, coverage: float) -> ConformalSets:
    """Label-conditional split conformal sets (Vovk 2012; Sadinle et al. 2019): coverage holds for either truth.

    Args:
        probabilities_nc: ``[N, C]`` of validation studies.
        truth_nc: ``[N, C]``.
        known_nc: ``[N, C]``.
        coverage: In (0, 1).
    """
    classes = probabilities_nc.shape[1]
    present, absent = np.zeros(classes), np.ones(classes)
    for column in range(classes):
        use = known_nc[:, column]
        p, y = probabilities_nc[use, column], truth_nc[use, column] > 0
        present[column] = 1 - _quantile(1 - p[y], coverage)
        absent[column] = _quantile(p[~y], coverage)
    return ConformalSets(present, absent, coverage)


def _quantile(scores: Floats, coverage: float) -> float:
    """The score that a further one of the same kind stays below with that probability; 1 where too few are known."""
    rank = int(np.ceil((len(scores) + 1) * coverage))
    return 1.0 if rank > len(scores) else float(np.sort(scores)[rank - 1])


@dataclass(frozen=True)
class RiskCoverage:
    """Share of wrong calls among the surest ones, from the surest down.

    Attributes:
        confidence: ``[K]`` least confidence that is still called, falling.
        coverage: ``[K]`` share of all calls that are made.
        risk: ``[K]`` share of them that are wrong.
        calls, wrong: ``[K]`` their numbers.
    """

    confidence: Floats
    coverage: Floats
    risk: Floats
    calls: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.int64]

    @property
    def area(self) -> float:
        """Area under the curve (Geifman and El-Yaniv 2017): the mean risk over all coverages."""
        return float(np.trapezoid(self.risk, self.coverage) + self.risk[0] * self.coverage[0])


def risk_coverage(confidence: Floats, wrong: Bools) -> RiskCoverage:
    """The curve of calls, ``[M]`` each; calls of equal confidence are made together."""
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=-np.inf) != 0)
    calls = ends + 1
    errors = np.cumsum(wrong[order])[ends].astype(np.int64)
    return RiskCoverage(confidence[order][ends], calls / len(order), errors / calls, calls.astype(np.int64), errors)


def least_confidence(curve: RiskCoverage, most_wrong: float, level: float = 0.95) -> float:
    """Confidence from which on calls are made so that at most so many are wrong.

    Of twenty shares of calls made, the largest is taken whose upper bound on the error (Clopper and Pearson 1934) stays
    within; the bound's doubt is shared out among the twenty (Bonferroni), so that the choice does not spoil it.

    Args:
        curve: Of validation studies.
        most_wrong: Share of wrong calls, in (0, 1).
        level: Confidence of the promise.

    Returns:
        In [0, 1]; infinity where even the surest calls cannot promise it.
    """
    from scipy.stats import beta

    places = np.unique(np.searchsorted(curve.coverage, np.arange(1, _STEPS + 1) / _STEPS - 1e-9))
    calls, wrong = curve.calls[places], curve.wrong[places]
    upper = np.ones(len(places))
    some = wrong < calls
    upper[some] = beta.ppf(1 - (1 - level) / _STEPS, wrong[some] + 1, calls[some] - wrong[some])
    within = np.flatnonzero(upper <= most_wrong)
    return float(curve.confidence[places[within[-1]]]) if len(within) else float("inf")
