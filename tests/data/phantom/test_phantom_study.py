"""What is true of a study against what its image and masks show."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from medmm.data.phantom import anatomy, disease, subject
from medmm.data.phantom.disease import FINDINGS, Condition
from medmm.data.phantom.study import exposure_of, make_study
from medmm.types import Laterality, Severity, Zone

SIZE = 96


@pytest.fixture(scope="module")
def studies():
    """The first studies of seed 11, small."""
    return [make_study(11, number, SIZE) for number in range(120)]


def shown(seed, number, *conditions):
    """Optical depth and masks of a study's chest with other findings; nothing else differs."""
    place = subject.visit(seed, number)
    who, exposure = subject.patient(seed, place.patient), exposure_of(seed, number)
    case = anatomy.assemble(seed, number, place.patient, who, exposure, conditions)
    depth, masks = case.scene.depth(exposure.view(192))
    return depth, masks, case


def condition(name, side=Laterality.LEFT, zone=None, severity=Severity.MODERATE, origin=0):
    return Condition(name, side, zone, severity, origin)


def test_a_study_follows_from_its_seed_and_number_alone():
    once, again = make_study(4, 17, 64), make_study(4, 17, 64)
    np.testing.assert_array_equal(once.grey, again.grey)
    assert once.report == again.report
    assert once.conditions == again.conditions
    assert not np.array_equal(once.grey, make_study(5, 17, 64).grey)


def test_resolutions_show_the_same_chest():
    fine, coarse = make_study(4, 9, 256), make_study(4, 9, 64)
    blocks = fine.grey.reshape(64, 4, 64, 4).mean((1, 3))
    assert np.corrcoef(blocks.ravel(), coarse.grey.ravel())[0, 1] > 0.98
    assert fine.report == coarse.report
    assert fine.pixel_mm * 4 == pytest.approx(coarse.pixel_mm)


def test_grey_values_fill_their_range(studies):
    for study in studies:
        assert study.grey.dtype == np.float32
        assert study.grey.min() >= 0
        assert study.grey.max() <= 1
        assert np.ptp(study.grey) > 0.5


def test_lungs_are_darker_than_the_heart():
    seen = 0
    for number in range(40):
        depth, masks, case = shown(2, number, condition("cardiomegaly", None))
        if exposure_of(2, number).projection == "PA":
            view = exposure_of(2, number).view(192)
            lung = case.chest.lungs[0]
            row, column = np.rint(
                view.pixels(np.array([0.55 * case.chest.half_width_mm, 0.0, lung.height(0.6)]))
            ).astype(int)
            assert depth[row, column] < np.median(depth[masks["cardiomegaly"]]) - 0.5
            seen += 1
    assert seen > 10


def test_masks_lie_in_the_image_and_belong_to_findings(studies):
    for study in studies:
        names = {c.name for c in study.conditions}
        assert set(study.masks) == names
        for mask in study.masks.values():
            assert mask.shape == (SIZE, SIZE)
            assert mask.any()


@pytest.mark.parametrize("name", sorted(set(FINDINGS) - {"cardiomegaly", "emphysema", "edema", "endotracheal_tube"}))
def test_the_patients_left_is_on_the_images_right(name):
    """The mask lies on the named side of the chest's midline, as the view projects it."""
    for number in range(12):
        for side, sign in ((Laterality.LEFT, 1), (Laterality.RIGHT, -1)):
            finding = condition(
                name, side, Zone.MID if name in {"nodule", "mass", "consolidation"} else None, origin=number
            )
            _, masks, _ = shown(6, number, finding)
            view = exposure_of(6, number).view(192)
            rows, columns = np.nonzero(masks[name])
            middle = view.pixels(np.zeros(3))[1]
            assert sign * (columns.mean() - middle) > 0, (number, side)


@pytest.mark.parametrize(
    "name", ["consolidation", "nodule", "mass", "pleural_effusion", "pacemaker", "endotracheal_tube"]
)
def test_a_dense_finding_casts_its_shadow_on_its_mask(name):
    """The finding's shadow is where its mask is: more in the beam there than without it, and little elsewhere."""
    for number in range(8):
        finding = condition(
            name, Laterality.RIGHT, Zone.UPPER if name in {"consolidation", "nodule", "mass"} else None, origin=number
        )
        depth, masks, _ = shown(8, number, replace(finding, side=None) if name == "endotracheal_tube" else finding)
        without, _, _ = shown(8, number)
        change = depth - without
        mask = masks[name]
        assert change[mask].mean() > 0.05
        assert change[mask].mean() > 5 * np.abs(change[~mask]).mean()


def test_atelectasis_lifts_the_dome():
    finding = condition("atelectasis", Laterality.RIGHT, Zone.BASAL, Severity.LARGE)
    _, _, case = shown(8, 1, finding)
    _, _, without = shown(8, 1)
    assert case.chest.floor_mm[0] - without.chest.floor_mm[0] > 10
    assert case.chest.floor_mm[1] == without.chest.floor_mm[1]
    assert case.chest.middle_mm > 0 == without.chest.middle_mm  # towards the patient's right


