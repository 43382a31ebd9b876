"""How far the confidences of answers can be relied on, on any resample of the questions.

Shape legend: N questions, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medmm.metrics.answers import normalised
from medmm.metrics.classification import ClassificationScores
from medmm.scoring.reliability import Sureness, measured
from medmm.scoring.vqa_samples import GivenAnswer, QuestionSample

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
FIGURES = ("ece", "aurc", "declined_share", "wrong_share")


class AnswerReliability:
    """Confidences against what was right.

    Args:
        confidence_n: ``[N]`` in [0, 1].
        right_n: ``[N]``.
        declined_n: ``[N]`` whether the model declines to give the answer.
    """

    def __init__(self, confidence_n: Floats, right_n: Bools, declined_n: Bools) -> None:
        self.confidence, self.right, self.declined = confidence_n, right_n, declined_n
        order = np.argsort(-confidence_n, kind="stable")
        self._order = order
        self._ends = np.flatnonzero(np.diff(confidence_n[order], append=-np.inf) != 0)
        pairs = (confidence_n[:, None], np.ones((len(right_n), 1), bool), right_n[:, None].astype(np.float64))
        self._calibration = ClassificationScores(*pairs, np.ones((len(right_n), 1), bool), ("right",), 1)

    @classmethod
    def of(cls, samples: Sequence[QuestionSample], given: Sequence[GivenAnswer]) -> AnswerReliability | None:
        """Of the answers to questions; None where the model does not say how sure it is."""
        if any(one.confidence is None for one in given):
            return None
        pairs = zip(samples, given, strict=True)
        right = [normalised(said.answer) == normalised(sample.reference) for sample, said in pairs]
        confidence = np.array([one.confidence for one in given], np.float64)
        return cls(confidence, np.array(right), np.array([one.abstained for one in given]))

    def of_some(self, places: npt.NDArray[np.intp]) -> AnswerReliability:
        """Of some of the questions."""
        return AnswerReliability(self.confidence[places], self.right[places], self.declined[places])

    def sureness(self) -> Sureness:
        """The curves, as they are drawn and written down."""
        return measured(self.confidence, self.right, self.confidence, ~self.right, self.declined)

    def scores(self, counts: Floats | None = None, /) -> dict[str, Floats]:
        """Figures on resamples of the questions.

        ``ece`` (ten bins of equal width), ``aurc`` (the mean share of wrong answers over all shares of answers given,
        the surest first; answers of one confidence are given together), ``declined_share``, and ``wrong_share`` of the
        answers that are not declined; also ``accuracy`` of all of them.

        Args:
            counts: ``[R, N]`` how often each question counts; once each if None.

        Returns:
            Name to ``[R]``, in [0, 1]; NaN of ``wrong_share`` where all are declined.
        """
        weights = np.ones((1, len(self.right))) if counts is None else np.asarray(counts, np.float64)
        total, made = weights.sum(1), weights @ ~self.declined
        with np.errstate(invalid="ignore"):
            wrong_share: Floats = (weights @ (~self.declined & ~self.right)) / np.where(made > 0, made, np.nan)
        return {
            "ece": self._calibration.scores(weights)["ece"],
            "aurc": self._area(weights),
            "declined_share": weights @ self.declined / total,
            "wrong_share": wrong_share,
            "accuracy": weights @ self.right / total,
        }

    def _area(self, weights: Floats) -> Floats:
        """Area under risk over coverage (Geifman and El-Yaniv 2017), by trapezia, flat up to the surest answers."""
        given = weights[:, self._order]
        calls = given.cumsum(1)[:, self._ends]
        errors = (given * ~self.right[self._order]).cumsum(1)[:, self._ends]
        risk = errors / np.maximum(calls, 1)
        first = np.argmax(calls > 0, axis=1)  # a resample may lack the surest: its curve is flat up to those it has
        place = np.maximum(np.arange(risk.shape[1]), first[:, None])
        risk = np.take_along_axis(risk, place, axis=1)
        before = np.concatenate([risk[:, :1], risk[:, :-1]], axis=1)
        steps = np.diff(calls, axis=1, prepend=0) / calls[:, -1:]
        area: Floats = ((before + risk) / 2 * steps).sum(1)
        return area
