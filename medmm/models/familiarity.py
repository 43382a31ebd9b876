"""How much a study looks like those that a model was trained on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.float64]


class Familiarity(nn.Module):
    """Mahalanobis distance of a study's mean image token to those of validation (Lee et al. 2018, one class).

    Args:
        width: Channels K of an image token.
    """

    centre: Tensor
    whitening: Tensor
    limit: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("whitening", torch.zeros(width, width))
        self.register_buffer("limit", torch.full((), float("inf")))

    def forward(self, features_bk: Tensor) -> Tensor:
        """Distance of each study, ``[B]``, in standard deviations a channel; 0 where nothing was fitted."""
        moved = (features_bk.float() - self.centre) @ self.whitening
        return moved.square().mean(-1).sqrt()

    def is_stranger(self, distances_b: Tensor) -> Tensor:
        """Whether studies are farther off than the share of validation that counts as familiar, ``[B]`` bool."""
        return distances_b > self.limit

    def fit(self, features_nk: Floats, familiar: float) -> None:
        """Learn what is familiar.

        The distances of studies that the distribution was fitted to are too small, so every other study is held out for
        the limit (a quantile that a further study of the kind stays within with that probability).

        Args:
            features_nk: ``[N, K]`` of validation studies; fewer than 20 are too few, and nothing is ever strange.
            familiar: Share of such studies that count as familiar.
        """
        if len(features_nk) < 20:  # noqa: PLR2004
            return
        from sklearn.covariance import LedoitWolf

        fitted, held = features_nk[::2], features_nk[1::2]
        found = LedoitWolf().fit(fitted)
        values, vectors = np.linalg.eigh(found.covariance_)
        whitening = vectors / np.sqrt(np.maximum(values, 1e-12))
        for buffer, value in ((self.centre, found.location_), (self.whitening, whitening)):
            buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype))
        distances = np.sort(self(torch.as_tensor(held, dtype=torch.float32, device=self.centre.device)).cpu().numpy())
        rank = int(np.ceil((len(distances) + 1) * familiar))
        # beyond the farthest that was seen the quantile is not known: half as far again
        self.limit.fill_(float(distances[rank - 1]) if rank <= len(distances) else 1.5 * float(distances[-1]))


def mean_token(tokens_bmk: Tensor, mask_bm: Tensor) -> Tensor:
    """Mean of a study's image tokens, ``[B, K]`` float32; ``mask_bm`` is False for those of absent views."""
    weights = (mask_bm / mask_bm.sum(1, keepdim=True)).unsqueeze(-1)
    return (tokens_bmk.float() * weights).sum(1)
