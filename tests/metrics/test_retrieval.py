"""Retrieval against loops and against permutations that are drawn."""

import numpy as np
import pytest

from medmm.metrics.retrieval import hits_at, permuted_recall, same_sets


@pytest.mark.parametrize("k", [1, 3, 50])
def test_hits_are_those_of_a_loop(k):
    generator = np.random.default_rng(0)
    likeness, right = generator.integers(0, 4, (12, 9)).astype(float), generator.random((12, 9)) < 0.2
    found = hits_at(likeness, right, k)
    for query in range(12):
        order = sorted(range(9), key=lambda one: (-likeness[query, one], one))  # of equals the earlier first
        assert found[query] == any(right[query, one] for one in order[:k])


@pytest.mark.parametrize("k", [1, 4, 20])
def test_the_mean_over_permutations_is_what_drawing_them_finds(k):
    generator = np.random.default_rng(1)
    right = generator.random((6, 10)) < np.array([0, 0.1, 0.2, 0.5, 0.8, 1])[:, None]
    drawn = [right[:, generator.permutation(10)][:, :k].any(1).mean() for _ in range(4000)]
    assert permuted_recall(right, k) == pytest.approx(np.mean(drawn), abs=0.01)


def test_studies_are_the_same_that_show_the_same():
    left, right, none = frozenset({"nodule left"}), frozenset({"nodule right"}), frozenset()
    sets = [left, none, right, left, none]
    assert same_sets(sets).tolist() == [[one == other for other in sets] for one in sets]
