"""Image encoder and a query a number as one module.

Shape legend: B studies, V views, M image tokens of a study, T targets, K channels of an image token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medmm.config.schema import PreprocessConfig
from medmm.models.familiarity import Familiarity, mean_token
from medmm.models.heads import StudyQueries
from medmm.models.image_encoder import ImageEncoder
from medmm.models.study_encoder import StudyEncoder


class ValueQueries(StudyQueries):
    """A learned query a target attends over the image tokens of all views and reads a number from what it gets.

    Args:
        count: Targets T.
        width: Channels K of an image token.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__(count, width)
        self.weight = nn.Parameter(torch.randn(count, width) * 0.1 / math.sqrt(width))  # begins near the mean
        self.bias = nn.Parameter(torch.zeros(count))

    def forward(self, tokens_bmk: Tensor, mask_bm: Tensor) -> Tensor:
        """Read the numbers, ``[B, T]`` float32, in deviations from the training mean.

        Args:
            tokens_bmk: ``[B, M, K]`` image tokens of all views of a study.
            mask_bm: ``[B, M]`` bool, False for tokens of absent views.
        """
        return (self.features(tokens_bmk, mask_bm) * self.weight).sum(-1) + self.bias


@dataclass(frozen=True)
class Intervals:
    """What is said of a batch, ``[B, T]`` float64 each, in the units of the data.

    Attributes:
        value: The number.
        low, high: Its conformal interval; infinite where validation had too few studies.
    """

    value: Tensor
    low: Tensor
    high: Tensor


class Scale(nn.Module):
    """From what the head says to units of the data and to intervals; it lies in buffers, which travel with the weights.

    Args:
        count: Targets T.
    """

    mean: Tensor
    deviation: Tensor
    margin: Tensor
    coverage: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        # float64: of a large number with a small deviation float32 keeps too little
        self.register_buffer("mean", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(count, dtype=torch.float64))
        self.register_buffer("margin", torch.full((count,), math.inf, dtype=torch.float64))
        self.register_buffer("coverage", torch.zeros((), dtype=torch.float64))  # for which it was fitted; 0: not yet

    def forward(self, standard_bt: Tensor) -> Intervals:
        """Read ``[B, T]`` deviations from the training mean."""
        value = standard_bt.double() * self.deviation + self.mean
        return Intervals(value, value - self.margin, value + self.margin)


class StudyRegressor(StudyEncoder):
    """Says of a study how large something is.

    Args:
        encoder: Image encoder.
        count: Targets T.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
    """

    def __init__(self, encoder: ImageEncoder, count: int, preprocess: PreprocessConfig, max_views: int) -> None:
        super().__init__(encoder, preprocess, max_views)
        self.head = ValueQueries(count, encoder.width)
        self.scale = Scale(count)
        self.familiarity = Familiarity(encoder.width)

    def forward(self, images: Tensor, view_mask: Tensor) -> Tensor:
        """Look at studies; gives ``[B, T]`` float32 deviations from the training mean.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool.
        """
        return self.look(images, view_mask)[0]

    def look(self, images: Tensor, view_mask: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, with each study's mean image token ``[B, K]``."""
        tokens, mask = self.see(images, view_mask)
        return self.head(tokens, mask), mean_token(tokens, mask)
