"""Images to the grid of a model and masks back: edges stay edges, against OpenCV, SciPy and by hand."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from torch.nn import functional

from medmm.data.case_grid import CaseGrid, restore, stretch, stretch_mask
from medmm.data.outline_code import OutlineCode
from medmm.errors import ImageError, Reason, UsageError
from medmm.types import Image


def test_stretching_is_linear_between_centres_and_averages_when_coarser():
    values = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    finer = functional.interpolate(torch.from_numpy(values)[None, None], (9, 12, 20), mode="trilinear")[0, 0].numpy()
    np.testing.assert_allclose(stretch(values, (9, 12, 20)), finer, atol=1e-5)
    even = np.random.default_rng(1).random((6, 8, 4)).astype(np.float32)
    means = even.reshape(3, 2, 2, 4, 2, 2).mean((1, 3, 5))
    np.testing.assert_allclose(stretch(even, (3, 2, 2)), means, atol=1e-6)
    flat = stretch(np.full((7, 5, 3), 2.5), (3, 4, 5))
    np.testing.assert_allclose(flat, 2.5, rtol=1e-6)


def test_a_mask_goes_to_a_coarser_grid_and_back_within_a_voxel():
    d, h, w = np.mgrid[:40, :60, :50]
    ball = ((d - 20) ** 2 + (h - 30) ** 2 + (w - 25) ** 2) < 15**2
    code = OutlineCode(("ball",), exclusive=False)
    small = stretch_mask(ball, (20, 30, 25))
    assert abs(small.sum() * 8 / ball.sum() - 1) < 0.03
    scores = stretch(ball.astype(np.float32), (20, 30, 25))[None]
    back = restore(scores, ball.shape, code.decide).astype(bool)
    assert back.shape == ball.shape
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) > 0.985
    assert not back[:4].any()


def test_restoring_on_the_same_grid_changes_nothing():
    scores = np.random.default_rng(0).random((4, 6, 9, 8)).astype(np.float32)
    code = OutlineCode(("a", "b", "c"), exclusive=True)
    np.testing.assert_array_equal(restore(scores, (6, 9, 8), code.decide), scores.argmax(0))
    np.testing.assert_array_equal(restore(scores[:, 0], (9, 8), code.decide), scores[:, 0].argmax(0))


def test_a_volume_takes_the_spacing_and_the_window_of_the_grid():
    grid = CaseGrid((16, 16, 16), (2.0, 1.5, 1.0), ((-100.0, 100.0),))
    image = Image(np.full((1, 10, 30, 20), 50, np.float32), np.eye(4), (4.0, 1.0, 1.0))
    assert grid.shape(image) == (20, 20, 20)
    np.testing.assert_allclose(grid.prepare(image), 0.75)
    assert CaseGrid.of(grid.as_dict()) == grid


def test_without_units_a_volume_is_shown_about_its_own_mean():
    values = np.random.default_rng(0).normal(700, 50, (1, 10, 30, 20)).astype(np.float32)
    grid = CaseGrid((16, 16, 16), (4.0, 1.0, 1.0))
    z = (values - values.mean()) / values.std()
    found = grid.prepare(Image(values, np.eye(4), (4.0, 1.0, 1.0)))
    np.testing.assert_allclose(found, np.clip((z + 4) / 10, 0, 1), atol=1e-5)
    cut = values.copy()
    cut[:, :, :10] = 0  # what lies outside of the brain
    inside = cut[cut != 0]
    found = grid.prepare(Image(cut, np.eye(4), (4.0, 1.0, 1.0)))
    expected = np.clip(((cut - inside.mean()) / inside.std() + 4) / 10, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found[:, :, :10].max() == 0


def test_each_channel_has_a_scale_of_its_own_and_their_number_is_kept(tmp_path):
    grid = CaseGrid((16, 16, 16), (1.0, 1.0, 1.0), (None, (-100.0, 100.0)), ("PET", "CT"))
    array = np.stack([np.random.default_rng(0).normal(5, 1, (6, 7, 8)), np.full((6, 7, 8), 50.0)]).astype(np.float32)
    found = grid.prepare(Image(array, np.eye(4), (1.0, 1.0, 1.0)))
    np.testing.assert_allclose(
        found[0], np.clip(((array[0] - array[0].mean()) / array[0].std() + 4) / 10, 0, 1), atol=1e-5
    )
    np.testing.assert_allclose(found[1], 0.75)
    assert CaseGrid.of(json.loads(json.dumps(grid.as_dict()))) == grid
    nib.save(nib.Nifti1Image(array.transpose(3, 2, 1, 0), np.eye(4)), tmp_path / "both.nii.gz")
    np.testing.assert_array_equal(grid.read(tmp_path / "both.nii.gz").array, array)
    files = []
    for number, channel in enumerate(array):
        files.append(tmp_path / f"x_000{number}.nii.gz")
        nib.save(nib.Nifti1Image(channel.transpose(2, 1, 0), np.eye(4)), files[-1])
    np.testing.assert_array_equal(grid.read(tuple(files)).array, array)
    with pytest.raises(ImageError, match=r"another number of channels; got 1; expected 2 \(PET, CT\)") as caught:
        grid.read(files[0])
    assert caught.value.reason is Reason.DIMENSIONS_MISMATCH


@pytest.mark.parametrize(("shape", "shift"), [((8, 7, 5), 0.0), ((8, 7, 6), 3.0)])
def test_channels_on_different_grids_are_refused(tmp_path, shape, shift):
    affine = np.eye(4)
    nib.save(nib.Nifti1Image(np.zeros((8, 7, 6), np.float32), affine), tmp_path / "0.nii.gz")
    affine[0, 3] = shift
    nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), affine), tmp_path / "1.nii.gz")
    with pytest.raises(ImageError, match="different grids") as caught:
        CaseGrid((16, 16, 16), (1.0, 1.0, 1.0), channels=("a", "b")).read(
            (tmp_path / "0.nii.gz", tmp_path / "1.nii.gz")
        )
    assert caught.value.reason is Reason.DIMENSIONS_MISMATCH


def test_grids_of_the_first_format_are_read_where_they_mean_the_same():
    said = {"patch": [16, 16, 16], "spacing_mm": [1, 1, 1], "low": -100.0, "high": 100.0}
    assert CaseGrid.of(said) == CaseGrid((16, 16, 16), (1.0, 1.0, 1.0), ((-100.0, 100.0),))
    assert CaseGrid.of({"patch": [32, 32], "spacing_mm": None, "low": None, "high": None}) == CaseGrid((32, 32))
    with pytest.raises(ValueError, match="another way"):
        CaseGrid.of(said | {"low": None, "high": None})


def test_thick_slices_keep_their_number():
    grid = CaseGrid((32, 64, 64), (12.0, 1.0, 1.0), ((0.0, 1.0),))
    image = Image(np.zeros((1, 9, 64, 64), np.float32), np.diag([12.0, 1, 1, 1]), (12.0, 1.0, 1.0))
    assert grid.prepare(image).shape == (1, 9, 64, 64)


def test_an_image_of_the_other_kind_is_refused(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(ImageError) as caught:
        CaseGrid((16, 16, 16), (1.0, 1.0, 1.0)).read(tmp_path / "x.png")
    assert caught.value.reason is Reason.DIMENSIONS_MISMATCH
    assert CaseGrid((16, 16)).read(tmp_path / "x.png").array.shape == (1, 8, 8)


@pytest.mark.parametrize("exclusive", [True, False])
def test_masks_are_coded_and_come_back(exclusive):
    masks = {name: np.zeros((4, 5), bool) for name in ("a", "b")}
    masks["a"][:2], masks["b"][1:3] = True, True
    code = OutlineCode(("a", "b", "c"), exclusive)
    back = code.masks(code.encode(masks, (4, 5)))
    np.testing.assert_array_equal(back["b"], masks["b"])
    np.testing.assert_array_equal(back["a"], masks["a"] & ~masks["b"] if exclusive else masks["a"])
    assert not back["c"].any()
    assert code.channels == (4 if exclusive else 3)


def test_too_many_classes_are_refused_and_sixty_three_overlap():
    names = tuple(map(str, range(63)))
    code = OutlineCode(names, exclusive=False)
    mask = np.array([True, False])
    assert code.masks(code.encode({"62": mask, "0": ~mask}, (2,)))["62"].tolist() == [True, False]
    with pytest.raises(UsageError, match="1 to 63"):
        OutlineCode((*names, "63"), exclusive=False)


@pytest.mark.parametrize(("exclusive", "number"), [(True, 2), (False, 2), (False, 7), (False, 8), (False, 63)])
def test_what_nobody_has_labelled_is_no_class_and_no_background(exclusive, number):
    code = OutlineCode(tuple(map(str, range(number))), exclusive)
    masks = {"0": np.array([1, 0, 1, 0], bool), "1": np.array([0, 1, 0, 0], bool)}
    coded = code.encode(masks | {"ignore": np.array([0, 0, 1, 1], bool)}, (4,))
    assert code.labelled(coded).tolist() == [True, True, False, False]
    assert code.masks(coded)["0"].tolist() == [True, False, False, False]
    last = code.encode({str(number - 1): np.ones(4, bool)}, (4,))
    assert code.labelled(last).all()
    with pytest.raises(UsageError, match="is no class"):
        OutlineCode(("ignore",), exclusive)
