"""Which findings a study has: theme, side, zone, severity; and how they change until the next visit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from medmm.data.phantom.subject import stream, visit
from medmm.types import Laterality, Severity, Zone

FINDINGS = (
    "pleural_effusion",
    "pneumothorax",
    "consolidation",
    "atelectasis",
    "edema",
    "nodule",
    "mass",
    "cardiomegaly",
    "emphysema",
    "rib_fracture",
    "pacemaker",
    "endotracheal_tube",
)
SEVERITIES = (Severity.SMALL, Severity.MODERATE, Severity.LARGE)
THEMES: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "none": (0.27, {}),
    "heart failure": (0.11, {"cardiomegaly": 0.72, "edema": 0.68, "pleural_effusion": 0.4, "pacemaker": 0.5}),
    "intensive care": (
        0.13,
        {
            "endotracheal_tube": 0.72,
            "consolidation": 0.35,
            "pleural_effusion": 0.25,
            "atelectasis": 0.42,
            "edema": 0.25,
            "pneumothorax": 0.2,
            "pacemaker": 0.15,
        },
    ),
    "trauma": (
        0.12,
        {
            "rib_fracture": 0.75,
            "pneumothorax": 0.42,
            "pleural_effusion": 0.2,
            "atelectasis": 0.25,
            "endotracheal_tube": 0.12,
        },
    ),
    "airways": (
        0.11,
        {
            "emphysema": 0.88,
            "nodule": 0.3,
            "pneumothorax": 0.2,
            "consolidation": 0.15,
            "atelectasis": 0.2,
            "pacemaker": 0.15,
        },
    ),
    "tumour": (
        0.11,
        {
            "mass": 0.68,
            "nodule": 0.5,
            "pleural_effusion": 0.15,
            "atelectasis": 0.2,
            "emphysema": 0.15,
            "pacemaker": 0.15,
        },
    ),
    "infection": (0.06, {"consolidation": 0.8, "pleural_effusion": 0.2, "atelectasis": 0.2, "pacemaker": 0.15}),
    "single": (0.09, {}),
}
"""Share of the studies of each theme, and how probable its findings are."""
ANY = 0.085
"""Probability of each finding apart from the theme, in all but normal studies."""
CHRONIC = frozenset({"nodule", "mass", "cardiomegaly", "emphysema", "pacemaker"})
GRADED = frozenset(
    {"pleural_effusion", "pneumothorax", "consolidation", "atelectasis", "edema", "cardiomegaly", "emphysema"}
)
"""Findings whose grade radiologists name."""
SIDED = frozenset(FINDINGS) - {"cardiomegaly", "emphysema", "edema", "endotracheal_tube"}
ALIKE = ("absent", "stable", "worse", "better", "new")
"""How a finding stands to the prior study's."""


@dataclass(frozen=True)
class Condition:
    """One finding of one study as it is drawn; sizes follow from the seed of ``origin``.

    Attributes:
        name: One of ``FINDINGS``.
        side: The patient's side; None where a finding has none.
        zone: Height in the lung; None where a finding has none.
        severity: Grade.
        origin: Number of the study in which it began; its shape is drawn from that number, so it stays recognisable.
        change: How it stands to the prior study: ``stable``, ``worse``, ``better``, ``new``; None without a prior.
    """

    name: str
    side: Laterality | None
    zone: Zone | None
    severity: Severity
    origin: int
    change: str | None = None

    @property
    def grade(self) -> int:
        """0, 1 or 2 for small, moderate, large."""
        return SEVERITIES.index(self.severity)

    @property
    def signs(self) -> tuple[float, ...]:
        """Signs of x of the affected sides; right is +1."""
        if self.side is Laterality.RIGHT:
            return (1.0,)
        return (-1.0,) if self.side is Laterality.LEFT else (1.0, -1.0)


