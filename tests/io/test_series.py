"""Slices to stacks: phases, acquisitions, gaps and orientations."""

import numpy as np
import pydicom
import pytest

from medmm import read_volumes
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.io.geometry import to_canonical


def one(folder):
    [image] = read_volumes(folder)
    return image


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize(
    ("by", "key", "values"),
    [
        ("acquisition", "acquisition", (1, 2, 3)),
        ("temporal", "temporal_position", (1, 2, 3)),
        ("echo", None, (10, 20, 30)),
        ("b_value", "b_value", (0, 500, 1000)),
        ("trigger", "order", (0, 1, 2)),
    ],
)
def test_phases_at_the_same_places_are_told_apart(tmp_path, bodies, enhanced, by, key, values):
    volume = np.stack([bodies.body(), bodies.body() + 100, bodies.body() - 50]) + 700
    how = SeriesForm(modality="MR", phases_by=by, shuffled=True, enhanced=enhanced)
    write_series(tmp_path, volume, bodies.AFFINE, how)
    images = read_volumes(tmp_path)
    assert len(images) == 3
    for image, expected, value in zip(images, volume, values, strict=True):
        np.testing.assert_array_equal(image.array[0], expected)
        np.testing.assert_allclose(image.affine, bodies.AFFINE, atol=1e-9)
        if key:
            assert image.header["phase"][key] == value


def test_phases_with_a_gap_in_one_of_them(tmp_path, bodies):
    """Slices that one phase lacks do not mix the phases up."""
    volume = np.stack([bodies.body(), bodies.body() + 100])
    paths = write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(phases_by="temporal"))
    for path in paths[13:20:2]:
        path.unlink()
    first, second = read_volumes(tmp_path)
    np.testing.assert_array_equal(first.array[0], volume[0])
    there = [index for index in range(16) if index not in (6, 7, 8, 9)]
    np.testing.assert_array_equal(second.array[0, there], volume[1, there])
    assert second.notes[0].startswith("Gap of 12.500 mm between slices 5 and 6")


def test_phases_without_a_word_in_the_header_follow_their_numbers(tmp_path, bodies):
    volume = np.stack([bodies.body(), bodies.body() + 100])
    write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(phases_by="none"))
    images = read_volumes(tmp_path)
    np.testing.assert_array_equal(np.stack([image.array[0] for image in images]), volume)
    assert "do not tell them apart" in images[0].notes[0]


def test_step_and_shoot_is_one_stack_and_two_blocks_are_two(tmp_path, bodies):
    """An acquisition number a slice says nothing; two acquisitions that lie apart are two volumes."""
    volume = bodies.body()
    for index, path in enumerate(write_series(tmp_path / "a", volume, bodies.AFFINE)):
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionNumber = index + 1
        dataset.save_as(path)
    np.testing.assert_array_equal(one(tmp_path / "a").array[0], volume)
    for index, path in enumerate(write_series(tmp_path / "b", volume, bodies.AFFINE, SeriesForm(missing=(7, 8)))):
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionNumber = 1 + (index >= 7)
        dataset.save_as(path)
    images = read_volumes(tmp_path / "b")
    assert [image.array.shape[1] for image in images] == [7, 7]
    np.testing.assert_array_equal(images[1].array[0], volume[9:])
    np.testing.assert_allclose(images[1].affine[:3, 3], [24, 25, -20 + 9 * 2.5])


@pytest.mark.parametrize(("thickness", "depths"), [(2.5, [16]), (5.0, [8, 8])])
def test_interleaved_acquisitions(tmp_path, bodies, thickness, depths):
    """Packages of one scan fill each other's distances; two scans of 5 mm slices over the same region do not."""
    volume = bodies.body()
    for index, path in enumerate(write_series(tmp_path, volume, bodies.AFFINE)):
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionNumber, dataset.SliceThickness = 1 + index % 2, thickness
        dataset.save_as(path)
    images = read_volumes(tmp_path)
    assert [image.array.shape[1] for image in images] == depths
    np.testing.assert_array_equal(images[0].array[0], volume[:: len(depths)])
    np.testing.assert_array_equal(images[-1].array[0], volume[len(depths) - 1 :: len(depths)])


def test_a_gap_that_is_too_wide_splits_the_stack(tmp_path, bodies):
    volume = bodies.body((40, 12, 10))
    write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(missing=tuple(range(15, 30))))
    images = read_volumes(tmp_path)
    np.testing.assert_array_equal(images[0].array[0], volume[:15])
    np.testing.assert_array_equal(images[1].array[0], volume[30:])
    assert images[0].notes == ("Gap too wide to be bridged: 40.0 mm after slice 14; each side is a volume of its own.",)


def test_a_block_of_thinner_slices_is_not_thrown_away(tmp_path, bodies):
    """A head in 2.5 mm below and 5 mm above: the grid has 2.5 mm."""
    volume = bodies.body((24, 12, 10))
    write_series(tmp_path, volume, bodies.AFFINE, SeriesForm(missing=tuple(range(7, 24, 2))))
    image = one(tmp_path)
    assert image.spacing_mm[0] == pytest.approx(2.5)
    np.testing.assert_array_equal(image.array[0, :7], volume[:7])
    np.testing.assert_array_equal(image.array[0, 6::2], volume[6:23:2])


def test_orientations_and_series_are_volumes_of_their_own(tmp_path, bodies):
    axial, coronal = bodies.body(), bodies.body()
    upright = bodies.AFFINE[:, [1, 0, 2, 3]] @ np.diag([1, -1, 1, 1.0])
    first = write_series(tmp_path / "a", axial, bodies.AFFINE)[0]
    same = {"SeriesInstanceUID": pydicom.dcmread(first).SeriesInstanceUID}
    write_series(tmp_path / "b", coronal, upright, name="coronal", elements=same)
    write_series(tmp_path / "c", axial + 9, bodies.AFFINE, name="other")
    images = read_volumes(tmp_path)
    assert [image.array.shape for image in images] == [(1, 16, 40, 32)] * 3
    np.testing.assert_array_equal(images[0].array[0], axial)
    np.testing.assert_array_equal(images[2].array[0], axial + 9)
    np.testing.assert_allclose(to_canonical(images[1]).spacing_mm, (2.5, 1.25, 1.5))
