"""Networks that outline: a U-Net on the stages of the house's encoders, or one of MONAI's.

Shape legend: B images, I channels of an image, C maps (classes, and the background where they exclude each other), S
spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.config.schema import EncoderConfig, PreprocessConfig
from medmm.config.segmentation import SegmentationConfig
from medmm.errors import UsageError
from medmm.models.image_encoder import build_backbone, stage_maps
from medmm.models.precision import sound

_FINEST = {2: 16, 3: 8}  # channels at full resolution, where a convolution costs most
_NARROWEST = 16
_WIDEST = 160
_RARE = -2.0  # logit that a class begins with: most voxels show none
_COARSER = 2  # maps of the decoder below the finest that learn too
_LEAST_SIDE = 4  # voxels that the coarsest map of DynUNet keeps along an axis
_MOST_STRIDES = 5
_GROUPED = 4  # channels of a group norm's group
_DYNUNET = (16, 32, 64, 128, 192, 192)
_SWIN_MULTIPLE = 32


class Segmenter(nn.Module):
    """A network with what surrounds it: normalisation, and what validation chose for each class.

    Args:
        network: Maps ``[B, I, *S]`` to a list of logits ``[B, C, *S]``, the finest first, coarser ones while it learns.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        classes: Number of classes without the background.
        multiple: As :func:`side_multiple` gives it.
    """

    largest: Tensor
    filled: Tensor

    def __init__(self, network: nn.Module, preprocess: PreprocessConfig, classes: int, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple
        if isinstance(network, UNet):  # under the name that every task's model has it by, so that runs can take it over
            self.encoder = nn.ModuleDict({"backbone": network.backbone})
        self.network = network
        self.mean, self.std = preprocess.mean, preprocess.std
        self.register_buffer("largest", torch.zeros(classes, dtype=torch.uint8))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.uint8))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Look at images.

        Args:
            images: ``[B, I, *S]`` float32 in [0, 1]; sides are multiples of :func:`side_multiple`.

        Returns:
            Logits, float32, the finest first; only these outside of training.
        """
        # on a processor a group norm of bf16 volumes takes 14 times as long where channels lie last (torch 2.13)
        solid = torch.contiguous_format if images.device.type == "cpu" else torch.channels_last_3d
        layout = torch.channels_last if images.ndim == 4 else solid
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=layout)
        with sound(images, images.shape[2] // self.multiple):
            logits: list[Tensor] = self.network(normalised)
        return [one.float() for one in logits]


class UNet(nn.Module):
    """A decoder on the stages of an image encoder (Ronneberger et al. 2015), with a fine stage of its own.

    Args:
        backbone: As :func:`medmm.models.image_encoder.build_backbone` gives it; its parameters keep their names.
        dims: 2 or 3.
        maps: C.
        supervised: Whether coarser maps learn too.
        background: Whether the first map is the background.
        channels: I, as the backbone takes them.
    """

    def __init__(  # noqa: PLR0913, PLR0917
        self, backbone: nn.Module, dims: int, maps: int, supervised: bool, background: bool, channels: int = 1
    ) -> None:
        super().__init__()
        self.backbone = backbone
        finest, widths = _FINEST[dims], _stage_widths(backbone, dims, channels)
        self.fine = _block(dims, channels, finest)
        own = [min(_WIDEST, max(_NARROWEST, width)) for width in widths[:-1]]
        below = [*own[1:], widths[-1]]
        self.up = nn.ModuleList(_Up(dims, low, skip, out)
                                for low, skip, out in zip([own[0], *below], [finest, *widths[:-1]], [finest, *own],
                                                          strict=True))  # fmt: skip
        heads = [finest, *own][: 1 + (_COARSER if supervised else 0)]
        self.heads = nn.ModuleList(_convolution(dims)(width, maps, 1) for width in heads)
        for head in self.heads:
            nn.init.constant_(head.bias, _RARE)  # type: ignore[arg-type]
            if background:
                nn.init.zeros_(head.bias[:1])  # type: ignore[index]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits of the finest map, and while it learns of the coarser ones."""
        stages = stage_maps(self.backbone, images)
        skips = [self.fine(images), *stages[:-1]]
        current, decoded = stages[-1], []
        for up, skip in zip(reversed(self.up), reversed(skips), strict=True):
            current = up(current, skip)
            decoded.append(current)
        heads = self.heads if self.training else self.heads[:1]
        return [head(one) for head, one in zip(heads, reversed(decoded), strict=False)]


class _Up(nn.Module):
    """One step up: the coarser map made narrow and enlarged, joined with the encoder's and mixed."""

    def __init__(self, dims: int, low: int, skip: int, out: int) -> None:
        super().__init__()
        self.narrow = _convolution(dims)(low, out, 1)
        self.mix = _block(dims, out + skip, out)
        self.way = "bilinear" if dims == 2 else "trilinear"

    def forward(self, low: Tensor, skip: Tensor) -> Tensor:
        enlarged = functional.interpolate(self.narrow(low), skip.shape[2:], mode=self.way, align_corners=False)
        mixed: Tensor = self.mix(torch.cat([enlarged, skip], 1))
        return mixed


class _Listed(nn.Module):
    """A network of MONAI's that gives a tensor, or while it learns several stacked ones, as a list."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> list[Tensor]:
        found: Tensor = self.net(images)
        stacked = found.ndim > images.ndim
        return list(found.unbind(1)) if stacked else [found]


def build_network(  # noqa: PLR0913, PLR0917
    config: SegmentationConfig,
    encoder: EncoderConfig,
    patch: Sequence[int],
    maps: int,
    spacing_mm: Sequence[float],
    background: bool = False,
    channels: int = 1,
) -> nn.Module:
    """Build the network that a config names, with random weights.

    Args:
        config: Which network.
        encoder: Whose stages ``unet`` stands on.
        patch: Pixels or voxels that it sees at once.
        maps: C.
        spacing_mm: Of the patch, along S; only its proportions matter.
        background: Whether the first map is the background.
        channels: I.

    Raises:
        UsageError: ``swin_unetr`` needs larger patches.
    """
    dims = len(patch)
    if config.network == "unet":
        backbone = build_backbone(encoder.model_copy(update={"spatial_dims": dims}), patch)
        _take_channels(backbone, channels)
        network: nn.Module = UNet(backbone, dims, maps, config.deep_supervision, background, channels)
    elif config.network == "dynunet":
        network = _Listed(_dynunet(patch, spacing_mm, maps, config.deep_supervision, channels))
    else:
        from monai.networks.nets.swin_unetr import SwinUNETR

        if max(patch) < 2 * _SWIN_MULTIPLE:
            raise UsageError("patches are too small for swin_unetr", where="segmentation.patch", got=max(patch),
                             expected=f"a side of {2 * _SWIN_MULTIPLE} or more")  # fmt: skip

        network = _Listed(SwinUNETR(channels, maps, feature_size=24, spatial_dims=dims))
    if dims == 3:
        _norms_without_batch(network)
    if dims == 2:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def side_multiple(config: SegmentationConfig, encoder: EncoderConfig) -> int:
    """What the sides of a patch must be multiples of."""
    if config.network == "unet":
        return 16 if encoder.name == "resnet_lean" else 32
    return _SWIN_MULTIPLE if config.network == "swin_unetr" else 16


def strides_of(patch: Sequence[int], spacing_mm: Sequence[float]) -> list[tuple[int, ...]]:
    """How often and along which axes DynUNet halves a patch, as nnU-Net plans it (Isensee et al. 2021).

    An axis is halved while it keeps four voxels and its voxels are less than twice as long as the shortest ones.
    """
    sides, steps = [float(side) for side in patch], [float(step) for step in spacing_mm]
    strides: list[tuple[int, ...]] = []
    while len(strides) < _MOST_STRIDES:
        shortest = (
            min(step for step, side in zip(steps, sides, strict=True) if side >= 2 * _LEAST_SIDE)
            if any(side >= 2 * _LEAST_SIDE for side in sides)
            else 0.0
        )
        stride = tuple(
            2 if side >= 2 * _LEAST_SIDE and side % 2 == 0 and step < 2 * shortest else 1
            for side, step in zip(sides, steps, strict=True)
        )
        if max(stride) == 1:
            break
        strides.append(stride)
        sides = [side / factor for side, factor in zip(sides, stride, strict=True)]
        steps = [step * factor for step, factor in zip(steps, stride, strict=True)]
    return strides


def _dynunet(
    patch: Sequence[int], spacing_mm: Sequence[float], maps: int, supervised: bool, channels: int
) -> nn.Module:
    from monai.networks.nets.dynunet import DynUNet

    strides = strides_of(patch, spacing_mm)
    ones = (1,) * len(patch)
    supervised = supervised and len(strides) > _COARSER
    kernels = [(3,) * len(patch)] * (len(strides) + 1)
    options: dict[str, Any] = {"deep_supervision": True, "deep_supr_num": _COARSER} if supervised else {}
    return DynUNet(
        len(patch), channels, maps, kernels, [ones, *strides], strides, filters=_DYNUNET[: len(kernels)],
        res_block=False, **options,
    )  # fmt: skip


def _norms_without_batch(network: nn.Module) -> None:
    """Put group norms in the place of batch norms: patches of volumes come one or two at a time. Weights keep names."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm3d):
                channels = child.num_features
                setattr(module, name, nn.GroupNorm(max(1, channels // _GROUPED), channels))


def _convolution(dims: int) -> Any:
    return nn.Conv2d if dims == 2 else nn.Conv3d


def _block(dims: int, channels: int, out: int) -> nn.Sequential:
    norm: Any = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    return nn.Sequential(_convolution(dims)(channels, out, 3, padding=1, bias=False), norm(out), nn.ReLU(inplace=True))


def _take_channels(backbone: nn.Module, channels: int) -> None:
    """Give a backbone for one channel a first convolution for several; its other weights stay."""
    if channels == 1:
        return
    path, first = next((name, one) for name, one in backbone.named_modules() if isinstance(one, nn.Conv2d | nn.Conv3d))
    parent, _, name = path.rpartition(".")
    kind: Any = type(first)
    wider = kind(
        channels, first.out_channels, first.kernel_size, first.stride, first.padding, first.dilation,
        bias=first.bias is not None,
    )  # fmt: skip
    setattr(backbone.get_submodule(parent), name, wider)


@torch.no_grad()
def _stage_widths(backbone: nn.Module, dims: int, channels: int) -> list[int]:
    """Channels of the backbone's stages, the finest first."""
    was = backbone.training
    widths = [one.shape[1] for one in stage_maps(backbone.eval(), torch.zeros(1, channels, *(32,) * dims))]
    backbone.train(was)
    return widths
