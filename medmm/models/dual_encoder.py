"""Two towers, scans and reports, that meet in one space, and a fusion in which words look at the image.

Shape legend: B studies, V views, M = V * N image tokens of a study, K channels of an image token, T words, D channels
of the shared space, U studies that teach more than the contrast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from medmm.config.pretraining import PretrainConfig
from medmm.config.schema import Config
from medmm.models.completion import Completion
from medmm.models.fusion import Fusion
from medmm.models.image_encoder import ImageEncoder
from medmm.models.pretrain_batch import PretrainInputs, PretrainOutput
from medmm.models.study_encoder import StudyEncoder
from medmm.models.text_encoder import MaskedWords, TextEncoder

_SIGMOID_BIAS = -10.0  # Zhai et al. 2023, section 3.2: most pairs are negative, and the loss begins there
_MOST_SCALE = math.log(100.0)  # Radford et al. 2021


@dataclass(frozen=True)
class _Seen:
    """What the towers see of some studies."""

    images_bd: Tensor
    texts_bd: Tensor
    tokens_bmk: Tensor
    token_mask_bm: Tensor
    words_btk: Tensor


class AttentionPool(nn.Module):
    """One vector of many tokens: what a learned query takes, beside the mean.

    Args:
        width: Channels of a token.
        out: Channels D.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, out, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors ``[B, D]`` float32 of tokens ``[B, M, width]`` under a mask ``[B, M]``."""
        tokens = tokens.float()
        scores = (self.key(tokens).float() @ self.query) / math.sqrt(len(self.query))
        weights = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=1)
        taken = (weights.unsqueeze(-1) * self.value(tokens).float()).sum(1)
        share = (mask / mask.sum(1, keepdim=True)).unsqueeze(-1)
        pooled = self.norm(taken + (tokens * share).sum(1))
        return functional.normalize(self.project(pooled).float(), dim=-1)


class DualEncoder(StudyEncoder):
    """Image tower, text tower and what their objectives need.

    Args:
        encoder: Image encoder.
        text: Text encoder.
        config: Objectives, fusion, views and normalisation.
    """

    def __init__(self, encoder: ImageEncoder, text: TextEncoder, config: Config) -> None:
        super().__init__(encoder, config.preprocess, config.model.max_views)
        wanted = config.pretrain
        self.text = text
        self.image_pool = AttentionPool(encoder.width, wanted.width)
        self.text_pool = AttentionPool(text.width, wanted.width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / wanted.temperature)))
        sigmoid = wanted.contrastive > 0 and wanted.contrast == "sigmoid"
        self.bias = nn.Parameter(torch.tensor(_SIGMOID_BIAS)) if sigmoid else None
        self.wanted: PretrainConfig = wanted
        heads = math.gcd(text.width, 4)
        fuses = wanted.masked_text > 0 or wanted.matching > 0
        self.fusion = Fusion(config.model.fusion, text.width, encoder.width, heads) if fuses else None
        self.words = MaskedWords(text.width, text.embeddings) if wanted.masked_text else None
        self.match = nn.Linear(text.width, 1) if wanted.matching else None
        self.completion = Completion(encoder, config.preprocess) if wanted.masked_image else None
        self.local = nn.ModuleList(
            [nn.Linear(text.width, wanted.width, bias=False), nn.Linear(encoder.width, wanted.width, bias=False)]
            if wanted.local else []
        )  # fmt: skip
        self._hold_still()

    def _hold_still(self) -> None:
        """What no objective teaches takes no gradient: several processes wait for the gradient of all that does."""
        wanted = self.wanted
        looks = wanted.contrastive or wanted.views
        reads = wanted.contrastive or wanted.masked_text or wanted.matching or wanted.local
        for taught, parts in (
            (wanted.contrastive, (self.text_pool,)),
            (looks, (self.image_pool, self.log_scale)),
            (reads, (self.text,)),
            (looks or reads, (self.view,)),
        ):
            for part in () if taught else parts:
                part.requires_grad_(False)

    @property
    def scale(self) -> Tensor:
        """Factor of cosines, at most 100."""
        return self.log_scale.clamp(max=_MOST_SCALE).exp()

    def embed_images(self, images: Tensor, view_mask: Tensor) -> Tensor:
        """Unit vectors ``[B, D]`` of studies; arguments as :meth:`see`."""
        pooled: Tensor = self.image_pool(*self.see(images, view_mask))
        return pooled

    def embed_texts(self, ids_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Unit vectors ``[B, D]`` of texts."""
        pooled: Tensor = self.text_pool(self.text(ids_bt, mask_bt), mask_bt)
        return pooled

    def forward(self, inputs: PretrainInputs) -> PretrainOutput:
        """Look at studies and read their texts, as the objectives that are on need it."""
        first, images, texts = self._towers(inputs)
        more: dict[str, Any] = {}
        part = min(inputs.part, len(first.tokens_bmk))
        if self.local and part:
            more |= self._regions(first, part)
        if inputs.masked_ut is not None:
            more["told_utv"] = self._told(inputs, first, part)
        if inputs.alone_ids is not None and inputs.alone_mask is not None:
            more["told_alone"] = self._told_alone(inputs.alone_ids, inputs.alone_mask)
        if self.match is not None and inputs.unlike_uu is not None:
            more |= self._matched(inputs, first, part, (images @ texts.T)[:part, :part].T.detach())
        if self.completion is not None and inputs.hidden is not None:
            present = (inputs.images[:part][inputs.view_mask[:part]] - self.mean) / self.std
            more["completed"], more["patches"] = self.completion(self.encoder, present, inputs.hidden)
        if self.wanted.views and inputs.view_mask.shape[1] > 1:
            more["views_bvd"] = self._views(first)
        return PretrainOutput(images, texts, self.scale, self.bias, **more)

    def _towers(self, inputs: PretrainInputs) -> tuple[_Seen, Tensor, Tensor]:
        """The first studies in full, and the vectors of all.

        Studies behind the first chunk are looked at again when their gradients are asked for, a chunk at a time, so
        that the activations of one chunk are all that is held (Gao et al. 2021).
        """
        size = self.wanted.chunk or len(inputs.images)
        rows = (inputs.images, inputs.view_mask, inputs.ids_bt, inputs.mask_bt)
        first = self._see_both(*(one[:size] for one in rows))
        images, texts = [first.images_bd], [first.texts_bd]
        for start in range(size, len(inputs.images), size):
            some = [one[start : start + size] for one in rows]
            image, text = self._later(some)
            images.append(image)
            texts.append(text)
        return first, torch.cat(images), torch.cat(texts)

    def _later(self, some: list[Tensor]) -> tuple[Tensor, Tensor]:
        if not torch.is_grad_enabled():
            seen = self._see_both(*some)
            return seen.images_bd, seen.texts_bd
        again = partial(_still_statistics, self)
        found: tuple[Tensor, Tensor] = checkpoint(
            lambda *rows: _vectors(self._see_both(*rows)), *some, use_reentrant=False,
            context_fn=lambda: (nullcontext(), again()),
        )  # fmt: skip
        return found

    def _see_both(self, images: Tensor, view_mask: Tensor, ids_bt: Tensor, mask_bt: Tensor) -> _Seen:
        tokens, mask = self.see(images, view_mask)
        words = self.text(ids_bt, mask_bt)
        return _Seen(self.image_pool(tokens, mask), self.text_pool(words, mask_bt), tokens, mask, words)

    def _regions(self, seen: _Seen, part: int) -> dict[str, Tensor]:
        words = self.local[0](seen.words_btk[:part]).float()
        regions = self.local[1](seen.tokens_bmk[:part]).float()
        return {
            "words_utd": functional.normalize(words, dim=-1),
            "regions_umd": functional.normalize(regions, dim=-1),
            "region_mask_um": seen.token_mask_bm[:part],
        }

    def _told(self, inputs: PretrainInputs, seen: _Seen, part: int) -> Tensor:
        assert self.fusion is not None
        assert self.words is not None
        assert inputs.masked_ut is not None
        mask = inputs.mask_bt[:part]
        words = self.text(inputs.masked_ut[:part], mask)
        told: Tensor = self.words(self.fusion(words, mask, seen.tokens_bmk[:part], seen.token_mask_bm[:part]))
        return told

    def _told_alone(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Masked words of texts that have no image: the fusion sees none."""
        assert self.fusion is not None
        assert self.words is not None
        nothing = torch.zeros(len(ids), 1, self.encoder.width, device=ids.device)
        absent = torch.zeros(len(ids), 1, dtype=torch.bool, device=ids.device)
        told: Tensor = self.words(self.fusion(self.text(ids, mask), mask, nothing, absent))
        return told

    def _matched(self, inputs: PretrainInputs, seen: _Seen, part: int, likeness: Tensor) -> dict[str, Tensor]:
        """Right pairs, and each text with a wrong image, likelier the more the towers take it for a right one."""
        assert self.fusion is not None
        assert self.match is not None
        assert inputs.unlike_uu is not None
        unlike = inputs.unlike_uu[:part, :part]
        some = unlike.any(1)
        weights = torch.softmax(likeness.float().masked_fill(~unlike, -math.inf) * 10, dim=1).nan_to_num(0.0)
        wrong = weights.argmax(1)
        if self.training:
            wrong = torch.multinomial(weights + ~some[:, None] * 1.0, 1).squeeze(1)
        words, mask = seen.words_btk[:part], inputs.mask_bt[:part]
        found = []
        for rows in (torch.arange(part, device=wrong.device), wrong):
            fused = self.fusion(words, mask, seen.tokens_bmk[rows], seen.token_mask_bm[rows])
            share = (mask / mask.sum(1, keepdim=True)).unsqueeze(-1)
            found.append(self.match((fused * share).sum(1)).float().squeeze(-1))
        return {"matched_u": found[0], "mismatched_u": found[1], "wrong_u": some}

    def _views(self, seen: _Seen) -> Tensor:
        """A vector a view; of absent views without meaning."""
        count = self.encoder.count
        tokens = seen.tokens_bmk.unflatten(1, (-1, count))
        there = torch.ones(tokens.shape[0] * tokens.shape[1], count, dtype=torch.bool, device=tokens.device)
        vectors: Tensor = self.image_pool(tokens.flatten(0, 1), there)
        return vectors.unflatten(0, tokens.shape[:2])


def _vectors(seen: _Seen) -> tuple[Tensor, Tensor]:
    return seen.images_bd, seen.texts_bd


@contextmanager
def _still_statistics(model: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are: a chunk that is looked at again was counted already."""
    norms = [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, None if (seen := norm.num_batches_tracked) is None else seen.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, seen) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and seen is not None:
                norm.num_batches_tracked.copy_(seen)
