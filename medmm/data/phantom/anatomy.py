"""From a patient, an exposure and findings to the scene in the beam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from medmm.data.phantom import airspace, fracture, gravity, hardware, materials, pleura, skeleton, thorax, vessels
from medmm.data.phantom.disease import Condition, Facts
from medmm.data.phantom.geometry import Points, ellipsoid
from medmm.data.phantom.pleura import Space
from medmm.data.phantom.scene import Component, Scene
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.subject import Acquisition, Patient, stream
from medmm.data.phantom.tubes import Tubes, along, join, keep
from medmm.types import Zone


@dataclass(frozen=True)
class Case:
    """A study's chest.

    Attributes:
        scene: What is in the beam.
        chest: Its soft parts.
        facts: Finding name to where and how large it is.
        organs: Organ to its shapes; only of a chest that is whole, see :mod:`medmm.data.phantom.whole`.
    """

    scene: Scene
    chest: thorax.Thorax
    facts: dict[str, Facts]
    organs: Mapping[str, tuple[Solid | Tubes, ...]] = field(default_factory=dict)


def assemble(
    seed: int, study: int, number: int, who: Patient, exposure: Acquisition, found: tuple[Condition, ...]
) -> Case:
    """Build the chest of a study; ``number`` is the patient's, from which anatomy is drawn."""
    sick = {condition.name: condition for condition in found}
    shape = shape_of(seed, who, exposure, sick)
    chest = thorax.build(who, shape, exposure.projection, exposure.scapula_mm)
    facts: dict[str, Facts] = {}
    parts = _trunk(seed, study, who, chest)
    parts += _bones(seed, number, who, chest, exposure, sick, facts)
    for lung in chest.lungs:
        parts += lung_parts(seed, number, who, Space(lung), sick, facts)
    parts += hardware_parts(seed, study, chest, exposure, sick, facts)
    return Case(Scene(tuple(parts)), chest, facts)


def _rng(seed: int, condition: Condition, sign: float = 0.0) -> np.random.Generator:
    return stream(seed, condition.origin, f"{condition.name} {sign:+.0f}")


def shape_of(seed: int, who: Patient, exposure: Acquisition, sick: dict[str, Condition]) -> thorax.Shape:
    """What heart size, hyperinflation and lost volume do to the chest."""
    share = who.heart_share * (1.03 if exposure.projection == "AP" else 1.0)
    share = min(share, 0.485)
    lift = [0.0, 0.0]
    shift = 0.0
    if "cardiomegaly" in sick:
        low, high = ((0.54, 0.58), (0.58, 0.63), (0.63, 0.7))[sick["cardiomegaly"].grade]
        share = _rng(seed, sick["cardiomegaly"]).uniform(low, high)
    if "atelectasis" in sick:
        condition = sick["atelectasis"]
        rng = _rng(seed, condition)
        for sign in condition.signs:
            loss = rng.uniform(2, 8) + 7 * condition.grade
            lift[0 if sign > 0 else 1] += loss
            shift += sign * 0.35 * loss
    if "pneumothorax" in sick and sick["pneumothorax"].grade == 2:
        shift -= sick["pneumothorax"].signs[0] * _rng(seed, sick["pneumothorax"]).uniform(2, 14)
    inflation, curve, down = 1.0, 1.0, exposure.inspiration_mm
    if "emphysema" in sick:
        grade = sick["emphysema"].grade
        inflation, curve, share = 1.02 + 0.015 * grade, 0.62 - 0.14 * grade, share * 0.88
        down = max(down, 0.0) + 8 + 5 * grade
    return thorax.Shape(share, down, (lift[0], lift[1]), curve, inflation, shift)


def _trunk(seed: int, study: int, who: Patient, chest: thorax.Thorax) -> list[Component]:
    parts = [
        Component("body", materials.SOFT, Solid(chest.trunk)),
        Component("heart", materials.BLOOD - materials.SOFT, Solid(chest.heart)),
        Component("airway", materials.AIR - materials.SOFT, vessels.airway(chest)),
    ]
    return parts + gas_parts(seed, study, chest)


def gas_parts(seed: int, study: int, chest: thorax.Thorax) -> list[Component]:
    """The bubble in the stomach of most patients."""
    rng = stream(seed, study, "abdomen")
    if rng.uniform(0, 1) >= 0.7:
        return []
    size = np.array([rng.uniform(14, 34), rng.uniform(14, 34), rng.uniform(8, 22)])
    under = chest.floor_mm[1] - size[2] - rng.uniform(7, 20)
    place = (-rng.uniform(0.3, 0.62) * chest.half_width_mm, 18.0, under)
    return [Component("gastric gas", materials.AIR - materials.SOFT, Solid((ellipsoid(place, size),)))]


def _bones(
    seed: int,
    number: int,
    who: Patient,
    chest: thorax.Thorax,
    exposure: Acquisition,
    sick: dict[str, Condition],
    facts: dict[str, Facts],
) -> list[Component]:
    ribs, parts = ribs_of(seed, number, who, chest, sick, facts)
    lift = 0.4 * exposure.scapula_mm + (4 if exposure.projection == "PA" else 10)
    shafts = [(rib.path, rib.radius_mm) for rib in ribs]
    shafts += [(path, 5.8 * who.height) for path in skeleton.clavicles(who, chest, lift)]
    parts += long_bones(who, shafts)
    flat = 0.55 * who.bone * (materials.CORTICAL_BONE - materials.SOFT)
    for part in skeleton.scapulae(who, chest, exposure.scapula_mm):
        thin = min(1 / np.sqrt(np.linalg.eigvalsh(part.matrix))) < 10
        parts.append(Component("scapula", flat if thin else 0.3 * flat, Solid((part,))))
    spongy = who.bone * (materials.SPONGY_BONE - materials.SOFT) * 1.25
    parts += [Component("vertebra", spongy, Solid((part,))) for part in skeleton.spine(who)]
    return parts


