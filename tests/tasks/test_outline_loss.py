"""The loss of outlines against MONAI's and torch's."""

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss
from torch.nn import functional

from medmm.data.outline_code import OutlineCode
from medmm.tasks.outline_loss import outline_loss


def test_exclusive_classes_have_monais_dice_and_torchs_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, 5, 7, generator=generator, requires_grad=True)
    target = torch.randint(0, 4, (2, 6, 5, 7), generator=generator)
    entropy, dice = outline_loss([logits], target, OutlineCode(("a", "b", "c"), exclusive=True))
    kind = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True}
    theirs = DiceLoss(**kind, smooth_nr=1e-5, smooth_dr=1e-5)
    torch.testing.assert_close(dice, theirs(logits, target[:, None]))
    shares = torch.bincount(target.flatten(), minlength=4) / target.numel()
    torch.testing.assert_close(entropy, functional.cross_entropy(logits, target, weight=shares.rsqrt()))
    (gradient,) = torch.autograd.grad(dice, logits, retain_graph=True)
    (expected,) = torch.autograd.grad(theirs(logits, target[:, None]), logits)
    torch.testing.assert_close(gradient, expected)


def test_overlapping_classes_have_monais_dice_and_binary_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 8, 9, generator=generator)
    truth = torch.rand(3, 2, 8, 9, generator=generator) > 0.6
    coded = truth[:, 0].long() + 2 * truth[:, 1].long()
    entropy, dice = outline_loss([logits], coded, OutlineCode(("a", "b"), exclusive=False))
    theirs = DiceLoss(sigmoid=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)(logits, truth.float())
    torch.testing.assert_close(dice, theirs)
    torch.testing.assert_close(entropy, functional.binary_cross_entropy_with_logits(logits, truth.float()))


def test_coarser_maps_count_half_as_much_each():
    code = OutlineCode(("a", "b"), exclusive=True)
    target = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (1, 8, 8)))
    fine, coarse = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4)
    both = outline_loss([fine, coarse], target, code)
    alone = outline_loss([fine], target, code), outline_loss([coarse], target[:, ::2, ::2], code)
    for place in (0, 1):
        assert float(both[place]) == pytest.approx(float((alone[0][place] * 2 + alone[1][place]) / 3), rel=1e-5)


def test_a_class_that_the_batch_does_not_show_has_no_dice():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 4, 6, 6, generator=generator)
    target = torch.randint(0, 3, (1, 6, 6), generator=generator)
    _, all_four = outline_loss([logits], target, OutlineCode(("a", "b", "c"), exclusive=True))
    theirs = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, reduction="none", smooth_nr=1e-5,
        smooth_dr=1e-5,
    )  # fmt: skip
    torch.testing.assert_close(all_four, theirs(logits, target[:, None]).flatten()[:2].mean())
    nothing = outline_loss([logits], torch.zeros_like(target), OutlineCode(("a", "b", "c"), exclusive=True))
    assert float(nothing[1]) == 0
    assert float(nothing[0]) > 0


@pytest.mark.parametrize("exclusive", [True, False])
def test_what_nobody_has_labelled_does_not_count_at_any_size(exclusive):
    code = OutlineCode(tuple("abcdefgh"), exclusive)
    generator = np.random.default_rng(0)
    masks = {name: generator.random((8, 12)) < 0.2 for name in code.classes}
    ignored = np.zeros((8, 12), bool)
    ignored[:, 8:] = True
    coded = torch.from_numpy(code.encode(masks | {"ignore": ignored}, (8, 12)).astype(np.int64))[None]
    logits = [torch.randn(1, code.channels, 8, 12), torch.randn(1, code.channels, 4, 6)]
    found = outline_loss(logits, coded, code)
    labelled = outline_loss([logits[0][..., :8], logits[1][..., :4]], coded[..., :8], code)
    for place in (0, 1):
        torch.testing.assert_close(found[place], labelled[place])
    nothing = torch.full_like(coded, code.unlabelled)
    assert [float(part) for part in outline_loss(logits, nothing, code)] == [0, 0]


def test_sixty_three_structures_keep_their_bits_in_coarser_maps():
    code = OutlineCode(tuple(map(str, range(63))), exclusive=False)
    masks = {"62": np.ones((4, 4), bool), "0": np.ones((4, 4), bool)}
    coded = torch.from_numpy(code.encode(masks, (4, 4)).astype(np.int64))[None]
    logits = torch.full((1, 63, 2, 2), -20.0)
    logits[:, [0, 62]] = 20.0
    assert float(outline_loss([logits], coded, code)[0]) < 1e-6
