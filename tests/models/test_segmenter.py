"""Networks that outline, and what is done to their masks."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medmm.config.schema import EncoderConfig, PreprocessConfig
from medmm.config.segmentation import SegmentationConfig
from medmm.models.cleaning import cleaned, holes_filled, largest_part
from medmm.models.image_encoder import build_backbone, build_encoder, stage_maps
from medmm.models.segmenter import Segmenter, build_network, side_multiple, strides_of


@pytest.mark.parametrize("name", ["resnet_lean", "densenet121", "resnet18", "resnet50"])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_unet_stands_on_every_encoder_with_stages(name, dims):
    encoder = EncoderConfig(name=name, spatial_dims=dims)
    side = side_multiple(SegmentationConfig(), encoder)
    torch.manual_seed(0)
    network = build_network(SegmentationConfig(), encoder, (side,) * dims, 3, (1.0,) * dims)
    images = torch.randn(2, 1, *(side,) * dims)
    if name != "resnet50" or dims == 2:  # the largest takes long to learn from
        found = network.train()(images)
        assert [tuple(one.shape) for one in found] == [(2, 3, *(side >> level,) * dims) for level in range(3)]
        sum(one.square().mean() for one in found).backward()
        assert all(weight.grad is not None for weight in network.parameters())
    assert len(network.eval()(images)) == 1


def test_the_backbone_is_the_encoders_own_by_name_and_by_what_it_gives():
    config = EncoderConfig()
    torch.manual_seed(0)
    encoder = build_encoder(config, (32, 32)).eval()
    torch.manual_seed(0)
    backbone = build_backbone(config, (32, 32)).eval()
    assert [f"backbone.{name}" for name in backbone.state_dict()] == [
        name for name in encoder.state_dict() if name.startswith("backbone.")
    ]
    images = torch.randn(1, 1, 32, 32)
    maps = stage_maps(backbone, images)
    assert [one.shape[2] for one in maps] == [16, 8, 4, 2]
    torch.testing.assert_close(maps[-1], encoder.backbone(images))


@pytest.mark.parametrize("network", ["dynunet", "swin_unetr"])
def test_monais_networks_give_the_same_form(network):
    side = 64
    built = build_network(SegmentationConfig(network=network), EncoderConfig(), (side, side), 3, (1.0, 1.0))
    found = built.train()(torch.randn(2, 1, side, side))
    assert tuple(found[0].shape) == (2, 3, side, side)
    assert len(built.eval()(torch.randn(1, 1, side, side))) == 1


def test_thick_slices_are_halved_later_than_fine_pixels():
    assert strides_of((16, 128, 128), (12.0, 1.0, 1.0)) == [(1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]
    assert strides_of((64, 64), (1.0, 1.0)) == [(2, 2)] * 4


def test_the_largest_part_is_kept_and_holes_are_filled_as_scipy_does():
    mask = np.random.default_rng(0).random((12, 20, 20)) > 0.65
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(mask, parts, np.arange(1, parts.max() + 1))
    np.testing.assert_array_equal(largest_part(mask), parts == sizes.argmax() + 1)
    np.testing.assert_array_equal(holes_filled(mask), ndimage.binary_fill_holes(mask))
    assert not cleaned(np.zeros((3, 3), bool), True, True).any()


def test_a_run_of_another_task_can_hand_its_backbone_over():
    encoder = build_encoder(EncoderConfig(), (32, 32))
    network = build_network(SegmentationConfig(), EncoderConfig(), (32, 32), 2, (1.0, 1.0))
    model = Segmenter(network, PreprocessConfig(), 2, 16)
    ours, theirs = model.state_dict(), encoder.state_dict()
    named = [f"encoder.{name}" for name in theirs if name.startswith("backbone.")]
    assert set(named) <= set(ours)
    with torch.no_grad():
        ours[named[0]].fill_(7.0)
    assert float(next(network.backbone.parameters()).mean()) == 7.0


def test_a_map_two_voxels_deep_is_not_learned_from_in_bf16():
    torch.manual_seed(0)
    model = Segmenter(
        build_network(SegmentationConfig(), EncoderConfig(), (32, 32, 32), 2, (1.0,) * 3), PreprocessConfig(), 2, 16
    ).train()
    images = torch.rand(1, 1, 32, 32, 32)
    gradients = []
    for _ in range(3):
        junk = [torch.full((size,), 1e30) for size in (10**3, 10**4, 10**5, 10**6)]
        del junk  # memory that a kernel may forget to clear
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            sum(one.square().mean() for one in model(images)).backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for other in gradients[1:]:
        assert all(torch.equal(one, two) for one, two in zip(gradients[0], other, strict=True))


@pytest.mark.parametrize("network", ["unet", "dynunet", "swin_unetr"])
def test_networks_take_as_many_channels_as_images_have(network):
    wanted, encoder = SegmentationConfig(network=network), EncoderConfig()
    torch.manual_seed(0)
    built = build_network(wanted, encoder, (64, 64), 3, (1.0, 1.0), channels=4).eval()
    images = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        found = built(images)[0]
        assert tuple(found.shape) == (1, 3, 64, 64)
        for channel in range(4):
            other = images.clone()
            other[:, channel] += 1
            assert not torch.allclose(built(other)[0], found)
