"""The lateral view against the frontal view and the volume of the same study."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.data.phantom import anatomy, disease, lateral, radiograph, subject, whole
from medmm.data.phantom.disease import Condition
from medmm.data.phantom.geometry import View
from medmm.data.phantom.lateral import make_lateral, taken, view_of
from medmm.data.phantom.study import exposure_of, make_study
from medmm.types import Laterality, Severity, Zone

SIZE = 128
STRAIGHT = View(np.array([0.0, -12.0, -15.0]), lateral.SIDEWAYS, 2.0, 160, 160)
FRONTAL = View(np.array([0.0, -12.0, -15.0]), np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]), 2.0, 160, 160)


def case_of(number, *conditions, build=whole.assemble, seed=0):
    place = subject.visit(seed, number)
    who = subject.patient(seed, place.patient)
    return build(seed, number, place.patient, who, exposure_of(seed, number), conditions)


def finding(name, side=Laterality.LEFT, zone=None, severity=Severity.MODERATE):
    return Condition(name, side, zone, severity, 0)


def upright(count):
    return [n for n in range(60) if exposure_of(0, n).projection == "PA"][:count]


def test_a_lateral_follows_from_its_seed_and_number_alone():
    number = upright(1)[0]
    once, again = (make_lateral(0, number, exposure_of(0, number), 64) for _ in range(2))
    np.testing.assert_array_equal(once.grey, again.grey)
    assert set(once.masks) == set(again.masks) == {c.name for c in disease.conditions(0, number)}
    assert not np.array_equal(once.grey, make_lateral(0, number + 7, exposure_of(0, number), 64).grey)


def test_the_frontal_view_does_not_change_beside_a_lateral_one():
    for number in upright(3):
        alone, beside = make_study(0, number, 64), make_study(0, number, 64, lateral_share=1.0)
        np.testing.assert_array_equal(alone.grey, beside.grey)
        assert alone.lateral is None
        assert beside.lateral is not None
        assert alone.report.said == beside.report.said
        assert "PA LATERAL" not in beside.report.text()


def test_bedside_studies_have_none_and_upright_ones_as_many_as_asked_for():
    exposures = [(n, exposure_of(0, n)) for n in range(400)]
    for share in (0.0, 0.5, 1.0):
        for number, exposure in exposures[:80]:
            if exposure.projection == "AP":
                assert not taken(0, number, exposure, share)
        upright = [taken(0, n, e, share) for n, e in exposures if e.projection == "PA"]
        assert np.mean(upright) == pytest.approx(share, abs=0.08)


def test_the_patient_faces_the_left_with_the_head_up():
    """Breastbone on the left, spinous processes on the right, clavicles over the domes."""
    case = case_of(1)
    places = {}
    for name in ("sternum", "processes", "vertebra", "head of the humerus"):
        image = np.zeros((160, 160), np.float32)
        for part in case.scene.components:
            if part.name == name:
                part.shape.draw(STRAIGHT, image, 1.0)
        places[name] = np.argwhere(image > 0).mean(0)
    assert places["sternum"][1] < 50 < places["vertebra"][1] < places["processes"][1]
    assert places["head of the humerus"][0] < 20
    assert view_of(0, 1, subject.patient(0, 1), 64).axes[0] @ [0, -1, 0] > 0.95


def test_the_beam_runs_from_the_right_to_the_left():
    assert lateral.VIEW == "LL"
    np.testing.assert_array_equal(lateral.SIDEWAYS[2], [-1, 0, 0])
    np.testing.assert_allclose(np.abs(lateral.SIDEWAYS @ lateral.SIDEWAYS.T), np.eye(3))


@pytest.mark.parametrize("name", ["nodule", "mass", "consolidation", "pleural_effusion", "pneumothorax", "edema"])
def test_both_views_show_a_finding_at_the_same_heights(name):
    """The rows of the mask from the side are those of the mask from the front, seen along the same axis of z."""
    for number in range(3):
        zone = Zone.MID if name in {"nodule", "mass", "consolidation"} else None
        case = case_of(number, finding(name, zone=zone, side=None if name == "edema" else Laterality.RIGHT))
        (_, front), (_, side) = case.scene.depth(FRONTAL), case.scene.depth(STRAIGHT)
        rows = [np.flatnonzero(masks[name].any(1)) for masks in (front, side)]
        thin = 14 if name in {"pneumothorax", "pleural_effusion"} else 4  # rays of other lengths pass the threshold
        assert abs(rows[0][0] - rows[1][0]) <= thin
        assert abs(rows[0][-1] - rows[1][-1]) <= thin


def test_both_phantoms_have_the_same_findings_in_the_same_place():
    """The whole chest and the frontal one cast the same masks, apart from devices and broken ribs."""
    for number in range(0, 39, 4):
        conditions = disease.conditions(0, number)
        whole_, plain = (case_of(number, *conditions, build=build) for build in (whole.assemble, anatomy.assemble))
        (_, one), (_, other) = whole_.scene.depth(FRONTAL), plain.scene.depth(FRONTAL)
        assert set(one) == set(other)
        for name in set(one) - {"pacemaker", "rib_fracture"}:
            np.testing.assert_array_equal(one[name], other[name])
        assert whole_.facts == plain.facts


def test_an_effusion_blunts_the_angle_at_the_back():
    """The recess behind the dome, well below its top, is lung without the fluid and dense with it; the apex is not."""
    for number in (1, 3, 12):
        with_, without = case_of(number, finding("pleural_effusion", severity=Severity.SMALL)), case_of(number)
        (depth, masks), (clear, _) = with_.scene.depth(STRAIGHT), without.scene.depth(STRAIGHT)
        hull, floor = without.chest.lung(-1.0).hull, without.chest.floor_mm[1]
        back = hull.middle[1] - 0.85 * hull.half_width(np.array([0, 1.0, 0]))
        angle = tuple(np.rint(STRAIGHT.pixels(np.array([0, back, floor - 25]))).astype(int))
        apex = tuple(np.rint(STRAIGHT.pixels(np.array([0, 0, 60]))).astype(int))
        assert masks["pleural_effusion"][angle]
        assert depth[angle] > clear[angle] + 0.5
        assert depth[apex] == pytest.approx(clear[apex], abs=0.3)


def test_the_retrosternal_space_and_the_lung_behind_the_heart_are_clear():
    for number in (1, 3, 12):
        case = case_of(number)
        depth, _ = case.scene.depth(STRAIGHT)
        low = min(case.chest.floor_mm)
        heart = STRAIGHT.pixels(np.array([0, 30.0, low + 45]))
        behind = STRAIGHT.pixels(np.array([0, -40.0, low + 45]))
        at = [depth[tuple(np.rint(point).astype(int))] for point in (heart, behind)]
        liver = depth[tuple(np.rint(STRAIGHT.pixels(np.array([0, 10.0, low - 30]))).astype(int))]
        assert at[0] > at[1] + 0.6
        assert liver > at[0] + 0.4


def test_grey_values_show_air_dark_and_the_abdomen_bright():
    for number in upright(5):
        made = make_lateral(0, number, exposure_of(0, number), SIZE)
        assert made.grey.dtype == np.float32
        assert 0 <= made.grey.min() <= made.grey.max() <= 1
        air = made.grey[20:100, -6:]
        assert air.mean() < 0.25
        assert made.grey[100:120, 45:80].mean() > air.mean() + 0.3


def test_light_beside_the_patient_does_not_scatter():
    view = View(np.zeros(3), lateral.SIDEWAYS, 1.0, 128, 128)
    depth = np.zeros((128, 128), np.float32)
    depth[:, :40] = 8.0
    exposure = exposure_of(0, upright(1)[0])
    bright, dark = (radiograph.expose(depth, view, exposure, np.random.default_rng(0), on) for on in (False, True))
    assert bright[60:68, 30:36].mean() > dark[60:68, 30:36].mean() + 1


def test_a_generator_lies_under_the_skin():
    seen = 0
    for number in range(80):
        if not any(c.name == "pacemaker" for c in disease.conditions(0, number)):
            continue
        case = case_of(number, *disease.conditions(0, number))
        box = next(part.shape for part in case.scene.components if part.name == "pulse generator")
        points = box.parts[0].middle + np.random.default_rng(0).uniform(-26, 26, (4000, 3))
        points = points[box.contains(points)]
        held = np.any([shape.contains(points) for shape in case.organs["body"]], axis=0)
        assert len(points) > 50
        assert held.mean() > 0.97
        seen += 1
    assert seen > 3
