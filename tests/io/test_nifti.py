"""NIfTI volumes against nibabel."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from medmm import read_image
from medmm.errors import ImageError, Reason
from medmm.io.nifti import read_nifti

RNG = np.random.default_rng(7)
ROTATED = np.array([[-1.9, 0.3, 0, 20], [0.2, 0, 2.9, -30], [0, 0.8, 0.4, 5], [0, 0, 0, 1]])
FLIP = np.eye(4)[[2, 1, 0, 3]]
"""(d, h, w) and (i, j, k) of a canonical volume."""


def write(path, array, affine=ROTATED, **header):
    image = (nib.Nifti2Image if header.pop("second", False) else nib.Nifti1Image)(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def reason_of(path):
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return caught.value.reason


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "int16", ">i2", "int32", "float32", "float64"])
def test_values_and_affine_equal_nibabels(tmp_path, name, second, kind):
    array = RNG.integers(0, 100, (4, 5, 6)).astype(kind)
    path = write(tmp_path / name, array, second=second)
    canonical = nib.as_closest_canonical(nib.load(path))
    image = read_image(path, window=None)
    np.testing.assert_array_equal(image.array[0], canonical.get_fdata().transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine, canonical.affine @ FLIP, atol=1e-6)
    np.testing.assert_allclose(image.spacing_mm, canonical.header.get_zooms()[::-1], rtol=1e-6)


def test_a_voxel_lies_where_the_affine_says(tmp_path):
    """The brightest voxel, (1, 2, 3) of the file, keeps its place in millimetres; so does a corner when resized."""
    array = np.zeros((4, 6, 8), np.int16)
    array[1, 2, 3] = 900
    path = write(tmp_path / "x.nii", array)
    image = read_image(path, window=None)
    where = np.array([*np.argwhere(image.array[0] == 900)[0], 1])
    np.testing.assert_allclose(image.affine @ where, ROTATED @ [1, 2, 3, 1], atol=1e-5)
    small = read_image(path, size=2, window=None)
    corner = np.array([0, -0.5, -0.5, 1])
    np.testing.assert_allclose(small.affine @ corner, image.affine @ corner, atol=1e-5)
    np.testing.assert_allclose(
        np.array(small.spacing_mm[1:]) * 2, np.array(image.spacing_mm[1:]) * image.array.shape[2:]
    )


def test_slope_and_intercept(tmp_path):
    path = write(tmp_path / "x.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([2.5, -1024], "<f4").tobytes()
    path.write_bytes(data)
    np.testing.assert_allclose(read_image(path, window=None).array[0], nib.load(path).get_fdata().transpose(2, 1, 0))


def test_the_fourth_axis_becomes_channels(tmp_path):
    array = RNG.integers(0, 100, (2, 3, 4, 5)).astype(np.int16)
    image = read_image(write(tmp_path / "x.nii.gz", array, np.eye(4)), window=None)
    np.testing.assert_array_equal(image.array, array.transpose(3, 2, 1, 0))


def test_a_single_slice(tmp_path):
    array = RNG.integers(0, 100, (3, 4)).astype(np.uint8)
    image = read_image(write(tmp_path / "x.nii", array, np.eye(4)), window=None)
    np.testing.assert_array_equal(image.array, array.T[None, None])


def test_window(tmp_path):
    """cal_min and cal_max where they are set, else the finite range; a constant is black, NaN too."""
    array = np.array([0, 50, 100, 200], np.float32).reshape(4, 1, 1)
    plain = read_image(write(tmp_path / "a.nii", array, np.eye(4))).array.ravel()
    np.testing.assert_allclose(plain, [0, 0.25, 0.5, 1])
    shown = read_image(write(tmp_path / "b.nii", array, np.eye(4), cal_min=50, cal_max=100)).array.ravel()
    np.testing.assert_allclose(shown, [0, 0, 1, 1])
    array[3] = np.nan
    image = read_image(write(tmp_path / "c.nii", array, np.eye(4)))
    np.testing.assert_allclose(image.array.ravel(), [0, 0.5, 1, 0])
    assert image.notes == ("Some values are not finite.",)
    constant = read_image(write(tmp_path / "d.nii", np.full((2, 2, 2), 7, np.int16), np.eye(4)))
    np.testing.assert_array_equal(constant.array, np.zeros((1, 2, 2, 2)))


def test_sform_goes_before_qform_and_a_flat_one_is_left_out(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), None)
    image.set_sform(np.diag([2.0, 3, 4, 1]), code=1)
    image.set_qform(np.diag([5.0, 6, 7, 1]), code=1)
    nib.save(image, tmp_path / "x.nii")
    assert read_image(tmp_path / "x.nii").spacing_mm == (4, 3, 2)
    data = bytearray((tmp_path / "x.nii").read_bytes())
    data[280:328] = bytes(48)
    (tmp_path / "x.nii").write_bytes(data)
    got = read_image(tmp_path / "x.nii")
    assert got.spacing_mm == (7, 6, 5)
    assert got.notes == ("The sform cannot be used.",)


def test_faults_have_their_reasons(tmp_path):
    path = write(tmp_path / "x.nii", RNG.integers(0, 100, (8, 8, 8)).astype(np.int16))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert reason_of(path) is Reason.DECODE_FAILED
    (tmp_path / "y.nii.gz").write_bytes(gzip.compress(whole)[:-200])
    assert reason_of(tmp_path / "y.nii.gz") is Reason.DECODE_FAILED
    lying = bytearray(whole)
    lying[42:48] = np.array([900, 900, 900], "<i2").tobytes()  # 1.4 GB in a file of 1 KB
    (tmp_path / "lying.nii.gz").write_bytes(gzip.compress(lying))
    assert reason_of(tmp_path / "lying.nii.gz") is Reason.DECODE_FAILED
    lying[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(lying)
    assert reason_of(path) is Reason.TOO_LARGE
    lying[42:44] = np.array([-3], "<i2").tobytes()
    path.write_bytes(lying)
    assert reason_of(path) is Reason.HEADER_INVALID
    assert reason_of(write(tmp_path / "c.nii", np.zeros((2, 2, 2), np.complex64))) is Reason.SYNTAX_UNSUPPORTED
    nib.save(nib.Nifti1Pair(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "pair.hdr")
    assert reason_of(tmp_path / "pair.hdr") is Reason.NOT_AN_IMAGE


@pytest.mark.shared
def test_real_volumes_equal_nibabels(shared):
    for path in sorted((shared / "nifti").iterdir()):
        canonical = nib.as_closest_canonical(nib.load(path))
        image = read_nifti(path, window=None)
        np.testing.assert_allclose(image.array[0], canonical.get_fdata().transpose(2, 1, 0), rtol=1e-6)
        np.testing.assert_allclose(image.affine, canonical.affine @ FLIP, atol=1e-6)
