"""From a head's logits to calls: calibration, thresholds, what cannot be ruled out, and when to decline.

All of it is fitted on validation studies and lies in buffers, so that it travels with the weights.

Shape legend: B studies, C classes, K channels of an image token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medmm.metrics.calibration import calibrate, conformal_sets, least_confidence, risk_coverage

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PROMISED = np.arange(1, 21) / 100
"""Shares of wrong calls of which it is known how sure a call must be."""


@dataclass(frozen=True)
class Calls:
    """What is said of a batch.

    Attributes:
        probabilities_bc: ``[B, C]`` in [0, 1], calibrated.
        present_bc: ``[B, C]`` bool, called present.
        declined_bc: ``[B, C]`` bool, too unsure to be called at all.
        may_be_present_bc, may_be_absent_bc: ``[B, C]`` bool, the conformal set.
    """

    probabilities_bc: Tensor
    present_bc: Tensor
    declined_bc: Tensor
    may_be_present_bc: Tensor
    may_be_absent_bc: Tensor


class Decisions(nn.Module):
    """How the logits of C classes are read.

    Args:
        classes: Number of classes.
    """

    temperature: Tensor
    offset: Tensor
    threshold: Tensor
    present: Tensor
    absent: Tensor
    promise: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("offset", torch.zeros(classes))
        self.register_buffer("threshold", torch.full((classes,), 0.5))
        self.register_buffer("present", torch.zeros(classes))
        self.register_buffer("absent", torch.ones(classes))
        self.register_buffer("promise", torch.full((len(PROMISED),), float("inf")))

    def probabilities(self, logits_bc: Tensor) -> Tensor:
        """``[B, C]`` calibrated probabilities in [0, 1]."""
        return torch.sigmoid(logits_bc.float() / self.temperature + self.offset)

    def forward(self, logits_bc: Tensor, most_wrong: float = 0.0) -> Calls:
        """Read ``[B, C]`` logits; decline calls so that at most this share of the others is wrong, 0 for none."""
        p = self.probabilities(logits_bc)
        called = p >= self.threshold
        sure = sureness(p, self.threshold)
        return Calls(p, called, sure < self.least_sure(most_wrong), p >= self.present, p <= self.absent)

    def least_sure(self, most_wrong: float) -> float:
        """Sureness from which on calls are made so that at most ``most_wrong`` of them are wrong; 0 allows any.

        It is known for every hundredth up to 0.2; the next smaller one is taken.
        """
        if not most_wrong:
            return 0.0
        place = int(np.searchsorted(PROMISED, most_wrong + 1e-9)) - 1
        return float(self.promise[place]) if place >= 0 else float("inf")

    def fit(self, logits_nc: Floats, truth_nc: Floats, known_nc: Bools, rule: str, coverage: float) -> None:
        """Choose everything on validation studies.

        Args:
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
        self.temperature.fill_(calibration.temperature)
        for buffer, values in (
            (self.offset, calibration.offset_c), (self.threshold, chosen),
            (self.present, sets.present_c), (self.absent, sets.absent_c),
        ):  # fmt: skip
            buffer.copy_(torch.as_tensor(np.asarray(values), dtype=buffer.dtype))
        sure = sureness(torch.from_numpy(p), torch.tensor(chosen, dtype=torch.float64)).numpy()
        wrong = (p >= np.asarray(chosen)) != (truth_nc > 0)
        self._promise(sure[known_nc], wrong[known_nc])

    def _promise(self, sure: Floats, wrong: Bools) -> None:
        if len(sure):
            curve = risk_coverage(sure, wrong)
            found = [least_confidence(curve, float(share)) for share in PROMISED]
            self.promise.copy_(torch.as_tensor(found, dtype=self.promise.dtype))

    def fit_single(self, logits_nc: Floats, only_n: npt.NDArray[np.intp], coverage: float) -> None:
        """As :meth:`fit`, where a study has exactly one class, ``only_n`` int ``[N]``.

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
        self.temperature.fill_(temperature)
        self.present.copy_(torch.as_tensor(sets.present_c, dtype=self.present.dtype))
        self._promise(p.max(1), p.argmax(1) != only_n)


def sureness(p_bc: Tensor, threshold_c: Tensor) -> Tensor:
    """Probability that the call is right, ``[B, C]``."""
    return torch.where(p_bc >= threshold_c, p_bc, 1 - p_bc)


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
