"""The same patient and findings as in the frontal radiograph, built so that sections and lateral views are whole too.

Lungs, heart, vessels, airways, ribs and findings are the very shapes of :func:`medmm.data.phantom.anatomy.assemble`.
What a frontal view does not show, and the frontal phantom therefore leaves out or draws roughly, is drawn as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from medmm.data.phantom import bones, materials, skeleton, thorax, tubes, vessels, wall
from medmm.data.phantom.anatomy import Case, gas_parts, hardware_parts, long_bones, lung_parts, ribs_of, shape_of
from medmm.data.phantom.disease import Condition, Facts
from medmm.data.phantom.geometry import Points, Quadric, ellipsoid, moved
from medmm.data.phantom.pleura import Space
from medmm.data.phantom.scene import Component, Scene
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.subject import Acquisition, Patient
from medmm.data.phantom.tubes import Tubes

LAID_ON = frozenset({"electrode", "wires", "button"})
"""What lies on the skin; taken off before a second view or a scan."""
BESIDE = "beside"
"""Prefix of what a lung's shape holds and the lung does not: flesh around the spine, and the other lung."""
UNDER_SKIN_MM, BEFORE_LUNG_MM, DEEP_MM = 9.0, 17.0, 45.0
"""Depth of a generator's middle under the skin, its least distance from the lung, y where its leads leave the wall."""
POCKET_MM = (34.0, 15.0, 30.0)
"""Half sizes of the skin's bulge over a pulse generator."""


def assemble(
    seed: int,
    study: int,
    number: int,
    who: Patient,
    exposure: Acquisition,
    found: tuple[Condition, ...],
    supine: bool = False,
) -> Case:
    """Build the whole chest of a study with raised arms, upright or on the back.

    Args:
        seed: Everything follows from it.
        study: Number of the study.
        number: Number of the patient, from which anatomy is drawn.
        who: The patient.
        exposure: How deep the breath is.
        found: The findings.
        supine: The patient lies on the back: fluid runs there, air comes to the front; volumes of fluid stay the same.
    """
    sick = {condition.name: condition for condition in found}
    chest = thorax.build(who, shape_of(seed, who, exposure, sick), "PA", 0.0)
    facts: dict[str, Facts] = {}
    organs: dict[str, tuple[Solid | Tubes, ...]] = {}
    parts = wall.trunk(who, chest) + wall.abdomen(who, chest) + wall.mediastinum(who, chest)
    parts += gas_parts(seed, study, chest)
    parts += _lungs(seed, number, who, chest, sick, facts, organs, supine)
    arch, _, _, descending = chest.vessels
    organs["heart"] = (Solid(chest.heart),)
    organs["aorta"] = (Solid((arch, descending), without=chest.heart),)
    organs["airways"] = (vessels.airway(chest),)
    skeletal, named = _skeleton(seed, number, who, chest, sick, facts)
    parts += skeletal
    parts += _implanted(hardware_parts(seed, study, chest, exposure, sick, facts), parts[0].shape, chest)
    organs["body"] = tuple(part.shape for part in parts if part.name in {"body", "pocket"})
    return Case(Scene(tuple(parts)), chest, facts, {**organs, **named})


def _lungs(
    seed: int,
    number: int,
    who: Patient,
    chest: thorax.Thorax,
    sick: dict[str, Condition],
    facts: dict[str, Facts],
    organs: dict[str, tuple[Solid | Tubes, ...]],
    supine: bool,
) -> list[Component]:
    """Both lungs with what ails them; their shapes go into ``organs``."""
    parts: list[Component] = []
    for lung, name in zip(chest.lungs, ("lung_right", "lung_left"), strict=True):
        added = lung_parts(seed, number, who, Space(lung), sick, facts, supine)
        aerated = next(part for part in added if part.name == "lung")
        between = [_sleeve(bones.column(who), aerated)]
        if name == "lung_left":  # hulls of wide lungs cross before the heart
            between.append(_sleeve((chest.lungs[0].hull,), aerated, bones.column(who)))
        organs[name], organs[f"{BESIDE} {name}"] = (aerated.shape,), tuple(part.shape for part in between)
        parts += [*added, *between]
    return parts


