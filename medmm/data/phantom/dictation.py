"""The radiologists of the phantom's hospital: each with habits of heading, order, wording and thoroughness."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from medmm.data.phantom.disease import Condition, Facts
from medmm.types import Laterality, Zone

HABIT = (0.5, 0.25, 0.13, 0.07, 0.03, 0.02)
"""How often a radiologist uses a wording, in the order of preference."""


@dataclass(frozen=True)
class Radiologist:
    """Personal style.

    Attributes:
        number: Seeds the preferences among wordings.
        heading: How a heading stands: ``UPPER:``, ``Title:`` or a line of its own.
        order: Parts of the chest in the order of dictation.
        negatives: Probability that an unaffected part is mentioned.
        sections: Probability of indication, technique and comparison.
        impression: ``numbered``, ``plain`` or ``one line``.
        lobes: Whether places are named as lobes, else as parts of the lung.
        sizes_cm: Whether sizes are given in centimetres, else in millimetres.
    """

    number: int
    heading: str
    order: tuple[str, ...]
    negatives: float
    sections: tuple[float, float, float]
    impression: str
    lobes: bool
    sizes_cm: bool


_HEART_FIRST = ("devices", "heart", "lungs", "pleura", "bones")
_LUNGS_FIRST = ("lungs", "pleura", "heart", "bones", "devices")
_DEVICES_LAST = ("heart", "lungs", "pleura", "bones", "devices")
RADIOLOGISTS = (
    Radiologist(0, "upper", _HEART_FIRST, 0.8, (0.9, 0.3, 0.9), "numbered", True, False),
    Radiologist(1, "upper", _LUNGS_FIRST, 0.75, (1.0, 0.0, 1.0), "plain", True, True),
    Radiologist(2, "title", _DEVICES_LAST, 0.9, (1.0, 1.0, 1.0), "numbered", False, False),
    Radiologist(3, "upper", _HEART_FIRST, 0.6, (0.5, 0.0, 0.5), "plain", False, False),
    Radiologist(4, "line", _LUNGS_FIRST, 0.85, (1.0, 0.6, 1.0), "numbered", True, True),
    Radiologist(5, "title", _HEART_FIRST, 0.65, (0.7, 0.0, 0.9), "one line", True, False),
    Radiologist(6, "upper", _DEVICES_LAST, 0.95, (1.0, 1.0, 0.8), "plain", True, False),
    Radiologist(7, "line", _DEVICES_LAST, 0.7, (0.0, 0.0, 0.0), "one line", False, True),
)


@functools.cache
def phrases() -> dict[str, Any]:
    """The wordings of ``phrases.yaml``."""
    import yaml

    text = resources.files("medmm.data.phantom").joinpath("phrases.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def word(options: list[str], topic: str, who: Radiologist, rng: np.random.Generator) -> str:
    """One of the wordings, as this radiologist prefers them on this topic."""
    order = np.random.default_rng([who.number, zlib.crc32(topic.encode())]).permutation(len(options))
    share = np.array(HABIT[: len(options)])
    return options[int(order[int(rng.choice(len(share), p=share / share.sum()))])]


def place_words(side: Laterality | None, zone: Zone | None, lobes: bool) -> str:
    """Where something lies: ``right middle lobe``, ``left mid lung``."""
    if side is None or zone is None:
        return "lung"
    if lobes and not (zone is Zone.MID and side is Laterality.LEFT):
        return f"{side} {'middle' if zone is Zone.MID else zone} lobe"
    return f"{side} {zone} lung"


def size_words(size_mm: float, centimetres: bool) -> str:
    """A diameter as dictated."""
    return f"{size_mm / 10:.1f} cm" if centimetres else f"{size_mm:.0f} mm"


def rib_words(side: Laterality | None, numbers: tuple[int, ...]) -> str:
    """Neighbouring ribs: ``left 5th and 6th ribs``, ``left 5th through 8th ribs``."""
    names = [f"{n}{'rd' if n == 3 else 'th'}" for n in numbers]
    listed = names[0] if len(names) == 1 else f"{names[0]} {'and' if len(names) == 2 else 'through'} {names[-1]}"
    return f"{side} {listed} rib{'s' if len(names) > 1 else ''}"


def fill(text: str, condition: Condition, facts: Facts, who: Radiologist) -> str:
    """Put a condition's grade, side, place and size into a wording."""
    grades = phrases()[condition.name].get("grades")
    size = facts.size_mm
    return text.format(
        sev=grades[condition.grade] if grades else "",
        side=condition.side or "",
        place=place_words(condition.side, facts.zone or condition.zone, who.lobes),
        size=size_words(size, who.sizes_cm) if size else "",
        tip=size_words(size, True) if size else "",
        ribs=rib_words(condition.side, facts.ribs) if facts.ribs else "",
    )
