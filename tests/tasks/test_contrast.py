"""Losses between studies and texts, against NumPy, loops and cases by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp
from torch.nn import functional

from medmm.models.heads import SIDES
from medmm.tasks.contrast import (
    agreement,
    everywhere,
    infonce,
    late_likeness,
    own_columns,
    sigmoid_contrast,
    soft_targets,
)
from medmm.tasks.losses import NO_SIDE
from medmm.tasks.statements import ABSENT, PRESENT, UNKNOWN
from medmm.types import Laterality

LEFT, RIGHT = SIDES.index(Laterality.LEFT), SIDES.index(Laterality.RIGHT)


def units(seed, *shape):
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_infonce_is_the_cross_entropy_of_soft_targets():
    rows, columns, scale = units(0, 4, 6), units(1, 5, 6), torch.tensor(7.0)
    targets = torch.softmax(torch.randn(4, 5, generator=torch.Generator().manual_seed(2)), 1)
    logits = 7.0 * rows.double().numpy() @ columns.double().numpy().T
    wanted = -(targets.numpy() * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(1).mean()
    assert float(infonce(rows, columns, scale, targets)) == pytest.approx(wanted, rel=1e-5)


def test_the_sigmoid_loss_is_a_binary_cross_entropy_a_pair():
    rows, columns = units(0, 4, 6), units(1, 5, 6)
    targets = torch.rand(4, 5, generator=torch.Generator().manual_seed(2))
    chance = expit(7.0 * rows.double().numpy() @ columns.double().numpy().T - 3.0)
    y = targets.double().numpy()
    wanted = -(y * np.log(chance) + (1 - y) * np.log(1 - chance)).sum(1).mean()
    found = sigmoid_contrast(rows, columns, torch.tensor(7.0), torch.tensor(-3.0), targets)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_soft_targets_share_out_one():
    own, agreed = torch.eye(3), torch.tensor([[1.0, 1.0, 0.0], [0.5, 0.2, 0.1], [0.3, 0.3, 1.0]])
    found = soft_targets(own, agreed, torch.tensor([True, True, False]), 0.8)
    wanted = [[0.2 + 0.4, 0.4, 0.0], [0.8 * 0.5 / 1.6, 0.2 + 0.8 / 1.6, 0.8 * 0.1 / 1.6], [0.0, 0.0, 1.0]]
    torch.testing.assert_close(found, torch.tensor(wanted))
    by_column = soft_targets(own, agreed, torch.tensor([[True, True, False]]).expand(3, -1), 0.8)
    torch.testing.assert_close(by_column.sum(1), torch.ones(3))
    assert by_column[0, 2] == 0
    assert soft_targets(own, agreed, torch.ones(3, dtype=torch.bool), 0.0).tolist() == own.tolist()


def said(**findings):
    """What a text says of nodule and effusion: ``nodule=(PRESENT, LEFT)``."""
    pairs = [findings.get(name, (UNKNOWN, NO_SIDE)) for name in ("nodule", "effusion")]
    return [one for one, _ in pairs], [side for _, side in pairs]


@pytest.mark.parametrize(
    ("text", "whole", "study", "contradictions", "speaks"),
    [
        (said(nodule=(PRESENT, LEFT)), False, said(nodule=(PRESENT, LEFT)), 0, True),
        (said(nodule=(PRESENT, LEFT)), False, said(nodule=(PRESENT, RIGHT)), 1, True),
        (said(nodule=(PRESENT, NO_SIDE)), False, said(nodule=(PRESENT, RIGHT)), 0, True),
        (said(nodule=(PRESENT, LEFT)), False, said(nodule=(ABSENT, NO_SIDE)), 1, True),
        (said(nodule=(PRESENT, LEFT)), False, said(), 1, True),  # a whole report is silent of what is absent
        (said(nodule=(PRESENT, LEFT)), False, said(nodule=(PRESENT, LEFT), effusion=(PRESENT, LEFT)), 0, True),
        (said(nodule=(PRESENT, LEFT)), True, said(nodule=(PRESENT, LEFT), effusion=(PRESENT, LEFT)), 1, True),
        (said(nodule=(ABSENT, NO_SIDE)), False, said(nodule=(PRESENT, LEFT)), 1, True),
        (said(nodule=(ABSENT, NO_SIDE)), False, said(effusion=(PRESENT, LEFT)), 0, True),
        (said(), False, said(nodule=(PRESENT, LEFT)), 0, False),
        (said(), True, said(nodule=(PRESENT, LEFT), effusion=(PRESENT, NO_SIDE)), 2, True),
    ],
)
def test_agreement_falls_with_each_contradiction(text, whole, study, contradictions, speaks):
    rows = (torch.tensor([text[0]]), torch.tensor([text[1]]), torch.tensor([whole]))
    found, talks = agreement(*rows, torch.tensor([study[0]]), torch.tensor([study[1]]))
    assert found.item() == pytest.approx(math.exp(-1.5 * contradictions))
    assert talks.tolist() == [speaks]


def test_without_findings_nobody_speaks():
    nothing = torch.zeros(2, 0, dtype=torch.long)
    found, talks = agreement(nothing, nothing, torch.ones(2, dtype=torch.bool), nothing, nothing)
    assert found.tolist() == [[1, 1], [1, 1]]
    assert talks.tolist() == [False, False]


def test_words_find_their_best_region_and_regions_their_best_word():
    words, regions = units(0, 3, 4, 5), units(1, 3, 6, 5)
    has_word = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    has_region = torch.tensor([[1] * 6, [1] * 3 + [0] * 3, [0] * 5 + [1]]).bool()
    of_texts, of_images = late_likeness(words, has_word, regions, has_region)
    for text in range(3):
        for image in range(3):
            likeness = (words[text][has_word[text]] @ regions[image][has_region[image]].T).numpy()
            assert float(of_texts[text, image]) == pytest.approx(likeness.max(1).mean(), abs=1e-6)
            assert float(of_images[image, text]) == pytest.approx(likeness.max(0).mean(), abs=1e-6)


def test_a_process_alone_has_all_rows():
    rows = torch.ones(2, 3, requires_grad=True)
    assert everywhere(rows) is rows
    assert own_columns(2, 2, rows.device).tolist() == [[1, 0], [0, 1]]