def test_a_pneumothorax_is_lucent():
    for number in range(8):
        depth, masks, _ = shown(8, number, condition("pneumothorax", severity=Severity.LARGE, origin=number))
        without, _, _ = shown(8, number)
        assert (depth - without)[masks["pneumothorax"]].mean() < -0.02


def test_heart_size_is_what_cardiomegaly_says(studies):
    for study in studies:
        enlarged = "cardiomegaly" in {c.name for c in study.conditions}
        assert (study.heart_share > 0.5) == enlarged
    shares = [shown(9, 3, condition("cardiomegaly", None, severity=s))[2].chest.heart_share for s in Severity]
    assert shares == sorted(shares)


def test_heart_share_is_the_width_of_its_shadow():
    """Cardiothoracic ratio measured on the mask of an unturned chest."""
    _, _, case = shown(9, 3, condition("cardiomegaly", None))
    view = replace(exposure_of(9, 3), yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0).view(512)
    _, masks = case.scene.depth(view)
    columns = np.flatnonzero(masks["cardiomegaly"].any(0))
    width = (columns[-1] - columns[0] + 1) * view.spacing_mm
    assert width / (2 * case.chest.half_width_mm) == pytest.approx(case.chest.heart_share, abs=0.015)


def test_a_nodule_is_as_large_as_it_is_said_to_be():
    alone = 0
    for number in range(10):
        for severity in Severity:
            _, masks, case = shown(7, number, condition("nodule", zone=Zone.MID, severity=severity, origin=number))
            facts = case.facts["nodule"]
            assert 6 <= facts.size_mm <= 28
            spots = cv2.connectedComponents(masks["nodule"].astype(np.uint8))[0] - 1
            assert 1 <= spots <= facts.count <= 4
            if facts.count > 1:
                continue
            alone += 1
            rows, columns = np.nonzero(masks["nodule"])
            spacing = exposure_of(7, number).view(192).spacing_mm
            across = max(np.ptp(rows), np.ptp(columns)) * spacing + spacing
            assert abs(across - facts.size_mm) < 2.5 * spacing
    assert 8 <= alone <= 22


def test_zones_are_heights_of_the_lung():
    for zone in (Zone.UPPER, Zone.MID, Zone.LOWER):
        said = Counter(shown(7, n, condition("nodule", zone=zone, origin=n))[2].facts["nodule"].zone for n in range(15))
        assert said[zone] >= 12


def test_grades_grow():
    for name in ("pleural_effusion", "pneumothorax", "consolidation", "edema", "mass"):
        areas = []
        for severity in Severity:
            zone = Zone.MID if name in {"consolidation", "mass"} else None
            side = Laterality.BILATERAL if name == "edema" else Laterality.RIGHT
            made = [shown(7, n, condition(name, side, zone, severity, n))[1][name].mean() for n in range(8)]
            areas.append(np.mean(made))
        assert areas[0] < areas[1] < areas[2]


def test_prevalence_and_company():
    found = [disease.conditions(0, number) for number in range(3000)]
    share = Counter(c.name for conditions in found for c in conditions)
    assert all(0.12 <= share[name] / len(found) <= 0.20 for name in FINDINGS), share
    assert 0.18 <= sum(not conditions for conditions in found) / len(found) <= 0.28
    together = Counter(len(conditions) for conditions in found)
    assert together[1] > 0.15 * len(found)
    assert sum(n for size, n in together.items() if size >= 2) > 0.3 * len(found)
    grades = Counter(c.severity for conditions in found for c in conditions)
    assert min(grades.values()) > 0.2 * grades.total()


def test_patients_come_back():
    places = [subject.visit(0, number) for number in range(500)]
    assert len({p.patient for p in places}) == 400
    for place in places:
        assert (place.prior is None) == (place.patient == place.study)
        if place.prior is not None:
            assert place.prior < place.study
            assert place.days > 0
            before = {c.name: c for c in disease.conditions(0, place.prior)}
            for now in disease.conditions(0, place.study):
                assert (now.change == "new") == (now.name not in before)
                if now.name in before:
                    assert now.side == before[now.name].side
                    assert now.grade - before[now.name].grade == {"worse": 1, "better": -1, "stable": 0}[now.change]
        else:
            assert all(c.change is None for c in disease.conditions(0, place.study))


def test_a_nodule_stays_where_it_was():
    finding = condition("nodule", zone=Zone.UPPER, origin=4)
    places = [np.argwhere(shown(1, 4, replace(finding, severity=s))[1]["nodule"]).mean(0) for s in Severity]
    assert np.ptp(places, axis=0).max() < 12