def ribs_of(
    seed: int,
    number: int,
    who: Patient,
    chest: thorax.Thorax,
    sick: dict[str, Condition],
    facts: dict[str, Facts],
    outside: bool = False,
) -> tuple[tuple[skeleton.Rib, ...], list[Component]]:
    """The ribs, broken where they are, and what the breaks add to them.

    ``outside`` moves out what of them the frontal phantom leaves in the lungs.
    """
    ribs = skeleton.ribs(who, chest, stream(seed, number, "bones"))
    if outside:
        ribs = skeleton.outside(ribs, chest)
    if "rib_fracture" not in sick:
        return ribs, []
    condition = sick["rib_fracture"]
    ribs, added, facts["rib_fracture"] = fracture.break_ribs(
        ribs, condition.signs[0], condition.grade, _rng(seed, condition)
    )
    return ribs, list(added)


def long_bones(who: Patient, shafts: Sequence[tuple[Points, float]]) -> list[Component]:
    """Cortex and marrow of bones along lines: points (k, 3) and radius in mm."""
    cortex = who.bone * (materials.CORTICAL_BONE - materials.SOFT)
    marrow = who.bone * (materials.SPONGY_BONE - materials.CORTICAL_BONE)
    return [
        Component("cortex", cortex, join([along(path, radius) for path, radius in shafts])),
        Component("marrow", marrow, join([along(path, radius - 1.2) for path, radius in shafts])),
    ]


def lung_parts(
    seed: int,
    number: int,
    who: Patient,
    space: Space,
    sick: dict[str, Condition],
    facts: dict[str, Facts],
    supine: bool = False,
) -> list[Component]:
    """One lung with its vessels and what ails it; ``supine`` lets fluid run to the back and air to the front."""
    side = space.lung.side
    mine = {name: condition for name, condition in sick.items() if side in condition.signs}
    parts: list[Component] = []
    if "pleural_effusion" in mine:
        upright = pleura.effusion(space, mine["pleural_effusion"].grade, _rng(seed, mine["pleural_effusion"], side))
        on_back = gravity.layered(space, upright[1], level="pneumothorax" in mine) if supine else upright
        space = on_back[0]
        parts.append(on_back[1])
    if "pneumothorax" in mine:
        condition = mine["pneumothorax"]
        space, gap = pleura.pneumothorax(space, condition.grade, _rng(seed, condition, side), supine)
        parts += gap
    density, pattern = materials.LUNG * who.lung_density, vessels.Pattern()
    if space.squeeze is not None:
        density /= float(np.prod(space.squeeze[1])) ** 0.5
    if "edema" in mine:
        grade = mine["edema"].grade
        density *= 1.2 + 0.12 * grade
        pattern = vessels.Pattern(1.25 + 0.12 * grade, 1.3)
    if "emphysema" in mine:
        grade = mine["emphysema"].grade
        density *= 0.8 - 0.1 * grade
        pattern = vessels.Pattern(0.85, 0.6, 0.75 - 0.12 * grade)
        parts += airspace.bullae(space, grade, _rng(seed, mine["emphysema"], side), density)
        parts.append(Component("hyperinflated lung", 0.0, space.aerated, "emphysema", seen_mm=20.0))
    parts.append(Component("lung", density - materials.SOFT, space.aerated))
    branching = vessels.tree(space.lung, stream(seed, number, f"vessels {side:+.0f}"), pattern)
    branching = space.move_tubes(branching)
    inside = space.aerated.contains((branching.start + branching.end) / 2)
    parts.append(Component("vessels", materials.BLOOD - density, keep(branching, inside)))
    return parts + _lesions(seed, space, mine, facts)


def _lesions(seed: int, space: Space, mine: dict[str, Condition], facts: dict[str, Facts]) -> list[Component]:
    side = space.lung.side
    parts: list[Component] = []
    for name, condition in mine.items():
        rng = _rng(seed, condition, side)
        zone = condition.zone or Zone.MID
        if name == "consolidation":
            added, facts[name] = airspace.consolidation(space, zone, condition.grade, rng)
            parts += added
        elif name == "atelectasis":
            parts += airspace.atelectasis(space, condition.grade, rng)
        elif name == "edema":
            parts += airspace.edema(space, condition.grade, rng)
        elif name in {"nodule", "mass"}:
            draw = airspace.nodule if name == "nodule" else airspace.mass
            added, facts[name] = draw(space, zone, condition.grade, rng)
            parts += added
    return parts


def hardware_parts(
    seed: int,
    study: int,
    chest: thorax.Thorax,
    exposure: Acquisition,
    sick: dict[str, Condition],
    facts: dict[str, Facts],
) -> list[Component]:
    """Devices and what lies on the patient, and the mark of an enlarged heart."""
    parts: list[Component] = []
    if "cardiomegaly" in sick:
        parts.append(Component("enlarged heart", 0.0, Solid(chest.heart), "cardiomegaly"))
    if "pacemaker" in sick:
        condition = sick["pacemaker"]
        parts += hardware.pacemaker(chest, condition.signs[0], _rng(seed, condition))
    if "endotracheal_tube" in sick:
        tube, facts["endotracheal_tube"] = hardware.endotracheal_tube(chest, _rng(seed, sick["endotracheal_tube"]))
        parts += tube
    parts += hardware.clutter(chest, exposure.projection == "AP", stream(seed, study, "clutter"))
    return parts
