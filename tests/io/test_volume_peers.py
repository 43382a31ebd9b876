"""Volumes against SimpleITK's ImageSeriesReader and dcm2niix, on the shared series and on phantom series.

Where the peers give up, what they still have right is compared. SimpleITK spreads the slices of a gap evenly and puts
tilted slices straight above each other; dcm2niix writes an ``_Eq`` volume for uneven slices (at the least distance
between two of them) and a ``_Tilt`` volume for a tilted gantry.
"""

import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from medmm import read_image, read_volumes
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.io.geometry import to_canonical

LPS = np.diag([-1.0, -1, 1, 1])
FLIP = np.eye(4)[[2, 1, 0, 3]]
MM = 1e-3
FORMS = {
    "tidy": SeriesForm(),
    "shuffled": SeriesForm(shuffled=True, duplicates=()),
    "oblique": SeriesForm(oblique_deg=(12, -25, 8), shuffled=True),
    "oblique MR": SeriesForm(modality="MR", oblique_deg=(-70, 5, 12), shuffled=True),
}


@pytest.fixture
def series(request, tmp_path, bodies, shared):
    """A folder with one series: the shared one or a phantom's."""
    if request.param == "shared":
        return shared / "dicom" / "ct_series"
    volume = bodies.body() + (700 if FORMS[request.param].modality == "MR" else 0)
    write_series(tmp_path / "series", volume, bodies.AFFINE, FORMS[request.param])
    return tmp_path / "series"


EVERY = pytest.mark.parametrize("series", [*FORMS, pytest.param("shared", marks=pytest.mark.shared)], indirect=True)


def by_simpleitk(folder):
    """Array ``[D, H, W]`` and RAS affine of (d, h, w)."""
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), LPS @ affine @ FLIP


def by_dcm2niix(folder, out, suffix=""):
    """dcm2niix's volume whose name ends so, in canonical orientation: array ``[D, H, W]`` and affine of (d, h, w)."""
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (apt install dcm2niix)")
    out.mkdir()
    command = ["dcm2niix", "-z", "n", "-b", "n", "-f", "volume", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    image = nib.as_closest_canonical(nib.load(out / f"volume{suffix}.nii"))
    return image.get_fdata(dtype=np.float32).T, image.affine @ FLIP


@EVERY
def test_affine_and_values_equal_simpleitks(series):
    array, affine = by_simpleitk(series)
    [image] = read_volumes(series)
    np.testing.assert_allclose(image.affine, affine, atol=MM)
    np.testing.assert_array_equal(image.array[0], array)


@EVERY
def test_affine_and_values_equal_dcm2niixs(series, tmp_path):
    array, affine = by_dcm2niix(series, tmp_path / "out")
    image = to_canonical(read_volumes(series)[0])
    np.testing.assert_allclose(image.affine, affine, atol=MM)
    np.testing.assert_array_equal(image.array[0], array)


def test_enhanced_objects_equal_dcm2niixs(tmp_path, bodies):
    how = SeriesForm(enhanced=True, shuffled=True, oblique_deg=(12, -25, 8))
    [path] = write_series(tmp_path / "series", bodies.body(), bodies.AFFINE, how)
    array, affine = by_dcm2niix(tmp_path / "series", tmp_path / "out")
    for image in (read_volumes(tmp_path / "series")[0], read_image(path, window=None)):
        canonical = to_canonical(image)
        np.testing.assert_allclose(canonical.affine, affine, atol=MM)
        np.testing.assert_array_equal(canonical.array[0], array)


def test_a_gap(tmp_path, bodies):
    """Our affine is dcm2niix's; SimpleITK's is ours when the slices are kept; dcm2niix's _Eq volume is ours."""
    write_series(tmp_path / "series", bodies.body(), bodies.AFFINE, SeriesForm(missing=(6,), shuffled=True))
    [image] = read_volumes(tmp_path / "series")
    plain = by_dcm2niix(tmp_path / "series", tmp_path / "a")
    evened = by_dcm2niix(tmp_path / "series", tmp_path / "b", "_Eq_1")
    canonical = to_canonical(image)
    np.testing.assert_allclose(canonical.affine, plain[1], atol=MM)
    np.testing.assert_allclose(canonical.affine, evened[1], atol=MM)
    depth = min(len(evened[0]), 16)  # it leaves out the last slice
    np.testing.assert_allclose(canonical.array[0, :depth], evened[0][:depth], atol=1)
    array, affine = by_simpleitk(tmp_path / "series")
    [kept] = read_volumes(tmp_path / "series", spacing="keep")
    np.testing.assert_allclose(kept.affine, affine, atol=MM)
    np.testing.assert_array_equal(kept.array[0], array)


def test_uneven_spacing(tmp_path, bodies):
    """The affine is SimpleITK's; against dcm2niix's _Eq volume the values are compared where both have them."""
    write_series(tmp_path / "series", bodies.body(), bodies.AFFINE, SeriesForm(jitter=0.2))
    [image] = read_volumes(tmp_path / "series")
    np.testing.assert_allclose(image.affine, by_simpleitk(tmp_path / "series")[1], atol=MM)
    array, affine = by_dcm2niix(tmp_path / "series", tmp_path / "out", "_Eq_1")
    assert_same_in_space(to_canonical(image), array, affine, atol=16)


def test_a_tilted_gantry(tmp_path, bodies):
    """Our axes and steps are those of dcm2niix's _Tilt volume, and the same tissue lies at the same place."""
    write_series(tmp_path / "series", bodies.body(), bodies.AFFINE, SeriesForm(tilt_deg=15, shuffled=True))
    image = to_canonical(read_volumes(tmp_path / "series")[0])
    array, affine = by_dcm2niix(tmp_path / "series", tmp_path / "out", "_Tilt_1")
    np.testing.assert_allclose(image.affine[:3, :3], affine[:3, :3], atol=MM)
    assert_same_in_space(image, array, affine, atol=16)


def assert_same_in_space(image, array, affine, atol):
    """Look the peer's volume up at our voxels' places; edges, which one of the two may have filled, are left out."""
    indices = np.stack([*np.indices(image.array.shape[1:]), np.ones(image.array.shape[1:])])
    places = np.tensordot(np.linalg.inv(affine) @ image.affine, indices, 1)[:3]
    theirs = ndimage.map_coordinates(array, places, order=1, cval=np.nan)
    inner = np.isfinite(theirs)
    inner[:3], inner[-3:], inner[:, :14], inner[:, -14:], inner[..., :3], inner[..., -3:] = [False] * 6
    assert inner.sum() > 1000
    np.testing.assert_allclose(image.array[0][inner], theirs[inner], atol=atol)


@pytest.mark.shared
def test_a_segmentation_made_elsewhere_lies_on_its_series(shared):
    """Voxel for voxel: the same grid, and organs that have the density of organs."""
    image = to_canonical(read_volumes(shared / "dicom" / "ct_series")[0])
    labels = read_image(shared / "nifti" / "example_seg_dicom.nii.gz", window=None)
    assert labels.array.shape == image.array.shape
    np.testing.assert_allclose(labels.affine, image.affine, atol=MM)
    soft = (image.array > -50) & (image.array < 300)
    for name, label in {"spleen": 1, "liver": 5, "spinal cord": 79}.items():
        mask = labels.array == label
        mirrored = (mask[:, ::-1], mask[:, :, ::-1], mask[..., ::-1])
        assert soft[mask].mean() > 0.985 > max(soft[turned].mean() for turned in mirrored), name
    assert (image.array[labels.array > 0] > -300).mean() > 0.97
