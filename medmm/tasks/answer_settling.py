"""What is chosen on validation for answers: how sure each is, and how sure it must be to be given.

Shape legend: N questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from medmm.metrics.calibration import RiskCoverage, calibrate, least_confidence, risk_coverage
from medmm.models.decisions import PROMISED, Decisions

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def settle_answers(
    decisions: Decisions, log_odds_n: Floats, written_n: Bools, right_n: Bools, studies: Sequence[str]
) -> None:
    """Fit confidences, and how sure an answer must be for every share of wrong ones that may be promised.

    Args:
        decisions: Of two columns: answers that the head calls, and written ones. They share a temperature, and each has
            an offset of its own.
        log_odds_n: ``[N]`` log odds of the probability that the model gives each answer.
        written_n: ``[N]`` whether the language model wrote it.
        right_n: ``[N]`` whether it is right.
        studies: The N questions' studies.
    """
    logits = np.stack([log_odds_n, log_odds_n], axis=1)
    columns = np.stack([~written_n, written_n], axis=1)
    found = calibrate(logits, _targets(right_n[:, None] & columns, columns), columns)
    decisions.temperature.fill_(found.temperature)
    decisions.offset.copy_(torch.as_tensor(found.offset_c, dtype=decisions.offset.dtype))
    # by the module itself: an answer just as sure as the least that is given must compare equal to it
    called, written = decisions.probabilities(torch.from_numpy(logits).to(decisions.offset)).double().cpu().numpy().T
    sure: Floats = np.where(written_n, written, called)
    curve = effective(risk_coverage(sure, ~right_n), sure, ~right_n, studies)
    promise = [least_confidence(curve, float(share)) for share in PROMISED]
    decisions.promise.copy_(torch.as_tensor(promise, dtype=decisions.promise.dtype))


def _targets(right_nc: Bools, known_nc: Bools) -> Floats:
    """What confidences learn of right and wrong: as if one more answer of either kind were known (Platt 1999).

    Else a few answers that all are right would teach that none is ever wrong.
    """
    right = right_nc.sum(0)
    wrong = known_nc.sum(0) - right
    return np.where(right_nc, (right + 1) / (right + 2), 1 / (wrong + 2))


def effective(curve: RiskCoverage, sure_n: Floats, wrong_n: Bools, studies: Sequence[str]) -> RiskCoverage:
    """The curve with as many answers, and wrong ones, as they would be worth if no study had several.

    Answers on one study are right or wrong together, beyond what their confidence says. Numbers are divided by the
    design effect of the surest answers that they count (Kish 1965), as Korn and Graubard 1998 do for exact intervals,
    and rounded to the safe side. Where none is wrong, a study counts as one answer.

    Args:
        curve: Of the answers.
        sure_n: ``[N]`` their confidence.
        wrong_n: ``[N]`` whether they are wrong.
        studies: Their studies.
    """
    order = np.argsort(-sure_n, kind="stable")
    before: Counter[str] = Counter()
    squares = np.zeros(len(order))
    for place, own in enumerate(order.tolist()):
        squares[place] = 2 * before[studies[own]] + 1
        before[studies[own]] += 1
    of_a_study = squares.cumsum()[curve.calls - 1] / curve.calls
    alike = within_studies(sure_n + wrong_n - 1, studies) if wrong_n.any() else 1.0
    worth = 1 / (1 + (of_a_study - 1) * alike)
    calls, wrong = np.floor(curve.calls * worth + 1e-9), np.ceil(curve.wrong * worth - 1e-9)
    return replace(curve, calls=calls.astype(np.int64), wrong=wrong.astype(np.int64))


def within_studies(values_n: Floats, studies: Sequence[str]) -> float:
    """How alike values of one study are: the intraclass correlation, in [0, 1].

    The analysis-of-variance estimate (Donner 1986). It is 0 where no study has several, and 1, the safe side, where
    there is one study or values do not differ.
    """
    _, place, sizes = np.unique(np.asarray(studies, dtype=str), return_inverse=True, return_counts=True)
    number, groups = len(values_n), len(sizes)
    if number == groups:
        return 0.0
    means = np.bincount(place, values_n) / sizes
    inside = float(((values_n - means[place]) ** 2).sum()) / (number - groups)
    between = float((sizes * (means - values_n.mean()) ** 2).sum()) / max(1, groups - 1)
    if groups == 1 or inside + between == 0:
        return 1.0
    size = (number - float((sizes**2).sum()) / number) / (groups - 1)
    return float(np.clip((between - inside) / (between + (size - 1) * inside), 0, 1))
