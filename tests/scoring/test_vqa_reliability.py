"""Figures of confidences against what was right: by hand, and on resamples as on the same questions repeated."""

import numpy as np
import pytest

from medmm.metrics.calibration import risk_coverage
from medmm.scoring.vqa_reliability import AnswerReliability
from medmm.scoring.vqa_samples import GivenAnswer, QuestionSample


def test_figures_by_hand():
    confidence = np.array([0.95, 0.85, 0.65, 0.62])
    found = AnswerReliability(confidence, np.array([True, True, False, True]), np.array([False, False, False, True]))
    scores = {name: float(values[0]) for name, values in found.scores().items()}
    assert scores == {
        "accuracy": 0.75,
        "ece": pytest.approx((0.05 + 0.15 + abs(1.27 - 1)) / 4),
        "aurc": pytest.approx((0 + 0 + (0 + 1 / 3) / 2 + (1 / 3 + 1 / 4) / 2) / 4),
        "declined_share": 0.25,
        "wrong_share": pytest.approx(1 / 3),
    }
    assert np.isnan(AnswerReliability(confidence, confidence > 0, confidence > 0).scores()["wrong_share"])


def test_a_question_that_counts_twice_is_as_good_as_two():
    rng = np.random.default_rng(0)
    confidence, right = rng.integers(0, 8, 40) / 8, rng.random(40) < 0.6
    declined = confidence < 0.3
    counts = rng.integers(0, 3, (5, 40)).astype(float)
    drawn = AnswerReliability(confidence, right, declined).scores(counts)
    for row, weights in enumerate(counts.astype(int)):
        places = np.repeat(np.arange(40), weights)
        alone = AnswerReliability(confidence, right, declined).of_some(places)
        for name, values in alone.scores().items():
            assert drawn[name][row] == pytest.approx(values[0]), name
        assert drawn["aurc"][row] == pytest.approx(risk_coverage(confidence[places], ~right[places]).area)
        assert drawn["ece"][row] == pytest.approx(
            sum(abs(p - y) * n for p, y, n in alone.sureness().bins) / len(places)
        )


def test_answers_of_a_model_that_does_not_say_how_sure_it_is_have_none():
    samples = [QuestionSample("s", "p", None, "Is it?", "Yes"), QuestionSample("s", "p", None, "Where?", "left")]
    given = [GivenAnswer("yes.", 0.9), GivenAnswer("right", 0.4, True)]
    found = AnswerReliability.of(samples, given)
    assert (found.right.tolist(), found.declined.tolist()) == ([True, False], [False, True])
    assert AnswerReliability.of(samples, [given[0], GivenAnswer("left")]) is None
