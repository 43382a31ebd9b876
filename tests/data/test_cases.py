"""Cases on disk and patches of them: image and mask move alike, and (seed, epoch, study) alone makes a patch."""

import cv2
import numpy as np
import pytest

from medmm.config.schema import AugmentConfig
from medmm.data.case_grid import CaseGrid
from medmm.data.case_writing import places_of
from medmm.data.cases import CaseCache, CaseDataset
from medmm.data.dataset import Sample
from medmm.data.outline_code import OutlineCode
from medmm.data.patches import Patches, changed, padded
from medmm.errors import Reason
from medmm.types import ImageRef, Study

CODE = OutlineCode(("mask",), exclusive=False)


@pytest.fixture
def studies(tmp_path):
    """Five pictures whose bright disc is the mask."""
    made = []
    for number in range(5):
        y, x = np.mgrid[:50, :60]
        disc = (y - 20 - number) ** 2 + (x - 30) ** 2 < 100
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.where(disc, 220, 30).astype(np.uint8))
        cv2.imwrite(str(tmp_path / f"{number}-m.png"), disc.astype(np.uint8) * 255)
        masks = {"mask": tmp_path / f"{number}-m.png"}
        made.append(Study(f"s{number}", "p", (ImageRef(tmp_path / f"{number}.png"),), masks=masks))
    return made


