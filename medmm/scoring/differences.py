"""How sure it is that two sets of drafts of the same studies score differently.

Three views of one question, all by patient: a paired bootstrap gives the interval of the difference and its p-value;
a permutation test asks how often swapping the two drafts of whole patients by chance alone gives a difference as
large; McNemar's test looks at studies that only one of the two gets right.

Sources: Efron and Tibshirani, 1993; Noreen, Computer Intensive Methods for Testing Hypotheses, 1989, chapter 2
(approximate randomization); McNemar, Psychometrika 1947, exact form; Holm, Scand. J. Statistics 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.metrics import bootstrap
from medmm.metrics.finding_errors import FindingErrors
from medmm.metrics.finding_scores import FindingScores
from medmm.scoring.measures import Floats, Measures
from medmm.scoring.scores import PREFIX, Scores

_CHUNK_CELLS = 4_000_000  # bounds a chunk of weights to 32 MB
_TINY = 1e-12  # differences that rounding alone tells apart are equal


def differences(own: Scores, other: Scores) -> dict[str, dict[str, Any]]:
    """Each metric of ``own`` minus that of ``other``, with a paired bootstrap where both were resampled.

    Args:
        own: Scores of one set of drafts.
        other: Those of another set of drafts of the same studies, resampled with the same seed.

    Returns:
        Metric to ``difference``, and where both were resampled ``ci95`` and ``p`` (two-sided).
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in own.values.items():
        if name not in other.values:
            continue
        found[name] = {"difference": value - other.values[name]}
        if name in own.replicates and name in other.replicates:
            resampled = own.replicates[name] - other.replicates[name]
            resampled = np.where(np.abs(resampled) < _TINY, 0.0, resampled)
            found[name] |= {
                "ci95": list(bootstrap.percentiles(resampled)),
                "p": bootstrap.two_sided_p(resampled),
            }
    return found


def permuted(own: Measures, other: Measures, patients: Sequence[str], rounds: int, seed: int) -> dict[str, float]:
    """Two-sided p-values of a permutation test that swaps the two drafts of whole patients.

    Args:
        own: What was measured of one set of drafts.
        other: Of another set of drafts of the same studies.
        patients: Each study's patient.
        rounds: Number of random swaps.
        seed: Seed of the swaps.

    Returns:
        Metric to p-value, at least ``1 / (rounds + 1)``, and with n patients about ``2 ** (1 - n)``.
    """
    both, studies = own.beside(other), len(patients)
    first = np.concatenate([np.ones(studies), np.zeros(studies)])
    mine, theirs = both.scores(first), both.scores(1.0 - first)
    observed = {name: abs(float(mine[name] - theirs[name])) for name in mine}
    reached = dict.fromkeys(observed, 0)
    for weights in _swaps(patients, rounds, seed):
        one, two = both.scores(weights), both.scores(1.0 - weights)
        for name, gap in observed.items():
            reached[name] += int((np.abs(one[name] - two[name]) >= gap - _TINY).sum())
    return {name: (count + 1) / (rounds + 1) for name, count in reached.items()}


def mcnemar(own: Measures, other: Measures) -> dict[str, dict[str, Any]]:
    """Exact McNemar tests of what each draft gets right: all findings of a study, and each finding by itself.

    Studies count as independent; with several studies a patient, the permutation test is the one to read.

    Returns:
        ``exact_match`` and ``clinical_f1/NAME`` to ``only_this``, ``only_other`` (studies that one of the two alone
        gets right) and ``p``.
    """
    right = zip(_right(own), _right(other), strict=True)
    return {name: _mcnemar(one, two) for (name, one), (_, two) in right}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for being many (Holm): each is at least as large as before, at most 1."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = largest
    return adjusted


def _swaps(patients: Sequence[str], rounds: int, seed: int) -> Iterator[Floats]:
    """Weights ``[chunk, 2n]``: 1 for the draft that counts as this run's, the other half its complement."""
    patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1].reshape(-1)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // (2 * len(patients)))
    for done in range(0, rounds, chunk):
        kept = generator.integers(0, 2, size=(min(chunk, rounds - done), int(patient.max()) + 1))[:, patient]
        yield np.concatenate([kept, 1 - kept], axis=1).astype(np.float64)


def _right(measures: Measures) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    for part in measures.parts.values():
        if isinstance(part, FindingErrors):
            yield "exact_match", part.exact > 0
        if isinstance(part, FindingScores) and not part.suffix:
            for column, name in enumerate(part.names):
                yield f"{PREFIX}{name}", part.truth[:, column] == part.drafted[:, column]


def _mcnemar(own: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> dict[str, Any]:
    from scipy.stats import binomtest

    this, that = int((own & ~other).sum()), int((other & ~own).sum())
    p = float(binomtest(this, this + that).pvalue) if this + that else 1.0
    return {"only_this": this, "only_other": that, "p": p}
