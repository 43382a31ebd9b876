"""Retrieval: how often a right study stands among the first that a query finds.

Shape legend: Q queries, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def hits_at(likeness_qc: Floats, right_qc: npt.NDArray[np.bool_], k: int) -> npt.NDArray[np.bool_]:
    """Whether a right candidate is among the ``k`` most alike; of equals the earlier counts first.

    Args:
        likeness_qc: ``[Q, C]``, more is nearer.
        right_qc: ``[Q, C]`` which candidates are right for a query.
        k: At least 1.

    Returns:
        ``[Q]`` bool.
    """
    first = np.argsort(-likeness_qc, axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(right_qc, first, axis=1).any(1))


def permuted_recall(right_qc: npt.NDArray[np.bool_], k: int) -> float:
    """Mean share of hits over all permutations of the candidates: what a search that knows nothing finds.

    Of C candidates with r right ones, k that are drawn miss all with probability C(C - r, k) / C(C, k)
    (hypergeometric).
    """
    candidates = right_qc.shape[1]
    k = min(k, candidates)
    right = right_qc.sum(1)
    steps = np.arange(k)
    missed = np.clip((candidates - right[:, None] - steps) / (candidates - steps), 0, None).prod(1)
    return float((1 - missed).mean())


def same_sets(sets: Sequence[frozenset[str]]) -> npt.NDArray[np.bool_]:
    """``[N, N]`` whether two studies show the same."""
    places = {one: place for place, one in enumerate(dict.fromkeys(sets))}
    codes = np.array([places[one] for one in sets])
    return np.asarray(codes[:, None] == codes[None])
