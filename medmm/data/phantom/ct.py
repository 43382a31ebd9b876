"""CT volumes of phantom studies: Hounsfield units, masks of the findings and a map of the organs on one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import disease, materials, subject, wall, whole
from medmm.data.phantom.anatomy import Case
from medmm.data.phantom.disease import FINDINGS, Condition, Facts
from medmm.data.phantom.geometry import Array, Quadric, cylinder, ellipsoid, half_space
from medmm.data.phantom.reporting import Dictation
from medmm.data.phantom.scene import Component, Scene
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.study import exposure_of, report_on
from medmm.data.phantom.subject import Acquisition, Patient, Visit
from medmm.data.phantom.voxels import Filled, Grid, fill, holds

ORGANS = (
    "body", "lung_right", "lung_left", "heart", "aorta", "airways", "ribs", "clavicles", "scapulae", "vertebrae",
    "sternum",
)  # fmt: skip
"""Labels 1 to 11 of a label map, a later one over an earlier one."""
WHOLE_ORGANS = frozenset({"emphysema", "cardiomegaly"})
"""Findings whose mask is an organ; a label map keeps the organ's label."""
LESIONS = tuple(name for name in FINDINGS if name not in WHOLE_ORGANS)
LABELS: Mapping[str, int] = {name: value for value, name in enumerate((*ORGANS, *LESIONS), 1)}
"""Names of a label map to its values; 0 is air outside."""
DENSE = frozenset(
    {
        "cortex", "marrow", "callus", "scapula", "head of the humerus", "vertebra", "marrow of a vertebra", "arch",
        "processes", "sternum", "marrow of the sternum", "cartilage", "calcification", "pulse generator", "leads",
        "wires", "tube wall", "tube lumen", "radiopaque stripe",
    }
)  # fmt: skip
"""Components that may be denser than blood. All others overlap (vessels at a hilum, acini in a consolidation) and are
cut off at blood together, as tissue without mineral is."""
LOWEST_HU, HIGHEST_HU = -1024, 3071
"""What 12 bits with the usual intercept hold."""
FIELD_MM = 1.03
"""Side of the field over the body's width."""
TABLE_MM, FOAM = 5.0, 0.05


@dataclass(frozen=True)
class PhantomVolume:
    """A CT scan with what is true of it. Axes D, H, W grow to the patient's head, front and right.

    Attributes:
        place: Number of the study and its place in the patient's history.
        who: The patient.
        exposure: The radiograph of the same study.
        conditions: The findings that are present.
        facts: Finding name to what is known of its place and size.
        heart_share: Heart width over inner chest width.
        hu: ``[D, H, W]`` int16, Hounsfield units from -1024 to 3071.
        affine: 4x4 float64, (d, h, w, 1) of a voxel's centre to RAS millimetres.
        spacing_mm: Distance of voxels along D, H and W.
        masks: Finding name to ``[D, H, W]`` bool.
        organs: Names of :data:`ORGANS` to ``[D, H, W]`` bool; ``lung_right`` is the right lung without what
            lies in its pleura.
        report: The report, as on the radiographs but for the technique.
    """

    place: Visit
    who: Patient
    exposure: Acquisition
    conditions: tuple[Condition, ...]
    facts: Mapping[str, Facts]
    heart_share: float
    hu: npt.NDArray[np.int16]
    affine: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float, float]
    masks: Mapping[str, npt.NDArray[np.bool_]]
    organs: Mapping[str, npt.NDArray[np.bool_]]
    report: Dictation

    @property
    def age(self) -> int:
        """Years on the day of the study."""
        return self.who.age + self.place.days // 365

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """``[D, H, W]``: values of :data:`LABELS`, a lesion over an organ."""
        labels = np.zeros(self.hu.shape, np.uint8)
        for name, value in LABELS.items():
            mask = self.organs.get(name, self.masks.get(name))
            if mask is not None:
                labels[mask] = value
        return labels

    def volume_ml(self, name: str) -> float:
        """Millilitres of a finding's mask."""
        return float(self.masks[name].sum()) * float(np.prod(self.spacing_mm)) / 1000


def make_volume(
    seed: int,
    study: int,
    shape: tuple[int, int, int] = (128, 128, 128),
    spacing_mm: tuple[float, float] | None = None,
    supine: bool = True,
) -> PhantomVolume:
    """Scan study number ``study`` of ``seed``, whose radiographs show the same patient and findings.

    Args:
        seed: Everything follows from it.
        study: Number of the study.
        shape: Slices, rows and columns.
        spacing_mm: Distance of slices, and of voxels in a slice; None: the whole chest fills the volume.
        supine: The patient lies on the back, as in every scanner; else fluid and air lie as in the radiographs.
    """
    place = subject.visit(seed, study)
    who, exposure = subject.patient(seed, place.patient), exposure_of(seed, study)
    found = disease.conditions(seed, study)
    case = whole.assemble(seed, study, place.patient, who, exposure, found, supine)
    grid = grid_of(who, case, shape, spacing_mm)
    hu = hounsfield(attenuation(case.scene, grid, mineral_apart=True) + _table(who, case, grid))
    hu += _noise(hu, grid, subject.stream(seed, study, "ct noise"))
    organs = {name: holds(case.organs[name], grid) for name in ORGANS}
    for name in ("lung_right", "lung_left"):
        organs[name] &= ~holds(case.organs[f"{whole.BESIDE} {name}"], grid)
    return PhantomVolume(
        place, who, exposure, found, case.facts, case.chest.heart_share,
        np.clip(np.rint(hu), LOWEST_HU, HIGHEST_HU).astype(np.int16),
        grid.affine, (grid.spacing_mm[0], grid.spacing_mm[1], grid.spacing_mm[1]), masks_of(case.scene, grid), organs,
        report_on(seed, place, who, "CT", found, case.facts),
    )  # fmt: skip


