"""Who is radiographed and how: patients, their studies and the exposure, each drawn from (seed, number) alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from medmm.data.phantom.geometry import Points, View, rotation

BLOCK = 5
"""Five studies in a row belong to four patients: one of them comes back."""


def stream(seed: int, number: int, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose of one study, patient or block; purposes never disturb each other."""
    return np.random.default_rng([seed, number, zlib.crc32(purpose.encode())])


@dataclass(frozen=True)
class Visit:
    """Place of a study in its patient's history.

    Attributes:
        study: Number of the study.
        patient: Number of the patient's first study, which stands for the patient.
        prior: Number of the earlier study, None for a first visit.
        days: Days since the first study.
    """

    study: int
    patient: int
    prior: int | None
    days: int


def visit(seed: int, study: int) -> Visit:
    """Whose study it is: in each block of five, one patient has two studies."""
    block, place = divmod(study, BLOCK)
    rng = stream(seed, block, "visits")
    first, second = sorted(rng.choice(BLOCK, 2, replace=False).tolist())
    days = int(np.ceil(rng.lognormal(3.0, 1.6)))
    if place == second:
        return Visit(study, block * BLOCK + first, block * BLOCK + first, min(days, 2000))
    return Visit(study, study, None, 0)


@dataclass(frozen=True)
class Patient:
    """What stays between a patient's studies; lengths are factors around 1 unless they carry a unit.

    Attributes:
        sex: ``F`` or ``M``.
        age: Years.
        height, width, depth: Size of the chest.
        fat_mm: Thickness of the fat around it.
        heart_share: Heart width over inner chest width in health.
        heart_left: Share of the heart's width left of the midline.
        knob: Size of the aortic arch.
        bone: Mineral content of the bones.
        rib_slope: How steeply the ribs fall.
        scoliosis_mm: Sideways bend of the spine, towards the patient's right if positive.
        lung_density: Density of the aerated lung.
        lean_deg: Lean of the lungs' axes towards the midline.
        right_dome_mm: Height of the right dome over the left one.
    """

    sex: str
    age: int
    height: float
    width: float
    depth: float
    fat_mm: float
    heart_share: float
    heart_left: float
    knob: float
    bone: float
    rib_slope: float
    scoliosis_mm: float
    lung_density: float
    lean_deg: float
    right_dome_mm: float


def patient(seed: int, number: int) -> Patient:
    """Draw a patient."""
    rng = stream(seed, number, "patient")
    female = rng.random() < 0.5
    age = int(np.clip(rng.normal(58, 17), 19, 94))
    size = 0.95 if female else 1.03
    return Patient(
        sex="F" if female else "M",
        age=age,
        height=size * rng.normal(1, 0.04),
        width=size * rng.normal(1, 0.045),
        depth=size * rng.normal(1, 0.08),
        fat_mm=float(np.clip(rng.gamma(2.2, 5.5), 2, 45)),
        heart_share=rng.uniform(0.37, 0.475),
        heart_left=rng.uniform(0.6, 0.74),
        knob=rng.uniform(0.75, 1.05) + 0.006 * max(age - 45, 0),
        bone=float(np.clip(0.9 - 0.003 * max(age - 30, 0) + rng.normal(0, 0.07), 0.55, 1.0)),
        rib_slope=rng.normal(1, 0.16),
        scoliosis_mm=rng.normal(0, 5),
        lung_density=rng.uniform(0.7, 1.0),
        lean_deg=rng.normal(7, 1.5),
        right_dome_mm=rng.uniform(4, 20),
    )


@dataclass(frozen=True)
class Acquisition:
    """One exposure.

    Attributes:
        projection: ``PA`` (upright) or ``AP`` (bedside).
        yaw_deg, pitch_deg, roll_deg: Turn of the patient about the long axis, forwards, and in the image plane.
        shift_mm: Displacement of the chest in the image (columns, rows).
        field_mm: Side of the square image.
        inspiration_mm: How far the domes stand below their usual place.
        scapula_mm: How far the shoulder blades are drawn off the lungs.
        dose: Photons a square millimetre behind no patient.
        scatter: Scattered over primary radiation at the detector, behind the grid.
    """

    projection: str
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    shift_mm: tuple[float, float]
    field_mm: float
    inspiration_mm: float
    scapula_mm: float
    dose: float
    scatter: float

    def view(self, size: int) -> View:
        """Rays and pixels: the patient's left lies on the image's right, the head at the top."""
        turn = rotation(self.yaw_deg, self.pitch_deg, self.roll_deg)
        axes = np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]) @ turn
        origin: Points = -(self.shift_mm[0] * axes[0] + self.shift_mm[1] * axes[1])
        return View(origin, axes, self.field_mm / size, size, size)


def acquisition(seed: int, study: int, bedridden: bool, chest: Patient) -> Acquisition:
    """Draw the exposure; bedridden patients are nearly always radiographed from the front."""
    rng = stream(seed, study, "acquisition")
    bedside = rng.random() < (0.85 if bedridden else 0.3)
    loose = 1.5 if bedside else 1.0
    return Acquisition(
        projection="AP" if bedside else "PA",
        yaw_deg=float(np.clip(rng.normal(0, 3.0 * loose), -12, 12)),
        pitch_deg=rng.normal(3, 4) if bedside else rng.normal(0, 3),
        roll_deg=float(np.clip(rng.normal(0, 1.8 * loose), -8, 8)),
        shift_mm=(rng.normal(0, 7 * loose), rng.normal(-4, 8 * loose)),
        field_mm=rng.uniform(0.95, 1.07) * 306 * max(chest.width, chest.height),
        inspiration_mm=rng.normal(-8, 9) if bedside else rng.normal(4, 8),
        scapula_mm=rng.uniform(-35, -5) if bedside else rng.uniform(-8, 22),
        dose=float(np.exp(rng.uniform(np.log(3e4), np.log(4e5)))),
        scatter=rng.uniform(0.15, 0.45) * (1.4 if bedside else 1.0),
    )
