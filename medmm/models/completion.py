"""Masked image modelling: hidden patches completed from the visible ones.

Shape legend: I images, S spatial axes, N tokens of an image, P pixels of a patch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.config.schema import PreprocessConfig
from medmm.models.image_encoder import ImageEncoder


class Completion(nn.Module):
    """Hides patches behind a learned grey and reads them off the tokens (Xie et al. 2022), in 2D and 3D.

    Args:
        encoder: Image encoder, whose grid of tokens is that of the patches.
        preprocess: Size of the images.
    """

    def __init__(self, encoder: ImageEncoder, preprocess: PreprocessConfig) -> None:
        super().__init__()
        size = preprocess.size
        shape = (size, size) if preprocess.depth is None else (preprocess.depth, size, size)
        self.grid = encoder.grid
        self.sides = tuple(math.ceil(side / cells) for side, cells in zip(shape, encoder.grid, strict=True))
        self.grey = nn.Parameter(torch.zeros(1))
        self.read = nn.Sequential(
            nn.Linear(encoder.width, encoder.width), nn.GELU(), nn.Linear(encoder.width, math.prod(self.sides))
        )

    def forward(self, encoder: ImageEncoder, images: Tensor, hidden_in: Tensor) -> tuple[Tensor, Tensor]:
        """Complete images.

        Args:
            encoder: The image encoder.
            images: ``[I, 1, *S]`` normalised.
            hidden_in: ``[I, N]`` bool, True where a patch is hidden.

        Returns:
            Patches as completed and as they are, each brought to mean 0 and deviation 1 (He et al. 2022), float32
            ``[I, N, P]``.
        """
        cover = hidden_in.unflatten(1, self.grid).unsqueeze(1)
        for axis, side in enumerate(self.sides):
            cover = cover.repeat_interleave(side, dim=axis + 2)
        cover = cover[(..., *(slice(0, side) for side in images.shape[2:]))]
        tokens = encoder(torch.where(cover, self.grey.to(images.dtype), images)).tokens_bnk
        truth = self.patches(images)
        mean, deviation = truth.mean(-1, keepdim=True), truth.std(-1, keepdim=True)
        return self.read(tokens).float(), (truth - mean) / (deviation + 1e-3)

    def patches(self, images: Tensor) -> Tensor:
        """Cut images ``[I, 1, *S]`` into patches ``[I, N, P]``; what reaches over the edge is zero."""
        over = [cells * side - have
                for cells, side, have in zip(self.grid, self.sides, images.shape[2:], strict=True)]  # fmt: skip
        padded = functional.pad(images.float(), [edge for one in reversed(over) for edge in (0, one)]).squeeze(1)
        axes = len(self.grid)
        cut = padded.reshape(len(images), *(part for pair in zip(self.grid, self.sides, strict=True) for part in pair))
        order = [0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2)]
        return cut.permute(order).reshape(len(images), math.prod(self.grid), -1)


def hide(number: int, cells: int, share: float, device: torch.device) -> Tensor:
    """Choose patches to hide: ``[number, cells]`` bool, the same number in every image, by torch's generator."""
    count = min(cells - 1, max(1, round(share * cells)))
    rank = torch.rand(number, cells, device=device).argsort(1).argsort(1)
    return rank < count
