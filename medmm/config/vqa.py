"""Settings of ``--task vqa``."""

from __future__ import annotations

from pydantic import Field

from medmm.config.sources import Fraction, Section


class VqaConfig(Section):
    """A question and a study in, an answer out."""

    question_tokens: int = Field(default=48, ge=8, le=512)
    """Longest question; a longer one is cut there, and how many were is said."""
    per_study: int = Field(default=8, ge=1)
    """Questions of a study that a step learns, drawn at random where it has more; its images are encoded once."""
    minimum: int = Field(default=5, ge=1)
    """Training patients with an answer for it to be one that the answer head can call. Rarer ones are only written."""
    head_weight: float = Field(default=1.0, gt=0)
    """Weight of the answer head's loss beside the language model's."""
    smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Share of the head's target that goes to all answers alike, so that it is not sure of what it knows by heart."""
    image_share: Fraction = 0.9
    """Share of the questions whose study is shown in training. The others teach the same model to answer without image,
    which every evaluation compares with; 0 trains a model that never sees one."""
