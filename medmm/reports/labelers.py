"""What reads findings in a report, chosen by name: the rules of this package, or a classifier from a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from medmm import registry
from medmm.config.evaluation import LabelerConfig
from medmm.types import Finding, Report


class Labeler(Protocol):
    """Reads findings in reports; equal names and versions give equal labels."""

    name: str

    @property
    def version(self) -> str:
        """What the labels depend on besides the text; belongs beside every number made from them."""
        ...

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of all findings that it can label."""
        ...

    def label(self, report: Report | str) -> dict[str, Finding]:
        """Finding name to what the report says of it; a finding that is not mentioned has no entry."""
        ...

    def label_all(self, reports: Sequence[Report | str]) -> list[dict[str, Finding]]:
        """The labels of many reports, in their order."""
        ...


@lru_cache(maxsize=4)
def choose_labeler(config: LabelerConfig) -> Labeler:
    """Make the labeler that the config names; the same one for the same settings.

    Raises:
        ConfigError: A user's vocabulary cannot be read or has problems.
        CheckpointError: The classifier's folder is no usable one, or holds pickles.
    """
    make = registry.resolve("labeler", config.name)
    labeler: Labeler = make(config.vocabulary) if config.name == "rules" else make(config.source)
    return labeler