def _sleeve(inside: tuple[Quadric, ...], lung: Component, outside: tuple[Quadric, ...] = ()) -> Component:
    """Flesh in those parts of a lung's shape that are not lung: around the vertebrae, and in the other lung's hull."""
    assert isinstance(lung.shape, Solid)
    shape = Solid(inside, (*lung.shape.parts, *lung.shape.within), (*lung.shape.without, *outside))
    return Component("flesh between", -lung.adds, shape)


def _implanted(devices: list[Component], body: Solid | Tubes, chest: thorax.Thorax) -> list[Component]:
    """Devices without what is laid on; a pulse generator and its leads drawn back under the skin, which bulges."""
    devices = [part for part in devices if part.name not in LAID_ON]
    box = next((part.shape for part in devices if part.name == "pulse generator"), None)
    if not isinstance(box, Solid) or not isinstance(body, Solid) or box.parts[0].middle is None:
        return devices
    middle = box.parts[0].middle
    around = [(middle[0] + x, middle[2] + z) for x in (-16.0, 0.0, 16.0) for z in (-14.0, 14.0)]
    skin = [wall.surface_y(body.parts, float(x), float(z), front=True) for x, z in around]
    hulls = tuple(lung.hull for lung in chest.lungs)
    ribs = max(wall.surface_y(hulls, float(x), float(z), front=True) for x, z in around) + BEFORE_LUNG_MM
    goal = max(ribs, min([y - UNDER_SKIN_MM for y in skin if np.isfinite(y)] + [float(middle[1])]))
    back = min(goal - float(middle[1]), 0.0)
    by = np.array([0.0, back, 0.0])
    found = [Component("pocket", materials.SOFT, Solid((ellipsoid(middle + by, POCKET_MM),), without=body.parts))]
    for part in devices:
        if part.name == "pulse generator" and isinstance(part.shape, Solid):
            inner, faces = (tuple(moved(one, by) for one in ones) for ones in (box.parts, box.within))
            shape = Solid(inner, faces)
            found.append(replace(part, shape=shape))
        elif part.name == "leads" and isinstance(part.shape, Tubes):
            start, end = (_drawn(points, middle[1], back) for points in (part.shape.start, part.shape.end))
            found.append(replace(part, shape=replace(part.shape, start=start, end=end)))
        else:
            found.append(part)
    return found


def _drawn(points: Points, front: float, back: float) -> Points:
    """Points (n, 3) of a lead, moved by ``back`` mm along y at the generator and less towards the heart."""
    share = np.clip((points[:, 1] - DEEP_MM) / (front - DEEP_MM), 0, 1)
    return points + np.outer(share, [0.0, back, 0.0])


def _skeleton(
    seed: int, number: int, who: Patient, chest: thorax.Thorax, sick: dict[str, Condition], facts: dict[str, Facts]
) -> tuple[list[Component], Mapping[str, tuple[Solid | Tubes, ...]]]:
    ribs, parts = ribs_of(seed, number, who, chest, sick, facts, outside=True)
    shafts = [(rib.path, rib.radius_mm) for rib in ribs] + bones.necks(who, ribs)
    collar = [(path, 5.8 * who.height) for path in skeleton.clavicles(who, chest, 14.0)]
    parts += long_bones(who, shafts + collar + bones.raised_arms(who, chest))
    parts += [bones.cartilage(who, chest, ribs), *bones.shoulder_blades(who, chest)]
    parts += bones.spine(who) + bones.breastbone(who, chest)
    named = bones.organs(parts)
    named["ribs"] = tuple(tubes.along(path, radius) for path, radius in shafts)
    named["clavicles"] = tuple(tubes.along(path, radius) for path, radius in collar)
    return parts, named
