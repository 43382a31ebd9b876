"""Figures of outlines against SimpleITK, SciPy and hand-computed values."""

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from medmm.metrics.bootstrap import resample_counts
from medmm.metrics.segmentation import OutlineScores, lesions_of, outline_figures, size_name


@pytest.fixture(scope="module")
def pair():
    d, h, w = np.mgrid[:24, :30, :28]
    one = ((d - 12) / 8) ** 2 + ((h - 15) / 10) ** 2 + ((w - 14) / 9) ** 2 < 1
    other = ((d - 13) / 8) ** 2 + ((h - 13) / 9) ** 2 + ((w - 15) / 10) ** 2 < 1
    return one, other


def surface(mask):
    return mask & ~ndimage.binary_erosion(mask)


def test_overlap_and_volume_are_simpleitks(pair):
    drawn, true = pair
    spacing = (3.0, 1.5, 0.5)
    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in pair]
    measures = SimpleITK.LabelOverlapMeasuresImageFilter()
    measures.Execute(*images)
    found = outline_figures(drawn, true, spacing, 2.0)
    assert found["dice"] == pytest.approx(measures.GetDiceCoefficient(), abs=1e-9)
    assert found["iou"] == pytest.approx(measures.GetJaccardCoefficient(), abs=1e-9)
    assert found["volume_error_ml"] == pytest.approx(abs(drawn.sum() - true.sum()) * 2.25 / 1000)


def test_distances_are_those_of_a_distance_transform_in_millimetres(pair):
    drawn, true = pair
    spacing = (3.0, 1.5, 0.5)
    found = outline_figures(drawn, true, spacing, 2.0)
    from_drawn = ndimage.distance_transform_edt(~surface(true), spacing)[surface(drawn)]
    from_true = ndimage.distance_transform_edt(~surface(drawn), spacing)[surface(true)]
    expected = max(np.percentile(from_drawn, 95), np.percentile(from_true, 95))
    assert found["hd95"] == pytest.approx(expected, rel=1e-4)
    agree = (from_drawn <= 2).sum() + (from_true <= 2).sum()
    assert found["surface_dice"] == pytest.approx(agree / (len(from_drawn) + len(from_true)), rel=1e-4)


def test_two_empty_masks_have_no_figures_and_one_has_no_distance():
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert outline_figures(empty, empty, (1, 1), 1.0) == {}
    assert outline_figures(full, empty, (1, 1), 1.0) == {"dice": 0, "iou": 0, "surface_dice": 0}
    same = outline_figures(full, full, (1, 1), 1.0)
    assert (same["dice"], same["hd95"], same["surface_dice"]) == (1, 0, 1)


def test_dice_mean_is_over_images_then_classes_and_skips_what_neither_mask_shows():
    lesion = {"a": {}, "lesion": {"dice": 0.1}}
    figures = [{"a": {"dice": 1.0}, "b": {"dice": 0.5}}, {"a": {"dice": 0.0}, "b": {}}, lesion]
    scores = OutlineScores(figures, ("a", "b", "lesion"), ("a", "b")).scores()
    assert {name: float(values[0]) for name, values in scores.items()} == {
        "dice_mean": 0.5, "dice/a": 0.5, "dice/b": 0.5, "dice/lesion": 0.1,
    }  # fmt: skip
    every = OutlineScores(figures, ("a", "b", "lesion")).scores()
    assert float(every["dice_mean"][0]) == pytest.approx((0.5 + 0.5 + 0.1) / 3)


def test_resamples_weigh_images_by_how_often_they_are_drawn():
    figures = [{"a": {"dice": 1.0}}, {"a": {"dice": 0.0}}]
    scores = OutlineScores(figures, ("a",))
    counts = np.array([[3.0, 1.0], [0.0, 2.0]])
    assert scores.scores(counts)["dice_mean"].tolist() == [0.75, 0.0]
    drawn = np.concatenate(list(resample_counts(["p", "q"], 50, 0)))
    assert np.isfinite(scores.scores(drawn)["dice_mean"]).all()


def test_lesions_are_counted_by_size_and_by_what_of_them_was_drawn():
    true, drawn = np.zeros((30, 30, 30), bool), np.zeros((30, 30, 30), bool)
    true[2:5, 2:5, 2:5], true[10:22, 10:22, 10:22] = True, True
    drawn[10:16, 10:22, 10:22], drawn[27:, 27:, 27:] = True, True
    small, large = lesions_of("mass", drawn, true, (2.0, 2.0, 2.0))
    assert (small.covered, small.dice, large.covered) == (0, 0, 0.5)
    assert large.dice == pytest.approx(2 * 0.5 / 1.5)
    assert small.diameter_mm == pytest.approx((6 * 27 * 8 / np.pi) ** (1 / 3))
    assert [size_name(one.diameter_mm) for one in (small, large)] == ["below_10_mm", "10_to_30_mm"]
