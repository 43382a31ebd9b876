"""How sure it is that two sets of predictions of the same samples score differently.

Three views of one question, all by patient: a paired bootstrap gives the interval of the difference and its p-value;
a permutation test asks how often swapping the two predictions of whole patients by chance alone gives a difference as
large; McNemar's test looks at samples that only one of the two gets right.

Sources: Efron and Tibshirani, 1993; Noreen, Computer Intensive Methods for Testing Hypotheses, 1989, chapter 2
(approximate randomization); McNemar, Psychometrika 1947, exact form; Holm, Scand. J. Statistics 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from medmm.metrics import bootstrap
from medmm.scoring.figures import Bools, Figures, Floats, Outcomes, finite

_CHUNK_CELLS = 4_000_000  # bounds a chunk of weights to 32 MB
_TINY = 1e-12  # differences that rounding alone tells apart are equal


def differences(own: Figures, other: Figures) -> dict[str, dict[str, Any]]:
    """Each figure of ``own`` minus that of ``other``, with a paired bootstrap where both were resampled.

    Args:
        own: Figures of one set of predictions.
        other: Those of another set of predictions of the same samples, resampled with the same seed.

    Returns:
        Figure to ``difference``, and where both were resampled ``ci95`` and ``p`` (two-sided), over the resamples that
        have the figure; without them where too many have not.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in own.values.items():
        if name not in other.values:
            continue
        found[name] = {"difference": value - other.values[name]}
        if name in own.replicates and name in other.replicates:
            resampled = finite(own.replicates[name] - other.replicates[name])
            if resampled is not None:
                resampled = np.where(np.abs(resampled) < _TINY, 0.0, resampled)
                found[name] |= {
                    "ci95": list(bootstrap.percentiles(resampled)),
                    "p": bootstrap.two_sided_p(resampled),
                }
    return found


def permuted(own: Outcomes, other: Outcomes, patients: Sequence[str], rounds: int, seed: int) -> dict[str, float]:
    """Two-sided p-values of a permutation test that swaps the two predictions of whole patients.

    Args:
        own: What came of one set of predictions.
        other: Of another set of predictions of the same samples.
        patients: Each sample's patient.
        rounds: Number of random swaps.
        seed: Seed of the swaps.

    Returns:
        Figure to p-value, at least ``1 / (rounds + 1)``, and with n patients about ``2 ** (1 - n)``. A swap that leaves
        a side without the figure counts against a difference.
    """
    both, number = own.beside(other), len(patients)
    first = np.concatenate([np.ones((1, number)), np.zeros((1, number))], axis=1)
    mine, theirs = both.scores(first), both.scores(1.0 - first)
    gaps = {name: abs(float(mine[name][0] - theirs[name][0])) for name in mine}
    observed = {name: gap for name, gap in gaps.items() if np.isfinite(gap)}
    reached = dict.fromkeys(observed, 0)
    for weights in _swaps(patients, rounds, seed):
        one, two = both.scores(weights), both.scores(1.0 - weights)
        for name, gap in observed.items():
            reached[name] += int((~(np.abs(one[name] - two[name]) < gap - _TINY)).sum())
    return {name: (count + 1) / (rounds + 1) for name, count in reached.items()}


def mcnemar(own: Outcomes, other: Outcomes) -> dict[str, dict[str, Any]]:
    """Exact McNemar tests of what each set of predictions gets right.

    Samples count as independent; with several of one patient, the permutation test is the one to read.

    Returns:
        Figure to ``only_this``, ``only_other`` (samples that one of the two alone gets right) and ``p``.
    """
    mine, theirs = own.correct(), other.correct()
    return {name: _mcnemar(right, theirs[name]) for name, right in mine.items()}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for being many (Holm): each is at least as large as before, at most 1."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = largest
    return adjusted


def _swaps(patients: Sequence[str], rounds: int, seed: int) -> Iterator[Floats]:
    """Weights ``[chunk, 2n]``: 1 for the prediction that counts as this run's, the other half its complement."""
    patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1].reshape(-1)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // (2 * len(patients)))
    for done in range(0, rounds, chunk):
        kept = generator.integers(0, 2, size=(min(chunk, rounds - done), int(patient.max()) + 1))[:, patient]
        yield np.concatenate([kept, 1 - kept], axis=1).astype(np.float64)


def _mcnemar(own: Bools, other: Bools) -> dict[str, Any]:
    from scipy.stats import binomtest

    this, that = int((own & ~other).sum()), int((other & ~own).sum())
    p = float(binomtest(this, this + that).pvalue) if this + that else 1.0
    return {"only_this": this, "only_other": that, "p": p}
