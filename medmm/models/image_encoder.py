"""MONAI networks that turn images into tokens.

Shape legend: B images, C channels (1), D H W voxels, S spatial axes (H W, or D H W), N tokens, K channels of a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medmm.config.schema import EncoderConfig
from medmm.models.precision import sound

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAN: dict[str, Any] = {"layers": [1, 1, 1, 1], "block_inplanes": [24, 48, 96, 160], "conv1_t_size": 5}
"""A ResNet with a block a stage and no pooling in the stem: one token for every 16 pixels keeps small findings, and few
wide convolutions train faster on a processor than DenseNet's many narrow ones."""
_VIT: dict[str, Any] = {"hidden_size": 384, "mlp_dim": 1536, "num_layers": 8, "num_heads": 6}
_VIT_PATCH = 16


@dataclass(frozen=True)
class ImageTokens:
    """What an encoder sees.

    Attributes:
        tokens_bnk: ``[B, N, K]`` float32, the last axis of ``grid`` running fastest.
        grid: Tokens along each spatial axis, ``(H', W')`` or ``(D', H', W')``; their product is N.
    """

    tokens_bnk: Tensor
    grid: tuple[int, ...]


class ImageEncoder(nn.Module):
    """A backbone, a projection to the token width and a learned place for every token.

    Args:
        backbone: Maps ``[B, 1, *S]`` to ``[B, channels, *grid]``.
        channels: Channels that the backbone gives.
        grid: Its spatial size for the images that it is built for.
        config: Width and dropout.
    """

    def __init__(self, backbone: nn.Module, channels: int, grid: tuple[int, ...], config: EncoderConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.grid = grid
        self.width = config.width
        self.project = nn.Linear(channels, config.width)
        self.place = nn.Parameter(torch.randn(math.prod(grid), config.width) * 0.02)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    @property
    def count(self) -> int:
        """Tokens an image."""
        return math.prod(self.grid)

    def forward(self, images: Tensor) -> ImageTokens:
        """Encode images.

        Args:
            images: ``[B, 1, H, W]`` or ``[B, 1, D, H, W]`` float32, normalised, of the size that it is built for.
        """
        with sound(images, self.grid[0]):
            features = self.backbone(images).flatten(2).transpose(1, 2)
        tokens = self.norm(self.project(features).float() + self.place)
        return ImageTokens(self.dropout(tokens), self.grid)


def build_encoder(config: EncoderConfig, shape: Sequence[int]) -> ImageEncoder:
    """Build an encoder with random weights.

    Args:
        config: Which network, how wide its tokens are.
        shape: Spatial size of the images, ``(H, W)`` or ``(D, H, W)`` ; as many axes as ``config.spatial_dims``.

    Raises:
        ValueError: ``shape`` has another number of axes.
    """
    if len(shape) != config.spatial_dims:
        raise ValueError(f"an encoder of {config.spatial_dims} dimensions cannot take images of shape {tuple(shape)}")
    backbone, channels, grid = _BUILDERS[config.name](config, tuple(shape))
    encoder = ImageEncoder(backbone, channels, grid, config)
    if config.spatial_dims == 2:
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return encoder


def build_backbone(config: EncoderConfig, shape: Sequence[int]) -> nn.Module:
    """Build the network of an encoder alone, whose parameters are those that the encoder has under ``backbone.``.

    Raises:
        ValueError: As :func:`build_encoder`; or the network has no stages.
    """
    if config.name == "vit":
        raise ValueError("vit has no stages of falling size")
    return build_encoder(config, shape).backbone


def stage_maps(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    """The last map of every size that a backbone goes through, from the finest to the coarsest.

    Args:
        backbone: Of any encoder but ``vit``.
        images: ``[B, 1, *S]``, normalised.
    """
    maps: list[Tensor] = []
    current = images
    for layer in _layers(backbone):
        following = layer(current)
        if following.shape[2:] != current.shape[2:] and current is not images:
            maps.append(current)
        current = following
    return [*maps, current]


def _layers(backbone: nn.Module) -> Iterator[nn.Module]:
    """The layers that a backbone is a chain of: of DenseNet, those of its ``features`` and the last activation."""
    for child in backbone.stages if isinstance(backbone, _ResNetMaps) else backbone.children():
        if isinstance(child, nn.Sequential) and not isinstance(backbone, _ResNetMaps):
            yield from child
        else:
            yield child


_Built = tuple[nn.Module, int, tuple[int, ...]]


class _ResNetMaps(nn.Module):
    """A MONAI ResNet up to its last map."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        stem = [net.conv1, net.bn1, net.act] + ([] if net.no_max_pool else [net.maxpool])
        self.stages = nn.Sequential(*stem, net.layer1, net.layer2, net.layer3, net.layer4)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stages(images)
        return maps


class _ViTMaps(nn.Module):
    """A MONAI vision transformer whose tokens are put back on their grid."""

    def __init__(self, net: nn.Module, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.net, self.grid = net, grid

    def forward(self, images: Tensor) -> Tensor:
        tokens, _ = self.net(images)
        maps: Tensor = tokens.transpose(1, 2).unflatten(2, self.grid)
        return maps


def _densenet(config: EncoderConfig, shape: tuple[int, ...]) -> _Built:
    from monai.networks.nets.densenet import DenseNet121

    net: Any = DenseNet121(spatial_dims=config.spatial_dims, in_channels=1, out_channels=1)
    backbone = nn.Sequential(net.features, nn.ReLU(inplace=True))  # MONAI keeps this last ReLU in its classifier
    grid = tuple(math.ceil(math.ceil(side / 2) / 2) // 8 for side in shape)
    return backbone, net.features.norm5.num_features, grid


def _resnet(config: EncoderConfig, shape: tuple[int, ...]) -> _Built:
    from monai.networks.nets import resnet

    build: Callable[..., Any] = getattr(resnet, config.name)
    # Stride 2 in the stem, as He et al. 2016 have it: MONAI's default of 1 quadruples the work of every later layer.
    net = build(spatial_dims=config.spatial_dims, n_input_channels=1, conv1_t_stride=2, feed_forward=False)
    return _ResNetMaps(net), net.in_planes, _halved(shape, 5)


def _resnet_lean(config: EncoderConfig, shape: tuple[int, ...]) -> _Built:
    from monai.networks.nets.resnet import ResNet

    net = ResNet(
        "basic",
        spatial_dims=config.spatial_dims,
        n_input_channels=1,
        conv1_t_stride=2,
        no_max_pool=True,
        feed_forward=False,
        **_LEAN,
    )
    return _ResNetMaps(net), _LEAN["block_inplanes"][-1], _halved(shape, 4)


def _halved(shape: tuple[int, ...], times: int) -> tuple[int, ...]:
    for _ in range(times):
        shape = tuple(math.ceil(side / 2) for side in shape)
    return shape


def _vit(config: EncoderConfig, shape: tuple[int, ...]) -> _Built:
    from monai.networks.nets.vit import ViT

    net = ViT(
        in_channels=1,
        img_size=shape,
        patch_size=_VIT_PATCH,
        spatial_dims=config.spatial_dims,
        dropout_rate=config.dropout,
        **_VIT,
    )
    grid = tuple(side // _VIT_PATCH for side in shape)
    return _ViTMaps(net, grid), _VIT["hidden_size"], grid


_BUILDERS: dict[str, Callable[[EncoderConfig, tuple[int, ...]], _Built]] = {
    "resnet_lean": _resnet_lean,
    "densenet121": _densenet,
    "resnet18": _resnet,
    "resnet50": _resnet,
    "vit": _vit,
}
