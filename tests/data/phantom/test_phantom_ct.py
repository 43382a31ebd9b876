"""CT volumes: Hounsfield units, sides, sizes, masks and organs against what is true of the study."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medmm.data.phantom import ct, disease, gravity, materials, pleura, skeleton, subject, thorax, voxels, whole
from medmm.data.phantom.ct import LABELS, ORGANS, make_volume
from medmm.data.phantom.disease import Condition
from medmm.data.phantom.study import exposure_of, make_study
from medmm.types import Laterality, Severity

SHAPE = (64, 80, 80)


@pytest.fixture(scope="module")
def scans():
    """A healthy chest, an effusion with a large heart, emphysema with a pneumothorax, a mass, edema, a pacemaker."""
    return {number: make_volume(0, number, SHAPE) for number in (1, 2, 0, 5, 6, 38)}


def core(mask, steps=1):
    """The mask without the voxels at its surface, which hold a part of something else."""
    return ndimage.binary_erosion(mask, iterations=steps)


def chest_of(number, *conditions, supine=True, seed=0):
    place = subject.visit(seed, number)
    who = subject.patient(seed, place.patient)
    return who, whole.assemble(seed, number, place.patient, who, exposure_of(seed, number), conditions, supine)


def test_a_scan_follows_from_its_seed_and_number_alone(scans):
    again = make_volume(0, 5, SHAPE)
    np.testing.assert_array_equal(again.hu, scans[5].hu)
    np.testing.assert_array_equal(again.labels, scans[5].labels)
    assert again.report == scans[5].report
    assert not np.array_equal(again.hu, make_volume(1, 5, SHAPE).hu)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("lung_right", -900, -600),
        ("lung_left", -900, -600),
        ("heart", 40, 75),
        ("aorta", 35, 80),
        ("vertebrae", 200, 800),
    ],
)
def test_organs_have_their_hounsfield_units(scans, name, low, high):
    for number in (1, 2, 6, 38):
        mask = scans[number].organs[name]
        inner = core(mask) if core(mask).sum() > 30 else mask
        assert low < np.median(scans[number].hu[inner]) < high, number


def test_bones_fat_and_air_have_their_hounsfield_units(scans):
    for scan in scans.values():
        bones = scan.organs["ribs"] | scan.organs["clavicles"] | scan.organs["scapulae"] | scan.organs["sternum"]
        assert np.median(scan.hu[bones]) > 300
        outside = core(~scan.organs["body"], 3) & (np.arange(80) > 70)[None, :, None]  # before the patient
        assert np.median(scan.hu[outside]) == pytest.approx(-1000, abs=15)
        assert scan.hu.min() >= -1024
        assert scan.hu.max() <= 3071
    fat = scans[2]
    skin = fat.organs["body"] & ~ndimage.binary_erosion(fat.organs["body"], iterations=5)
    skin &= core(fat.organs["body"], 2)
    assert -130 < np.percentile(fat.hu[skin], 25) < -50  # 20 mm of it


def test_water_and_air_define_the_scale():
    values = ct.hounsfield(np.array([materials.WATER, materials.AIR, materials.ADIPOSE], np.float32))
    np.testing.assert_allclose(values[:2], [0, -1000], atol=1e-2)
    assert -110 < values[2] < -80


def test_right_is_right_front_is_front_and_the_head_is_up(scans):
    for scan in scans.values():
        place = {}
        for name, mask in scan.organs.items():
            place[name] = (scan.affine @ np.append(np.argwhere(mask).mean(0), 1))[:3]
        assert place["lung_right"][0] > 30 > -30 > place["lung_left"][0]
        assert place["sternum"][1] > place["heart"][1] > place["vertebrae"][1]
        assert place["heart"][2] < place["clavicles"][2]
        assert place["heart"][0] < 5  # more of it on the left
        assert scan.hu.shape == SHAPE
        np.testing.assert_allclose(np.linalg.norm(scan.affine[:3, :3], axis=0), scan.spacing_mm)
        assert np.linalg.det(scan.affine[:3, [2, 1, 0]]) > 0
        low = (scan.affine @ [0, 0, 0, 1])[:3]
        high = (scan.affine @ [*(np.array(SHAPE) - 1), 1])[:3]
        assert np.all(low < 0)
        assert np.all(high > 0)


def test_spacing_and_shape_are_what_was_asked_for():
    scan = make_volume(0, 5, (20, 48, 56), (12.0, 6.5))
    assert scan.hu.shape == (20, 48, 56)
    assert scan.spacing_mm == (12.0, 6.5, 6.5)
    np.testing.assert_allclose(scan.affine[:3, :3], [[0, 0, 6.5], [0, 6.5, 0], [12, 0, 0]])
    fine = make_volume(0, 5, (60, 96, 112), (4.0, 3.25))
    for name in ("lung_left", "heart", "vertebrae"):
        volumes = [s.organs[name].sum() * np.prod(s.spacing_mm) for s in (scan, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.15)


def test_masks_belong_to_the_findings_and_lie_in_the_body(scans):
    for scan in scans.values():
        assert set(scan.masks) == {c.name for c in scan.conditions}
        for name, mask in scan.masks.items():
            assert mask.any()
            assert (mask & ~scan.organs["body"]).sum() <= 0.02 * mask.sum(), name
        assert set(scan.organs) == set(ORGANS)


def masks_alone(number, shape):
    """Masks, millimetres and facts of a study's findings, without the noise and the organs."""
    place = subject.visit(0, number)
    who = subject.patient(0, place.patient)
    found = disease.conditions(0, number)
    case = whole.assemble(0, number, place.patient, who, exposure_of(0, number), found, supine=True)
    grid = ct.grid_of(who, case, shape, None)
    return ct.masks_of(case.scene, grid), grid, case.facts


