"""Words that look at an image, in three ways.

Shape legend: B studies, T words, M image tokens, K channels of a word.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medmm.config.pretraining import FusionConfig

_WIDER = 4  # of a feed-forward layer


class Fusion(nn.Module):
    """Lets words attend to the image tokens of their study.

    Args:
        config: Kind and layers.
        width: Channels K of a word; image tokens are brought to it.
        image_width: Channels of an image token.
        heads: Heads of attention.
    """

    def __init__(self, config: FusionConfig, width: int, image_width: int, heads: int) -> None:
        super().__init__()
        self.kind = config.kind
        self.adapt = nn.Linear(image_width, width)
        self.layers = nn.ModuleList(_LAYERS[config.kind](width, heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, words_btk: Tensor, mask_bt: Tensor, tokens_bmk: Tensor, mask_bm: Tensor) -> Tensor:
        """Fuse.

        Args:
            words_btk: ``[B, T, K]`` features of words.
            mask_bt: ``[B, T]`` bool, False for padding.
            tokens_bmk: ``[B, M, image_width]`` image tokens.
            mask_bm: ``[B, M]`` bool, False for tokens of absent views. A study may have none at all.

        Returns:
            ``[B, T, K]`` float32 features of the words.
        """
        image = self.adapt(tokens_bmk)
        for layer in self.layers:
            words_btk = layer(words_btk, mask_bt, image, mask_bm)
        fused: Tensor = self.norm(words_btk.float())
        return fused


class _Attention(nn.Module):
    """Multi-head attention whose queries get nothing where there is nothing to look at."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.heads = heads
        self.query, self.mix = nn.Linear(width, width), nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)

    def forward(self, words: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
        queries = self.query(self.norm(words))
        keys, values = self.keys_values(seen.to(queries.dtype)).chunk(2, dim=-1)
        allowed = mask[:, None, None, :] | ~mask.any(1)[:, None, None, None]
        query, key, value = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (queries, keys, values))
        taken = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        mixed: Tensor = self.mix(taken.transpose(1, 2).flatten(2))
        return mixed * mask.any(1)[:, None, None]


class _Feed(nn.Sequential):
    """The feed-forward layer."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.LayerNorm(width), nn.Linear(width, _WIDER * width), nn.GELU(), nn.Linear(_WIDER * width, width)
        )


class _Cross(nn.Module):
    """Words look at each other, at the image, and think."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.among, self.at, self.feed = _Attention(width, heads), _Attention(width, heads), _Feed(width)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, mask: Tensor, image: Tensor, image_mask: Tensor) -> Tensor:
        words = words + self.among(words, self.among.norm(words), mask)
        words = words + self.at(words, self.norm(image), image_mask)
        return words + self.feed(words)


class _Gated(nn.Module):
    """As :class:`_Cross`, but what the image says comes through gates that begin closed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.among, self.at = _Attention(width, heads), _Attention(width, heads)
        self.feed, self.last = _Feed(width), _Feed(width)
        self.norm = nn.LayerNorm(width)
        self.gates = nn.Parameter(torch.zeros(2))

    def forward(self, words: Tensor, mask: Tensor, image: Tensor, image_mask: Tensor) -> Tensor:
        look, think = torch.tanh(self.gates)
        words = words + look * self.at(words, self.norm(image), image_mask)
        words = words + think * self.feed(words)
        words = words + self.among(words, self.among.norm(words), mask)
        return words + self.last(words)


class _Concat(nn.Module):
    """Words and image tokens are one sequence; the image tokens go on as they were, so layers are equal in cost."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.among, self.feed = _Attention(width, heads), _Feed(width)
        self.kinds = nn.Parameter(torch.randn(2, width) * 0.02)
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, mask: Tensor, image: Tensor, image_mask: Tensor) -> Tensor:
        seen = torch.cat([self.among.norm(words) + self.kinds[0], self.norm(image) + self.kinds[1]], dim=1)
        words = words + self.among(words, seen, torch.cat([mask, image_mask], dim=1))
        return words + self.feed(words)


_LAYERS = {"concat": _Concat, "cross": _Cross, "gated": _Gated}
