"""Settings of a search for settings: what is tried, how often, and by which figure a trial is judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from medmm.config.sources import Section

Scalar = bool | int | float | str | None
_OF_A_RANGE = {"low", "high", "log", "step"}


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; whole ones for a setting that takes whole numbers."""

    low: int | float
    high: int | float
    log: bool = False
    """Draw the logarithm evenly: for learning rates, widths, numbers of steps."""
    step: int | float | None = Field(default=None, gt=0)
    """Only ``low``, ``low + step``, ...; None: any number, and every whole number."""

    @model_validator(mode="before")
    @classmethod
    def _keys_known(cls, given: object) -> object:
        if isinstance(given, Mapping) and (unknown := sorted(map(str, given.keys() - _OF_A_RANGE))):
            raise ValueError(f"a range has low, high, log and step, and no {', '.join(unknown)}")
        return given

    @model_validator(mode="after")
    def _makes_sense(self) -> Range:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0, and goes without step")
        return self

    def holds(self, value: object) -> bool:
        """Whether a value is one that the search may draw."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-9


def _kind(given: object) -> str:
    return "range" if isinstance(given, Mapping | Range) else "list"


Values = Annotated[tuple[Scalar, ...], Field(min_length=2)]
Choice = Annotated[Annotated[Range, Tag("range")] | Annotated[Values, Tag("list")], Discriminator(_kind)]


class TuneConfig(Section):
    """``medmm tune``."""

    space: dict[str, Choice] = Field(default_factory=dict)
    """Setting to what is tried for it, a range or a list: ``{train.lr: {low: 1e-4, high: 1e-2, log: true},
    model.encoder.width: [128, 256]}``; ``null`` takes a setting out again."""
    trials: int = Field(default=20, ge=1)
    """Trainings at most."""
    minutes: float | None = Field(default=None, gt=0)
    """No trial begins once the trials have taken so long; None: all of them are made."""
    objective: str = Field(default="val/loss", pattern=r"^(val|settled)/.+$")
    """Figure of the weights that a trial ends with, as ``history.json`` has it: ``val/NAME`` of their validation, or
    ``settled/NAME`` of what is fitted on validation afterwards."""
    direction: Literal["minimize", "maximize"] = "minimize"
    """Which of two objectives is better, the lower or the higher one."""
    startup: int = Field(default=5, ge=1)
    """Trials drawn at random before the search learns from them; until as many are finished none is stopped."""
    prune: bool = True
    """Stop a trial whose best validation so far is worse than the median of the finished trials at the same one."""
    warmup: int = Field(default=2, ge=0)
    """Validations that every trial gets before it may be stopped."""
    keep: int = Field(default=1, ge=1)
    """Trials that keep their weights, the best ones."""

    @field_validator("space", mode="before")
    @classmethod
    def _by_dotted_key(cls, given: object) -> object:
        """Take ``{train: {lr: ...}}``, as a command line gives it, for ``{train.lr: ...}``; the last one wins."""
        if not isinstance(given, Mapping):
            return given
        return {key: choice for key, choice in dict(_flat(given)).items() if choice is not None}

    @field_validator("space")
    @classmethod
    def _values_differ(cls, space: dict[str, Range | tuple[Scalar, ...]]) -> dict[str, Range | tuple[Scalar, ...]]:
        twice = [key for key, choice in space.items() if isinstance(choice, tuple) and len(set(choice)) < len(choice)]
        if twice:
            raise ValueError(f"a value stands twice in {', '.join(twice)}")
        return space


def _flat(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and not {"low", "high"} & value.keys():
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
