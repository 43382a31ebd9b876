"""A folder of one series is an image like any other: a volume to head, front and right, as NIfTI gives it."""

import nibabel
import numpy as np
import pytest

import medmm
from medmm.data.phantom.scans import write_nifti
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.errors import ImageError, Reason

AFFINE = np.array([[0, 0, 1.25, -20.0], [0, 1.5, 0, -25.0], [2.5, 0, 0, -20.0], [0, 0, 0, 1]])
VALUES = np.random.default_rng(2).integers(-1000, 2000, (5, 16, 12)).astype(np.int16)


def test_the_series_is_the_nifti_volume(tmp_path):
    write_series(tmp_path / "series", VALUES, AFFINE, SeriesForm(shuffled=True))
    write_nifti(tmp_path / "v.nii.gz", VALUES, AFFINE)
    series = medmm.read_image(tmp_path / "series", window=None)
    nifti = medmm.read_image(tmp_path / "v.nii.gz", window=None)
    np.testing.assert_array_equal(series.array, nifti.array)
    np.testing.assert_allclose(series.affine, nifti.affine, atol=1e-4)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "v.nii.gz").get_fdata().T, series.array[0])


def test_its_size_can_be_chosen(tmp_path):
    write_series(tmp_path / "series", VALUES, AFFINE)
    write_nifti(tmp_path / "v.nii.gz", VALUES, AFFINE)
    series = medmm.read_image(tmp_path / "series", size=8, window=None)
    nifti = medmm.read_image(tmp_path / "v.nii.gz", size=8, window=None)
    assert series.array.shape == (1, 5, 8, 8)
    np.testing.assert_allclose(series.array, nifti.array, atol=1e-3)
    np.testing.assert_allclose(series.affine, nifti.affine, atol=1e-4)
    np.testing.assert_allclose(series.spacing_mm, (2.5, 3.0, 1.875), atol=1e-5)


def test_a_folder_of_several_volumes_or_none_is_no_image(tmp_path):
    write_series(tmp_path / "a", VALUES, AFFINE)
    write_series(tmp_path / "b", VALUES, AFFINE, number=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError) as several:
        medmm.read_image(tmp_path)
    assert several.value.reason is Reason.DIMENSIONS_MISMATCH
    with pytest.raises(ImageError) as none:
        medmm.read_image(tmp_path / "empty")
    assert none.value.reason is Reason.NOT_AN_IMAGE
