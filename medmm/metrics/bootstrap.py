"""Percentile bootstrap intervals that resample patients, not studies: studies of one patient are not independent.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; clusters as in Davison and Hinkley,
1997, section 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from medmm.errors import UsageError

LEAST_PATIENTS = 5
"""Of fewer patients nothing can be said about others: no interval and no p-value."""
_CHUNK_CELLS = 4_000_000  # bounds a chunk of counts to 32 MB


def resample_counts(patients: Sequence[str], resamples: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Draw patients with replacement, as many as there are; give how often each study counts.

    Args:
        patients: Each study's patient.
        resamples: Number of draws.
        seed: Seed of the draws; the same seed gives the same draws.

    Yields:
        ``[chunk, studies]`` counts; the chunks together have ``resamples`` rows.

    Raises:
        UsageError: There is no study, or no resample.
    """
    _require_some(patients, resamples)
    cluster = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1].reshape(-1)
    clusters = int(cluster.max()) + 1
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // max(len(patients), clusters))
    for done in range(0, resamples, chunk):
        rows = min(chunk, resamples - done)
        drawn = generator.integers(0, clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
        counts = np.bincount(drawn.reshape(-1), minlength=rows * clusters).reshape(rows, clusters)
        yield counts[:, cluster].astype(np.float64)


def intervals(
    scores: Callable[[npt.NDArray[np.float64]], Mapping[str, npt.NDArray[np.float64]]],
    patients: Sequence[str],
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of several scores on the same resamples.

    Args:
        scores: Takes counts ``[chunk, studies]`` and gives each score as ``[chunk]``, such as
            ``TextStatistics.scores`` and ``FindingScores.scores``.
        patients: Each study's patient.
        resamples: Number of draws.
        seed: Seed of the draws.
        level: Share of the resamples inside the interval.

    Returns:
        Score name to (low, high); nothing for fewer than :data:`LEAST_PATIENTS` patients.

    Raises:
        UsageError: There is no study, or no resample.
    """
    drawn = replicates(scores, patients, resamples, seed)
    return {name: percentiles(values, level) for name, values in drawn.items()}


def replicates(
    scores: Callable[[npt.NDArray[np.float64]], Mapping[str, npt.NDArray[np.float64]]],
    patients: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, npt.NDArray[np.float64]]:
    """Several scores on the same resamples; of two systems with the same patients and seed, they are pairs.

    Args:
        scores: As in :func:`intervals`.
        patients: Each study's patient.
        resamples: Number of draws.
        seed: Seed of the draws.

    Returns:
        Score name to ``[resamples]``; nothing for fewer than :data:`LEAST_PATIENTS` patients.

    Raises:
        UsageError: There is no study, or no resample.
    """
    _require_some(patients, resamples)
    if not enough(patients):
        return {}
    collected: dict[str, list[npt.NDArray[np.float64]]] = {}
    for counts in resample_counts(patients, resamples, seed):
        for name, values in scores(counts).items():
            collected.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in collected.items()}


def interval(
    score: Callable[[npt.NDArray[np.int64]], float],
    patients: Sequence[str],
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of any score that can be computed from the studies' indices.

    Args:
        score: Takes the indices of the studies drawn, a study as often as it was drawn.
        patients: Each study's patient.
        resamples: Number of draws.
        seed: Seed of the draws.
        level: Share of the resamples inside the interval.

    Raises:
        UsageError: There is no study, or no resample.
    """
    indices = np.arange(len(patients))
    values = [
        score(np.repeat(indices, row.astype(np.int64)))
        for counts in resample_counts(patients, resamples, seed)
        for row in counts
    ]
    return percentiles(np.asarray(values, np.float64), level)


def enough(patients: Sequence[str]) -> bool:
    """Whether studies of these patients, one entry a study, can say anything about other patients."""
    return len(set(patients)) >= LEAST_PATIENTS


def percentiles(values: npt.NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """The interval that holds the middle ``level`` of ``[resamples]`` values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def two_sided_p(differences: npt.NDArray[np.float64]) -> float:
    """Twice the share of resampled differences on the rarer side of zero; those at zero count for both sides.

    Both counts are raised by one, so that it is never 0 (Davison and Hinkley, 1997, section 4.2). Below 0.05 exactly
    where the percentile interval leaves zero out, up to that one.

    Args:
        differences: ``[resamples]`` of one score between two systems on the same resamples.
    """
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(differences) + 1))


def _require_some(patients: Sequence[str], resamples: int) -> None:
    if not len(patients) or resamples < 1:
        raise UsageError(
            "a bootstrap needs studies and resamples", got=f"{len(patients)} studies, {resamples} resamples"
        )