def test_a_mass_is_as_large_as_it_is_said_to_be():
    """The mask's largest extent along an axis against ``size_mm``, and its volume against the ball of that size."""
    for number in (5, 9, 17):
        masks, grid, facts = masks_alone(number, (110, 110, 110))
        thick, fine = grid.spacing_mm
        sides = [np.ptp(np.nonzero(masks["mass"])[axis]) + 1 for axis in range(3)]
        largest = max(n * step for n, step in zip(sides, (thick, fine, fine), strict=True))
        assert largest == pytest.approx(facts["mass"].size_mm, rel=0.25)
        ball = np.pi / 6 * (facts["mass"].size_mm / 10) ** 3
        assert 0.3 * ball < masks["mass"].sum() * grid.voxel_ml < 1.1 * ball


def test_a_nodule_alone_has_the_volume_of_its_diameter():
    for number in (5, 25, 36, 41):
        masks, grid, facts = masks_alone(number, (160, 160, 160))
        assert facts["nodule"].count == ndimage.label(masks["nodule"])[1] == 1
        ball = np.pi / 6 * (facts["nodule"].size_mm / 10) ** 3
        assert masks["nodule"].sum() * grid.voxel_ml == pytest.approx(ball, rel=0.25)


def test_findings_lie_on_their_side(scans):
    for scan in scans.values():
        for condition in scan.conditions:
            if condition.side in {Laterality.LEFT, Laterality.RIGHT}:
                x = (scan.affine @ np.append(np.argwhere(scan.masks[condition.name]).mean(0), 1))[0]
                assert (x > 0) == (condition.side is Laterality.RIGHT), condition.name


def test_findings_have_their_density(scans):
    water = scans[2].hu[core(scans[2].masks["pleural_effusion"])]
    assert abs(np.median(water)) < 8
    air = scans[0].hu[core(scans[0].masks["pneumothorax"])]
    assert np.median(air) < -950
    solid = scans[5].hu[core(scans[5].masks["mass"], 2)]
    assert 30 < np.median(solid) < 80
    assert (scans[38].hu[scans[38].masks["pacemaker"]] > 2500).mean() > 0.3


def test_fluid_runs_to_the_back_of_a_patient_who_lies_on_it():
    finding = Condition("pleural_effusion", Laterality.RIGHT, None, Severity.MODERATE, 0)
    places, volumes = [], []
    for supine in (False, True):
        who, case = chest_of(3, finding, supine=supine)
        grid = ct.grid_of(who, case, (100, 90, 90), None)
        mask = ct.masks_of(case.scene, grid)["pleural_effusion"]
        places.append((grid.affine @ np.append(np.argwhere(mask).mean(0), 1))[:3])
        volumes.append(mask.sum() * grid.voxel_ml)
    assert places[1][1] < places[0][1] - 20
    assert places[1][2] > places[0][2]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.03)


def test_the_same_volume_at_every_grade():
    for grade in range(3):
        who, case = chest_of(3)
        space = pleura.Space(case.chest.lung(thorax.LEFT))
        _, upright = pleura.effusion(space, grade, np.random.default_rng(grade))
        _, layered = gravity.layered(space, upright)
        grid = ct.grid_of(who, case, (110, 110, 110), None)
        before, after = (float(voxels.fill(part.shape, grid).share.sum()) for part in (upright, layered))
        assert after == pytest.approx(before, rel=0.02)


