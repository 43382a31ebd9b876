"""Losses of labels that may be soft, unknown, rare or one of many.

Shape legend: B studies, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_GAMMA = 2.0  # Lin et al. 2017
_GAMMA_NEGATIVE, _GAMMA_POSITIVE, _MARGIN = 4.0, 1.0, 0.05  # Ridnik et al. 2021
NO_SIDE = -100
"""Class of a side that is not said."""


def presence_loss(
    logits_bc: Tensor, target_bc: Tensor, weight_bc: Tensor, kind: str = "bce", positive_weight_c: Tensor | None = None
) -> Tensor:
    """Mean loss over the pairs that count.

    Args:
        logits_bc: ``[B, C]``.
        target_bc: ``[B, C]`` in [0, 1].
        weight_bc: ``[B, C]``, 0 where nothing is learned.
        kind: ``bce``, ``focal`` or ``asymmetric``.
        positive_weight_c: ``[C]`` weight of the positives of a class; None: 1.
    """
    logits = logits_bc.float()
    if kind == "bce":
        each = functional.binary_cross_entropy_with_logits(
            logits, target_bc, reduction="none", pos_weight=positive_weight_c
        )
    else:
        positive, negative = (_focal if kind == "focal" else _asymmetric)(logits)
        positive = positive if positive_weight_c is None else positive * positive_weight_c
        each = target_bc * positive + (1 - target_bc) * negative
    return (each * weight_bc).sum() / weight_bc.sum().clamp(min=1)


def _focal(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of each pair were it present, and were it absent."""
    p = torch.sigmoid(logits)
    positive, negative = -functional.logsigmoid(logits), -functional.logsigmoid(-logits)
    return positive * (1 - p) ** _GAMMA, negative * p**_GAMMA


def _asymmetric(logits: Tensor) -> tuple[Tensor, Tensor]:
    p = torch.sigmoid(logits)
    shifted = (p - _MARGIN).clamp(min=0)  # easy negatives count nothing at all
    negative = -torch.log1p(-shifted.clamp(max=1 - 1e-6)) * shifted**_GAMMA_NEGATIVE
    return -functional.logsigmoid(logits) * (1 - p) ** _GAMMA_POSITIVE, negative


def side_loss(sides_bcl: Tensor, side_bc: Tensor) -> Tensor:
    """Cross entropy of the side where one is said, ``side_bc`` int64 with :data:`NO_SIDE` elsewhere."""
    side = side_bc.flatten()
    total = functional.cross_entropy(sides_bcl.float().flatten(0, 1), side, ignore_index=NO_SIDE, reduction="sum")
    return total / (side != NO_SIDE).sum().clamp(min=1)


def number_loss(standard_bt: Tensor, target_bt: Tensor, weight_bt: Tensor) -> Tensor:
    """Mean Huber loss (Huber 1964) over the pairs that count; beyond one deviation an error counts as it is, unsquared.

    Args:
        standard_bt: ``[B, T]`` in deviations from the mean.
        target_bt: ``[B, T]`` likewise.
        weight_bt: ``[B, T]``, 0 where nothing is learned.
    """
    each = functional.huber_loss(standard_bt.float(), target_bt, reduction="none", delta=1.0)
    return (each * weight_bt).sum() / weight_bt.sum().clamp(min=1)
