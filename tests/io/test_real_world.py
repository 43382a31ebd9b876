"""Real-world values, and what enhanced objects say frame by frame, against highdicom's and hand-computed values."""

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medmm import read_image, read_volumes
from medmm.io.dicom import read_dicom

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
PIXELS = np.random.default_rng(23).integers(0, 4096, (3, 9, 11), np.uint16)
TWELVE = {"BitsStored": 12, "HighBit": 11}
MR = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1"}


def mapping(slope=None, intercept=None, first=0, last=4095, units="ms", entries=None, vr="US"):
    item, unit = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = units, "UCUM", units
    item.LUTExplanation, item.LUTLabel, item.MeasurementUnitsCodeSequence = "T1", "T1", [unit]
    item.add_new(0x00409216, vr, first)
    item.add_new(0x00409211, vr, last)
    if entries is not None:
        item.RealWorldValueLUTData = list(entries)
    if slope is not None:
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    return item


def group(mappings=None, rescale=None, window=None):
    item = Dataset()
    if mappings:
        item.RealWorldValueMappingSequence = Sequence(mappings)
    if rescale:
        part = Dataset()
        part.RescaleSlope, part.RescaleIntercept, part.RescaleType = rescale
        item.PixelValueTransformationSequence = [part]
    if window:
        part = Dataset()
        part.WindowCenter, part.WindowWidth = window[:2]
        if len(window) > 2:
            part.VOILUTFunction = window[2]
        item.FrameVOILUTSequence = [part]
    return item


def by_highdicom(path, frame, **keywords):
    image = highdicom.imread(path)
    return image.get_frame(frame + 1, **keywords)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("place", ["top", "shared", "frames"])
def test_the_slope_that_stands_only_in_the_mapping(write_dicom, syntax, place):
    slopes = (0.25, 0.5, 1.75) if place == "frames" else (0.25,) * 3
    items = [mapping(slope, -3.5) for slope in slopes]
    elements = {
        "top": {"RealWorldValueMappingSequence": items[:1]},
        "shared": {"SharedFunctionalGroupsSequence": [group(items[:1])]},
        "frames": {"PerFrameFunctionalGroupsSequence": [group([item]) for item in items]},
    }[place]
    path = write_dicom(PIXELS, syntax=syntax, **TWELVE, **MR, **elements)
    image = read_image(path, window=None)
    want = np.stack([frame * slope - 3.5 for frame, slope in zip(PIXELS, slopes, strict=True)])
    np.testing.assert_allclose(image.array[0], want, rtol=1e-6)
    assert any("real-world" in note for note in image.notes)
    np.testing.assert_array_equal(read_dicom(path, window=None, real_world=False).array[0], PIXELS)


def test_frames_equal_highdicoms(write_dicom):
    groups = [group([mapping(0.5 + index, index)], (1, 0, "US"), (500 + index, 900)) for index in range(3)]
    path = write_dicom(PIXELS, **TWELVE, **MR, PerFrameFunctionalGroupsSequence=groups)
    real, shown = read_image(path, window=None), read_image(path)
    for index in range(3):
        want = by_highdicom(path, index, apply_real_world_transform=True)
        np.testing.assert_allclose(real.array[0, index], want, rtol=1e-6)
        want = by_highdicom(path, index, apply_real_world_transform=False, apply_voi_transform=True)
        np.testing.assert_allclose(shown.array[0, index], want, atol=1e-6)
    assert any("windows of their own" in note for note in shown.notes)


