"""One phantom study from its number: image, masks, truth and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from medmm.data.phantom import anatomy, disease, hardware, radiograph, subject
from medmm.data.phantom.disease import Condition, Facts
from medmm.data.phantom.geometry import View
from medmm.data.phantom.lateral import Lateral, make_lateral, taken
from medmm.data.phantom.reporting import Dictation, dictate
from medmm.data.phantom.solids import Solid
from medmm.data.phantom.subject import Acquisition, Patient, Visit

ORGANS = ("lung_right", "lung_left", "heart")
_SEEN_MM = 20.0  # of a ray inside an organ, from which on it is seen; thin recesses behind the dome are not


@dataclass(frozen=True)
class PhantomStudy:
    """A study before it is written to files.

    Attributes:
        place: Its number and place in the patient's history.
        who: The patient.
        exposure: How it was taken.
        conditions: The findings that are present, in the order of ``FINDINGS``.
        facts: Finding name to what is known of its place and size.
        heart_share: Heart width over inner chest width.
        grey: ``[H, W]`` float32 in [0, 1], air dark and bone bright; the patient's left is on the image's right.
        masks: Finding name to ``[H, W]`` bool, its shadow in the image.
        report: The report.
        pixel_mm: Side of a pixel in the patient, in millimetres.
        lateral: The lateral radiograph, None where none was taken.
        organs: Names of :data:`ORGANS` to ``[H, W]`` bool, the organ's shadow; shadows overlap.
    """

    place: Visit
    who: Patient
    exposure: Acquisition
    conditions: tuple[Condition, ...]
    facts: Mapping[str, Facts]
    heart_share: float
    grey: npt.NDArray[np.float32]
    masks: Mapping[str, npt.NDArray[np.bool_]]
    report: Dictation
    pixel_mm: float
    lateral: Lateral | None = None
    organs: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def age(self) -> int:
        """Years on the day of the study."""
        return self.who.age + self.place.days // 365


def make_study(seed: int, study: int, size: int, lateral_share: float = 0.0) -> PhantomStudy:
    """Make study number ``study`` of ``seed`` with ``size`` x ``size`` pixels; depends on nothing else.

    Args:
        seed: Everything follows from it.
        study: Number of the study.
        size: Rows and columns.
        lateral_share: How many of the upright studies have a lateral view too; the frontal one is the same either way.
    """
    place = subject.visit(seed, study)
    who = subject.patient(seed, place.patient)
    found = disease.conditions(seed, study)
    exposure = exposure_of(seed, study)
    case = anatomy.assemble(seed, study, place.patient, who, exposure, found)
    view = exposure.view(size)
    depth, masks = case.scene.depth(view)
    for letter in hardware.marker(view, subject.stream(seed, study, "marker")):
        letter.shape.draw(view, depth, letter.adds)
    signal = radiograph.expose(depth, view, exposure, subject.stream(seed, study, "noise"))
    grey = radiograph.develop(signal, radiograph.display(subject.stream(seed, study, "display")))
    side = make_lateral(seed, study, exposure, size) if taken(seed, study, exposure, lateral_share) else None
    views = exposure.projection if side is None else f"{exposure.projection} LATERAL"
    report = report_on(seed, place, who, views, found, case.facts)
    return PhantomStudy(
        place, who, exposure, found, case.facts, case.chest.heart_share, grey, masks, report, view.spacing_mm, side,
        _shadows(case, view),
    )  # fmt: skip


def _shadows(case: anatomy.Case, view: View) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of the aerated lungs and of the heart; nothing of the image depends on them."""
    lungs = [part.shape for part in case.scene.components if part.name == "lung"]
    shadows = {}
    for name, shape in zip(ORGANS, (*lungs, Solid(case.chest.heart)), strict=True):
        length = np.zeros((view.rows, view.columns), np.float32)
        shape.draw(view, length, 1.0)
        shadows[name] = length > _SEEN_MM
    return shadows


def exposure_of(seed: int, study: int) -> Acquisition:
    """How a study was taken; intubated patients are nearly always radiographed in bed."""
    who = subject.patient(seed, subject.visit(seed, study).patient)
    intubated = any(condition.name == "endotracheal_tube" for condition in disease.conditions(seed, study))
    return subject.acquisition(seed, study, intubated, who)


def report_on(
    seed: int, place: Visit, who: Patient, projection: str, found: tuple[Condition, ...], facts: Mapping[str, Facts]
) -> Dictation:
    """The report that the study's radiologist writes; needs no image."""
    before = disease.conditions(seed, place.prior) if place.prior is not None else None
    age = who.age + place.days // 365
    return dictate(found, facts, before, (projection, who.sex, age), subject.stream(seed, place.study, "report"))
