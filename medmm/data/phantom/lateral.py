"""The lateral radiograph of a study: the same chest from the side, arms raised, left side at the detector."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import disease, radiograph, subject, whole
from medmm.data.phantom.geometry import Points, View, rotation
from medmm.data.phantom.subject import Acquisition, Patient

VIEW = "LL"
"""View Position (0018,5101) of a left lateral, PS3.3 C.8.1.2."""
ORIENTATION = ("P", "F")
"""Patient Orientation (0020,0020): columns grow to the back, rows to the feet; the patient faces the image's left."""
SIDEWAYS = np.array([[0.0, -1.0, 0], [0, 0, -1.0], [-1.0, 0, 0]])
"""Direction of growing column, of growing row, of the beam (from the patient's right to the left)."""
BARE = 0.7
"""Optical depth of less than 3 cm of tissue: rays that all but miss the patient, whom grey values are fitted to."""
MORE_DOSE = 8.0
"""How much longer a lateral is exposed than a frontal view: the automatic exposure makes up for the longer way."""


@dataclass(frozen=True)
class Lateral:
    """A lateral radiograph.

    Attributes:
        grey: ``[H, W]`` float32 in [0, 1], air dark and bone bright; the patient faces the left.
        masks: Finding name to ``[H, W]`` bool, its shadow in the image.
        view: How it was projected.
    """

    grey: npt.NDArray[np.float32]
    masks: dict[str, npt.NDArray[np.bool_]]
    view: View


def taken(seed: int, study: int, exposure: Acquisition, share: float) -> bool:
    """Whether a study has a lateral view; none is made at the bedside."""
    return exposure.projection == "PA" and bool(subject.stream(seed, study, "lateral taken").random() < share)


def view_of(seed: int, study: int, who: Patient, size: int) -> View:
    """Rays and pixels of the lateral view: the head at the top, the front on the left."""
    rng = subject.stream(seed, study, "lateral view")
    turn = rotation(float(np.clip(rng.normal(0, 3.0), -9, 9)), rng.normal(0, 2.0), rng.normal(0, 1.5))
    axes = SIDEWAYS @ turn
    shift = rng.normal(0, 5), rng.normal(0, 6)
    middle = np.array([0.0, -12.0, -18.0 * who.height])
    origin: Points = middle - shift[0] * axes[0] - shift[1] * axes[1]
    field = rng.uniform(0.98, 1.08) * 318 * max(who.depth, who.height)
    return View(origin, axes, field / size, size, size)


def make_lateral(seed: int, study: int, exposure: Acquisition, size: int) -> Lateral:
    """Make the lateral view of study ``study`` of ``seed`` with ``size`` x ``size`` pixels."""
    place = subject.visit(seed, study)
    who = subject.patient(seed, place.patient)
    case = whole.assemble(seed, study, place.patient, who, exposure, disease.conditions(seed, study))
    view = view_of(seed, study, who, size)
    depth, masks = case.scene.depth(view)
    brighter = replace(exposure, dose=exposure.dose * MORE_DOSE, scatter=exposure.scatter * 1.3)
    signal = radiograph.expose(depth, view, brighter, subject.stream(seed, study, "lateral noise"), False)
    setting = radiograph.display(subject.stream(seed, study, "lateral display"))
    bare = float((depth[size // 8 : size * 7 // 8, size // 8 : size * 7 // 8] < BARE).mean())
    setting = replace(setting, low=bare + setting.low, high=max(setting.high, 0.98))
    return Lateral(radiograph.develop(signal, setting), masks, view)
