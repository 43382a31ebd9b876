"""Volumes in grey: as their slices are shown one by one, but with one window."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medmm import read_volumes
from medmm.data.phantom.series import SeriesForm, write_series
from medmm.io.dicom import read_dicom
from medmm.io.volume_display import DIFFERENT

AFFINE = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
VALUES = np.arange(6 * 8 * 8, dtype=np.int16).reshape(6, 8, 8)


def series(folder, change=None, how=None):
    """Six slices, stored values from 1024 to 1407, each dataset changed before it is written again; the files."""
    paths = write_series(folder, VALUES, AFFINE, how)
    for number, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        for keyword in ("WindowCenter", "WindowWidth"):
            dataset.pop(keyword, None)
        if change is not None:
            change(dataset, number)
        dataset.save_as(path, enforce_file_format=True)
    return paths


def window(center, width=100):
    return (center - 0.5 - (width - 1) / 2, width - 1)


def shown(values, center, width=100):
    low, span = window(center, width)
    return np.clip((values - low) / span, 0, 1)


def lut(entries):
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(entries), 0, 16], np.array(entries, "<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return [item]


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "IDENTITY", "PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTSequence": lut([0, 10_000, 65_535, 30_000])},
        {"VOILUTFunction": "SIGMOID"},
    ],
    ids=lambda elements: "-".join(map(str, elements)) or "plain",
)
def test_slices_are_shown_as_they_are_alone(tmp_path, elements):
    """PS3.3 C.11.6: the presentation LUT shape, or the table, is the last stage of a volume too."""

    def change(dataset, number):
        dataset.WindowCenter, dataset.WindowWidth = 190, 250
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)

    paths = series(tmp_path, change)
    [image] = read_volumes(tmp_path, window="auto")
    alone = np.stack([read_dicom(path).array[0] for path in paths])
    np.testing.assert_allclose(image.array[0], alone, atol=1e-6)
    assert len(np.unique(image.array)) > 50
    assert image.header["inverted"] is read_dicom(paths[0]).header["inverted"]
    assert image.header["windows"][0]["center"] == 190


def test_inverse_without_a_window_is_that_of_the_range(tmp_path):
    series(tmp_path, lambda dataset, number: setattr(dataset, "PresentationLUTShape", "INVERSE"))
    [image] = read_volumes(tmp_path, window="auto")
    np.testing.assert_allclose(image.array[0], 1 - VALUES / 383, atol=1e-6)
    assert image.header["inverted"] is True


def test_one_window_for_slices_that_differ_is_said(tmp_path):
    def change(dataset, number):
        dataset.WindowCenter, dataset.WindowWidth = 100 + 10 * number, 100

    series(tmp_path, change)
    [image] = read_volumes(tmp_path, window="auto")
    np.testing.assert_allclose(image.array[0], shown(VALUES, 130), atol=1e-5)
    assert image.notes == (DIFFERENT,)
    assert image.header["window"] == {"function": "LINEAR", "center": 130, "width": 100}
    assert read_volumes(tmp_path)[0].notes == ()  # nothing is shown, so nothing is said


def test_nothing_is_said_of_slices_that_agree(tmp_path):
    def change(dataset, number):
        dataset.WindowCenter, dataset.WindowWidth = 100, 100

    series(tmp_path, change)
    assert read_volumes(tmp_path, window="auto")[0].notes == ()


def test_the_middle_slice_that_has_a_window_counts(tmp_path):
    def change(dataset, number):
        if number in (0, 1, 5):
            dataset.WindowCenter, dataset.WindowWidth = 100 + 10 * number, 100

    series(tmp_path, change)
    [image] = read_volumes(tmp_path, window="auto")
    np.testing.assert_allclose(image.array[0], shown(VALUES, 110), atol=1e-5)
    assert image.notes == (DIFFERENT,)


@pytest.mark.parametrize("shuffled", [False, True])
def test_frames_with_windows_of_their_own(tmp_path, shuffled):
    """The middle frame in space has values from 192 on, wherever it is stored; its window begins there."""

    def change(dataset, number):
        frames = dataset.pixel_array
        for group, frame in zip(dataset.PerFrameFunctionalGroupsSequence, frames, strict=True):
            item = Dataset()
            item.WindowCenter, item.WindowWidth = int(frame.min()) - 1024, 100
            group.FrameVOILUTSequence = [item]

    series(tmp_path, change, SeriesForm(enhanced=True, shuffled=shuffled))
    [image] = read_volumes(tmp_path, window="auto")
    np.testing.assert_allclose(image.array[0], shown(VALUES, 192), atol=1e-5)
    assert image.notes == (DIFFERENT,)


def test_what_is_odd_about_the_slices_is_said_once(tmp_path):
    series(tmp_path, lambda dataset, number: setattr(dataset, "RescaleSlope", 0))
    [image] = read_volumes(tmp_path)
    assert image.notes == ("The rescale slope is 0; 1 was taken.",)


def test_voxels_that_are_not_finite_are_black(tmp_path):
    def change(dataset, number):
        values = VALUES[number].astype("<f4")
        values[0, 0] = np.nan
        del dataset.PixelData
        dataset.FloatPixelData, dataset.BitsAllocated = values.tobytes(), 32
        dataset.RescaleIntercept = 0

    series(tmp_path, change)
    [image] = read_volumes(tmp_path, window="auto")
    assert (image.header["window"]["low"], image.header["window"]["high"]) == (1, 383)
    assert (image.array == 0).sum() == 7
    np.testing.assert_allclose(image.array[0, 1:].max(), 1)
