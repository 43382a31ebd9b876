"""Image encoder, finding head and language model as one module.

Shape legend: B studies, V views, N tokens of a view, M = V * N, R of them that the language model reads, F findings,
P prefix tokens, T text tokens, K and E channels of an image token and of an embedding of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medmm.config.schema import GenerateConfig, PreprocessConfig
from medmm.models.decoder import TextDecoder
from medmm.models.heads import FindingOutput, FindingQueries, FindingTokens
from medmm.models.image_encoder import ImageEncoder
from medmm.models.study_writer import StudyWriter, absent_first


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
    """What the findings truly are, as the target text has it, while training.

    The language model then learns from its first step on to say what the finding tokens say, before the head is right.
    Some studies show it nothing else: a language model that always sees the image soon knows each training study by
    it, recites that study's report, and has nothing to say of a new one.

    Attributes:
        shown_b: ``[B]`` bool, True where it reads the image tokens and the head's features too.
        known_bf: ``[B, F]`` bool, True where ``present_bf`` takes the place of what the head calls present.
        present_bf: ``[B, F]`` bool.
        sided_bf: ``[B, F]`` bool, True where ``side_bf`` takes the place of the head's side.
        side_bf: ``[B, F]`` int64 index into :data:`medmm.models.heads.SIDES`, any where not sided.
    """

    shown_b: Tensor
    known_bf: Tensor
    present_bf: Tensor
    sided_bf: Tensor
    side_bf: Tensor


class ReportGenerator(StudyWriter):
    """Drafts a report from the views of a study.

    Args:
        encoder: Image encoder.
        decoder: Language model.
        head: Finding head, None to do without.
        preprocess: Mean and standard deviation that images in [0, 1] are normalised by.
        max_views: Most views of a study.
        prefix_grid: Most tokens of a view along each axis that the language model reads.
    """

    head: FindingQueries | None

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: TextDecoder,
        head: FindingQueries | None,
        preprocess: PreprocessConfig,
        max_views: int,
        prefix_grid: int,
    ) -> None:
        super().__init__(encoder, decoder, head, preprocess, max_views, prefix_grid)
        self.finding_tokens = FindingTokens(len(head.names), encoder.width, decoder.width) if head is not None else None

    @property
    def prefix_length(self) -> int:
        """Most prefix tokens of a study."""
        return self.image_length + (len(self.head.names) if self.head is not None else 0)

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
        seen = mask_bm if hint is None else mask_bm & hint.shown_b.unsqueeze(1)
        bridged, mask = absent_first(*self.bridged(tokens_bmk, seen))
        if findings is None or self.finding_tokens is None or self.head is None:
            return bridged, mask
        present, side = self.head.called(findings.presence_bf), findings.sides_bfl.argmax(-1)
        features = findings.features_bfk
        if hint is not None:
            features = features * hint.shown_b[:, None, None]
            present = torch.where(hint.known_bf, hint.present_bf, present)
            side = torch.where(hint.sided_bf, hint.side_bf, side)
        said = self.finding_tokens(features, present, side)
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
