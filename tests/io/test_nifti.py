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


def patched(path, offset, value, kind):
    """Overwrite a field of the header, where nibabel would not write it so."""
    data = bytearray(path.read_bytes())
    field = np.atleast_1d(np.array(value, kind)).tobytes()
    data[offset : offset + len(field)] = field
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("handed", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("turn", [(0, 0, 0), (0.5, -0.3, 0.2), (1, 0, 0), (0, 0.999, 0.01)])
def test_qform_alone(tmp_path, handed, turn):
    """Method 2: the quaternion, and pixdim[0], which turns the third axis where it is -1 and counts as 1 if it is 0."""
    path = write(tmp_path / "x.nii", RNG.integers(0, 100, (4, 5, 6)).astype(np.int16), np.diag([2.0, 3, 4, 1]))
    patched(path, 252, [1, 0], "<i2")  # qform_code, sform_code
    patched(path, 256, [*turn, 11, -7, 5], "<f4")
    patched(path, 76, handed, "<f4")
    peer = nib.as_closest_canonical(nib.load(path))
    image = read_image(path, window=None)
    np.testing.assert_allclose(image.affine, peer.affine @ FLIP, atol=1e-5)
    np.testing.assert_array_equal(image.array[0], peer.get_fdata().T)
    assert image.notes == ()


def test_no_form_at_all(tmp_path):
    """Method 1: the voxel size says nothing of where the volume lies; nibabel's guess is taken and noted."""
    path = patched(write(tmp_path / "x.nii", np.zeros((4, 5, 6), np.int16)), 252, [0, 0], "<i2")
    image = read_image(path, window=None)
    np.testing.assert_allclose(image.affine, nib.as_closest_canonical(nib.load(path)).affine @ FLIP, atol=1e-5)
    assert "does not say how the volume lies" in image.notes[0]


def test_forms_that_disagree_are_noted(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), None)
    image.set_sform(np.diag([2.0, 3, 4, 1]), code=2)
    image.set_qform(np.diag([2.0, 3, 4, 1]), code=1)
    nib.save(image, tmp_path / "same.nii")
    assert read_image(tmp_path / "same.nii").notes == ()
    image.set_qform(np.diag([-2.0, 3, 4, 1]), code=1)
    nib.save(image, tmp_path / "other.nii")
    got = read_image(tmp_path / "other.nii")
    assert got.notes == ("Sform and qform say different things; the sform was taken.",)
    assert got.affine[0, 2] == 2


@pytest.mark.parametrize(("unit", "factor", "notes"), [(2, 1, 0), (0, 1, 0), (1, 1000, 1), (3, 0.001, 1), (10, 1, 0)])
def test_lengths_become_millimetres(tmp_path, unit, factor, notes):
    """xyzt_units: 1 metre, 2 millimetre, 3 micrometre; 8 is a second, which is no length."""
    path = patched(write(tmp_path / "x.nii", np.zeros((2, 3, 4), np.int16), np.diag([2.0, 3, 4, 1])), 123, unit, "u1")
    image = read_image(path)
    np.testing.assert_allclose(image.spacing_mm, np.array([4, 3, 2]) * factor)
    assert len(image.notes) == notes


def test_five_axes_and_a_slope(tmp_path):
    array = RNG.integers(0, 100, (2, 3, 4, 2, 3)).astype(np.int16)
    path = patched(write(tmp_path / "x.nii", array, ROTATED), 112, [0.5, -3], "<f4")
    image = read_image(path, window=None)
    expected = nib.as_closest_canonical(nib.load(path)).get_fdata()
    np.testing.assert_allclose(image.array, expected.reshape(*expected.shape[:3], -1, order="F").T)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_a_slope_that_means_none(tmp_path, slope):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = patched(write(tmp_path / "x.nii", array, np.eye(4)), 112, slope, "<f4")
    np.testing.assert_array_equal(read_image(path, window=None).array[0].T, nib.load(path).get_fdata())


def test_headers_that_once_broke_the_reader(tmp_path):
    """Axes that cannot be told apart are no affine; samples that lie nowhere are refused."""
    path = write(tmp_path / "x.nii", np.zeros((2, 3, 4), np.int16), np.diag([2.0, 3, 4, 1]))
    patched(path, 280, [2, 1e20, 0, 0], "<f4")
    image = read_image(path)
    assert image.spacing_mm == (4, 3, 2)
    assert image.notes[0] == "The sform cannot be used."
    assert reason_of(patched(path, 108, np.nan, "<f4")) is Reason.HEADER_INVALID


