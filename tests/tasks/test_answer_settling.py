"""Confidences of answers, and what validation can promise where a study has several questions."""

import numpy as np
import pytest
import torch
from scipy.stats import beta, f_oneway

from medmm.metrics.calibration import least_confidence, risk_coverage
from medmm.models.decisions import PROMISED, Decisions
from medmm.tasks.answer_settling import effective, settle_answers, within_studies
from medmm.tasks.asking import why_declined


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def drawn(rng, studies, questions=20):
    """Answers of which those on one study are right or wrong together, though each is right as often as it says."""
    study = np.repeat(np.arange(studies), questions)
    odds = rng.normal(3, 2, studies)[study] + rng.normal(0, 0.3, len(study))
    return odds, rng.random(len(study)) < 0.3, rng.random(studies)[study] < sigmoid(odds), [f"s{k}" for k in study]


def confidence(decisions, odds, written):
    called, wrote = decisions.probabilities(torch.from_numpy(np.stack([odds, odds], axis=1))).numpy().T
    return np.where(written, wrote, called)


def test_temperature_and_offsets_are_those_that_the_answers_were_drawn_with():
    rng = np.random.default_rng(0)
    odds, written = rng.normal(1, 3, 20_000), rng.random(20_000) < 0.4
    right = rng.random(20_000) < sigmoid(odds / 2 + np.where(written, -1.0, 0.5))
    decisions = Decisions(2)
    settle_answers(decisions, odds, written, right, [f"s{k}" for k in range(20_000)])
    assert float(decisions.temperature) == pytest.approx(2.0, abs=0.1)
    assert decisions.offset.tolist() == pytest.approx([0.5, -1.0], abs=0.1)


def test_answers_of_studies_with_one_question_count_in_full():
    confidence_n = np.array([0.9, 0.8, 0.8, 0.4])
    curve = risk_coverage(confidence_n, np.array([False, True, False, True]))
    found = effective(curve, confidence_n, np.array([False, True, False, True]), ["a", "b", "c", "d"])
    assert (found.calls.tolist(), found.wrong.tolist()) == ([1, 3, 4], [0, 1, 2])


def test_a_study_counts_once_where_its_answers_are_wrong_together():
    studies = ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    sure, wrong = np.linspace(0.9, 0.5, 9), np.array([False] * 6 + [True] * 3)
    sure[:] = 0.7  # so that confidence explains nothing
    found = effective(risk_coverage(sure, wrong), sure, wrong, studies)
    assert (found.calls.tolist(), found.wrong.tolist()) == ([3], [1])
    none_wrong = effective(risk_coverage(sure, ~wrong & wrong), sure, ~wrong & wrong, studies)
    assert (none_wrong.calls.tolist(), none_wrong.wrong.tolist()) == ([3], [0])


def test_likeness_within_studies_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (30, 5)) + rng.normal(0, 0.8, (30, 1))
    ratio = f_oneway(*values).statistic
    names = [f"s{k}" for k in np.repeat(np.arange(30), 5)]
    assert within_studies(values.ravel(), names) == pytest.approx((ratio - 1) / (ratio + 4))
    assert within_studies(values[:, 0], [f"s{k}" for k in range(30)]) == 0.0
    assert within_studies(np.zeros(6), ["a", "a", "b", "b", "c", "c"]) == 1.0
    assert within_studies(rng.normal(size=4), ["a"] * 4) == 1.0


def test_a_promise_is_kept_where_answers_of_a_study_are_wrong_together():
    rng, most = np.random.default_rng(2), 0.1
    odds, written, right, _ = drawn(rng, 4000)
    place = int(np.argmin(np.abs(PROMISED - most)))
    broken, naive, kept, runs = 0, 0, 0.0, 60
    for _ in range(runs):
        decisions = Decisions(2)
        seen = drawn(rng, 150)
        settle_answers(decisions, *seen)
        sure = confidence(decisions, odds, written)
        made = sure >= float(decisions.promise[place])
        kept += made.mean() / runs
        broken += made.any() and (~right[made]).mean() > most
        own = confidence(decisions, *seen[:2])
        made = sure >= least_confidence(risk_coverage(own, ~seen[2]), most)
        naive += made.any() and (~right[made]).mean() > most
    assert broken <= 0.05 * runs
    assert naive > 0.05 * runs  # counting questions as if each were a study of its own breaks it
    assert kept > 0.3


@pytest.mark.parametrize(("number", "promised"), [(20, False), (300, True)])
def test_too_few_questions_promise_nothing(number, promised):
    decisions = Decisions(2)
    settle_answers(
        decisions, np.full(number, 3.0), np.zeros(number, bool), np.ones(number, bool), [f"s{k}" for k in range(number)]
    )
    assert (decisions.least_sure(0.05) < 1) is promised
    assert bool(beta.ppf(1 - 0.05 / 20, 1, number) <= 0.05) is promised  # Clopper and Pearson's bound without an error
    sure = confidence(decisions, np.array([3.0]), np.array([False]))[0]
    assert sure == pytest.approx((number + 1) / (number + 2), abs=0.01)
    reason = why_declined(float(sure), decisions.least_sure(0.05), 0.05)
    assert reason is None if promised else "too few questions" in reason
    assert why_declined(0.1, decisions.least_sure(0.0), 0.0) is None
    assert "too unsure for reliability.most_wrong=0.1" in why_declined(0.4, 0.7, 0.1)
