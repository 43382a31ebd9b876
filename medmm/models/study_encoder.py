"""The views of a study to image tokens; the part that every task's model shares.

Shape legend: B studies, V views, N tokens of a view, M = V * N, K channels of a token, S spatial axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medmm.config.schema import PreprocessConfig
from medmm.models.image_encoder import ImageEncoder


class StudyEncoder(nn.Module):
    """Encodes the views that are there, each with a learned mark of its place among them.

    Args:
        encoder: Image encoder.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
    """

    def __init__(self, encoder: ImageEncoder, preprocess: PreprocessConfig, max_views: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean, self.std = preprocess.mean, preprocess.std
        self.view = nn.Parameter(torch.randn(max_views, encoder.width) * 0.02)

    def see(self, images: Tensor, view_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the views that are there.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool, False for views that a study lacks; every study has one.

        Returns:
            Tokens ``[B, M, K]``, of no meaning for absent views, and their mask ``[B, M]``.
        """
        batch, views = view_mask.shape
        present = (images[view_mask] - self.mean) / self.std
        seen = self.encoder(present).tokens_bnk
        tokens = seen.new_zeros(batch, views, *seen.shape[1:])
        tokens[view_mask] = seen
        tokens = tokens + self.view[:views, None, :]
        return tokens.flatten(1, 2), view_mask.repeat_interleave(self.encoder.count, dim=1)
