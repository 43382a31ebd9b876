"""Calls, thresholds, sets and declines of a classifier, fitted on one half of a world and held against the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import f1_score

from medmm.models.decisions import Decisions
from medmm.models.familiarity import Familiarity, mean_token
from medmm.tasks.settling import settle_labels, settle_single, threshold_of


def world(studies, seed, classes=2):
    rng = np.random.default_rng(seed)
    true = rng.normal(-1, 2.5, (studies, classes))
    return true * 2, (rng.random((studies, classes)) < expit(true)).astype(float)


@pytest.fixture(scope="module")
def decisions():
    found = Decisions(2)
    logits, truth = world(800, 0)
    settle_labels(found, logits, truth, np.ones_like(truth, bool), "f1", 0.9)
    return found


def test_before_anything_is_fitted_a_call_is_a_probability_above_a_half():
    calls = Decisions(2)(torch.tensor([[0.1, -0.1]]))
    assert calls.present_bc.tolist() == [[True, False]]
    assert not calls.declined_bc.any()
    assert calls.may_be_present_bc.all()
    assert calls.may_be_absent_bc.all()


def test_what_was_fitted_holds_on_studies_that_were_not_seen(decisions):
    logits, truth = world(4000, 1)
    calls = decisions(torch.from_numpy(logits))
    p = calls.probabilities_bc.numpy()
    assert float(decisions.temperature) == pytest.approx(2, rel=0.15)
    assert abs(p.mean() - truth.mean()) < 0.02
    assert calls.may_be_present_bc.numpy()[truth > 0].mean() == pytest.approx(0.9, abs=0.03)
    assert calls.may_be_absent_bc.numpy()[truth == 0].mean() == pytest.approx(0.9, abs=0.03)
    best = max(f1_score(truth[:, 0], p[:, 0] >= one) for one in np.linspace(0.05, 0.95, 91))
    assert f1_score(truth[:, 0], calls.present_bc[:, 0].numpy()) > best - 0.02


@pytest.mark.parametrize("most", [0.05, 0.1])
def test_of_the_calls_that_are_made_no_more_are_wrong_than_was_asked(decisions, most):
    logits, truth = world(4000, 2)
    calls = decisions(torch.from_numpy(logits), most_wrong=most)
    made = ~calls.declined_bc.numpy()
    wrong = (calls.present_bc.numpy() != (truth > 0))[made].mean()
    assert made.mean() > 0.2
    assert wrong <= most
    assert ((calls.present_bc.numpy() != (truth > 0)).mean()) > 0.1  # without declining it would be more


def test_a_promise_between_two_hundredths_is_the_stricter_one(decisions):
    assert decisions.least_sure(0.055) == decisions.least_sure(0.05)
    assert decisions.least_sure(0.004) == float("inf")
    assert decisions.least_sure(0.0) == 0.0


def test_a_single_label_is_scaled_by_temperature_alone():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, (1500, 3))
    only = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in true])
    found = Decisions(3)
    settle_single(found, true * 3, only, 0.9)
    assert float(found.temperature) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("rule", ["f1", "youden", "half"])
def test_a_class_without_positives_keeps_one_half(rule):
    assert threshold_of(np.array([0.1, 0.2]), np.array([False, False]), rule) == 0.5


def test_youden_lies_where_sensitivity_plus_specificity_is_best():
    rng = np.random.default_rng(0)
    truth = np.arange(4000) % 10 == 0
    p = np.clip(rng.normal(0.05 + 0.4 * truth, 0.1), 0, 1)
    assert threshold_of(p, truth, "youden") == pytest.approx(0.25, abs=0.04)


def test_a_study_unlike_the_others_is_strange_and_one_like_them_is_not():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(16, 16))
    like = rng.normal(size=(600, 16)) @ mixing
    found = Familiarity(16)
    assert not found.is_stranger(found(torch.zeros(3, 16))).any()
    found.fit(like[:300], 0.98)
    share = found.is_stranger(found(torch.tensor(like[300:], dtype=torch.float32))).float().mean()
    assert float(share) < 0.08
    assert bool(found.is_stranger(found(torch.tensor(10 * like[:1], dtype=torch.float32))).all())


def test_absent_views_do_not_enter_the_mean():
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    assert mean_token(tokens, torch.tensor([[True, True, False]])).tolist() == [[2.0, 3.0]]
