"""Probabilities that mean what they say, sets that hold the truth, and a promise about errors that is kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from medmm.metrics.calibration import calibrate, conformal_sets, least_confidence, risk_coverage


def world(studies, seed, classes=3):
    """True logits and truths drawn from them."""
    rng = np.random.default_rng(seed)
    true = rng.normal(-1, 2, (studies, classes))
    return true, (rng.random((studies, classes)) < expit(true)).astype(float)


def test_too_sure_and_shifted_logits_come_back():
    true, truth = world(4000, 0)
    shift = np.array([1.0, 0.0, -2.0])
    found = calibrate(3 * (true - shift), truth, np.ones_like(truth, bool))
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.offset_c == pytest.approx(shift, abs=0.15)
    assert np.abs(found.probabilities(3 * (true - shift)) - expit(true)).mean() < 0.02


def test_of_one_class_it_is_logistic_regression_with_the_same_prior():
    true, truth = world(300, 1, classes=1)
    found = calibrate(true * 2 + 1, truth, np.ones_like(truth, bool))
    peer = LogisticRegression(C=np.inf).fit(true * 2 + 1, truth[:, 0])
    assert 1 / found.temperature == pytest.approx(peer.coef_[0, 0], rel=0.03)
    assert found.offset_c[0] == pytest.approx(peer.intercept_[0], abs=0.05)


def test_what_is_not_known_does_not_count():
    true, truth = world(300, 2)
    known = np.random.default_rng(0).random(truth.shape) < 0.7
    spoiled = np.where(known, truth, 1 - truth)
    one, other = calibrate(true, truth, known), calibrate(true, spoiled, known)
    assert one.temperature == other.temperature
    assert one.offset_c.tolist() == other.offset_c.tolist()


def test_sets_hold_the_truth_as_often_as_promised_for_either_truth():
    held = {0: [], 1: []}
    for seed in range(60):
        true, truth = world(200, seed)
        fresh, answer = world(400, 1000 + seed)
        sets = conformal_sets(expit(true), truth, np.ones_like(truth, bool), 0.9)
        present, absent = sets.holds(expit(fresh))
        held[1].append(present[answer > 0].mean())
        held[0].append(absent[answer == 0].mean())
    for shares in held.values():
        assert 0.9 <= np.mean(shares) < 0.93


def test_too_few_examples_rule_nothing_out():
    sets = conformal_sets(np.array([[0.9], [0.1]]), np.array([[1.0], [0.0]]), np.ones((2, 1), bool), 0.9)
    present, absent = sets.holds(np.array([[0.0], [1.0]]))
    assert present.all()
    assert absent.all()


def test_the_curve_by_hand():
    curve = risk_coverage(np.array([0.9, 0.5, 0.9, 0.7]), np.array([False, True, True, False]))
    assert curve.confidence.tolist() == [0.9, 0.7, 0.5]
    assert curve.coverage.tolist() == [0.5, 0.75, 1.0]
    assert curve.risk.tolist() == [0.5, 1 / 3, 0.5]


@pytest.mark.parametrize("most", [0.05, 0.1])
def test_the_promise_is_broken_in_at_most_one_of_twenty_worlds(most):
    broken = called = 0
    worlds = 300
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        confidence = rng.random((2, 500))
        wrong = rng.random((2, 500)) < 0.4 * (1 - confidence) ** 2
        least = least_confidence(risk_coverage(confidence[0], wrong[0]), most)
        true_risk = 0.4 * (1 - least) ** 2 / 3  # of all confidences above: the mean of 0.4 (1 - c)^2 over [least, 1]
        broken += np.isfinite(least) and true_risk > most
        called += np.isfinite(least)
    assert called > worlds / 3  # 500 calls cannot always promise so little
    assert broken / worlds <= 0.05


def test_nothing_is_promised_where_even_the_surest_are_wrong_or_too_few():
    assert least_confidence(risk_coverage(np.linspace(0, 1, 400), np.ones(400, bool)), 0.1) == float("inf")
    assert least_confidence(risk_coverage(np.linspace(0, 1, 10), np.zeros(10, bool)), 0.05) == float("inf")
    assert least_confidence(risk_coverage(np.linspace(0, 1, 400), np.zeros(400, bool)), 0.05) == 0
