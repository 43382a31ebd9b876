"""Settings of single tasks, and of how sure a model must be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medmm.config.sources import Section

Policy = Literal["ignore", "zeros", "ones", "soft"]


class ClassificationConfig(Section):
    """``--task classification``: what is learned, from which labels, and how it is called."""

    kind: Literal["multilabel", "single", "regression"] = "multilabel"
    """``multilabel``: each class present or not; ``single``: exactly one class a study; ``regression``: numbers of the
    columns ``data.columns.label``. Of the settings below, none concerns numbers."""
    labels: Literal["auto", "given", "report", "both"] = "auto"
    """``given``: the label column, or the findings that the data bring as a table; ``report``: what the labeler reads
    in the target sections; ``both``: given, and the report's where nothing is given; ``auto``: given where any training
    study has it, else the report's."""
    classes: tuple[str, ...] = ()
    """Findings or labels; empty: those that enough training studies have."""
    minimum: int = Field(default=10, ge=1)
    """Training studies that must have a class for it to be chosen."""
    uncertain: Policy = "ignore"
    """What an uncertain mention teaches: nothing, absent, present, or half of it (``soft``)."""
    unmentioned: Policy = "zeros"
    """What it teaches that a class is not mentioned."""
    loss: Literal["bce", "focal", "asymmetric"] = "bce"
    """Binary cross entropy; focal (Lin et al. 2017, gamma 2); asymmetric (Ridnik et al. 2021, gammas 4 and 1)."""
    balanced: bool = False
    """Weigh the positives of a class by the root of its negatives over its positives."""
    threshold: Literal["f1", "youden", "half"] = "f1"
    """Chosen on validation for each class: best F1, best sensitivity plus specificity, or a probability of one half."""
    specificity: float = Field(default=0.9, gt=0, lt=1)
    """At which ``sensitivity_at_specificity`` is read."""


class ReliabilityConfig(Section):
    """What is fitted on validation so that a model knows what it does not know."""

    coverage: float = Field(default=0.9, gt=0.5, lt=1)
    """Share of the truly present, and of the truly absent, whose conformal set holds the truth; of numbers, share of
    the studies whose interval does."""
    most_wrong: float = Field(default=0.0, ge=0, le=0.2)
    """Decline calls so that at most this share of the others is wrong, with 95% confidence; 0 declines none."""
    familiar: float = Field(default=0.99, gt=0.5, lt=1)
    """Share of studies like those of training that count as familiar; a stranger one is declined as a whole."""