def test_cases_are_read_once_and_what_cannot_be_used_is_set_aside(studies, tmp_path):
    cv2.imwrite(str(studies[3].masks["mask"]), np.ones((7, 7), np.uint8))
    studies[4].images[0].path.write_bytes(b"no picture")
    grid = CaseGrid((32, 32))
    cache, aside = CaseCache.build(studies, grid, CODE, {}, tmp_path / "cache", workers=2)
    assert {one.study_id: one.reason for one in aside} == {
        "s3": Reason.DIMENSIONS_MISMATCH, "s4": Reason.NOT_AN_IMAGE,
    }  # fmt: skip
    case = cache.case("s1")
    assert (case.image.shape, case.image.dtype, case.mask.dtype) == ((1, 32, 32), np.uint16, np.uint8)
    assert ((case.image[0] > 32768) != (case.mask == 1)).mean() < 0.01  # the image is averaged, the mask is not
    assert case.mask[tuple(case.places[0, 1:])] == 1
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    CaseCache.build(studies[:3], grid, CODE, {}, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == stamps
    assert cache.shown(["s0", "s1"]) == {"mask": 2}


def test_batches_come_from_seed_epoch_and_study_alone(studies, tmp_path):
    cache, _ = CaseCache.build(studies, CaseGrid((32, 32)), CODE, {}, tmp_path / "cache")
    samples = [Sample(study.study_id, {}, 1) for study in studies]
    data, other = (CaseDataset(cache, samples, 3, changes=AugmentConfig(), mirror=True, hide=0.5) for _ in range(2))
    one, again = data.batch([2, 0], 7), other.batch([0, 2], 7)
    np.testing.assert_array_equal(one.images[0], again.images[1])
    np.testing.assert_array_equal(one.targets["mask"][0], again.targets["mask"][1])
    assert not np.array_equal(one.images[0], data.batch([2], 8).images[0])
    assert tuple(one.images.shape) == (2, 1, 1, 32, 32)
    plain = data.batch([2], None)
    np.testing.assert_allclose(plain.images[0, 0], cache.case("s2").image / np.float32(65535))
    assert [len(batch) for batch in data.in_turn(2)] == [2, 2, 1]
    assert sorted(np.concatenate(data.order(0, 1)).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shape", [(40, 48), (6, 40, 48)])
def test_image_and_mask_move_alike_and_the_mask_is_never_mixed(shape):
    mask = np.zeros(shape, np.uint8)
    mask[..., 8:24, 6:20], mask[..., 24:34, 6:20] = 1, 4
    image = (mask.astype(np.uint16) * 16000).astype(np.uint16)
    config = AugmentConfig(shift=0.1, rotate_deg=20, scale=0.2, intensity=0)
    sides = set()
    for seed in range(8):
        moved, outline = changed(image[None], mask, config, True, 0.0, np.random.default_rng(seed))
        assert set(np.unique(outline)) <= {0, 1, 4}
        drawn = np.rint(moved[0] * 65535 / 16000)
        assert (drawn != outline).mean() < 0.06  # the image is interpolated at edges
        sides.add(bool(np.argwhere(outline)[:, -1].mean() > shape[-1] / 2))
    assert sides == {True, False}


def test_without_mirror_sides_stay_and_veils_leave_the_mask():
    mask = np.zeros((40, 48), np.uint8)
    mask[8:24, 4:16] = 1
    image = mask.astype(np.uint16) * 40000
    config = AugmentConfig(shift=0, rotate_deg=0, scale=0, intensity=0)
    for seed in range(6):
        moved, outline = changed(image[None], mask, config, False, 0.0, np.random.default_rng(seed))
        np.testing.assert_array_equal(outline, mask)
        np.testing.assert_allclose(moved[0], image / 65535, atol=1e-4)
    veiled, outline = changed(image[None], mask, config, False, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(outline, mask)
    assert np.abs(veiled[0] - image / 65535).max() > 0.1


def test_patches_lie_around_classes_as_often_as_asked():
    image, mask = np.zeros((20, 40, 40), np.uint16), np.zeros((20, 40, 40), np.uint8)
    mask[18, 38, 1] = 1
    mask[2:6, 2:30, 2:30] = 2
    places = np.array([[0, 18, 38, 1], *([1, 4, row, 8] for row in range(2, 30))], np.int32)
    draw = np.random.default_rng(0)
    shown = [Patches((8, 16, 16), 1.0).cut(image[None], mask, places, draw)[1] for _ in range(60)]
    assert 15 < sum((1 in one) for one in shown) < 45  # each class as often, however few its voxels are
    assert all(one.any() for one in shown)
    rare = [Patches((8, 16, 16), 0.0).cut(image[None], mask, places, draw)[1] for _ in range(60)]
    assert sum((1 in one) for one in rare) < 15


def test_where_parts_are_not_labelled_every_patch_shows_what_is():
    code = OutlineCode(("organ",), exclusive=True)
    coded = np.full((20, 40, 40), code.unlabelled, np.uint8)
    coded[2:4, 2:12, 2:12] = 0
    coded[3, 4:6, 4:6] = 1
    places = places_of(coded, code)
    assert {tuple(place) for place in places[places[:, 0] == 0, 1:].tolist()} == {
        (3, row, column) for row in (4, 5) for column in (4, 5)
    }
    draw = np.random.default_rng(0)
    for share in (0.0, 1.0):
        cut = [Patches((8, 16, 16), share).cut(coded[None], coded, places, draw)[1] for _ in range(20)]
        assert all(code.labelled(one).any() for one in cut)
    assert (places_of(np.zeros((4, 4, 4), np.uint8), code)).shape == (0, 4)


def test_channels_are_changed_each_for_itself_and_cut_alike():
    mask = np.zeros((40, 48), np.uint8)
    mask[8:24, 6:20] = 1
    image = np.stack([mask.astype(np.uint16) * 40000, 20000 + mask.astype(np.uint16) * 100])
    config = AugmentConfig(shift=0.1, rotate_deg=20, scale=0.2, intensity=0.3)
    both, outline = changed(image, mask, config, True, 0.5, np.random.default_rng(3))
    for number in (0, 1):
        alone, same = changed(image[number : number + 1], mask, config, True, 0.5, np.random.default_rng(3))
        np.testing.assert_array_equal(both[number], alone[0])
        np.testing.assert_array_equal(outline, same)


def test_a_volume_smaller_than_the_patch_lies_in_its_middle():
    small = np.arange(1, 25, dtype=np.uint8).reshape(2, 3, 4)
    whole = padded(small, np.zeros(3, int), (4, 4, 4))
    np.testing.assert_array_equal(whole[1:3, 0:3], small)
    assert whole.sum() == small.sum()
