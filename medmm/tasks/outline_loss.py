"""Dice and cross entropy of outlines, at the finest map and at coarser ones. What nobody has labelled does not count.

Shape legend: B patches, C maps, S spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medmm.data.outline_code import OutlineCode

_SMOOTH = 1e-5
_LEAST_SHARE = 1e-5  # of the voxels, that a class is weighed by


def outline_loss(logits: Sequence[Tensor], coded: Tensor, code: OutlineCode) -> tuple[Tensor, Tensor]:
    """Cross entropy and Dice loss, each coarser map weighing half of the one before (Isensee et al. 2021).

    Args:
        logits: ``[B, C, *S]``, the finest first.
        coded: Coded masks ``[B, *S]`` int64, of the finest size.
        code: What they mean.

    Returns:
        Cross entropy and Dice loss, each a weighted mean over the maps.
    """
    entropy, dice = logits[0].new_zeros(()), logits[0].new_zeros(())
    total = 2 - 0.5 ** (len(logits) - 1)
    unlabelled = int(np.uint64(code.unlabelled).astype(np.int64))  # bits as torch's integers have them
    for number, one in enumerate(logits):
        target = coded
        if one.shape[2:] != coded.shape[1:]:
            target = _nearest(coded, one.shape[2:])
        labelled = target != unlabelled
        found = (_exclusive if code.exclusive else _overlapping)(one, target, labelled)
        entropy = entropy + found[0] * (0.5**number / total)
        dice = dice + found[1] * (0.5**number / total)
    return entropy, dice


def _nearest(coded: Tensor, shape: Sequence[int]) -> Tensor:
    """Codes ``[B, *S]`` on a coarser grid, none of them mixed; exact for all 64 bits."""
    for axis, side in enumerate(shape, 1):
        places = torch.arange(side, device=coded.device) * coded.shape[axis] // side
        coded = coded.index_select(axis, places)
    return coded


def _exclusive(logits: Tensor, target: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """Of classes that exclude each other; the background has no Dice.

    A voxel counts by one over the root of its class's share: else a network learns small structures last.
    """
    maps = logits.shape[1]
    target = target.where(labelled, 0)
    logarithms = logits.log_softmax(1)
    own = logarithms.gather(1, target[:, None])[:, 0].flatten()
    sums = (logarithms.exp() * labelled[:, None]).transpose(0, 1).flatten(1).sum(1)
    flat, known = target.flatten(), labelled.flatten().to(logits)
    common = logits.new_zeros(maps).index_add(0, flat, own.exp() * known)
    counts = torch.bincount(flat.where(labelled.flatten(), maps), minlength=maps + 1)[:maps].to(sums)
    weights = (counts / known.sum().clamp(min=1)).clamp(min=_LEAST_SHARE).rsqrt()[flat] * known
    entropy = -(own * weights).sum() / weights.sum().clamp(min=1)
    return entropy, _dice_loss(common[1:], sums[1:], counts[1:])


def _overlapping(logits: Tensor, target: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """Of classes that each have a bit of their own."""
    bits = torch.arange(logits.shape[1], device=target.device).view(1, -1, *(1,) * (target.ndim - 1))
    truth, known = ((target[:, None] >> bits) & 1).to(logits), labelled[:, None].to(logits)
    axes = [0, *range(2, logits.ndim)]
    chances = logits.sigmoid() * known
    each = functional.binary_cross_entropy_with_logits(logits, truth, known.expand_as(logits), reduction="sum")
    entropy = each / (known.sum() * logits.shape[1]).clamp(min=1)
    return entropy, _dice_loss((chances * truth).sum(axes), chances.sum(axes), truth.sum(axes))


def _dice_loss(common: Tensor, drawn: Tensor, true: Tensor) -> Tensor:
    """Mean of 1 - 2 |A and B| / (|A| + |B|), summed over the whole batch (Milletari et al. 2016).

    Over the classes that the batch shows: those that it does not would only dilute the others, and the cross entropy
    holds them down.
    """
    shown = true > 0
    dice = (2 * common + _SMOOTH) / (drawn + true + _SMOOTH)
    return ((1 - dice) * shown).sum() / shown.sum().clamp(min=1)