@dataclass(frozen=True)
class Facts:
    """What of a condition is known only once it has its place in a chest.

    Attributes:
        zone: Height of its middle in the lung.
        size_mm: Largest diameter of a nodule or mass; height of a tube's tip over the carina.
        ribs: Numbers of the broken ribs.
        count: How many there are.
    """

    zone: Zone | None = None
    size_mm: float | None = None
    ribs: tuple[int, ...] = ()
    count: int = 1


def conditions(seed: int, study: int) -> tuple[Condition, ...]:
    """All findings of a study, in the order of ``FINDINGS``."""
    place = visit(seed, study)
    if place.prior is None:
        return _first(seed, study)
    return _later(seed, study, _first(seed, place.prior))


def _first(seed: int, study: int) -> tuple[Condition, ...]:
    rng = stream(seed, study, "disease")
    theme = str(rng.choice(list(THEMES), p=[share for share, _ in THEMES.values()]))
    chance = rng.random(len(FINDINGS))
    odds = THEMES[theme][1]
    names = [name for name, luck in zip(FINDINGS, chance, strict=True) if luck < max(odds.get(name, 0.0), ANY)]
    if theme == "none":
        names = []
    elif theme == "single" or not names:
        names = [FINDINGS[int(rng.integers(len(FINDINGS)))]]
    return tuple(_draw(name, rng, study) for name in _compatible(names))


def _compatible(names: list[str]) -> list[str]:
    """Leave out what hides something else: stiff congested lungs do not look hyperinflated."""
    if "emphysema" in names and ("edema" in names or "cardiomegaly" in names):
        names = [name for name in names if name != "emphysema"]
    return names


def _draw(name: str, rng: np.random.Generator, study: int) -> Condition:
    severity = SEVERITIES[int(rng.choice(3, p=[0.35, 0.4, 0.25]))]
    sides = {"pleural_effusion": (0.37, 0.37, 0.26), "atelectasis": (0.4, 0.4, 0.2), "pacemaker": (0.3, 0.7, 0.0)}
    side: Laterality | None = None
    if name in SIDED:
        share = sides.get(name, (0.5, 0.5, 0.0))
        side = (Laterality.RIGHT, Laterality.LEFT, Laterality.BILATERAL)[int(rng.choice(3, p=share))]
    elif name in {"edema", "emphysema"}:
        side = Laterality.BILATERAL
    zones = (Zone.UPPER, Zone.MID, Zone.LOWER)
    zone: Zone | None = None
    if name in {"nodule", "mass"}:
        zone = zones[int(rng.choice(3, p=[0.4, 0.35, 0.25]))]
    elif name == "consolidation":
        zone = zones[int(rng.choice(3, p=[0.35, 0.3, 0.35]))]
    elif name == "atelectasis":
        zone = Zone.BASAL
    elif name == "pneumothorax":
        zone = Zone.APICAL
    return Condition(name, side, zone, severity, study)


def _later(seed: int, study: int, before: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """What the prior's findings have become, and what is new."""
    rng = stream(seed, study, "course")
    found: dict[str, Condition] = {}
    known = {old.name for old in before}
    for old in before:
        luck, turn = rng.random(2)
        if old.name not in CHRONIC and luck < 0.3:
            continue
        grade, change = old.grade, "stable"
        if old.name not in {"pacemaker", "endotracheal_tube"} and turn < 0.5:
            grade = min(grade + 1, 2) if turn < 0.28 else max(grade - 1, 0) if old.name not in CHRONIC else grade
            change = "worse" if grade > old.grade else "better" if grade < old.grade else "stable"
        found[old.name] = replace(old, severity=SEVERITIES[grade], change=change)
    fresh = _first(seed, study)
    room = 0.45 if before else 0.8
    for new in fresh:
        if new.name not in known and rng.random() < room:
            found[new.name] = replace(new, change="new")
    names = _compatible([name for name in FINDINGS if name in found])
    return tuple(found[name] for name in names)
