"""Losses against torch's own, and their formulas by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from medmm.tasks.losses import NO_SIDE, presence_loss, side_loss

LOGITS = torch.tensor([[0.3, -1.2], [2.0, 0.7]])
TARGET = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
WEIGHT = torch.tensor([[1.0, 1.0], [1.0, 0.0]])


def test_bce_is_torchs_over_what_counts():
    each = functional.binary_cross_entropy_with_logits(LOGITS, TARGET, reduction="none")
    assert presence_loss(LOGITS, TARGET, WEIGHT, "bce") == pytest.approx(float((each * WEIGHT).sum() / 3))


def test_positive_weights_are_torchs():
    weight = torch.tensor([2.0, 5.0])
    wanted = functional.binary_cross_entropy_with_logits(LOGITS, TARGET, pos_weight=weight)
    found = presence_loss(LOGITS, TARGET, torch.ones_like(WEIGHT), "bce", weight)
    assert float(found) == pytest.approx(float(wanted))


def test_focal_weighs_by_what_is_missing_to_the_truth():
    p = torch.sigmoid(LOGITS[0])
    wanted = -((1 - p[0]) ** 2 * p[0].log() + p[1] ** 2 * (1 - p[1]).log()) / 2
    assert float(presence_loss(LOGITS[:1], TARGET[:1], WEIGHT[:1], "focal")) == pytest.approx(float(wanted))


def test_asymmetric_forgets_easy_negatives():
    easy = presence_loss(torch.tensor([[-4.0]]), torch.zeros(1, 1), torch.ones(1, 1), "asymmetric")
    assert float(easy) == 0
    p = torch.sigmoid(LOGITS[0])
    shifted = p[1] - 0.05
    wanted = (-(1 - p[0]) * p[0].log() - shifted**4 * (1 - shifted).log()) / 2
    assert float(presence_loss(LOGITS[:1], TARGET[:1], WEIGHT[:1], "asymmetric")) == pytest.approx(float(wanted))


def test_nothing_known_costs_nothing():
    assert float(presence_loss(LOGITS, TARGET, torch.zeros(2, 2), "bce")) == 0
    sides = torch.randn(2, 3, 3)
    assert float(side_loss(sides, torch.full((2, 3), NO_SIDE))) == 0


def test_a_side_counts_where_it_is_said():
    sides = torch.randn(1, 2, 3)
    found = side_loss(sides, torch.tensor([[NO_SIDE, 2]]))
    assert float(found) == pytest.approx(float(functional.cross_entropy(sides[0, 1:], torch.tensor([2]))))