def test_rescale_and_window_of_each_frame_equal_highdicoms(write_dicom):
    """As PET and MR write it: the slope follows the slice, and the window the slope.

    LINEAR stands where the slope is 1: highdicom takes its 1 off the width in stored values, not in those after the
    rescale, as PS3.3 C.11.2.1.2.1 has it.
    """
    functions = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
    groups = [
        group(None, (1 + 0.5 * index, -10 * index, "US"), (300 * (index + 1), 250 * (index + 2), functions[index]))
        for index in range(3)
    ]
    path = write_dicom(PIXELS, **TWELVE, **MR, PerFrameFunctionalGroupsSequence=groups)
    values, shown = read_image(path, window=None), read_image(path)
    for index in range(3):
        np.testing.assert_allclose(values.array[0, index], by_highdicom(path, index), rtol=1e-6)
        want = by_highdicom(path, index, apply_voi_transform=True)
        np.testing.assert_allclose(shown.array[0, index], want, atol=1e-6)
    assert shown.header["window"] == {"function": "LINEAR", "center": 300.0, "width": 500.0}


@pytest.mark.parametrize("rescale", [(2, -5, "US"), (1, 0, "HU")])
def test_a_rescale_that_says_something_goes_before_the_mapping(write_dicom, rescale):
    path = write_dicom(
        PIXELS, **TWELVE, RescaleSlope=rescale[0], RescaleIntercept=rescale[1], RescaleType=rescale[2],
        RealWorldValueMappingSequence=[mapping(0.25, 7)],
    )  # fmt: skip
    image = read_image(path, window=None)
    np.testing.assert_array_equal(image.array[0], PIXELS * np.float32(rescale[0]) + rescale[1])
    assert not any("real-world" in note for note in image.notes)


def test_windows_count_in_stored_values_and_not_in_real_world_values(write_dicom):
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    path = write_dicom(PIXELS, **TWELVE, **window, RealWorldValueMappingSequence=[mapping(-0.001, 4)])
    np.testing.assert_allclose(read_image(path).array[0], PIXELS / 4095, atol=1e-6)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_a_table_of_real_world_values(write_dicom, syntax):
    entries = np.sqrt(np.arange(200)) - 3
    pixels = np.arange(-50, 250, dtype=np.int16).reshape(15, 20)
    item = mapping(first=-40, last=159, entries=entries, vr="SS")
    path = write_dicom(pixels, syntax=syntax, RealWorldValueMappingSequence=[item])
    want = entries[np.clip(pixels + 40, 0, 199)]
    np.testing.assert_allclose(read_image(path, window=None).array[0], want, rtol=1e-6)


def test_ranges_of_one_quantity_and_another_quantity_of_the_same_values(write_dicom):
    """0 to 999 and 1000 to 4095 are milliseconds of two slopes; the item between them is something else."""
    items = [mapping(1, 0, 0, 999), mapping(9, 9, 0, 4095, units="mm2/s"), mapping(2, -1000, 1000, 4095)]
    path = write_dicom(PIXELS, **TWELVE, RealWorldValueMappingSequence=items)
    want = np.where(PIXELS < 1000, PIXELS, PIXELS * 2.0 - 1000)
    np.testing.assert_array_equal(read_image(path, window=None).array[0], want)


def test_a_mapping_that_cannot_be_read_is_none(write_dicom):
    broken = mapping(first=0, last=10)
    path = write_dicom(PIXELS, **TWELVE, RealWorldValueMappingSequence=[broken, mapping(0, 1)])
    np.testing.assert_array_equal(read_image(path, window=None).array[0], PIXELS)


def test_a_volume_of_slices_has_real_world_values_and_the_windows_greys(ct_slices, tmp_path):
    for index, dataset in enumerate(ct_slices((4, 6, 5))):
        del dataset.RescaleSlope, dataset.RescaleIntercept
        dataset.Modality, dataset.WindowCenter, dataset.WindowWidth = "MR", 2, 4
        dataset.RealWorldValueMappingSequence = [mapping(10, 5, last=65535)]
        dataset.save_as(tmp_path / f"{index}.dcm", enforce_file_format=True)
    (volume,) = read_volumes(tmp_path, window=None)
    (shown,) = read_volumes(tmp_path, window="auto")
    assert sorted(volume.array[0, :, 0, 0]) == [5, 15, 25, 35]
    np.testing.assert_allclose(sorted(shown.array[0, :, 0, 0]), [0, 1 / 3, 2 / 3, 1], atol=1e-6)
