"""From a head's logits to calls: calibration, thresholds, what cannot be ruled out, and when to decline.

All of it is fitted on validation studies (:mod:`medmm.tasks.settling`) and lies in buffers, so that it travels with the
weights.

Shape legend: B studies, C classes, K channels of an image token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

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


def sureness(p_bc: Tensor, threshold_c: Tensor) -> Tensor:
    """Probability that the call is right, ``[B, C]``."""
    return torch.where(p_bc >= threshold_c, p_bc, 1 - p_bc)
