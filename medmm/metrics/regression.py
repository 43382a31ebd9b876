"""Figures of numbers against the truth, of each target and on average, on any resample of studies; and how far off.

Shape legend: N studies, T targets, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

AVERAGED = ("r2", "pearson")
"""Figures without a unit: their mean over the targets is ``NAME_macro``."""


class RegressionScores:
    """Scores several targets at once.

    Args:
        value_nt: ``[N, T]`` what is said.
        truth_nt: ``[N, T]``, NaN where it is not known; such pairs count nowhere.
        names: The T targets.
        low_nt, high_nt: ``[N, T]`` intervals, infinite where there is none; None: nothing is said of intervals.
    """

    def __init__(
        self,
        value_nt: Floats,
        truth_nt: Floats,
        names: Sequence[str],
        low_nt: Floats | None = None,
        high_nt: Floats | None = None,
    ) -> None:
        self.names = tuple(names)
        self._value, self._truth = np.asarray(value_nt, np.float64), np.asarray(truth_nt, np.float64)
        self._low, self._high = low_nt, high_nt
        self.known = np.isfinite(self._truth).sum(0)

    def scores(self, counts_rn: Floats | None = None) -> Mapping[str, Floats]:
        """Every figure, ``[R]``, NaN where a resample has no study or no spread.

        Args:
            counts_rn: ``[R, N]`` how often each study counts; None: each once, in one row.

        Returns:
            For each target that has a truth ``mae``, ``rmse``, ``r2`` (1 less the squared error over that of the mean
            of the resample's truths), ``pearson`` and, where intervals are finite, ``coverage`` (share that holds the
            truth) and ``interval_width``, each as ``FIGURE/TARGET``; of several targets ``r2_macro`` and
            ``pearson_macro``.
        """
        counts = np.ones((1, len(self._value))) if counts_rn is None else np.asarray(counts_rn, np.float64)
        found: dict[str, Floats] = {}
        for column, name in enumerate(self.names):
            if self.known[column]:
                found |= {f"{figure}/{name}": values for figure, values in self._of_target(column, counts).items()}
        for figure in AVERAGED if len(self.names) > 1 else ():
            kept = [found[f"{figure}/{name}"] for name, known in zip(self.names, self.known, strict=True) if known]
            if kept:
                found[f"{figure}_macro"] = np.mean(kept, axis=0)
        return found

    def _of_target(self, column: int, counts: Floats) -> dict[str, Floats]:
        use = np.isfinite(self._truth[:, column])
        y, p, weights = self._truth[use, column], self._value[use, column], counts[:, use]
        middle = y.mean()  # sums of squares of what lies around zero keep their digits
        y, p = y - middle, p - middle
        error = np.abs(p - y)
        with np.errstate(divide="ignore", invalid="ignore"):
            total = weights.sum(1)
            mean_y, mean_p = weights @ y / total, weights @ p / total
            spread_y, spread_p = _spread(weights, y, mean_y), _spread(weights, p, mean_p)
            squared = weights @ error**2 / total
            shared = weights @ (y * p) / total - mean_y * mean_p
            found = {
                "mae": weights @ error / total,
                "rmse": np.sqrt(squared),
                "r2": 1 - squared / spread_y,
                "pearson": np.clip(shared / np.sqrt(spread_y * spread_p), -1, 1),
            }
            if self._low is not None and self._high is not None:
                low, high, truth = self._low[use, column], self._high[use, column], self._truth[use, column]
                if np.isfinite(high - low).all():
                    found["coverage"] = weights @ ((low <= truth) & (truth <= high)) / total
                    found["interval_width"] = weights @ (high - low) / total
        return found


def _spread(weights: Floats, values: Floats, mean: Floats) -> Floats:
    """Variance of each resample; NaN where all is the same, up to rounding."""
    squares = weights @ values**2 / weights.sum(1)
    spread = squares - mean**2
    return np.where(spread > 1e-12 * squares, spread, np.nan)


def conformal_margin(residuals: Floats, coverage: float) -> float:
    """Half the width of a split conformal interval (Vovk et al. 2005; Lei et al. 2018).

    Args:
        residuals: ``[N]`` absolute errors of studies that were not trained on.
        coverage: In (0, 1): probability that a further study of the kind errs no more.

    Returns:
        The residual of rank ``ceil((N + 1) * coverage)``; infinity where there are fewer.
    """
    rank = int(np.ceil((len(residuals) + 1) * coverage - 1e-9))  # 20 * 0.55 is 11
    return float("inf") if rank > len(residuals) else float(np.sort(residuals)[rank - 1])