@pytest.mark.slow
def test_random_headers_give_a_volume_or_a_reason(tmp_path):
    path = write(tmp_path / "x.nii", RNG.integers(0, 100, (8, 9, 7)).astype(np.int16), np.diag([2.0, 3, 4, 1]))
    whole = path.read_bytes()
    for _ in range(3000):
        data = bytearray(whole)
        for place in RNG.integers(0, 348, RNG.integers(1, 6)):
            data[place] = RNG.choice([255, 127, int(RNG.integers(0, 256))])
        path.write_bytes(data)
        try:
            image = read_image(path)
        except ImageError:  # anything else is a fault
            continue
        assert np.isfinite(image.affine).all()


@pytest.mark.shared
def test_real_volumes_equal_nibabels(shared):
    for path in sorted((shared / "nifti").iterdir()):
        canonical = nib.as_closest_canonical(nib.load(path))
        image = read_nifti(path, window=None)
        np.testing.assert_allclose(image.array[0], canonical.get_fdata().transpose(2, 1, 0), rtol=1e-6)
        np.testing.assert_allclose(image.affine, canonical.affine @ FLIP, atol=1e-6)


def gzipped_zeros(path, shape, kind):
    path.write_bytes(gzip.compress(nib.Nifti1Image(np.zeros(shape, kind), np.eye(4)).to_bytes(), 9))
    return path


def test_a_bomb_with_an_honest_header_is_refused(tmp_path, monkeypatch):
    """A file of a few kilobytes that inflates to just what its header promises."""
    path = gzipped_zeros(tmp_path / "bomb.nii.gz", (200, 100, 100), np.int16)
    length = path.stat().st_size
    assert length < 10_000
    monkeypatch.setattr("medmm.io.layout.SAMPLES_A_BYTE", 64)
    monkeypatch.setattr("medmm.io.layout.SAMPLES_OF_ANY", 2_000_000 - 64 * length - 1)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.reason is Reason.TOO_LARGE
    assert f"{length:,} bytes" in str(caught.value)
    monkeypatch.setattr("medmm.io.layout.SAMPLES_OF_ANY", 2_000_000 - 64 * length)
    assert read_image(path).array.shape == (1, 100, 100, 200)


def test_an_empty_label_map_of_a_long_ct_may_be_read():
    """512 x 512 x 1000 voxels of uint8 gzip to 255 KB; twice as many, with organs in them, to megabytes."""
    from medmm.io.nifti_samples import _check_length

    _check_length(255_000, True, 512 * 512 * 1000 + 352, 512 * 512 * 1000)
    _check_length(3_000_000, True, 512 * 512 * 2000 + 352, 512 * 512 * 2000)
    with pytest.raises(ImageError):
        _check_length(2_000_000, True, 2 * 1000**3 + 352, 1000**3)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, np.float64])
def test_little_more_memory_is_taken_than_the_array_has(tmp_path, monkeypatch, name, kind):
    import tracemalloc

    monkeypatch.setattr("medmm.io.nifti_samples._CHUNK", 1 << 17)
    path = write(tmp_path / name, RNG.integers(0, 9, (60, 70, 200)).astype(kind), scl_slope=2, scl_inter=1)
    read_image(path)  # imports
    tracemalloc.start()
    try:
        array = read_image(path).array
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert array.nbytes == 60 * 70 * 200 * 4
    assert most < 1.25 * array.nbytes


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_chunks_lie_where_they_belong_whatever_the_orientation(tmp_path, monkeypatch, turn):
    """Seven slices a channel, two at a time; axes swapped and reversed."""
    monkeypatch.setattr("medmm.io.nifti_samples._CHUNK", 2 * 8 * 5 * 6)
    array = RNG.integers(0, 1000, (5, 6, 7, 2)).astype(np.int16)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-2.0, 3, -4])[:, list(turn)]
    path = write(tmp_path / "x.nii.gz", array, affine)
    canonical = nib.as_closest_canonical(nib.load(path))
    image = read_image(path, window=None)
    np.testing.assert_array_equal(image.array, canonical.get_fdata().T)
    np.testing.assert_allclose(image.affine, canonical.affine @ FLIP)
    assert image.array.flags.c_contiguous


def test_a_place_of_the_samples_far_behind_the_header_is_refused(tmp_path):
    path = write(tmp_path / "x.nii", np.zeros((2, 3, 4), np.int16))
    assert reason_of(patched(path, 108, 1e9, "<f4")) is Reason.HEADER_INVALID


def test_samples_that_do_not_fit_the_checksum_are_refused(tmp_path):
    """A flipped bit of stored blocks inflates without a word; gzip's checksum tells."""
    array = RNG.integers(0, 30000, (8, 8, 8)).astype(np.int16)
    whole = nib.Nifti1Image(array, np.eye(4)).to_bytes()
    data = bytearray(gzip.compress(whole, 0))
    path = tmp_path / "x.nii.gz"
    path.write_bytes(data + b"anything")
    np.testing.assert_array_equal(read_image(path, window=None).array[0], array.T)
    data[600] ^= 4
    path.write_bytes(data)
    assert reason_of(path) is Reason.DECODE_FAILED
