"""Settings of ``medmm probe``: what few labelled studies add to a pretrained run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from medmm.config.sources import Fraction, Section


class ProbeConfig(Section):
    """How much is shown, how often it is drawn, and how long is learned from it."""

    shots: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    """Training studies that have a finding, and as many that do not, from which it is learned."""
    seeds: int = Field(default=5, ge=1)
    """Draws of these studies."""
    random: bool = True
    """Whether the linear probe is also trained on an untrained image encoder of the same config."""
    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.001, 0.01, 0.1, 1.0, 10.0), min_length=1)
    """Values of the linear probe's ``C`` that validation chooses from."""
    blends: tuple[Fraction, ...] = Field(default=(0.2, 0.5, 0.8), min_length=1)
    """Shares of the adapted vector in the adapter's, the rest is the frozen one; validation chooses."""
    context: int = Field(default=4, ge=1, le=32)
    """Learned vectors in front of a finding's name."""
    steps: int = Field(default=100, ge=1)
    """Steps of the adapter and of the learned prompts."""
    lr: float = Field(default=2e-3, gt=0)
    """Their learning rate."""

    @field_validator("shots", "strengths", "blends")
    @classmethod
    def _rise(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError("must rise, each value once")
        return values
