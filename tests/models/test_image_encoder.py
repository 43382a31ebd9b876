"""Encoders: what comes out, and what does not depend on what."""

import math

import pytest
import torch
from torch import nn

from medmm.config.schema import EncoderConfig
from medmm.models.image_encoder import build_encoder

NAMES = ("resnet_lean", "densenet121", "resnet18", "resnet50", "vit")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(64, 64), (96, 128), (32, 64, 64)])
def test_tokens_fill_the_grid(name, shape):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(name=name, spatial_dims=len(shape), width=32), shape).eval()
    with torch.no_grad():
        out = encoder(torch.rand(2, 1, *shape))
    stride = 16 if name in {"vit", "resnet_lean"} else 32
    assert out.grid == tuple(side // stride for side in shape)
    assert out.tokens_bnk.shape == (2, math.prod(out.grid), 32)
    assert encoder.count == math.prod(out.grid)
    assert out.tokens_bnk.dtype == torch.float32
    assert not torch.allclose(out.tokens_bnk[0], out.tokens_bnk[1])


def test_odd_sides_are_counted_as_the_network_rounds_them():
    for name in ("resnet_lean", "resnet18"):
        encoder = build_encoder(EncoderConfig(name=name, width=16), (100, 84)).eval()
        with torch.no_grad():
            assert encoder(torch.rand(1, 1, 100, 84)).tokens_bnk.shape[1] == encoder.count


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_resnet_stem_halves_the_image(name):
    encoder = build_encoder(EncoderConfig(name=name, width=16), (64, 64))
    assert next(m for m in encoder.modules() if isinstance(m, nn.Conv2d)).stride == (2, 2)


def test_the_last_token_is_the_lower_right_corner():
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(name="vit", width=16), (64, 64)).eval()
    blank, marked = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    marked[..., 48:, 48:] = 1.0
    with torch.no_grad():
        change = (encoder(marked).tokens_bnk - encoder(blank).tokens_bnk).abs().sum(-1)[0]
    assert int(change.argmax()) == 15


def test_convolutions_lie_channels_last():
    encoder = build_encoder(EncoderConfig(width=16), (64, 64))
    kernels = [m.weight for m in encoder.modules() if isinstance(m, nn.Conv2d) and m.weight.shape[1] > 1]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_a_shape_of_other_dimensions_is_refused():
    with pytest.raises(ValueError, match="3 dimensions"):
        build_encoder(EncoderConfig(spatial_dims=3), (64, 64))


def test_flat_maps_of_volumes_are_not_computed_in_bf16():
    """Gradients of oneDNN's bf16 convolutions are garbage where a map is two voxels deep."""
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(spatial_dims=3, width=16), (32, 32, 32))
    images = torch.randn(2, 1, 32, 32, 32)
    weights = torch.randn(2, encoder.count, 16)
    assert encoder.grid[0] == 2

    def gradients(autocast):
        encoder.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            (encoder(images).tokens_bnk.float() * weights).mean().backward()
        return [weight.grad.clone() for weight in encoder.backbone.parameters() if weight.ndim > 1]

    for half, full in zip(gradients(True), gradients(False), strict=True):
        assert torch.isfinite(half).all()
        assert torch.allclose(half, full, rtol=0.05, atol=0.05 * float(full.abs().max()))
