"""Settings of ``medmm pretrain``: what a model learns from scans and reports before anything is labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from medmm.config.sources import Fraction, Section


class TextEncoderConfig(Section):
    """The language model that reads reports and prompts."""

    source: str | None = None
    """Local folder of a Hugging Face encoder such as BERT (docs/weights.md); None trains a small BERT from scratch."""
    layers: int = Field(default=3, ge=1)
    width: int = Field(default=192, ge=32)
    heads: int = Field(default=4, ge=1)
    vocabulary: int = Field(default=2000, ge=100)
    """Size of the tokenizer learned from the training reports; these four only without ``source``."""
    dropout: Fraction = 0.1
    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Longest text; the rest is cut off."""

    @model_validator(mode="after")
    def _heads_divide(self) -> TextEncoderConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self


class FusionConfig(Section):
    """How words look at the image: for masked text and for image-text matching."""

    kind: Literal["concat", "cross", "gated"] = "cross"
    """``concat``: words and image tokens attend to each other as one sequence; ``cross``: words attend to image tokens
    (Vaswani et al. 2017); ``gated``: the same behind gates that begin closed (Alayrac et al. 2022)."""
    layers: int = Field(default=1, ge=1, le=12)


class PretrainConfig(Section):
    """Objectives, each with the weight of its loss; 0 switches it off."""

    contrastive: float = Field(default=1.0, ge=0)
    """Whole studies against whole reports."""
    contrast: Literal["infonce", "sigmoid"] = "infonce"
    """InfoNCE (Radford et al. 2021), or a sigmoid a pair (Zhai et al. 2023)."""
    soften: Fraction = 0.8
    """Share of a target that goes to all pairs whose findings agree, in place of the own pair alone."""
    local: float = Field(default=0.0, ge=0)
    """Words against image regions (Yao et al. 2022)."""
    masked_text: float = Field(default=0.5, ge=0)
    """Masked words told from the other words and the image."""
    masked_image: float = Field(default=0.0, ge=0)
    """Hidden patches completed from visible ones."""
    matching: float = Field(default=0.0, ge=0)
    """Whether an image and a text belong together, told by the fusion."""
    views: float = Field(default=0.0, ge=0)
    """The views of a study pulled together."""
    text_mask: Fraction = 0.3
    """Share of the words that is masked."""
    image_mask: Fraction = 0.6
    """Share of the patches that is hidden."""
    part: float = Field(default=0.5, gt=0, le=1)
    """Share of a batch's studies that teach all but the contrast, which wants many."""
    shuffle: bool = True
    """Sentences of a training text come in any order."""
    one_section: Fraction = 0.15
    """Share of training texts that are one section of the report."""
    excerpt: Fraction = 0.5
    """Share of training texts that are one to three sentences of it, as short as a prompt."""
    width: int = Field(default=128, ge=8)
    """Channels of the space that studies and texts share."""
    temperature: float = Field(default=0.07, gt=0)
    """Where the learned temperature begins."""
    chunk: int | None = Field(default=None, ge=2)
    """Studies whose activations are held at a time: gradients are those of the whole batch (Gao et al. 2021), in the
    memory of a chunk and for twice the forward passes. None holds all. Batch norms see a chunk."""
    texts: str | None = None
    """READER:PATH of reports without images, for masked text alone."""
    texts_batch: int = Field(default=32, ge=1)
    """Such reports in a step."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> PretrainConfig:
        weights = (self.contrastive, self.local, self.masked_text, self.masked_image, self.matching, self.views)
        if not any(weights):
            raise ValueError("every objective has weight 0; give one a weight above 0")
        return self


class PromptsConfig(Section):
    """Words that findings are asked with."""

    file: Path | None = None
    """YAML with ``present``, ``absent`` and ``names``; None: the packaged ``prompts/radiology.yaml``."""
    findings: tuple[str, ...] = ()
    """Findings that are asked for; empty: those that enough training reports state."""
    minimum: int = Field(default=10, ge=1)
    """Training reports that must state a finding for it to be asked for."""
