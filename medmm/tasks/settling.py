"""What is chosen on validation once the weights stand: calibration, thresholds, sets, and how sure a call must be.

Shape legend: N studies, C classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from medmm.metrics.calibration import calibrate, conformal_sets, least_confidence, risk_coverage
from medmm.models.decisions import PROMISED, Decisions, sureness

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def settle_labels(  # noqa: PLR0913, PLR0917
    decisions: Decisions, logits_nc: Floats, truth_nc: Floats, known_nc: Bools, rule: str, coverage: float
) -> None:
    """Choose everything on validation studies.

    Args:
        decisions: What is set.
        logits_nc: ``[N, C]``.
        truth_nc: ``[N, C]`` in [0, 1].
        known_nc: ``[N, C]`` False where the truth is not known.
        rule: ``f1``, ``youden`` or ``half``.
        coverage: Of the conformal sets.
    """
    calibration = calibrate(logits_nc, truth_nc, known_nc)
    p = calibration.probabilities(logits_nc)
    sets = conformal_sets(p, truth_nc, known_nc, coverage)
    chosen = [
        threshold_of(p[known, column], truth_nc[known, column] > 0.5, rule)  # noqa: PLR2004 - soft truth is a half
        for column, known in enumerate(known_nc.T)
    ]
    decisions.temperature.fill_(calibration.temperature)
    for buffer, values in (
        (decisions.offset, calibration.offset_c), (decisions.threshold, chosen),
        (decisions.present, sets.present_c), (decisions.absent, sets.absent_c),
    ):  # fmt: skip
        buffer.copy_(torch.as_tensor(np.asarray(values), dtype=buffer.dtype))
    sure = sureness(torch.from_numpy(p), torch.tensor(chosen, dtype=torch.float64)).numpy()
    wrong = (p >= np.asarray(chosen)) != (truth_nc > 0)
    _promise(decisions, sure[known_nc], wrong[known_nc])


def settle_single(decisions: Decisions, logits_nc: Floats, only_n: npt.NDArray[np.intp], coverage: float) -> None:
    """As :func:`settle_labels`, where a study has exactly one class, ``only_n`` int ``[N]``.

    The conformal set holds the classes whose probability reaches ``present`` (Sadinle et al. 2019).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax, softmax

    rows = np.arange(len(only_n))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits_nc / np.exp(log_temperature), axis=1)[rows, only_n].sum())

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
    p = softmax(logits_nc / temperature, axis=1)
    truth = np.eye(logits_nc.shape[1])[only_n]
    sets = conformal_sets(p, truth, truth > 0, coverage)
    decisions.temperature.fill_(temperature)
    decisions.present.copy_(torch.as_tensor(sets.present_c, dtype=decisions.present.dtype))
    _promise(decisions, p.max(1), p.argmax(1) != only_n)


def _promise(decisions: Decisions, sure: Floats, wrong: Bools) -> None:
    if len(sure):
        curve = risk_coverage(sure, wrong)
        found = [least_confidence(curve, float(share)) for share in PROMISED]
        decisions.promise.copy_(torch.as_tensor(found, dtype=decisions.promise.dtype))


def threshold_of(p: Floats, truth: Bools, rule: str) -> float:
    """The probability from which on a class is called present.

    With few positives the best place on validation says little; it is drawn, as much as ten positives weigh, to where
    it lies in theory for calibrated probabilities: half of the best F1 (Lipton et al. 2014), or the prevalence.

    Args:
        p: ``[N]`` calibrated probabilities.
        truth: ``[N]``.
        rule: ``f1``: best F1; ``youden``: best sensitivity plus specificity; ``half``.
    """
    positives = int(truth.sum())
    if rule == "half" or positives == 0 or positives == len(truth):
        return 0.5
    order = np.argsort(-p, kind="stable")
    hits, called = np.cumsum(truth[order]), np.arange(1, len(p) + 1)
    if rule == "f1":
        value = 2 * hits / (called + positives)
        theory = float(value.max()) / 2
    else:
        theory = positives / len(p)
        value = hits / positives - (called - hits) / (len(p) - positives)
    value = np.where(np.diff(p[order], append=-1.0) == 0, -np.inf, value)  # no threshold between equal probabilities
    place = int(np.argmax(value))
    lower = p[order[place + 1]] if place + 1 < len(p) else 0.0
    own = (p[order[place]] + lower) / 2
    return float((own * positives + theory * 10) / (positives + 10))
