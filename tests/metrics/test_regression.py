"""Figures of numbers equal scikit-learn's and numpy's; intervals hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as peer

from medmm.metrics.regression import RegressionScores, conformal_margin

RNG = np.random.default_rng(0)
TRUTH = np.stack([RNG.normal(60, 15, 40), RNG.normal(1e6, 3, 40)], axis=1)
SAID = TRUTH + RNG.normal(0, 1, TRUTH.shape) * (8, 2)


def test_figures_equal_those_of_scikit_learn_and_numpy():
    truth = TRUTH.copy()
    truth[:7, 0] = np.nan
    found = {name: float(values[0]) for name, values in RegressionScores(SAID, truth, ("age", "far")).scores().items()}
    for column, name in enumerate(("age", "far")):
        y, p = TRUTH[7 * (column == 0) :, column], SAID[7 * (column == 0) :, column]
        assert found[f"mae/{name}"] == pytest.approx(peer.mean_absolute_error(y, p), rel=1e-9)
        assert found[f"rmse/{name}"] == pytest.approx(peer.root_mean_squared_error(y, p), rel=1e-9)
        assert found[f"r2/{name}"] == pytest.approx(peer.r2_score(y, p), rel=1e-9)
        assert found[f"pearson/{name}"] == pytest.approx(np.corrcoef(y, p)[0, 1], rel=1e-9)
    assert found["r2_macro"] == pytest.approx((found["r2/age"] + found["r2/far"]) / 2)
    assert "coverage/age" not in found


def test_a_resample_is_scored_as_if_its_studies_stood_there_so_often():
    counts = RNG.integers(0, 3, (4, 40))
    drawn = RegressionScores(SAID, TRUTH, ("age", "far"), SAID - 8, SAID + 8).scores(counts)
    for row, count in enumerate(counts):
        order = np.repeat(np.arange(40), count)
        own = RegressionScores(SAID[order], TRUTH[order], ("age", "far"), SAID[order] - 8, SAID[order] + 8).scores()
        assert {name: values[row] for name, values in drawn.items()} == pytest.approx(
            {name: values[0] for name, values in own.items()}, rel=1e-7
        )


def test_one_number_for_everyone_has_no_correlation_and_no_intervals_no_coverage():
    said, endless = np.full((40, 1), 60.0), np.full((40, 1), np.inf)
    found = RegressionScores(said, TRUTH[:, :1], ("age",), -endless, endless).scores()
    assert math.isnan(found["pearson/age"][0])
    assert found["r2/age"][0] == pytest.approx(peer.r2_score(TRUTH[:, 0], said[:, 0]))
    assert set(found) == {"mae/age", "rmse/age", "r2/age", "pearson/age"}


def test_coverage_counts_the_truths_that_lie_within_the_ends_included():
    truth, said = np.array([[1.0], [2.0], [3.0], [np.nan]]), np.array([[1.5], [3.0], [3.0], [0.0]])
    found = RegressionScores(said, truth, ("x",), said - 0.5, said + 0.5).scores()
    assert found["coverage/x"][0] == pytest.approx(2 / 3)
    assert found["interval_width/x"][0] == pytest.approx(1.0)


def test_a_margin_is_the_residual_of_its_rank():
    assert conformal_margin(np.arange(1.0, 10.0), 0.9) == 9  # ceil(10 * 0.9)
    assert conformal_margin(np.arange(1.0, 20.0), 0.9) == 18  # ceil(20 * 0.9)
    assert conformal_margin(np.arange(1.0, 20.0), 0.55) == 11  # though 20 * 0.55 is a little more in binary
    assert conformal_margin(np.arange(1.0, 9.0), 0.9) == math.inf
    assert conformal_margin(np.array([]), 0.9) == math.inf


def test_margins_hold_the_truth_of_as_many_further_studies_as_promised():
    rng = np.random.default_rng(1)
    margins = np.array([conformal_margin(np.abs(rng.standard_t(3, 60)), 0.8) for _ in range(2000)])
    held = np.abs(rng.standard_t(3, 2000)) <= margins
    assert held.mean() == pytest.approx(math.ceil(61 * 0.8) / 61, abs=0.03)
