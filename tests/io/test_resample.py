"""Resampling against SimpleITK, brute force and what is known of the body everywhere."""

import numpy as np
import pytest
import SimpleITK as sitk

from medmm.errors import ImageError, Reason, UsageError
from medmm.io.resample import CUBIC, LINEAR, NEAREST, onto, to_spacing
from medmm.types import Image

LPS = np.diag([-1.0, -1, 1, 1])
FLIP = np.eye(4)[[2, 1, 0, 3]]
RNG = np.random.default_rng(5)
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]


def oblique(spacing=(2.0, 1.5, 1.25), origin=(5.0, -8, 30)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = TURN * spacing, origin
    return affine


def image_of(array, affine):
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0))
    return Image(array[None], affine, spacing)


def to_sitk(image):
    """The same volume with the same place, as SimpleITK has it."""
    volume = sitk.GetImageFromArray(image.array[0])
    affine = LPS @ image.affine @ FLIP
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    volume.SetSpacing(spacing.tolist())
    volume.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    volume.SetOrigin(affine[:3, 3].tolist())
    return volume


def blobs(shape):
    """A mask of three labels with ragged edges."""
    d, h, w = np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) / 2
    mask = ((d / 4) ** 2 + (h / 7) ** 2 + (w / 6) ** 2 < 1) * 1 + (np.abs(d + w) < 2) * 2
    return np.where(RNG.random(shape) < 0.03, 3, mask).astype(np.float32)


@pytest.mark.parametrize(("order", "peer"), [(NEAREST, sitk.sitkNearestNeighbor), (LINEAR, sitk.sitkLinear)])
def test_onto_equals_simpleitk_for_any_two_grids(order, peer):
    mask = image_of(blobs((14, 20, 18)), oblique())
    # a finer grid of another direction, for nothing is smoothed there
    target = image_of(np.zeros((22, 30, 26), np.float32), np.diag([1.1, 0.9, 1.0, 1]) @ np.eye(4)[[2, 1, 0, 3]])
    target.affine[:3, 3] = mask.affine[:3] @ [7, 10, 9, 1] - target.affine[:3, :3] @ [11, 15, 13]
    got = onto(mask, target, order=order, fill=-1)
    expected = sitk.GetArrayFromImage(
        sitk.Resample(to_sitk(mask), to_sitk(target), sitk.Transform(), peer, -1.0, sitk.sitkFloat32)
    )
    same = np.isclose(got.array[0], expected, atol=1e-4)
    assert same.mean() > 0.9999  # a centre on the very border of two voxels may fall to either side
    np.testing.assert_array_equal(got.affine, target.affine)
    assert got.spacing_mm == target.spacing_mm
    assert (expected == -1).any()
    assert (expected > 0).any()


@pytest.mark.parametrize("factor", [0.5, 2.0, 1.0])
def test_a_mask_comes_back_onto_the_original_grid(factor):
    """Finer and equal grids lose nothing; on a coarser one, blocks of the coarse grid come back voxel for voxel."""
    original = image_of(np.zeros((12, 20, 16), np.float32), oblique())
    mask = blobs((12, 20, 16)) if factor <= 1 else np.kron(blobs((6, 10, 8)), np.ones((2, 2, 2), np.float32))
    spacing = np.array(original.spacing_mm) * factor
    there = to_spacing(image_of(mask, oblique()), spacing, order=NEAREST)
    assert there.array.shape[1:] == tuple(int(side / factor) for side in (12, 20, 16))
    back = onto(there, original)
    np.testing.assert_array_equal(back.array[0], mask)
    np.testing.assert_array_equal(back.affine, original.affine)


@pytest.mark.parametrize("spacing", [(3.1, 2.0, 2.7), (0.8, 1.1, 0.9)])
def test_a_mask_made_on_the_resampled_grid_comes_back_by_its_voxels(spacing):
    """Every voxel of the original grid has the label of the voxel that its centre lies in, by brute force."""
    original = image_of(RNG.normal(size=(10, 14, 12)).astype(np.float32), oblique())
    made = to_spacing(original, spacing)
    labels = Image(RNG.integers(0, 9, made.array.shape).astype(np.float32), made.affine, made.spacing_mm)
    back = onto(labels, original, fill=-1).array[0]
    inverse = np.linalg.inv(labels.affine)
    for index in np.ndindex(back.shape):
        place = inverse @ original.affine @ [*index, 1]
        nearest = np.floor(place[:3] + 0.5).astype(int)
        inside = all(0 <= at < side for at, side in zip(nearest, labels.array.shape[1:], strict=True))
        assert back[index] == (labels.array[0][tuple(nearest)] if inside else -1)


