"""Image encoder, finding head and language model as one module.

Shape legend: B studies, V views, N tokens of a view, M = V * N, F findings, P prefix tokens, T text tokens, K and E
channels of an image token and of an embedding of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medmm.config.schema import GenerateConfig, PreprocessConfig
from medmm.models.decoder import TextDecoder
from medmm.models.heads import FindingOutput, FindingQueries, FindingTokens
from medmm.models.image_encoder import ImageEncoder


@dataclass(frozen=True)
class ReportOutput:
    """What the model makes of a batch.

    Attributes:
        logits_btv: ``[B', T, V]`` logits of the text, of the first B' studies that have one; None without text.
        findings: What the finding head sees, None without head.
    """

    logits_btv: Tensor | None
    findings: FindingOutput | None


@dataclass(frozen=True)
class Hint:
    """What the findings truly are, for some studies while training.

    The language model then learns from its first step on to say what the finding tokens say, before the head is right.

    Attributes:
        use_bf: ``[B, F]`` bool, True where ``present_bf`` takes the place of the head's probability.
        present_bf: ``[B, F]`` float32 in [0, 1].
        use_sides_bf: ``[B, F]`` bool, True where ``sides_bfl`` takes the place of the head's.
        sides_bfl: ``[B, F, 3]`` float32, summing to 1.
    """

    use_bf: Tensor
    present_bf: Tensor
    use_sides_bf: Tensor
    sides_bfl: Tensor


class ReportGenerator(nn.Module):
    """Drafts a report from the views of a study.

    Args:
        encoder: Image encoder.
        decoder: Language model.
        head: Finding head, None to do without.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: TextDecoder,
        head: FindingQueries | None,
        preprocess: PreprocessConfig,
        max_views: int,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = encoder, decoder, head
        self.mean, self.std = preprocess.mean, preprocess.std
        self.view = nn.Parameter(torch.randn(max_views, encoder.width) * 0.02)
        self.bridge = nn.Sequential(nn.Linear(encoder.width, decoder.width), nn.LayerNorm(decoder.width))
        self.finding_tokens = FindingTokens(len(head.names), encoder.width, decoder.width) if head is not None else None

    @property
    def prefix_length(self) -> int:
        """Most prefix tokens of a study."""
        return len(self.view) * self.encoder.count + (len(self.head.names) if self.head is not None else 0)

    def see(self, images: Tensor, view_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the views that are there.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool, False for views that a study lacks; every study has one.

        Returns:
            Tokens ``[B, M, K]``, zero for absent views, and their mask ``[B, M]``.
        """
        batch, views = view_mask.shape
        present = (images[view_mask] - self.mean) / self.std
        seen = self.encoder(present).tokens_bnk
        tokens = seen.new_zeros(batch, views, *seen.shape[1:])
        tokens[view_mask] = seen
        tokens = tokens + self.view[:views, None, :]
        return tokens.flatten(1, 2), view_mask.repeat_interleave(self.encoder.count, dim=1)

    def forward(
        self, images: Tensor, view_mask: Tensor, ids_bt: Tensor | None = None, hint: Hint | None = None
    ) -> ReportOutput:
        """Look at studies and, where text is given, predict its tokens.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool.
            ids_bt: ``[B', T]`` int64 ids of the first B' studies' texts, padded at the right.
            hint: The truth about the findings of the first B' studies.
        """
        tokens, mask = self.see(images, view_mask)
        findings = self.head(tokens, mask) if self.head is not None else None
        if ids_bt is None:
            return ReportOutput(None, findings)
        count = len(ids_bt)
        prefix, prefix_mask = self.prefix(tokens[:count], mask[:count], _first(findings, count), hint)
        return ReportOutput(self.decoder(prefix, prefix_mask, ids_bt), findings)

    def prefix(
        self, tokens_bmk: Tensor, mask_bm: Tensor, findings: FindingOutput | None, hint: Hint | None = None
    ) -> tuple[Tensor, Tensor]:
        """Make the language model's prefix: absent views, then present ones, then a token a finding.

        Returns:
            Embeddings ``[B, P, E]`` and their mask ``[B, P]``, False only at the left end.
        """
        order = torch.argsort(mask_bm.int(), dim=1, stable=True)
        bridged = self.bridge(tokens_bmk)
        bridged = torch.take_along_dim(bridged, order.unsqueeze(-1), dim=1)
        mask = torch.take_along_dim(mask_bm, order, dim=1)
        if findings is None or self.finding_tokens is None or self.head is None:
            return bridged, mask
        present, sides = self.head.probabilities(findings.presence_bf), findings.sides_bfl.softmax(-1)
        if hint is not None:
            present = torch.where(hint.use_bf, hint.present_bf, present)
            sides = torch.where(hint.use_sides_bf.unsqueeze(-1), hint.sides_bfl, sides)
        said = self.finding_tokens(findings.features_bfk, present, sides)
        whole = torch.cat([bridged.to(said.dtype), said], dim=1)
        return whole, torch.cat([mask, mask.new_ones(said.shape[:2])], dim=1)

    @torch.no_grad()
    def draft(
        self, images: Tensor, view_mask: Tensor, config: GenerateConfig
    ) -> tuple[Tensor, Tensor | None, FindingOutput | None]:
        """Write reports.

        Args:
            images: ``[B, V, 1, *S]`` float32 in [0, 1].
            view_mask: ``[B, V]`` bool.
            config: How to write.

        Returns:
            Token ids ``[B, T]``; without head None, else the findings' probabilities ``[B, F]`` in [0, 1]; likewise its
            output.
        """
        tokens, mask = self.see(images, view_mask)
        findings = self.head(tokens, mask) if self.head is not None else None
        prefix, prefix_mask = self.prefix(tokens, mask, findings)
        ids = self.decoder.generate(prefix, prefix_mask, config)
        probabilities = self.head.probabilities(findings.presence_bf) if self.head is not None and findings else None
        return ids, probabilities, findings


def _first(findings: FindingOutput | None, count: int) -> FindingOutput | None:
    if findings is None:
        return None
    return FindingOutput(findings.features_bfk[:count], findings.presence_bf[:count], findings.sides_bfl[:count])
