"""Planes and affines of single DICOM files, against the standard's formula, SimpleITK, highdicom and nibabel."""

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medmm import read_image
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.io.geometry import to_canonical
from medmm.types import Image

LPS = np.diag([-1.0, -1, 1, 1])
FLIP = np.eye(4)[[2, 1, 0, 3]]
"""(d, h, w) and (i, j, k)."""
OBLIQUE = (12.0, -25.0, 8.0)


def sitk_affine(image):
    """RAS affine of (d, h, w) of a SimpleITK volume."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS @ affine @ FLIP


def test_a_single_slice_equals_the_standards_formula(tmp_path, bodies):
    """PS3.3 equation C.7.6.2.1-1, with pydicom's values."""
    path = write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(oblique_deg=OBLIQUE))[5]
    header = pydicom.dcmread(path)
    row, column = np.array(header.ImageOrientationPatient[:3]), np.array(header.ImageOrientationPatient[3:])
    image = read_image(path)
    assert image.array.shape == (1, 40, 32)
    assert image.spacing_mm == pytest.approx((1.25, 1.5))
    for h, w in ((0, 0), (39, 31), (7, 20)):
        place = header.ImagePositionPatient + row * 1.5 * w + column * 1.25 * h
        np.testing.assert_allclose(image.affine @ [0, h, w, 1], [*(place * [-1, -1, 1]), 1], atol=1e-6)
    np.testing.assert_allclose(image.affine[:3, 0], LPS[:3, :3] @ (2.5 * np.cross(row, column)), atol=1e-6)


def test_single_slices_equal_simpleitk(shared_or_phantom):
    """All but the length of the step, for which SimpleITK does not look at the slice thickness."""
    for path in shared_or_phantom:
        ours, theirs = read_image(path).affine, sitk_affine(sitk.ReadImage(str(path)))
        np.testing.assert_allclose(ours[:, 1:], theirs[:, 1:], atol=1e-3)
        theirs[:3, 0] *= np.linalg.norm(ours[:3, 0]) / np.linalg.norm(theirs[:3, 0])
        np.testing.assert_allclose(ours[:, 0], theirs[:, 0], atol=1e-3)


@pytest.fixture(params=["phantom", pytest.param("shared", marks=pytest.mark.shared)])
def shared_or_phantom(request, tmp_path, bodies, shared):
    if request.param == "phantom":
        return write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(oblique_deg=OBLIQUE))[::5]
    return [shared / "dicom" / "odd" / name for name in ("CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "rtdose.dcm")]


@pytest.mark.parametrize("size", [None, 8])
def test_outer_edges_stay_when_a_slice_is_resized(tmp_path, bodies, size):
    path = write_series(tmp_path, bodies.body(), bodies.AFFINE)[3]
    whole, image = read_image(path), read_image(path, size=size)
    for corner in ((-0.5, -0.5), (39.5, 31.5)):
        sides = np.array(image.array.shape[1:]) / (40, 32)
        moved = (np.array(corner) + 0.5) * sides - 0.5
        np.testing.assert_allclose(image.affine @ [0, *moved, 1], whole.affine @ [0, *corner, 1], atol=1e-9)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_frames_of_an_enhanced_object_are_sorted_as_highdicom_sorts_them(tmp_path, bodies, modality):
    import highdicom

    volume = bodies.body() + (0 if modality == "CT" else 700)
    how = SeriesForm(modality=modality, enhanced=True, shuffled=True, oblique_deg=OBLIQUE)
    [path] = write_series(tmp_path, volume, bodies.AFFINE, how)
    peer = highdicom.imread(path).get_volume(apply_real_world_transform=False, apply_modality_transform=True)
    image = read_image(path, window=None)
    there = LPS @ peer.affine
    if there[:3, 0] @ image.affine[:3, 0] < 0:  # highdicom counts slices from the other end
        there, array = there @ [[-1, 0, 0, 15], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], peer.array[::-1]
    np.testing.assert_allclose(image.affine, there, atol=1e-3)
    np.testing.assert_array_equal(image.array[0], array)
    assert image.spacing_mm == pytest.approx((2.5, 1.25, 1.5))


def test_frames_of_several_phases_stay_as_stored(tmp_path, bodies):
    volume = np.stack([bodies.body(), bodies.body() + 50])
    [path] = write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(enhanced=True, phases_by="temporal"))
    image = read_image(path, window=None)
    assert image.affine is None
    assert image.array.shape == (1, 32, 40, 32)
    np.testing.assert_array_equal(image.array[0, 1], volume[1, 0])
    assert "read_volumes" in image.notes[0]


def test_a_tilted_enhanced_object_has_an_oblique_axis(tmp_path, bodies):
    """Its affine stays exact: each voxel holds what the body shows there."""
    [path] = write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(enhanced=True, tilt_deg=15))
    image = read_image(path, window=None)
    places = bodies.voxel_places(image.affine, image.array.shape[1:])
    inner = (slice(4, -4), slice(2, -2), slice(None))
    np.testing.assert_allclose(image.array[0][inner], bodies.values_at(places)[inner], atol=6)
    assert "tilted" in image.notes[0]


def test_a_gap_between_frames_is_named(tmp_path, bodies):
    [path] = write_series(tmp_path, bodies.body(), bodies.AFFINE, SeriesForm(enhanced=True, missing=(6, 7)))
    assert read_image(path).notes[0].startswith("Gap of 7.500 mm between slices 5 and 6, where 2.500 mm are usual: 2 ")


@pytest.mark.parametrize("modality", ["DX", "CR", "MG", "XA"])
def test_projections_have_no_affine(write_dicom, modality):
    path = write_dicom(np.zeros((4, 5), np.uint16), Modality=modality, ImagePositionPatient=[0, 0, 0],
                       ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[2, 3])  # fmt: skip
    image = read_image(path)
    assert image.affine is None
    assert image.spacing_mm == (2, 3)


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("ImagePositionPatient", None),
        ("ImagePositionPatient", [1, 2]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("PixelSpacing", [0, 1]),
    ],
)
def test_a_broken_place_is_no_place(write_dicom, element, value):
    elements = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    elements |= {"PixelSpacing": [2, 3], "Modality": "CT", element: value}
    path = write_dicom(np.zeros((4, 5), np.uint16), **{key: item for key, item in elements.items() if item is not None})
    image = read_image(path)
    assert image.affine is None
    assert image.array.shape == (1, 4, 5)


def test_canonical_orientation_equals_nibabels():
    rng = np.random.default_rng(3)
    for _ in range(20):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, 3)
        affine = np.block([[axes, rng.normal(size=(3, 1)) * 50], [np.zeros((1, 3)), np.ones((1, 1))]])
        array = rng.normal(size=(1, 4, 5, 6)).astype(np.float32)
        peer = nib.as_closest_canonical(nib.Nifti1Image(array[0].T, affine @ FLIP))
        image = to_canonical(Image(array, affine))
        np.testing.assert_array_equal(image.array[0].T, peer.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(image.affine @ FLIP, peer.affine, atol=1e-6)