def test_the_affine_stays_true(bodies):
    """Each voxel of the resampled volume holds what the body shows where the new affine says it lies."""
    image = image_of(bodies.body((20, 44, 36)).astype(np.float32), bodies.AFFINE)
    for spacing, order, off in (((1.7, 1.0, 2.0), CUBIC, 4), ((2.0, 1.9, 0.8), LINEAR, 12), (1.6, LINEAR, 12)):
        got = to_spacing(image, spacing, order)
        assert got.spacing_mm == tuple(np.full(3, spacing))
        np.testing.assert_allclose(np.linalg.norm(got.affine[:3, :3], axis=0), got.spacing_mm)
        inner = tuple(slice(3, side - 3) for side in got.array.shape[1:])
        expected = bodies.values_at(bodies.voxel_places(got.affine, got.array.shape[1:]))
        np.testing.assert_allclose(got.array[0][inner], expected[inner], atol=off)


def test_the_centre_stays_and_edges_move_by_less_than_half_a_voxel():
    image = image_of(np.zeros((11, 17, 8), np.float32), oblique())
    got = to_spacing(image, (3.0, 0.7, 2.2))
    centre = [(np.array(each.array.shape[1:]) - 1) / 2 for each in (image, got)]
    np.testing.assert_allclose(got.affine @ [*centre[1], 1], image.affine @ [*centre[0], 1], atol=1e-9)
    extents = [np.array(each.array.shape[1:]) * each.spacing_mm for each in (image, got)]
    assert (np.abs(extents[0] - extents[1]) / 2 <= np.array(got.spacing_mm) / 4 + 1e-9).all()


def test_coarser_grids_are_smoothed_first():
    """Stripes finer than the new grid become grey; taken as they are, they would turn into wrong stripes."""
    stripes = np.tile(np.array([0, 100], np.float32), (4, 4, 32))
    got = to_spacing(image_of(stripes, np.eye(4)), (1, 1, 4.3)).array[0, :, :, 1:-1]
    np.testing.assert_allclose(got, 50, atol=3)
    like = image_of(np.zeros((4, 4, 15), np.float32), np.diag([1, 1, 4.3, 1]))
    got = onto(image_of(stripes, np.eye(4)), like, LINEAR)
    np.testing.assert_allclose(got.array[0, :, :, 1:-1], 50, atol=3)


def test_projections_and_channels():
    flat = Image(RNG.normal(size=(2, 10, 12)).astype(np.float32), None, (0.2, 0.2))
    got = to_spacing(flat, 0.1, LINEAR)
    assert got.array.shape == (2, 20, 24)
    assert got.affine is None
    assert got.spacing_mm == (0.1, 0.1)
    np.testing.assert_allclose(got.array[:, 1:-1:2, 1:-1:2][:, :, :5].mean(), flat.array[:, :, :5].mean(), atol=0.2)
    same = to_spacing(flat, 0.2, CUBIC)
    np.testing.assert_allclose(same.array, flat.array, atol=1e-5)


def test_a_slice_goes_onto_a_volume():
    """A ``[C, H, W]`` image with an affine is a volume of one plane, half a step thick to either side."""
    affine = np.diag([4.0, 1, 1, 1])
    flat = Image(np.full((1, 5, 5), 7, np.float32), affine, (1.0, 1.0))
    got = onto(flat, image_of(np.zeros((9, 5, 5), np.float32), np.diag([1.0, 1, 1, 1])))
    np.testing.assert_array_equal(got.array[0, :, 2, 2], [7, 7, 0, 0, 0, 0, 0, 0, 0])
    back = onto(image_of(np.arange(125, dtype=np.float32).reshape(5, 5, 5), np.eye(4)), flat)
    np.testing.assert_array_equal(back.array, np.arange(25, dtype=np.float32).reshape(1, 5, 5))


def test_what_cannot_be_is_refused():
    image = image_of(np.zeros((4, 4, 4), np.float32), np.eye(4))
    for wrong in (0, -1, float("nan"), (1, 2)):
        with pytest.raises(UsageError):
            to_spacing(image, wrong)
    with pytest.raises(UsageError):
        to_spacing(image, 1, order=9)
    with pytest.raises(UsageError):
        to_spacing(Image(image.array), 1)
    with pytest.raises(UsageError):
        onto(image, Image(image.array))
    with pytest.raises(ImageError) as caught:
        to_spacing(image, 1e-4)
    assert caught.value.reason is Reason.TOO_LARGE
