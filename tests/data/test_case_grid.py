"""Images to the grid of a model and masks back: edges stay edges, against OpenCV, SciPy and by hand."""

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
    grid = CaseGrid((16, 16, 16), (2.0, 1.5, 1.0), -100.0, 100.0)
    image = Image(np.full((1, 10, 30, 20), 50, np.float32), np.eye(4), (4.0, 1.0, 1.0))
    assert grid.shape(image) == (20, 20, 20)
    np.testing.assert_allclose(grid.prepare(image), 0.75)
    assert CaseGrid.of(grid.as_dict()) == grid
    own = CaseGrid((16, 16, 16), (4.0, 1.0, 1.0)).prepare(
        Image(np.linspace(0, 1000, 6000, dtype=np.float32).reshape(1, 10, 30, 20), np.eye(4), (4.0, 1.0, 1.0))
    )
    assert (own.min(), own.max()) == (0, 1)
    assert np.median(own) == pytest.approx(0.5, abs=0.01)


def test_thick_slices_keep_their_number():
    grid = CaseGrid((32, 64, 64), (12.0, 1.0, 1.0), 0.0, 1.0)
    image = Image(np.zeros((1, 9, 64, 64), np.float32), np.diag([12.0, 1, 1, 1]), (12.0, 1.0, 1.0))
    assert grid.prepare(image).shape == (9, 64, 64)


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


def test_too_many_classes_are_refused_and_sixty_four_overlap():
    names = tuple(map(str, range(64)))
    code = OutlineCode(names, exclusive=False)
    mask = np.array([True, False])
    assert code.masks(code.encode({"63": mask, "0": ~mask}, (2,)))["63"].tolist() == [True, False]
    with pytest.raises(UsageError, match="1 to 64"):
        OutlineCode((*names, "64"), exclusive=False)
