"""Findings ask the image for themselves.

Shape legend: B studies, M image tokens of a study, F findings, K channels of an image token, L=3 sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from medmm.types import Laterality

SIDES = tuple(Laterality)
"""Order of the side logits."""


@dataclass(frozen=True)
class FindingOutput:
    """What the head sees.

    Attributes:
        features_bfk: ``[B, F, K]`` float32, what each finding took from the image.
        presence_bf: ``[B, F]`` float32 logits that the finding is present.
        sides_bfl: ``[B, F, 3]`` float32 logits over :data:`SIDES`, given that it is present.
    """

    features_bfk: Tensor
    presence_bf: Tensor
    sides_bfl: Tensor


class StudyQueries(nn.Module):
    """Learned queries that attend over the image tokens of a study.

    Args:
        count: Queries F.
        width: Channels K of an image token.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, width) * 0.02)
        self.keys_values = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def features(self, tokens_bmk: Tensor, mask_bm: Tensor) -> Tensor:
        """What each query takes from the image, ``[B, F, K]`` float32.

        Args:
            tokens_bmk: ``[B, M, K]`` image tokens of all views of a study.
            mask_bm: ``[B, M]`` bool, False for tokens of absent views.
        """
        batch, _, width = tokens_bmk.shape
        keys, values = self.keys_values(tokens_bmk).chunk(2, dim=-1)
        queries = self.queries.expand(batch, -1, -1)
        attended = functional.scaled_dot_product_attention(
            _split(queries.to(keys.dtype)), _split(keys), _split(values), attn_mask=mask_bm[:, None, None, :]
        )
        taken = self.mix(attended.transpose(1, 2).flatten(2)).float()
        weights = (mask_bm / mask_bm.sum(1, keepdim=True)).unsqueeze(-1)
        mean = (tokens_bmk.float() * weights).sum(1, keepdim=True)  # of the whole study; trains from the first step on
        features: Tensor = self.norm(taken + mean)
        return features


class FindingQueries(StudyQueries):
    """A learned query a finding attends over the image tokens and reads presence and side from what it gets.

    Args:
        names: The findings, in the order of every F axis.
        width: Channels K of an image token.
        prevalence: Share of training studies with each finding; the head starts from it.
    """

    offset: Tensor

    def __init__(self, names: Sequence[str], width: int, prevalence: Sequence[float]) -> None:
        super().__init__(len(names), width)
        self.names = tuple(names)
        count = len(self.names)
        self.presence = nn.Parameter(torch.randn(count, width) / math.sqrt(width))
        odds = [math.log(p / (1 - p)) for p in (min(max(p, 0.01), 0.99) for p in prevalence)]
        self.bias = nn.Parameter(torch.tensor(odds))
        self.sides = nn.Parameter(torch.randn(count, len(SIDES), width) / math.sqrt(width))
        self.register_buffer("offset", torch.zeros(count))

    def forward(self, tokens_bmk: Tensor, mask_bm: Tensor) -> FindingOutput:
        """Read the findings.

        Args:
            tokens_bmk: ``[B, M, K]`` image tokens of all views of a study.
            mask_bm: ``[B, M]`` bool, False for tokens of absent views.
        """
        features = self.features(tokens_bmk, mask_bm)
        presence = (features * self.presence).sum(-1) + self.bias
        sides = torch.einsum("bfk,flk->bfl", features, self.sides)
        return FindingOutput(features, presence, sides)

    def probabilities(self, presence_bf: Tensor) -> Tensor:
        """Probabilities in [0, 1] in which the threshold chosen on validation lies at one half.

        Args:
            presence_bf: ``[B, F]`` logits.
        """
        return torch.sigmoid(presence_bf - self.offset)

    def called(self, presence_bf: Tensor) -> Tensor:
        """Whether each finding is called present, ``[B, F]`` bool, from its logits ``[B, F]``."""
        return presence_bf >= self.offset


class FindingTokens(nn.Module):
    """Tell the language model what the head sees: a token a finding, from its feature, presence and side.

    Presence and side are calls, not probabilities: while training they are the truth, and the language model learns to
    say them as they are, so that drafts follow the head and its thresholds.

    Args:
        count: Findings F.
        width: Channels K of a feature.
        out: Channels of the language model's embeddings.
    """

    def __init__(self, count: int, width: int, out: int) -> None:
        super().__init__()
        self.feature = nn.Linear(width, out)
        self.absent = nn.Parameter(torch.randn(count, out) * 0.5)
        self.present = nn.Parameter(torch.randn(count, out) * 0.5)
        self.sides = nn.Parameter(torch.randn(count, len(SIDES), out) * 0.5)
        self.norm = nn.LayerNorm(out)

    def forward(self, features_bfk: Tensor, present_bf: Tensor, side_bf: Tensor) -> Tensor:
        """Make tokens.

        Args:
            features_bfk: ``[B, F, K]`` features of the head.
            present_bf: ``[B, F]`` bool.
            side_bf: ``[B, F]`` int64 index into :data:`SIDES`; not read where the finding is absent.

        Returns:
            ``[B, F, out]`` float32.
        """
        # a product and a sum, not an index: the gradient of an index is added up by several threads in any order, and
        # what differs in the last bit after one step differs in every figure after a thousand
        chosen_bfs = side_bf.unsqueeze(-1) == torch.arange(len(SIDES), device=side_bf.device)
        sides_bfo = (chosen_bfs.unsqueeze(-1) * self.sides).sum(-2)
        said = torch.where(present_bf.unsqueeze(-1), self.present + sides_bfo, self.absent)
        tokens: Tensor = self.norm(self.feature(features_bfk).float() + said)
        return tokens


def _split(x: Tensor) -> Tensor:
    """``[B, X, K]`` to ``[B, heads, X, K / heads]``, four heads where K allows."""
    return x.unflatten(-1, (math.gcd(x.shape[-1], 4), -1)).transpose(1, 2)