def test_fluid_under_air_is_level():
    """Study 8 has both on the left: all fluid lies behind all of the air that is seen at its height."""
    masks, grid, _ = masks_alone(8, (80, 90, 90))
    fluid, air = masks["pleural_effusion"], masks["pneumothorax"]
    assert grid.spacing_mm[1] < 4
    seen = 0
    for plane in range(80):
        rows = np.nonzero(fluid[plane])[0], np.nonzero(air[plane])[0]
        if len(rows[0]) > 20 and len(rows[1]) > 20:
            assert rows[0].max() <= rows[1].min() + 1
            seen += 1
    assert seen > 10
    fronts = [np.nonzero(plane)[0].max() for plane in fluid if plane.sum() > 60]
    assert np.ptp(fronts) <= 1


def test_air_comes_to_the_front_of_a_patient_on_the_back():
    finding = Condition("pneumothorax", Laterality.LEFT, None, Severity.MODERATE, 0)
    front = []
    for supine in (False, True):
        who, case = chest_of(3, finding, supine=supine)
        grid = ct.grid_of(who, case, (64, 64, 64), None)
        mask = ct.masks_of(case.scene, grid)["pneumothorax"]
        front.append((grid.affine @ np.append(np.argwhere(mask).mean(0), 1))[1])
    assert front[1] > front[0] + 10


def test_lungs_are_whole_and_closed(scans):
    """No bone in them, no way from them to the air outside but the airways."""
    for scan in scans.values():
        lungs = scan.organs["lung_right"] | scan.organs["lung_left"]
        bones = scan.organs["ribs"] | scan.organs["vertebrae"] | scan.organs["sternum"]
        assert (lungs & bones).sum() <= 0.01 * bones.sum()
        assert not (lungs & ~core(scan.organs["body"], 2)).any()
        assert not (scan.organs["lung_right"] & scan.organs["lung_left"]).any()


def test_labels_lie_over_each_other_in_order(scans):
    scan = scans[2]
    labels = scan.labels
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, *LABELS.values()}
    np.testing.assert_array_equal(labels == LABELS["pleural_effusion"], scan.masks["pleural_effusion"])
    np.testing.assert_array_equal(labels > 0, scan.organs["body"] | scan.masks["pleural_effusion"])
    assert "cardiomegaly" not in LABELS
    assert (labels == LABELS["heart"]).sum() > 0.9 * scan.organs["heart"].sum()


def test_the_heart_has_the_share_that_is_said(scans):
    for scan in scans.values():
        columns = np.flatnonzero(scan.organs["heart"].any((0, 1)))
        wide = (columns[-1] - columns[0] + 1) * scan.spacing_mm[2]
        inner = 2 * 134.0 * scan.who.width
        assert wide / inner == pytest.approx(scan.heart_share, abs=0.04)


def test_noise_has_the_grain_of_a_reconstruction_and_no_offset():
    scan = make_volume(0, 1, (40, 128, 128))
    heart = core(scan.organs["heart"], 3)
    values = scan.hu[heart].astype(float)
    blood = ct.hounsfield(np.float32(materials.BLOOD))
    assert values.mean() == pytest.approx(blood, abs=2)
    assert 4 < values.std() < 45
    plane = scan.hu[20, 100:120, 40:88].astype(float)  # air before the patient
    assert plane.std() > 2


def test_the_report_is_the_radiographs_but_for_the_technique(scans):
    for number, scan in scans.items():
        study = make_study(0, number, 64)
        assert scan.report.said == study.report.said
        assert {c.name for c in scan.conditions} == {c.name for c in study.conditions}
        technique = scan.report.sections.get("technique")
        assert technique is None or "CT" in technique


def test_a_radiograph_of_the_same_study_shows_the_mass_where_the_scan_has_it():
    """From the scan's mask through the radiograph's own geometry into its mask."""
    for number in (5, 9, 17):
        scan, study = make_volume(0, number, (96, 96, 96), supine=False), make_study(0, number, 192)
        middle = (scan.affine @ np.append(np.argwhere(scan.masks["mass"]).mean(0), 1))[:3]
        row, column = np.rint(study.exposure.view(192).pixels(middle)).astype(int)
        assert study.masks["mass"][row, column]


def test_ribs_clear_the_lungs_only_as_far_as_they_must():
    who, case = chest_of(3)
    ribs = skeleton.ribs(who, case.chest, subject.stream(0, subject.visit(0, 3).patient, "bones"))
    outside = skeleton.outside(ribs, case.chest)
    for before, after in zip(ribs, outside, strict=True):
        shift = np.linalg.norm(after.path - before.path, axis=1)
        assert shift.max() < 20
        assert not case.chest.lung(after.side).hull.contains(after.path).any()
        np.testing.assert_array_equal(after.path[:, 2], before.path[:, 2])
