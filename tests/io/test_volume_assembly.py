"""What no slice of a tilted gantry covers: one value for the whole volume."""

import numpy as np
import pydicom
import pytest

from medmm import read_volumes
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.io.resize import resize_area
from medmm.io.volume_assembly import shifted

LEAST = (300, 100, 200, 150, 400, 250)
"""The least stored value of each slice."""


@pytest.fixture
def tilted(tmp_path):
    """Return ``tilted(**elements) -> folder``: slices whose stored values run from ``LEAST`` to 50 more."""
    affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])

    def write(**elements):
        paths = write_series(tmp_path, np.zeros((6, 8, 8), np.int16), affine, SeriesForm(tilt_deg=20))
        for path, least in zip(paths, LEAST, strict=True):
            dataset = pydicom.dcmread(path)
            pixels = np.random.default_rng(least).integers(least, least + 51, (8, 8)).astype("<u2")
            pixels[3, 3], pixels[4, 4] = least, least + 50
            dataset.PixelData = pixels.tobytes()
            for keyword, value in {"RescaleIntercept": -1000, **elements}.items():
                setattr(dataset, keyword, value)
                if keyword.startswith("PixelPadding"):
                    dataset[keyword].VR = "US"
            dataset.save_as(path, enforce_file_format=True)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("elements", "expected"),
    [({}, -900.0), ({"PixelPaddingValue": 7}, -993.0), ({"PixelPaddingValue": 3, "PixelPaddingRangeLimit": 9}, -997.0)],
)
def test_it_is_the_padding_or_the_volumes_least(tilted, elements, expected):
    [image] = read_volumes(tilted(**elements))
    assert image.array.shape[2] > 8
    for plane, least in zip(image.array[0], LEAST, strict=True):
        inside = (plane >= least - 1000) & (plane <= least - 950)
        other = plane[~inside] if expected < least - 1000 else plane[(plane != expected) & ~inside]
        assert (other == expected).all()
        if least != 100:
            assert inside.sum() == 64
            assert (plane == expected).sum() == plane.size - 64


@pytest.mark.parametrize("size", [5, 20])
@pytest.mark.parametrize("elements", [{}, {"PixelPaddingValue": 7}])
def test_a_voxel_that_is_covered_in_part_has_its_part(tilted, size, elements):
    folder = tilted(**elements)
    [whole], [image] = read_volumes(folder), read_volumes(folder, size=size)
    expected = np.stack([resize_area(plane, size) for plane in whole.array[0]])
    np.testing.assert_allclose(image.array[0], expected, atol=1e-3)


def test_between_slices_too(tilted):
    folder = tilted(PixelPaddingValue=7)
    path = next(path for path in folder.iterdir() if pydicom.dcmread(path).pixel_array.min() == LEAST[2])
    [before] = read_volumes(folder)
    path.unlink()
    [image] = read_volumes(folder)
    assert "1 of 6 planes lie between slices" in " ".join(image.notes)
    assert image.array.shape == before.array.shape
    bare = [plane == -993 for plane in image.array[0]]
    np.testing.assert_array_equal(bare[2], bare[1] & bare[3])


def test_it_is_black_when_it_is_padding(tilted):
    folder = tilted(PixelPaddingValue=7, PhotometricInterpretation="MONOCHROME1")
    [values], [image] = read_volumes(folder), read_volumes(folder, window="auto")
    low, high = values.array[values.array > -990].min(), values.array.max()
    assert image.header["window"] == {"function": "RANGE", "low": low, "high": high}
    expected = np.where(values.array == -993, 0, 1 - (values.array - low) / (high - low))
    np.testing.assert_allclose(image.array, expected, atol=1e-6)


def test_values_that_are_not_finite_do_not_spread(tilted):
    values = np.array([[1, np.nan], [3, 4]], np.float32)
    np.testing.assert_array_equal(shifted(values, 1.0, 4), [[0, 0], [1, np.nan], [3, 4], [0, 0]])


@pytest.mark.parametrize("shift", [0.0, 0.25, 1.5, 2.0])
def test_a_shift_is_linear_between_rows(shift):
    values = np.arange(12, dtype=np.float32).reshape(6, 2) * 4
    moved = shifted(values, shift, 9)
    places = np.arange(9) - shift
    for column in range(2):
        expected = np.interp(places, np.arange(6), values[:, column])
        expected[(places < -0.5) | (places >= 5.5)] = 0
        np.testing.assert_allclose(moved[:, column], expected, atol=1e-5)
