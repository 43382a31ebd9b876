"""Masks on the grid of their image: resampled only where an affine says how."""

import cv2
import nibabel as nib
import numpy as np
import pytest

from medmm.data.case_grid import CaseGrid
from medmm.data.case_masks import read_masks
from medmm.errors import ImageError, Reason
from medmm.types import ImageRef, Study

LABELS = {"liver": (1,), "tumour": (2, 3)}


def volume(path, array, affine):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def case(tmp_path):
    """An image of 12 x 10 x 8 voxels of 1 x 2 x 3 mm, and what reads a mask for it."""
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-5, 7, 11)
    image = volume(
        tmp_path / "image.nii.gz", np.random.default_rng(0).normal(0, 9, (12, 10, 8)).astype(np.int16), affine
    )
    grid = CaseGrid((16, 16, 16), (1.0, 1.0, 1.0))

    def read(array, mask_affine=affine, labels=LABELS, classes=("liver", "tumour")):
        mask = volume(tmp_path / "mask.nii.gz", array.astype(np.uint8), mask_affine)
        study = Study("s", "p", (ImageRef(image),), masks={"label": mask})
        return read_masks(study, grid.read(image), labels, classes)

    read.affine = affine
    return read


def labels():
    array = np.zeros((12, 10, 8))
    array[2:6, 3:7, 1:5], array[4, 4, 2], array[5, 5, 3] = 1, 2, 3
    return array


def test_label_values_become_classes_on_the_images_grid(case):
    found = case(labels())
    turned = labels().transpose(2, 1, 0)
    np.testing.assert_array_equal(found["liver"], turned == 1)
    np.testing.assert_array_equal(found["tumour"], turned >= 2)


def test_a_flipped_mask_file_is_laid_where_its_affine_says(case):
    flip = case.affine @ np.array([[-1.0, 0, 0, 11], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found = case(labels()[::-1], flip)
    np.testing.assert_array_equal(found["liver"], labels().transpose(2, 1, 0) == 1)


def test_a_mask_on_a_finer_grid_is_resampled_by_its_affine(case):
    finer = labels().repeat(2, 0).repeat(2, 1)
    affine = case.affine @ np.diag([0.5, 0.5, 1, 1])
    affine[:3, 3] = (case.affine @ [-0.25, -0.25, 0, 1])[:3]
    found = case(finer, affine)
    np.testing.assert_array_equal(found["liver"], labels().transpose(2, 1, 0) == 1)


def test_a_mask_of_the_same_size_elsewhere_is_resampled_too(case):
    moved = case.affine.copy()
    moved[0, 3] += 1  # one voxel to the right
    found = case(labels(), moved)
    np.testing.assert_array_equal(found["liver"][:, :, 1:], (labels().transpose(2, 1, 0) == 1)[:, :, :-1])


def test_a_mask_beside_the_image_is_refused(case):
    away = case.affine.copy()
    away[0, 3] += 500
    with pytest.raises(ImageError, match="beside the image") as caught:
        case(labels(), away)
    assert caught.value.reason is Reason.DIMENSIONS_MISMATCH


def test_values_that_nobody_named_are_refused_by_name(case):
    array = labels()
    array[0, 0, 0], array[0, 0, 1] = 7, 9
    with pytest.raises(ImageError, match="7, 9") as caught:
        case(array)
    assert caught.value.reason is Reason.LABEL_UNKNOWN


def test_without_labels_a_mask_is_binary_and_has_its_own_name(case):
    found = case(labels() * 40, labels={}, classes=("label",))
    np.testing.assert_array_equal(found["label"], labels().transpose(2, 1, 0) > 0)


def test_a_picture_of_another_size_is_refused_as_nothing_says_how_it_lies(tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((20, 30), np.uint8))
    cv2.imwrite(str(tmp_path / "mask.png"), np.ones((10, 15), np.uint8))
    study = Study("s", "p", (ImageRef(tmp_path / "image.png"),), masks={"mask": tmp_path / "mask.png"})
    with pytest.raises(ImageError, match="nothing says how") as caught:
        read_masks(study, CaseGrid((16, 16)).read(tmp_path / "image.png"), {}, ("mask",))
    assert caught.value.reason is Reason.DIMENSIONS_MISMATCH


def test_what_nobody_has_labelled_comes_beside_the_classes(case):
    found = case(labels(), labels={"liver": (1,), "ignore": (2, 3)}, classes=("liver",))
    np.testing.assert_array_equal(found["ignore"], labels().transpose(2, 1, 0) >= 2)
    np.testing.assert_array_equal(found["liver"], labels().transpose(2, 1, 0) == 1)
    assert case(labels(), labels={"liver": (1,), "ignore": (2, 3)}, classes=("spleen",)) == {}