def grid_of(who: Patient, case: Case, shape: tuple[int, int, int], spacing_mm: tuple[float, float] | None) -> Grid:
    """Voxels around the chest: from above the apices to below the lowest recess, as wide as the body."""
    lowest, highest = min(case.chest.floor_mm) - 78.0, case.chest.lungs[0].apex_mm + 22.0
    wide = 2 * (case.chest.half_width_mm + 21 + 0.9 * who.fat_mm) * FIELD_MM
    if spacing_mm is None:
        spacing_mm = ((highest - lowest) / shape[0], wide / min(shape[1:]))
    return Grid(np.array([0.0, -12.0, (lowest + highest) / 2]), spacing_mm, shape)


def attenuation(scene: Scene, grid: Grid, mineral_apart: bool = False) -> Array:
    """Linear attenuation in 1/mm of each voxel, ``[D, H, W]``, averaged over the voxel.

    Args:
        scene: What is there.
        grid: The voxels.
        mineral_apart: Cut off at blood what has no mineral in it; without, voxels are the sum of all components, whose
            integral along any ray is the radiograph's depth.
    """
    soft, dense = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    for component in scene.components:
        if component.adds:
            _add(dense if component.name in DENSE else soft, fill(component.shape, grid), component.adds)
    if mineral_apart:
        soft = np.clip(soft, materials.AIR, materials.BLOOD)
        return np.maximum(soft + dense, np.float32(materials.AIR))
    return soft + dense


def masks_of(scene: Scene, grid: Grid) -> dict[str, npt.NDArray[np.bool_]]:
    """Finding name to the voxels ``[D, H, W]`` of its components."""
    shapes: dict[str, list[Component]] = {}
    for component in scene.components:
        if component.finding is not None:
            shapes.setdefault(component.finding, []).append(component)
    return {name: holds(tuple(one.shape for one in parts), grid) for name, parts in shapes.items()}


def hounsfield(attenuation: Array) -> Array:
    """Hounsfield units of a linear attenuation in 1/mm: water is 0, air -1000."""
    scale = 1000 / (materials.WATER - materials.AIR)
    return (attenuation - np.float32(materials.WATER)) * np.float32(scale)


def _add(total: Array, filled: Filled | None, factor: float) -> None:
    if filled is not None:
        total[filled.box] += np.float32(factor) * filled.share


def _table(who: Patient, case: Case, grid: Grid) -> Array:
    """A curved couch with a thin mattress under the back."""
    back = wall.surface_y(wall.flesh(who, case.chest, who.fat_mm), 0.0, -20.0, front=False)
    radius = 420.0
    total = np.zeros(grid.shape, np.float32)
    for depth, thick, density in ((0.0, 14.0, FOAM), (14.0, TABLE_MM, 0.75)):
        upper, lower = (_trough(back - gap, radius) for gap in (depth, depth + thick))
        body = wall.flesh(who, case.chest, who.fat_mm)
        solid = Solid((_near(grid, back),), (lower, *_edges()), (upper, *body))
        _add(total, fill(solid, grid), density * materials.WATER)
    return total


def _trough(bottom: float, radius: float) -> Quadric:
    return cylinder((0.0, bottom + radius, 0.0), (radius, radius))


def _edges() -> tuple[Quadric, ...]:
    """Side edges of the couch."""
    return tuple(half_space((sign * 210.0, 0, 0), (sign, 0, 0)) for sign in (1.0, -1.0))


def _near(grid: Grid, back: float) -> Quadric:
    """A flat block around the couch, endless for this volume."""
    return ellipsoid((0.0, back - 10, float(grid.middle[2])), (3000.0, 60.0, 30000.0))


def _noise(hu: Array, grid: Grid, rng: np.random.Generator) -> Array:
    """Quantum noise with the grain of filtered back projection: none of the lowest frequencies, little of the highest.

    It grows with what a slice's rays have to pass, so shoulders are noisier than lungs.
    """
    import cv2

    level = float(np.exp(rng.uniform(np.log(7), np.log(20))))
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    fine = grid.spacing_mm[1]
    for plane in noise:
        sharp = cv2.GaussianBlur(plane, (0, 0), max(0.9 / fine, 0.35), borderType=cv2.BORDER_REFLECT)
        plane[...] = sharp - cv2.GaussianBlur(plane, (0, 0), max(3.6 / fine, 1.2), borderType=cv2.BORDER_REFLECT)
    noise /= noise.std()
    water = np.maximum(hu + 1000, 0).mean(axis=1) * (hu.shape[1] * fine / 1000)  # mm of water along y
    path = np.quantile(water, 0.9, axis=1)
    growth = np.exp(0.25 * materials.WATER * (path - 200))
    return noise * (level * np.clip(growth, 0.6, 3.0)).astype(np.float32)[:, None, None]
