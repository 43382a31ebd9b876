"""Figures of classes equal scikit-learn's, on every resample."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, recall_score, roc_auc_score, roc_curve

from medmm.metrics.classification import ClassificationScores

N, NAMES = 90, ("a", "b", "c")


@pytest.fixture(params=[0, 1], ids=["smooth", "ties"])
def case(request):
    """Probabilities, with ties or without, calls, truth and what is known of it."""
    rng = np.random.default_rng(request.param)
    p = rng.random((N, 3))
    truth = (rng.random((N, 3)) < 0.2 + 0.6 * p).astype(float)
    if request.param:
        p = np.round(p, 1)
    return p, p > 0.45, truth, rng.random((N, 3)) < 0.9


def resample(seed, patients=N):
    return np.bincount(np.random.default_rng(seed).integers(0, patients, patients), minlength=patients)


def at_specificity(truth, p, weights, specificity):
    false, true, _ = roc_curve(truth, p, sample_weight=weights, drop_intermediate=False)
    return true[false <= 1 - specificity + 1e-9].max()


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_every_figure_of_a_class_equals_scikit_learns(case, seed):
    p, called, truth, known = case
    counts = np.ones(N) if seed is None else resample(seed)
    found = ClassificationScores(p, called, truth, known, NAMES, specificity=0.8).scores(counts[None].astype(float))
    for column, name in enumerate(NAMES):
        use = known[:, column] & (counts > 0)
        y, q, said, w = truth[use, column], p[use, column], called[use, column], counts[use]
        wanted = {
            "auroc": roc_auc_score(y, q, sample_weight=w),
            "auprc": average_precision_score(y, q, sample_weight=w),
            "f1": f1_score(y, said, sample_weight=w),
            "sensitivity": recall_score(y, said, sample_weight=w),
            "specificity": recall_score(y, said, pos_label=0, sample_weight=w),
            "sensitivity_at_specificity": at_specificity(y, q, w, 0.8),
        }
        assert {figure: found[f"{figure}/{name}"][0] for figure in wanted} == pytest.approx(wanted, abs=1e-12)


def test_the_average_is_over_classes_with_enough_of_either_kind(case):
    p, called, truth, _ = case
    truth = truth.copy()
    truth[:, 2] = 0
    truth[:3, 2] = 1
    scores = ClassificationScores(p, called, truth, np.ones_like(called), NAMES, min_positives=10)
    assert scores.averaged.tolist() == [True, True, False]
    found = scores.scores()
    assert found["auroc_macro"][0] == pytest.approx((found["auroc/a"][0] + found["auroc/b"][0]) / 2)
    assert "auroc/c" in found


def test_calibration_by_hand_and_brier_as_scikit_learn_has_it(case):
    p, called, truth, known = case
    found = ClassificationScores(p, called, truth, known, NAMES).scores()
    q, y = p[known], truth[known]
    bins = np.minimum((q * 10).astype(int), 9)
    error = sum((bins == one).mean() * abs(q[bins == one].mean() - y[bins == one].mean()) for one in set(bins))
    assert found["ece"][0] == pytest.approx(error)
    assert found["brier"][0] == pytest.approx(brier_score_loss(y, q))


def test_a_resample_is_as_if_its_studies_stood_there_so_often(case):
    p, called, truth, known = case
    counts = np.stack([resample(seed) for seed in range(3)])
    together = ClassificationScores(p, called, truth, known, NAMES).scores(counts.astype(float))
    for row, own in enumerate(counts):
        rows = np.repeat(np.arange(N), own)
        alone = ClassificationScores(p[rows], called[rows], truth[rows], known[rows], NAMES).scores()
        assert {name: values[row] for name, values in together.items()} == pytest.approx(
            {name: values[0] for name, values in alone.items()}
        )
